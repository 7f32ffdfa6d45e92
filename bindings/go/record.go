// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import "time"

// CallKind is what a record or a total is about.
type CallKind int32

const (
	CallAppend CallKind = C.HOPMLA_CALL_APPEND
	CallDecode CallKind = C.HOPMLA_CALL_DECODE // of a plan or of raw pages
	CallGather CallKind = C.HOPMLA_CALL_GATHER
	CallUpdate CallKind = C.HOPMLA_CALL_UPDATE // the start of a step, or the preparation of raw pages
	CallLaunch CallKind = C.HOPMLA_CALL_LAUNCH // of a graph that holds appends and decodes
)

// CallKinds are all of them.
var CallKinds = [...]CallKind{CallAppend, CallDecode, CallGather, CallUpdate, CallLaunch}

// String is the kind's name, as exports have it.
func (k CallKind) String() string {
	switch k {
	case CallAppend:
		return "append"
	case CallDecode:
		return "decode"
	case CallGather:
		return "gather"
	case CallUpdate:
		return "update"
	case CallLaunch:
		return "launch"
	}
	return "unknown"
}

// FigureSource is where a figure comes from.
type FigureSource int32

const (
	SourceNone     FigureSource = C.HOPMLA_SOURCE_NONE
	SourceAnalytic FigureSource = C.HOPMLA_SOURCE_ANALYTIC // computed from shapes and lengths
	SourceHost     FigureSource = C.HOPMLA_SOURCE_HOST     // the time of the call itself, on the CPU backend
	SourceEvent    FigureSource = C.HOPMLA_SOURCE_EVENT    // a pair of CUDA events
	SourceActivity FigureSource = C.HOPMLA_SOURCE_ACTIVITY // CUPTI's kernel times
	SourceCounter  FigureSource = C.HOPMLA_SOURCE_COUNTER  // CUPTI's hardware counters
)

// Valid says which figures of a record hold; the others are 0.
type Valid uint32

const (
	ValidWork   Valid = C.HOPMLA_VALID_WORK   // KVTokens, FLOPs, Bytes, UniqueBytes, Intensity
	ValidTime   Valid = C.HOPMLA_VALID_TIME   // DeviceBegin, DeviceTime; with ValidWork also the rates
	ValidBound  Valid = C.HOPMLA_VALID_BOUND  // Bound; with ValidTime also Fraction
	ValidDRAM   Valid = C.HOPMLA_VALID_DRAM   // DRAMReadBytes, DRAMWriteBytes, L2Bytes, ElapsedCycles
	ValidTensor Valid = C.HOPMLA_VALID_TENSOR // TensorFLOPs, ActiveCycles, TensorCycles
	ValidCustom Valid = C.HOPMLA_VALID_CUSTOM // Custom
)

// Record is one call, or one launch of a graph with the sums of the calls in it. FLOPs are 2 × 1088 for each query row (token
// and head) and visible token. Bytes of a decode are each batch row's cached tokens once, q, out and lse.
type Record struct {
	Kind       CallKind
	ID         uint64 // 1, 2, … in the order of the calls; a gap was dropped
	Plan       uint64 // number of the plan in the process, from 1; 0: raw
	Step       uint64 // of the plan, from 1
	Calls      uint32 // 1, or those in the graph
	Layer      uint32
	Batch      uint32
	Rows       uint32 // query tokens (decode, launch), tokens (append, gather), batch rows (update)
	Heads      uint32
	Graph      bool // a launch of a graph
	Raw        bool // without a pool
	Valid      Valid
	TimeSource FigureSource

	KVTokens    uint64
	FLOPs       uint64
	Bytes       uint64
	UniqueBytes uint64 // with cached tokens that several batch rows share counted once

	HostBegin   time.Duration // CLOCK_MONOTONIC when the call came
	HostTime    time.Duration // that the call took
	DeviceBegin time.Duration // on the same clock
	DeviceTime  time.Duration

	Intensity      float64 // FLOPs / bytes
	BytesPerSecond float64
	FLOPsPerSecond float64
	Bound          time.Duration // what it takes at least at the ceilings
	Fraction       float64       // bound / device time

	DRAMReadBytes  uint64
	DRAMWriteBytes uint64
	L2Bytes        uint64
	ElapsedCycles  uint64
	TensorFLOPs    uint64
	ActiveCycles   float64
	TensorCycles   float64
	Custom         [C.HOPMLA_CUSTOM_METRICS]float64 // the metrics that were asked for by name, in their order

	raw C.hopmla_record // for exports
}

