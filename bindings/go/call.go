// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"math"
	"runtime"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"unsafe"
)

// scratch is what a call needs in memory for its duration. Kept, because whatever C gets the address of lives on the heap.
type scratch struct {
	err    C.hopmla_error
	append C.hopmla_append_args
	decode C.hopmla_decode_args
	gather C.hopmla_gather_args
}

func makeScratch() *scratch {
	s := new(scratch)
	s.err.struct_size = C.sizeof_hopmla_error
	s.append.struct_size = C.sizeof_hopmla_append_args
	s.decode.struct_size = C.sizeof_hopmla_decode_args
	s.gather.struct_size = C.sizeof_hopmla_gather_args
	return s
}

var scratches = sync.Pool{New: func() any { return makeScratch() }}

func newScratch() *scratch { return scratches.Get().(*scratch) }

// failure turns a status into an error.
func (s *scratch) failure(status C.hopmla_status) error {
	if status == C.HOPMLA_OK {
		return nil
	}
	return &Error{
		Status:     Status(status),
		Message:    C.GoString(&s.err.message[0]),
		Value:      int64(s.err.value),
		NativeCode: int32(s.err.native_code),
	}
}

// done is failure, and gives the scratch back.
func (s *scratch) done(status C.hopmla_status) error {
	err := s.failure(status)
	scratches.Put(s)
	return err
}

// handle is an object of the library behind a lock, so that Close waits for calls under way and later calls find it closed.
type handle struct {
	lock sync.RWMutex
	p    unsafe.Pointer
}

// use returns the object for a call; unlock h.lock for reading afterwards.
func (h *handle) use() (unsafe.Pointer, error) {
	h.lock.RLock()
	if h.p == nil {
		h.lock.RUnlock()
		return nil, ErrClosed
	}
	return h.p, nil
}

// useAlone is the same for objects that one thread may use at a time; unlock h.lock afterwards.
func (h *handle) useAlone() (unsafe.Pointer, error) {
	h.lock.Lock()
	if h.p == nil {
		h.lock.Unlock()
		return nil, ErrClosed
	}
	return h.p, nil
}

// take empties the handle; nil when it was empty.
func (h *handle) take() unsafe.Pointer {
	h.lock.Lock()
	defer h.lock.Unlock()
	p := h.p
	h.p = nil
	return p
}

// core is the C context with all that was made from it in Go counted: streams and buffers are to be destroyed before it,
// and its log function may be called until it has gone.
type core struct {
	p       *C.hopmla_context
	backend Backend
	log     cgo.Handle // 0: none
	users   int64
}

func (c *core) retain() *core {
	atomic.AddInt64(&c.users, 1)
	return c
}

func (c *core) release() {
	if atomic.AddInt64(&c.users, -1) == 0 {
		C.hopmla_context_destroy(c.p)
		if c.log != 0 {
			c.log.Delete()
		}
	}
}

// closer is what every object's Close does, once: empty the handle, destroy the object, let go of the context.
func (h *handle) closer(object any, c *core, destroy func(unsafe.Pointer)) error {
	if p := h.take(); p != nil {
		runtime.SetFinalizer(object, nil)
		destroy(p)
		c.release()
	}
	return nil
}

// count is a length as the C interface has it.
func count(n int) (C.uint32_t, error) {
	if uint64(n) > math.MaxUint32 {
		return 0, failf(ErrOverflow, "the batch has %d rows", n)
	}
	return C.uint32_t(n), nil
}

func expectLen(name string, have, want int, why string) error {
	if have != want {
		return failf(ErrArgument, "%s has %d elements, must have %d: %s", name, have, want, why)
	}
	return nil
}

// The addresses of slices; an empty one may have none, which the library does not follow.

var nothing uint64

func bits(s []uint16) unsafe.Pointer {
	if len(s) == 0 {
		return unsafe.Pointer(&nothing)
	}
	return unsafe.Pointer(&s[0])
}

func floats(s []float32) unsafe.Pointer {
	if len(s) == 0 {
		return unsafe.Pointer(&nothing)
	}
	return unsafe.Pointer(&s[0])
}

func numbers(s []uint32) *C.uint32_t {
	if len(s) == 0 {
		return (*C.uint32_t)(unsafe.Pointer(&nothing))
	}
	return (*C.uint32_t)(unsafe.Pointer(&s[0]))
}

func ids(s []Seq) *C.hopmla_seq {
	if len(s) == 0 {
		return (*C.hopmla_seq)(unsafe.Pointer(&nothing))
	}
	return (*C.hopmla_seq)(unsafe.Pointer(&s[0]))
}
