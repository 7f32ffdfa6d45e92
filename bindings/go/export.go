// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"fmt"
	"io"
	"runtime/cgo"
	"unsafe"
)

// ExportFormat is what records are written as.
type ExportFormat int32

const (
	ExportJSONLines ExportFormat = C.HOPMLA_EXPORT_JSONL    // a JSON object a record, after one with the ceilings
	ExportCSV       ExportFormat = C.HOPMLA_EXPORT_CSV      // a row a record under one header line
	ExportTrace     ExportFormat = C.HOPMLA_EXPORT_TRACE    // Chrome's trace events, which Perfetto reads
	ExportRoofline  ExportFormat = C.HOPMLA_EXPORT_ROOFLINE // SVG: intensity against FLOP/s with the ceilings as roofs
	ExportTimeline  ExportFormat = C.HOPMLA_EXPORT_TIMELINE // SVG: device times by kind along a time axis
)

// ExportOptions are what an export says of itself.
type ExportOptions struct {
	Device   string    // its name, for titles
	Ceilings *Ceilings // roofs, or nil
}

// sink is a writer, and why an export did not go on.
type sink struct {
	out io.Writer
	err error
}

//export hopmlaGoWrite
func hopmlaGoWrite(handle C.uintptr_t, text unsafe.Pointer, bytes C.uint64_t) (stop C.int32_t) {
	s := cgo.Handle(handle).Value().(*sink)
	defer func() {
		if thrown := recover(); thrown != nil { // nothing unwinds into C
			s.err, stop = fmt.Errorf("the writer panicked: %v", thrown), 1
		}
	}()
	if _, s.err = s.out.Write(unsafe.Slice((*byte)(text), int(bytes))); s.err != nil {
		return 1
	}
	return 0
}

// writeError is a failed export whose reason the writer gave.
type writeError struct {
	err   error
	cause error
}

func (e *writeError) Error() string { return "hopmla: " + e.cause.Error() + " (IO)" }

// Unwrap gives the writer's error, Is the status.
func (e *writeError) Unwrap() error { return e.cause }

func (e *writeError) Is(target error) bool { return target == error(ErrIO) || target == error(GroupIO) }

// export makes one call with a writer and the options' strings.
func export(out io.Writer, options ExportOptions,
	call func(writer C.uintptr_t, device *C.char, ceilings *C.hopmla_ceilings, err *C.hopmla_error) C.hopmla_status) error {
	device, free, err := cString("Device", options.Device)
	if err != nil {
		return err
	}
	defer free()
	s, writer := &sink{out: out}, C.uintptr_t(0)
	if out != nil {
		handle := cgo.NewHandle(s)
		defer handle.Delete()
		writer = C.uintptr_t(handle)
	}
	scratch := newScratch()
	err = scratch.done(call(writer, device, options.Ceilings.raw(), &scratch.err))
	if s.err != nil {
		return &writeError{err, s.err}
	}
	return err
}

func rawRecords(records []Record) (*C.hopmla_record, C.uint64_t) {
	if len(records) == 0 {
		return nil, 0
	}
	raw := make([]C.hopmla_record, len(records))
	for i := range records {
		raw[i] = records[i].raw
	}
	return &raw[0], C.uint64_t(len(raw))
}

// ExportRecords writes records, as Profiler.Read gave them. errors.Is(err, ErrIO) when the writer fails or panics; its own
// error is found too.
func ExportRecords(out io.Writer, format ExportFormat, records []Record, options ExportOptions) error {
	raw, n := rawRecords(records)
	return export(out, options,
		func(writer C.uintptr_t, device *C.char, ceilings *C.hopmla_ceilings, err *C.hopmla_error) C.hopmla_status {
			return C.go_export_records(C.int32_t(format), raw, n, nil, writer, device, ceilings, err)
		})
}

// ExportRecordsToFile writes records to a file, which is replaced whole when the export has succeeded.
func ExportRecordsToFile(path string, format ExportFormat, records []Record, options ExportOptions) error {
	name, free, err := cString("path", path)
	if err != nil {
		return err
	}
	defer free()
	raw, n := rawRecords(records)
	return export(nil, options,
		func(_ C.uintptr_t, device *C.char, ceilings *C.hopmla_ceilings, err *C.hopmla_error) C.hopmla_status {
			return C.go_export_records(C.int32_t(format), raw, n, name, 0, device, ceilings, err)
		})
}

// ExportMetrics writes OpenMetrics text of a profiler's totals and of a pool's books; either may be nil.
func ExportMetrics(out io.Writer, profiler *Profiler, pool *Pool, options ExportOptions) error {
	var rawProfiler *C.hopmla_profiler
	var rawPool *C.hopmla_pool
	if profiler != nil {
		h, err := profiler.use()
		if err != nil {
			return err
		}
		defer profiler.lock.RUnlock()
		rawProfiler = (*C.hopmla_profiler)(h)
	}
	if pool != nil {
		h, err := pool.use()
		if err != nil {
			return err
		}
		defer pool.lock.RUnlock()
		rawPool = (*C.hopmla_pool)(h)
	}
	return export(out, options,
		func(writer C.uintptr_t, device *C.char, ceilings *C.hopmla_ceilings, err *C.hopmla_error) C.hopmla_status {
			return C.go_export_metrics(rawProfiler, rawPool, writer, device, ceilings, err)
		})
}
