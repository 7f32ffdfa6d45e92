// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include <stdint.h>
import "C"

import "runtime/cgo"

// LogLevel is the severity of a log line.
type LogLevel int32

const (
	LogError   LogLevel = 1 // something failed
	LogWarning LogLevel = 2 // something is not as it should be
	LogInfo    LogLevel = 3 // what is used, and why
	LogDebug   LogLevel = 4 // for who looks for a defect
)

// hopmlaGoLog hands a line to the function behind a handle. A panic must not unwind into C: it ends here, and the line is
// lost.
//
//export hopmlaGoLog
func hopmlaGoLog(handle C.uintptr_t, level C.int32_t, text *C.char) {
	defer func() { _ = recover() }()
	if sink, ok := cgo.Handle(handle).Value().(func(LogLevel, string)); ok {
		sink(LogLevel(level), C.GoString(text))
	}
}
