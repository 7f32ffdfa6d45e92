// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"context"
	"runtime"
	"time"
	"unsafe"
)

// LSE is the convention of the log-sum-exp output. In all of them an empty row's output is 0.
type LSE int32

const (
	Natural       LSE = C.HOPMLA_LSE_NATURAL        // natural logarithm, -inf for an empty row
	Base2         LSE = C.HOPMLA_LSE_BASE2          // base 2, -inf for an empty row (FlashInfer)
	NaturalPosInf LSE = C.HOPMLA_LSE_NATURAL_POSINF // natural logarithm, +inf for an empty row (FlashMLA)
)

// PlanOptions are a plan's envelope: launches depend on nothing else.
type PlanOptions struct {
	MaxBatch     int // rows of a batch, 1 … 65535
	MaxQTokens   int // query tokens of a row, 1 … 1024; 0: 1. Up to 8 is the fast range
	Heads        int // query heads of this rank, 1 … 256
	MaxKVTokens  int // tokens of a row, those appended in the step counted, 1 … 2^20
	LSE          LSE
	MaxUnits     int // streaming multiprocessors to use at most, 0: all. Ignored on CPU
	StagingDepth int // updates that may be under way at one time, 1 … 64; 0: 4

	// Memory is device memory of the caller's for tables and workspace, 1024-byte aligned, of MemoryBytes, as QueryPlan
	// says; or 0. Never Go memory.
	Memory      DevicePtr
	MemoryBytes uint64
}

func (o PlanOptions) raw() C.hopmla_plan_options {
	raw := C.hopmla_plan_options{
		struct_size:   C.sizeof_hopmla_plan_options,
		max_batch:     clamp32(o.MaxBatch),
		max_q_tokens:  1,
		heads:         clamp32(o.Heads),
		max_kv_tokens: C.uint64_t(o.MaxKVTokens),
		lse:           C.int32_t(o.LSE),
		max_units:     clamp32(o.MaxUnits),
		staging_depth: 4,
		memory_bytes:  C.uint64_t(o.MemoryBytes),
	}
	if o.MaxQTokens != 0 {
		raw.max_q_tokens = clamp32(o.MaxQTokens)
	}
	if o.StagingDepth != 0 {
		raw.staging_depth = clamp32(o.StagingDepth)
	}
	return raw
}

// Plan is what an engine's steps over a pool run through. It keeps its pool's storage alive. One goroutine and one stream
// at a time; calls of several goroutines are made one after the other, which makes them safe and no more. Several plans on
// one pool are independent.
//
//	pool.Reserve(seqs, nNew)                       pages for the step, all or nothing
//	plan.Update(seqs, nAppend, qLens, stream)      tables travel to the device
//	for each layer:
//	    plan.AppendRows(layer, rows)               the new tokens' rows into their pages
//	    plan.Decode(layer, scale, q, out, lse)     attention
//	plan.End(stream)                               a fence: pages stay pinned until it has passed
//	pool.Commit(seqs, nAppend)
type Plan struct {
	handle
	core   *core
	format Format
	heads  int
	stream *Stream // of the last update: kept, so that its handle is not given out again meanwhile
	open   bool
	own    *scratch // of calls that a layer makes
}

// NewPlan creates a plan. Synchronises; not during a capture. A pool holds at most 64 plans.
func (p *Pool) NewPlan(options PlanOptions) (*Plan, error) {
	raw := options.raw()
	var made *C.hopmla_plan
	err := p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.go_plan_create(pool, &raw, C.uintptr_t(options.Memory), &made, err)
	})
	if err != nil {
		return nil, err
	}
	plan := &Plan{handle: handle{p: unsafe.Pointer(made)}, core: p.core.retain(), format: p.format,
		heads: options.Heads, own: makeScratch()}
	runtime.SetFinalizer(plan, (*Plan).Close)
	return plan, nil
}

