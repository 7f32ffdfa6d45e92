// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// DevicePtr is an address in device memory (host memory on the CPU backend); 0 is none. It keeps nothing alive.
type DevicePtr uintptr

// Stream is an order of work. A nil *Stream is the default stream: of the context on CUDA, the calling thread on CPU. On CPU
// everything has finished when a call returns; a stream there exists so that capture works the same. Use it from one
// goroutine at a time.
type Stream struct {
	handle
	core      *core
	external  bool
	capturing int32 // 1 between BeginCapture and EndCapture
}

// NewStream creates a stream that does not wait for the default stream.
func (c *Context) NewStream() (*Stream, error) {
	p, err := c.use()
	if err != nil {
		return nil, err
	}
	defer c.lock.RUnlock()
	var raw C.hopmla_stream
	s := newScratch()
	if err := s.done(C.hopmla_stream_create((*C.hopmla_context)(p), &raw, &s.err)); err != nil {
		return nil, err
	}
	stream := &Stream{handle: handle{p: unsafe.Pointer(raw)}, core: c.core.retain()}
	runtime.SetFinalizer(stream, (*Stream).Close)
	return stream, nil
}

// ExternalStream wraps a CUstream of the caller's, of the context's device context. Close does not destroy it.
func (c *Context) ExternalStream(stream uintptr) (*Stream, error) {
	if stream == 0 {
		return nil, failf(ErrNull, "stream is 0: the default stream is a nil *Stream")
	}
	if _, err := c.use(); err != nil {
		return nil, err
	}
	defer c.lock.RUnlock()
	return &Stream{handle: handle{p: unsafe.Pointer(C.go_stream(C.uintptr_t(stream)))}, core: c.core.retain(),
		external: true}, nil
}

// Close destroys the stream; work in it still finishes.
func (s *Stream) Close() error {
	return s.closer(s, s.core, func(p unsafe.Pointer) {
		if !s.external {
			C.hopmla_stream_destroy(s.core.p, C.hopmla_stream(p))
		}
	})
}

// use checks that the stream goes with a context, and returns its handle; call free afterwards.
func (s *Stream) use(c *core) (C.hopmla_stream, error) {
	if s == nil {
		return nil, nil
	}
	if s.core != c {
		return nil, failf(ErrMismatch, "the stream belongs to another context")
	}
	p, err := s.handle.use()
	return C.hopmla_stream(p), err
}

func (s *Stream) free() {
	if s != nil {
		s.lock.RUnlock()
	}
}

// onStream makes one call of the library with the stream of a context.
func onStream(c *core, s *Stream, call func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status) error {
	stream, err := s.use(c)
	if err != nil {
		return err
	}
	defer s.free()
	scratch := newScratch()
	return scratch.done(call(stream, &scratch.err))
}

// Synchronize waits until the stream's work has finished, and reports what failed in it.
func (s *Stream) Synchronize() error {
	if s == nil {
		return failf(ErrNull, "the default stream is a context's: use Context.Synchronize")
	}
	return synchronize(s.core, s)
}

// Synchronize waits for the default stream.
func (c *Context) Synchronize() error {
	if _, err := c.use(); err != nil {
		return err
	}
	defer c.lock.RUnlock()
	return synchronize(c.core, nil)
}

func synchronize(c *core, s *Stream) error {
	return onStream(c, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_stream_synchronize(c.p, stream, err)
	})
}

// WaitEvent makes later work of the stream wait for an event.
func (s *Stream) WaitEvent(event *Event) error {
	if event == nil {
		return failf(ErrNull, "event is nil")
	}
	e, err := event.use()
	if err != nil {
		return err
	}
	defer event.lock.RUnlock()
	if s == nil || s.core != event.core {
		return failf(ErrMismatch, "the stream is of no or another context")
	}
	return onStream(s.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_stream_wait_event(s.core.p, stream, C.hopmla_event(e), err)
	})
}

// BeginCapture starts capture: calls on the stream are recorded instead of run, until EndCapture.
func (s *Stream) BeginCapture() error {
	if s == nil {
		return failf(ErrArgument, "the default stream cannot be captured")
	}
	err := onStream(s.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_graph_begin(s.core.p, stream, err)
	})
	if err == nil {
		atomic.StoreInt32(&s.capturing, 1)
	}
	return err
}