func record(raw *C.hopmla_record) Record {
	r := Record{
		Kind: CallKind(raw.kind), ID: uint64(raw.id), Plan: uint64(raw.plan), Step: uint64(raw.step), Calls: uint32(raw.calls),
		Layer: uint32(raw.layer), Batch: uint32(raw.batch), Rows: uint32(raw.rows), Heads: uint32(raw.heads),
		Graph: raw.flags&C.HOPMLA_RECORD_GRAPH != 0, Raw: raw.flags&C.HOPMLA_RECORD_RAW != 0,
		Valid: Valid(raw.valid), TimeSource: FigureSource(raw.time_source),
		HostBegin: time.Duration(raw.host_begin_ns), HostTime: time.Duration(raw.host_ns), raw: *raw,
	}
	if r.Valid&ValidWork != 0 {
		r.KVTokens, r.FLOPs, r.Bytes = uint64(raw.kv_tokens), uint64(raw.flops), uint64(raw.bytes)
		r.UniqueBytes, r.Intensity = uint64(raw.unique_bytes), float64(raw.intensity)
	}
	if r.Valid&ValidTime != 0 {
		r.DeviceBegin, r.DeviceTime = time.Duration(raw.device_begin_ns), time.Duration(raw.device_ns)
		if r.Valid&ValidWork != 0 {
			r.BytesPerSecond, r.FLOPsPerSecond = float64(raw.bytes_per_second), float64(raw.flops_per_second)
		}
	}
	if r.Valid&ValidBound != 0 {
		r.Bound = time.Duration(raw.bound_ns)
		if r.Valid&ValidTime != 0 {
			r.Fraction = float64(raw.fraction)
		}
	}
	if r.Valid&ValidDRAM != 0 {
		r.DRAMReadBytes, r.DRAMWriteBytes = uint64(raw.dram_read_bytes), uint64(raw.dram_write_bytes)
		r.L2Bytes, r.ElapsedCycles = uint64(raw.l2_bytes), uint64(raw.elapsed_cycles)
	}
	if r.Valid&ValidTensor != 0 {
		r.TensorFLOPs = uint64(raw.tensor_flops)
		r.ActiveCycles, r.TensorCycles = float64(raw.active_cycles), float64(raw.tensor_cycles)
	}
	if r.Valid&ValidCustom != 0 {
		for i := range r.Custom {
			r.Custom[i] = float64(raw.custom[i])
		}
	}
	return r
}

// Totals are sums over finished records since a profiler's creation, read or not.
type Totals struct {
	Kind    CallKind
	Plan    uint64 // number of the plan; 0: all plans and raw calls
	Records uint64
	Dropped uint64 // records of the kind that are in none of the others; 0 for one plan: not known
	Calls   uint64
	Timed   uint64 // records with a device time: what the times below are of

	FLOPs      uint64 // of all records whose work is known
	Bytes      uint64
	TimedFLOPs uint64 // of these, those with a device time
	TimedBytes uint64

	Time, TimeMin, TimeMax    time.Duration // sum, shortest, longest
	TimeP50, TimeP90, TimeP99 time.Duration // within 5 %
	Bound                     time.Duration // sum over timed records whose bound is known
	BoundTime                 time.Duration // their times: Bound / BoundTime is the mean fraction

	Counted        uint64 // records with DRAM counters whose work is known
	CountedBytes   uint64 // their analytic bytes
	DRAMReadBytes  uint64
	DRAMWriteBytes uint64
	L2Bytes        uint64
	CountedFLOPs   uint64 // analytic FLOPs of records with tensor counters
	TensorFLOPs    uint64

	UniqueBytes      uint64        // as Bytes, cached tokens that several rows share counted once
	TimedUniqueBytes uint64        // of these, those with a device time: what bounds are computed from
	TimedWork        time.Duration // device times of records whose work is known: TimedBytes / TimedWork is a rate
}

func totals(raw *C.hopmla_totals) Totals {
	return Totals{
		Kind: CallKind(raw.kind), Plan: uint64(raw.plan), Records: uint64(raw.records), Dropped: uint64(raw.dropped),
		Calls: uint64(raw.calls), Timed: uint64(raw.timed), FLOPs: uint64(raw.flops), Bytes: uint64(raw.bytes),
		TimedFLOPs: uint64(raw.timed_flops), TimedBytes: uint64(raw.timed_bytes), Time: time.Duration(raw.time_ns),
		TimeMin: time.Duration(raw.time_min_ns), TimeMax: time.Duration(raw.time_max_ns),
		TimeP50: time.Duration(raw.time_p50_ns), TimeP90: time.Duration(raw.time_p90_ns),
		TimeP99: time.Duration(raw.time_p99_ns), Bound: time.Duration(raw.bound_ns),
		BoundTime: time.Duration(raw.bound_time_ns), Counted: uint64(raw.counted), CountedBytes: uint64(raw.counted_bytes),
		DRAMReadBytes: uint64(raw.dram_read_bytes), DRAMWriteBytes: uint64(raw.dram_write_bytes),
		L2Bytes: uint64(raw.l2_bytes), CountedFLOPs: uint64(raw.counted_flops), TensorFLOPs: uint64(raw.tensor_flops),
		UniqueBytes: uint64(raw.unique_bytes), TimedUniqueBytes: uint64(raw.timed_unique_bytes),
		TimedWork: time.Duration(raw.timed_work_ns),
	}
}