// QueryPlan says how many bytes of device and of pinned memory a plan would need.
func (p *Pool) QueryPlan(options PlanOptions) (device, pinned uint64, err error) {
	raw := options.raw()
	var d, h C.uint64_t
	err = p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_plan_query(pool, &raw, &d, &h, err)
	})
	return uint64(d), uint64(h), err
}

// Close destroys the plan after waiting for its steps. Graphs that hold its launches must not be launched afterwards.
func (p *Plan) Close() error {
	return p.closer(p, p.core, func(h unsafe.Pointer) { C.hopmla_plan_destroy((*C.hopmla_plan)(h)) })
}

// Update starts a step: seqs[i] appends nAppend[i] reserved tokens and decodes qLens[i] query tokens. Its length in the step
// is committed + nAppend[i]; query token j of qLens[i] sees the first length − (qLens[i] − 1 − j) tokens. Rows of all
// tensors are packed in batch order. Another Update before End belongs to the same step.
//
// The slices are read before it returns. Enqueues one transfer of what has changed, waits for other plans' steps on the
// same pages, and the copies that forks owe; not during a capture. ErrBusy when every staging buffer is in use, when the
// last step ran on another stream and is not past its fence, or when a page is in a step of another plan that was not
// ended.
func (p *Plan) Update(seqs []Seq, nAppend, qLens []uint32, s *Stream) error {
	if err := expectLen("nAppend", len(nAppend), len(seqs), "one for each sequence"); err != nil {
		return err
	}
	if err := expectLen("qLens", len(qLens), len(seqs), "one for each sequence"); err != nil {
		return err
	}
	n, err := count(len(seqs))
	if err != nil {
		return err
	}
	h, err := p.useAlone()
	if err != nil {
		return err
	}
	defer p.lock.Unlock()
	stream, err := s.use(p.core)
	if err != nil {
		return err
	}
	defer s.free()
	scratch := newScratch()
	err = scratch.done(C.hopmla_plan_update((*C.hopmla_plan)(h), ids(seqs), numbers(nAppend), numbers(qLens), n, stream,
		&scratch.err))
	if err == nil {
		p.stream, p.open = s, true
	}
	return err
}

// End ends the step: enqueues its fence. Pages of the step are pinned until the stream has passed it.
func (p *Plan) End(s *Stream) error {
	h, err := p.useAlone()
	if err != nil {
		return err
	}
	defer p.lock.Unlock()
	stream, err := s.use(p.core)
	if err != nil {
		return err
	}
	defer s.free()
	scratch := newScratch()
	err = scratch.done(C.hopmla_plan_end((*C.hopmla_plan)(h), stream, &scratch.err))
	if err == nil {
		p.open = false
	}
	return err
}

// Done says whether every ended step is past its fence. It makes no driver call.
func (p *Plan) Done() (bool, error) {
	h, err := p.use()
	if err != nil {
		return false, err
	}
	defer p.lock.RUnlock()
	var done C.int32_t
	s := newScratch()
	err = s.done(C.hopmla_plan_done((*C.hopmla_plan)(h), &done, &s.err))
	return done != 0, err
}

