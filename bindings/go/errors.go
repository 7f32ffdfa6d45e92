// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
)

// Status says what went wrong. It is an error itself, so that errors.Is(err, hopmla.ErrOutOfPages) asks for one.
type Status int32

// The call is wrong: mend the program.
const (
	ErrArgument    Status = C.HOPMLA_ERROR_ARGUMENT     // a value is outside its documented range
	ErrNull        Status = C.HOPMLA_ERROR_NULL         // a required pointer or handle is NULL
	ErrStructSize  Status = C.HOPMLA_ERROR_STRUCT_SIZE  // a struct is smaller than the first release's
	ErrStructTail  Status = C.HOPMLA_ERROR_STRUCT_TAIL  // a struct is newer than the library and uses a field it does not know
	ErrEnum        Status = C.HOPMLA_ERROR_ENUM         // an enum field holds an unknown value
	ErrOverflow    Status = C.HOPMLA_ERROR_OVERFLOW     // sizes multiply to more than 64 bits, or counts exceed the limits
	ErrStaleID     Status = C.HOPMLA_ERROR_STALE_ID     // the sequence was released
	ErrForeignID   Status = C.HOPMLA_ERROR_FOREIGN_ID   // the sequence id was never given out by this pool
	ErrDuplicateID Status = C.HOPMLA_ERROR_DUPLICATE_ID // a sequence stands twice in one batch
	ErrAlignment   Status = C.HOPMLA_ERROR_ALIGNMENT    // a pointer or stride is not a multiple of 16 bytes
	ErrDtype       Status = C.HOPMLA_ERROR_DTYPE        // an element type that does not go with the pool's format
	ErrMismatch    Status = C.HOPMLA_ERROR_MISMATCH     // objects of different contexts, pools or backends were mixed
	ErrEnvelope    Status = C.HOPMLA_ERROR_ENVELOPE     // the batch is outside the envelope that the plan declared
	ErrRange       Status = C.HOPMLA_ERROR_RANGE        // tokens outside the sequence, or more than were reserved
)

// The call comes at the wrong time: mend the order.
const (
	ErrState     Status = C.HOPMLA_ERROR_STATE      // not in the order the step requires
	ErrCapture   Status = C.HOPMLA_ERROR_CAPTURE    // not while the stream is being captured
	ErrNoStorage Status = C.HOPMLA_ERROR_NO_STORAGE // the pool has no storage to read or write
)

// There is not enough of something: free some, then retry. Error.Value says how many pages are missing.
const (
	ErrOutOfPages        Status = C.HOPMLA_ERROR_OUT_OF_PAGES
	ErrOutOfHostMemory   Status = C.HOPMLA_ERROR_OUT_OF_HOST_MEMORY
	ErrOutOfDeviceMemory Status = C.HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY
	ErrTooMany           Status = C.HOPMLA_ERROR_TOO_MANY // more sequences or plans than the pool can hold
)

// ErrBusy: nothing is wrong; retry when earlier work has finished.
const ErrBusy Status = C.HOPMLA_ERROR_BUSY

// This machine or build cannot do it.
const (
	ErrNoDriver    Status = C.HOPMLA_ERROR_NO_DRIVER   // the CUDA driver was not found or does not start
	ErrOldDriver   Status = C.HOPMLA_ERROR_OLD_DRIVER  // it is older than the embedded kernels need
	ErrNoDevice    Status = C.HOPMLA_ERROR_NO_DEVICE   // no such device
	ErrDevice      Status = C.HOPMLA_ERROR_DEVICE      // the device is not of compute capability 9.0
	ErrNotBuilt    Status = C.HOPMLA_ERROR_NOT_BUILT   // the library was built without this backend
	ErrUnsupported Status = C.HOPMLA_ERROR_UNSUPPORTED // a valid request that this release does not implement
)

// The CUDA driver failed, or the library has a defect.
const (
	ErrDriver       Status = C.HOPMLA_ERROR_DRIVER        // Error.NativeCode is its code
	ErrDriverSticky Status = C.HOPMLA_ERROR_DRIVER_STICKY // the CUDA context is lost: restart the process
	ErrInternal     Status = C.HOPMLA_ERROR_INTERNAL      // report it
)

// ErrIO: a file could not be written (Error.NativeCode is errno), or the writer of an export failed (then errors.Is finds its
// own error too).
const ErrIO Status = C.HOPMLA_ERROR_IO

// Group is what can be done about an error; errors.Is(err, hopmla.GroupCapacity) asks for one.
type Group int32

const (
	GroupArgument    Group = 1 // mend the program
	GroupOrder       Group = 2 // mend the order
	GroupCapacity    Group = 3 // free something, then retry
	GroupBusy        Group = 4 // retry when earlier work has finished
	GroupUnavailable Group = 5 // this machine or build cannot
	GroupDriver      Group = 6 // the driver failed
	GroupLost        Group = 7 // restart the process
	GroupInternal    Group = 8 // report it
	GroupIO          Group = 9 // something outside the library failed
)

// ErrClosed is returned by everything that is used after its Close.
var ErrClosed = errors.New("hopmla: used after Close")

// Error is a failed call, for errors.As. A failed call has changed nothing.
type Error struct {
	Status     Status
	Message    string // names the argument and what is wrong with it
	Value      int64  // a number that belongs to the status (pages missing, index of the bad element), else 0
	NativeCode int32  // the driver's code for the driver statuses, errno for ErrIO, else 0
}

func (e *Error) Error() string {
	text := "hopmla: " + e.Message + " (" + e.Status.String() + ")"
	if e.NativeCode != 0 && e.Status == ErrIO {
		text += fmt.Sprintf(", errno %d", e.NativeCode)
	} else if e.NativeCode != 0 {
		text += fmt.Sprintf(", driver code %d", e.NativeCode)
	}
	return text
}

// Unwrap gives the status to errors.Is.
func (e *Error) Unwrap() error { return e.Status }

// Is knows the error's group.
func (e *Error) Is(target error) bool {
	group, ok := target.(Group)
	return ok && group == e.Status.Group()
}

// String is the status's name, for example OUT_OF_PAGES.
func (s Status) String() string { return C.GoString(C.hopmla_status_name(C.hopmla_status(s))) }

// Error is one sentence on what it means and what to do.
func (s Status) Error() string {
	return "hopmla: " + C.GoString(C.hopmla_status_text(C.hopmla_status(s)))
}

// Group is what can be done about it.
func (s Status) Group() Group {
	if group := Group(-s / 100); group >= GroupArgument && group <= GroupIO {
		return group
	}
	return GroupInternal
}

func (g Group) Error() string {
	switch g {
	case GroupArgument:
		return "hopmla: the call is wrong"
	case GroupOrder:
		return "hopmla: the call comes at the wrong time"
	case GroupCapacity:
		return "hopmla: there is not enough of something"
	case GroupBusy:
		return "hopmla: earlier work has not finished"
	case GroupUnavailable:
		return "hopmla: this machine or build cannot do it"
	case GroupDriver:
		return "hopmla: the driver failed"
	case GroupLost:
		return "hopmla: the CUDA context is lost"
	case GroupIO:
		return "hopmla: something outside the library failed"
	}
	return "hopmla: a defect of the library"
}

// failf makes an error that this package finds itself.
func failf(status Status, format string, arguments ...any) error {
	return &Error{Status: status, Message: fmt.Sprintf(format, arguments...)}
}
