// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"runtime"
	"strings"
	"unsafe"
)

// Counters are a set of hardware counters; the counted call is waited for.
type Counters int32

const (
	CountersNone   Counters = C.HOPMLA_COUNTERS_NONE
	CountersLight  Counters = C.HOPMLA_COUNTERS_LIGHT  // DRAM bytes, L2 bytes, elapsed cycles
	CountersFull   Counters = C.HOPMLA_COUNTERS_FULL   // and tensor operations, active cycles, tensor cycles
	CountersCustom Counters = C.HOPMLA_COUNTERS_CUSTOM // those of ProfilerOptions.Metrics
)

// ProfilerOptions say what a profiler measures. The zero value records shapes, bytes and FLOPs, and on CPU the host's time.
type ProfilerOptions struct {
	Events       bool // two CUDA events around each call. Ignored on CPU
	Activity     bool // CUPTI's kernel times; where they are given, they take the place of events
	Counters     Counters
	SamplePeriod int      // counters are read for every n-th call of a kind; 0: for each
	Capacity     int      // records that may be under way or wait to be read, at most 2^24; 0: 65,536
	TotalsOnly   bool     // finished records go to the totals and are not kept
	Metrics      []string // CountersCustom: CUPTI's names, at most 8
	CUPTIPath    string   // a libcupti.so to open before all others
}

// Profiler records what calls cost: bytes and FLOPs by shape, device time and hardware counters where the machine permits,
// totals of them. Calls never fail, wait or allocate because of it. All of its methods may be called by any goroutine at
// any time. One of a context can be started at a time.
type Profiler struct {
	handle
	core *core
}

// NewProfiler creates a profiler, stopped. What the machine cannot give is left out: Describe says what and why. Not during
// a capture.
func (c *Context) NewProfiler(options ProfilerOptions) (*Profiler, error) {
	p, err := c.use()
	if err != nil {
		return nil, err
	}
	defer c.lock.RUnlock()
	metrics, freeMetrics, err := cString("Metrics", strings.Join(options.Metrics, ","))
	if err != nil {
		return nil, err
	}
	defer freeMetrics()
	path, freePath, err := cString("CUPTIPath", options.CUPTIPath)
	if err != nil {
		return nil, err
	}
	defer freePath()
	raw := C.hopmla_profiler_options{
		struct_size:   C.sizeof_hopmla_profiler_options,
		counters:      C.int32_t(options.Counters),
		sample_period: clamp32(options.SamplePeriod),
		capacity:      clamp32(options.Capacity),
		metrics:       metrics,
		cupti_path:    path,
	}
	if options.Events {
		raw.clocks |= C.HOPMLA_CLOCK_EVENTS
	}
	if options.Activity {
		raw.clocks |= C.HOPMLA_CLOCK_ACTIVITY
	}
	if options.TotalsOnly {
		raw.flags |= C.HOPMLA_PROFILER_TOTALS_ONLY
	}
	var made *C.hopmla_profiler
	s := newScratch()
	if err := s.done(C.hopmla_profiler_create((*C.hopmla_context)(p), &raw, &made, &s.err)); err != nil {
		return nil, err
	}
	profiler := &Profiler{handle: handle{p: unsafe.Pointer(made)}, core: c.core.retain()}
	runtime.SetFinalizer(profiler, (*Profiler).Close)
	return profiler, nil
}

// Close stops and destroys the profiler; records that were not read are lost.
func (p *Profiler) Close() error {
	return p.closer(p, p.core, func(h unsafe.Pointer) { C.hopmla_profiler_destroy((*C.hopmla_profiler)(h)) })
}

func (p *Profiler) call(f func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status) error {
	h, err := p.use()
	if err != nil {
		return err
	}
	defer p.lock.RUnlock()
	s := newScratch()
	return s.done(f((*C.hopmla_profiler)(h), &s.err))
}

// Start starts recording the context's calls. ErrState when this or another profiler of the context is started, ErrBusy when
// another one of the process holds the hardware counters.
func (p *Profiler) Start() error {
	return p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_start(profiler, err)
	})
}

// Stop stops recording; what was recorded can still be read. Stopping twice is allowed.
func (p *Profiler) Stop() error {
	return p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_stop(profiler, err)
	})
}

// Finish waits until every record of a call that has returned can be read. Synchronises the context; not during a capture.
func (p *Profiler) Finish() error {
	return p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_finish(profiler, err)
	})
}

// SetCeilings sets what bounds are computed from, of records that are summed or read from now on.
func (p *Profiler) SetCeilings(ceilings Ceilings) error {
	raw := ceilings.raw()
	return p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_set_ceilings(profiler, raw, err)
	})
}

// ClearCeilings forgets them: bounds of records that are summed or read from now on are not valid.
func (p *Profiler) ClearCeilings() error {
	return p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_set_ceilings(profiler, nil, err)
	})
}