func (s *Stream) isCapturing() bool { return s != nil && atomic.LoadInt32(&s.capturing) != 0 }

// EndCapture ends capture and makes a graph of what was recorded.
func (s *Stream) EndCapture() (*Graph, error) {
	if s == nil {
		return nil, failf(ErrState, "the default stream cannot be captured")
	}
	var raw C.hopmla_graph
	err := onStream(s.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_graph_end(s.core.p, stream, &raw, err)
	})
	if !errors.Is(err, ErrClosed) {
		atomic.StoreInt32(&s.capturing, 0) // a broken capture has ended too
	}
	if err != nil {
		return nil, err
	}
	graph := &Graph{handle: handle{p: unsafe.Pointer(raw)}, core: s.core.retain()}
	runtime.SetFinalizer(graph, (*Graph).Close)
	return graph, nil
}

// Graph is recorded work. It holds bare addresses: at every launch all plans and memory recorded in it must be there, and
// each of its plans must have a step open on the stream.
type Graph struct {
	handle
	core *core
}

// Launch enqueues one run.
func (g *Graph) Launch(s *Stream) error {
	p, err := g.useAlone()
	if err != nil {
		return err
	}
	defer g.lock.Unlock()
	return onStream(g.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_graph_launch(g.core.p, C.hopmla_graph(p), stream, err)
	})
}

// Close destroys the graph, whose launches must have finished.
func (g *Graph) Close() error {
	return g.closer(g, g.core, func(p unsafe.Pointer) { C.hopmla_graph_destroy(g.core.p, C.hopmla_graph(p)) })
}

// Event is a mark in a stream, with a time stamp.
type Event struct {
	handle
	core *core
}

// NewEvent creates an event that has not happened.
func (c *Context) NewEvent() (*Event, error) {
	p, err := c.use()
	if err != nil {
		return nil, err
	}
	defer c.lock.RUnlock()
	var raw C.hopmla_event
	s := newScratch()
	if err := s.done(C.hopmla_event_create((*C.hopmla_context)(p), &raw, &s.err)); err != nil {
		return nil, err
	}
	event := &Event{handle: handle{p: unsafe.Pointer(raw)}, core: c.core.retain()}
	runtime.SetFinalizer(event, (*Event).Close)
	return event, nil
}

// Close destroys the event.
func (e *Event) Close() error {
	return e.closer(e, e.core, func(p unsafe.Pointer) { C.hopmla_event_destroy(e.core.p, C.hopmla_event(p)) })
}

// Record enqueues the event. Not while the stream is being captured.
func (e *Event) Record(s *Stream) error {
	p, err := e.use()
	if err != nil {
		return err
	}
	defer e.lock.RUnlock()
	return onStream(e.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_event_record(e.core.p, C.hopmla_event(p), stream, err)
	})
}

// Synchronize waits until the event has happened.
func (e *Event) Synchronize() error {
	p, err := e.use()
	if err != nil {
		return err
	}
	defer e.lock.RUnlock()
	s := newScratch()
	return s.done(C.hopmla_event_synchronize(e.core.p, C.hopmla_event(p), &s.err))
}

// Since is the time from another event, when both have happened; ErrState when one has not.
func (e *Event) Since(begin *Event) (time.Duration, error) {
	if begin == nil {
		return 0, failf(ErrNull, "begin is nil")
	}
	if e.core != begin.core {
		return 0, failf(ErrMismatch, "the event belongs to another context")
	}
	to, err := e.use()
	if err != nil {
		return 0, err
	}
	defer e.lock.RUnlock()
	from, err := begin.use()
	if err != nil {
		return 0, err
	}
	defer begin.lock.RUnlock()
	var microseconds C.double
	s := newScratch()
	err = s.done(C.hopmla_event_elapsed(e.core.p, C.hopmla_event(from), C.hopmla_event(to), &microseconds, &s.err))
	return time.Duration(float64(microseconds) * 1e3), err
}
