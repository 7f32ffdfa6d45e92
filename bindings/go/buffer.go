// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Buffer is device memory (host memory on the CPU backend), aligned to 1024 bytes, as memory for pools and plans is.
type Buffer struct {
	handle
	core  *core
	bytes int
}

// NewBuffer allocates device memory and clears it. Synchronises; not during a capture.
func (c *Context) NewBuffer(bytes int) (*Buffer, error) {
	if bytes < 1 {
		return nil, failf(ErrArgument, "bytes is %d, must be at least 1", bytes)
	}
	p, err := c.use()
	if err != nil {
		return nil, err
	}
	defer c.lock.RUnlock()
	context := (*C.hopmla_context)(p)
	var memory unsafe.Pointer
	s := newScratch()
	if err := s.done(C.hopmla_memory_alloc(context, C.uint64_t(bytes), C.HOPMLA_MEMORY_WORKSPACE, &memory, &s.err)); err != nil {
		return nil, err
	}
	buffer := &Buffer{handle: handle{p: memory}, core: c.core.retain(), bytes: bytes}
	runtime.SetFinalizer(buffer, (*Buffer).Close)
	s = newScratch()
	err = s.done(C.hopmla_memory_fill(context, memory, 0, C.uint64_t(bytes), nil, &s.err))
	if err == nil {
		err = synchronize(c.core, nil)
	}
	if err != nil {
		buffer.Close()
		return nil, err
	}
	return buffer, nil
}

// Close frees the memory. Work that uses it must have finished.
func (b *Buffer) Close() error {
	return b.closer(b, b.core, func(p unsafe.Pointer) {
		C.hopmla_memory_free(b.core.p, p, C.uint64_t(b.bytes), C.HOPMLA_MEMORY_WORKSPACE)
	})
}

// Len is the buffer's size in bytes.
func (b *Buffer) Len() int { return b.bytes }

// Ptr is its address; 0 when it is closed. Keep the buffer, not only its address, until the work with it has finished.
func (b *Buffer) Ptr() DevicePtr {
	p, err := b.use()
	if err != nil {
		return 0
	}
	defer b.lock.RUnlock()
	return DevicePtr(uintptr(p))
}

// Number is what buffers are copied from and to.
type Number interface {
	~uint8 | ~int8 | ~uint16 | ~int16 | ~uint32 | ~int32 | ~uint64 | ~int64 | ~float32 | ~float64
}

// Upload copies data to the bytes of a buffer from offset on, after earlier work of the stream. Synchronises the stream.
func Upload[T Number](b *Buffer, offset int, data []T, s *Stream) error {
	if len(data) == 0 {
		return nil
	}
	return b.copy(offset, unsafe.Pointer(&data[0]), len(data)*int(unsafe.Sizeof(data[0])), s, true)
}

// Download copies the bytes of a buffer from offset on to data, after earlier work of the stream. Synchronises the stream.
func Download[T Number](b *Buffer, offset int, data []T, s *Stream) error {
	if len(data) == 0 {
		return nil
	}
	return b.copy(offset, unsafe.Pointer(&data[0]), len(data)*int(unsafe.Sizeof(data[0])), s, false)
}

func (b *Buffer) copy(offset int, host unsafe.Pointer, bytes int, s *Stream, up bool) error {
	if b == nil {
		return failf(ErrNull, "the buffer is nil")
	}
	if offset < 0 || bytes < 0 || offset > b.bytes || bytes > b.bytes-offset {
		return failf(ErrRange, "%d bytes from %d on are not within %d", bytes, offset, b.bytes)
	}
	p, err := b.use()
	if err != nil {
		return err
	}
	defer b.lock.RUnlock()
	// Refuses a stream that is being captured, which would keep an address of Go's.
	if err := synchronize(b.core, s); err != nil {
		return err
	}
	device := C.uintptr_t(uintptr(p) + uintptr(offset))
	err = onStream(b.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		if up {
			return C.go_upload(b.core.p, device, host, C.uint64_t(bytes), stream, err)
		}
		return C.go_download(b.core.p, host, device, C.uint64_t(bytes), stream, err)
	})
	if err != nil {
		return err
	}
	return synchronize(b.core, s)
}