// ProfilerInfo is what a profiler measures here.
type ProfilerInfo struct {
	Started         bool
	TimeSource      FigureSource // of device times
	Counters        Counters     // that are read
	NVTX            bool         // a tool listens to ranges
	Capacity        int
	Recorded        uint64 // records made since creation, dropped ones too
	Dropped         uint64 // of these, those that found the ring full
	Waiting         uint64 // made and not yet read
	Untimed         uint64 // finished without the device time that TimeSource promises
	ActivityMissing string // why there are no activity times though asked for, and how to get them
	CountersMissing string // the same for counters
}

// Describe says what is measured, and what is missing and why.
func (p *Profiler) Describe() (ProfilerInfo, error) {
	raw := C.hopmla_profiler_info{struct_size: C.sizeof_hopmla_profiler_info}
	err := p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_describe(profiler, &raw, err)
	})
	return ProfilerInfo{
		Started: raw.started != 0, TimeSource: FigureSource(raw.time_source), Counters: Counters(raw.counters),
		NVTX: raw.nvtx != 0, Capacity: int(raw.capacity), Recorded: uint64(raw.recorded), Dropped: uint64(raw.dropped),
		Waiting: uint64(raw.waiting), Untimed: uint64(raw.untimed),
		ActivityMissing: C.GoString(&raw.activity_missing[0]), CountersMissing: C.GoString(&raw.counters_missing[0]),
	}, err
}

// Read takes up to most finished records out of the ring, in the order of their calls. Never waits.
func (p *Profiler) Read(most int) ([]Record, error) {
	info, err := p.Describe()
	if err != nil {
		return nil, err
	}
	if waiting := int(info.Waiting); most > waiting {
		most = waiting
	}
	if most > info.Capacity {
		most = info.Capacity
	}
	if most <= 0 {
		return nil, nil
	}
	raw, n := make([]C.hopmla_record, most), C.uint32_t(0)
	err = p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_read(profiler, &raw[0], C.sizeof_hopmla_record, C.uint32_t(most), &n, err)
	})
	records := make([]Record, n)
	for i := range records {
		records[i] = record(&raw[i])
	}
	return records, err
}

// Totals are those of a kind, of one plan or, with nil, of all. Never waits. ErrTooMany when 64 other plans were seen before
// this one: its records are in the totals of all only.
func (p *Profiler) Totals(kind CallKind, plan *Plan) (Totals, error) {
	raw := C.hopmla_totals{struct_size: C.sizeof_hopmla_totals}
	var of *C.hopmla_plan
	if plan != nil {
		h, err := plan.use()
		if err != nil {
			return Totals{}, err
		}
		defer plan.lock.RUnlock()
		of = (*C.hopmla_plan)(h)
	}
	err := p.call(func(profiler *C.hopmla_profiler, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_profiler_get_totals(profiler, C.int32_t(kind), of, &raw, err)
	})
	return totals(&raw), err
}

// LaunchNote says what a graph holds: replays call nothing that could be recorded.
type LaunchNote struct {
	Appends     int  // with the plan, in the graph
	Decodes     int  // likewise
	FromFloat32 bool // the appends' sources are float32, not the pool's own
}

// NoteLaunch tells a profiler and NVTX that what launch does is one launch of a graph with this plan's calls, on the stream of
// its open step. Errors are those of launch, and ErrArgument for a note that counts no call. A launch that returns an error
// or panics leaves no record. The goroutine stays on its thread meanwhile.
func (p *Plan) NoteLaunch(note LaunchNote, launch func() error) (err error) {
	raw := C.hopmla_launch_note{struct_size: C.sizeof_hopmla_launch_note, appends: clamp32(note.Appends),
		decodes: clamp32(note.Decodes)}
	if note.FromFloat32 {
		raw.dtype = C.HOPMLA_DTYPE_FP32
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begun := p.onStep(func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status {
		return C.hopmla_plan_launch_begin(plan, &raw, stream, &s.err)
	})
	if begun != nil {
		return begun
	}
	launched := C.int32_t(0) // as it stays where launch panics
	defer func() {
		ended := p.onStep(func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status {
			return C.hopmla_plan_launch_end(plan, launched, stream, &s.err)
		})
		if err == nil {
			err = ended
		}
	}()
	if err = launch(); err == nil {
		launched = 1
	}
	return err
}

// onStep makes one call on the stream of the open step.
func (p *Plan) onStep(call func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status) error {
	h, err := p.useAlone()
	if err != nil {
		return err
	}
	defer p.lock.Unlock()
	if !p.open {
		return failf(ErrState, "no step is open: Update begins one")
	}
	stream, err := p.stream.use(p.core)
	if err != nil {
		return err
	}
	defer p.stream.free()
	return p.own.failure(call((*C.hopmla_plan)(h), stream, p.own))
}