// Wait returns when every ended step is past its fence, or the context is done.
func (p *Plan) Wait(ctx context.Context) error {
	for pause := time.Microsecond; ; pause *= 2 {
		done, err := p.Done()
		if err != nil || done {
			return err
		}
		if pause > time.Millisecond {
			pause = time.Millisecond
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// withHost makes one call that takes slices: on CPU, where work has finished when the call returns, within a step and on
// its stream. Not while that is captured: a graph must not keep an address of Go's.
func (p *Plan) withHost(call func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status) error {
	h, err := p.useAlone()
	if err != nil {
		return err
	}
	defer p.lock.Unlock()
	if p.core.backend != CPU {
		return failf(ErrMismatch, "slices are for the CPU backend: on CUDA use a Buffer and the Device methods")
	}
	if !p.open {
		return failf(ErrState, "no step is open: Update begins one")
	}
	stream, err := p.stream.use(p.core)
	if err != nil {
		return err
	}
	defer p.stream.free()
	if p.stream.isCapturing() {
		return failf(ErrCapture, "the stream is being captured, and a slice may not be kept for a graph")
	}
	return p.own.failure(call((*C.hopmla_plan)(h), stream, p.own))
}

// Append writes the step's new tokens into one layer of their pages: latent is [tokens, 512], rope [tokens, 64] and rotated
// already, bits of the pool's format, row i for the i-th appended token in batch order. rope is empty where the format
// has no rope part. CPU.
func (p *Plan) Append(layer int, latent, rope []uint16) error {
	return p.appendHost(layer, C.int32_t(0), len(latent), len(rope), bits(latent), bits(rope))
}

// AppendFloat32 is Append from float32, rounded to nearest even. CPU.
func (p *Plan) AppendFloat32(layer int, latent, rope []float32) error {
	return p.appendHost(layer, C.HOPMLA_DTYPE_FP32, len(latent), len(rope), floats(latent), floats(rope))
}

func (p *Plan) appendHost(layer int, dtype C.int32_t, latentLen, ropeLen int, latent, rope unsafe.Pointer) error {
	tokens := latentLen / LatentDim
	if err := expectLen("latent", latentLen, tokens*LatentDim, "whole rows of 512"); err != nil {
		return err
	}
	if err := expectLen("rope", ropeLen, tokens*p.format.RopeDim(), "64 for each latent row, or none"); err != nil {
		return err
	}
	if p.format.RopeDim() == 0 {
		rope = nil
	}
	return p.withHost(func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status {
		s.setAppend(AppendArgs{Layer: layer, Tokens: tokens}, p.dtype(dtype))
		return C.hopmla_append(plan, &s.append, latent, rope, stream, &s.err)
	})
}

// AppendRows is Append from whole rows [tokens, 576]: 512 latent then 64 rope values; without a rope part [tokens, 512].
// CPU.
func (p *Plan) AppendRows(layer int, rows []uint16) error {
	width := p.format.QKDim()
	tokens := len(rows) / width
	if err := expectLen("rows", len(rows), tokens*width, "whole rows of the pool's format"); err != nil {
		return err
	}
	args := AppendArgs{Layer: layer, Tokens: tokens, LatentStride: int64(width)}
	var rope unsafe.Pointer
	if p.format.RopeDim() > 0 {
		args.RopeStride = int64(width)
		rope = bits(rows)
		if tokens > 0 {
			rope = bits(rows[LatentDim:])
		}
	}
	return p.withHost(func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status {
		s.setAppend(args, p.dtype(0))
		return C.hopmla_append(plan, &s.append, bits(rows), rope, stream, &s.err)
	})
}

// Decode is the attention of the step's query rows over one layer: q [rows, heads, 576], without a rope part [rows, heads,
// 512], out [rows, heads, 512], lse [rows, heads] or nil. Rows beyond the step's own are written as output 0 and an empty
// LSE. CPU.
func (p *Plan) Decode(layer int, softmaxScale float32, q, out []uint16, lse []float32) error {
	return p.decodeHost(layer, softmaxScale, q, p.format.QKDim(), nil, out, lse)
}

// DecodeSplit is Decode with q [rows, heads, 512] and its rotated part qRope [rows, heads, 64] apart. CPU.
func (p *Plan) DecodeSplit(layer int, softmaxScale float32, q, qRope, out []uint16, lse []float32) error {
	if qRope == nil {
		return failf(ErrNull, "qRope is nil")
	}
	return p.decodeHost(layer, softmaxScale, q, LatentDim, qRope, out, lse)
}

func (p *Plan) decodeHost(layer int, scale float32, q []uint16, qDim int, qRope, out []uint16, lse []float32) error {
	if p.heads == 0 {
		return ErrClosed // none of NewPlan's
	}
	rows := len(out) / (p.heads * LatentDim)
	if err := expectLen("out", len(out), rows*p.heads*LatentDim, "whole rows of heads × 512"); err != nil {
		return err
	}
	if err := expectLen("q", len(q), rows*p.heads*qDim, "as many rows as out has"); err != nil {
		return err
	}
	var qRopeAt, lseAt unsafe.Pointer
	if qRope != nil {
		if err := expectLen("qRope", len(qRope), rows*p.heads*RopeDim, "as many rows as out has"); err != nil {
			return err
		}
		qRopeAt = bits(qRope)
	}
	if lse != nil {
		if err := expectLen("lse", len(lse), rows*p.heads, "as many rows as out has"); err != nil {
			return err
		}
		lseAt = floats(lse)
	}
	return p.withHost(func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status {
		s.setDecode(DecodeArgs{Layer: layer, Rows: rows, SoftmaxScale: scale})
		return C.hopmla_decode(plan, &s.decode, bits(q), qRopeAt, bits(out), lseAt, stream, &s.err)
	})
}

// Gather copies cached rows of one batch row, from token first on, to out [tokens, 576], or [tokens, 512] without a rope
// part. CPU.
func (p *Plan) Gather(layer, row int, first uint64, out []uint16) error {
	width := p.format.QKDim()
	tokens := len(out) / width
	if err := expectLen("out", len(out), tokens*width, "whole rows of the pool's format"); err != nil {
		return err
	}
	return p.withHost(func(plan *C.hopmla_plan, stream C.hopmla_stream, s *scratch) C.hopmla_status {
		s.setGather(GatherArgs{Layer: layer, Row: row, First: first, Count: uint64(tokens)})
		return C.hopmla_gather(plan, &s.gather, bits(out), stream, &s.err)
	})
}

// dtype is the element type of a source; 0 is the pool's own.
func (p *Plan) dtype(given C.int32_t) C.int32_t {
	if given != 0 {
		return given
	}
	if p.format == FP16 || p.format == FP16NoPE {
		return C.HOPMLA_DTYPE_FP16
	}
	return C.HOPMLA_DTYPE_BF16
}

// PlanTables are the addresses of a plan's tables on the device, for an engine's own kernels; to be read only, int32 each.
// Rows beyond Count have length 0.
type PlanTables struct {
	MaxBatch     int
	TableStride  int       // entries between rows of BlockTable
	Count        DevicePtr // [1] rows of the batch
	KVLens       DevicePtr // [MaxBatch] tokens, those of the step counted
	QLens        DevicePtr // [MaxBatch]
	QStarts      DevicePtr // [MaxBatch + 1] first query row of each batch row
	AppendStarts DevicePtr // [MaxBatch + 1] first appended token of each batch row
	BlockTable   DevicePtr // [MaxBatch, TableStride] page ids
	Number       uint64    // of the plan in the process, as records and totals have it
}

// Tables says where the plan's tables are.
func (p *Plan) Tables() (PlanTables, error) {
	h, err := p.use()
	if err != nil {
		return PlanTables{}, err
	}
	defer p.lock.RUnlock()
	raw := C.hopmla_plan_tables{struct_size: C.sizeof_hopmla_plan_tables}
	s := newScratch()
	err = s.done(C.hopmla_plan_get_tables((*C.hopmla_plan)(h), &raw, &s.err))
	address := func(p *C.int32_t) DevicePtr { return DevicePtr(uintptr(unsafe.Pointer(p))) }
	return PlanTables{
		MaxBatch:     int(raw.max_batch),
		TableStride:  int(raw.table_stride),
		Count:        address(raw.count),
		KVLens:       address(raw.kv_lens),
		QLens:        address(raw.q_lens),
		QStarts:      address(raw.q_starts),
		AppendStarts: address(raw.append_starts),
		BlockTable:   address(raw.block_table),
		Number:       uint64(raw.number),
	}, err
}
