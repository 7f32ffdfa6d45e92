// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import "unsafe"

// Dtype is the element type of appended rows.
type Dtype int32

const (
	DtypeOfPool Dtype = 0 // the pool's own
	DtypeFP32   Dtype = C.HOPMLA_DTYPE_FP32
)

// AppendArgs say where new tokens' rows are. Strides are in elements; 0 means packed.
type AppendArgs struct {
	Layer        int
	Dtype        Dtype
	Tokens       int   // rows that the sources hold; rows beyond it are left out under graph replay
	LatentStride int64 // between tokens; packed: 512
	RopeStride   int64 // packed: 64; 0 without a rope part
}

func (s *scratch) setAppend(a AppendArgs, dtype C.int32_t) {
	s.append.layer = clamp32(a.Layer)
	s.append.dtype = dtype
	s.append.tokens = C.uint64_t(a.Tokens)
	s.append.latent_stride = C.int64_t(a.LatentStride)
	s.append.rope_stride = C.int64_t(a.RopeStride)
}

// DecodeArgs are shapes and strides of a decode. Strides are in elements; 0 means packed.
type DecodeArgs struct {
	Layer          int
	Rows           int     // query-token rows that the tensors hold; those beyond the step's get output 0 and an empty LSE
	SoftmaxScale   float32 // factor on q·k before the softmax; no default, finite and > 0
	QTokenStride   int64   // packed joint: heads × 576; packed split, or without a rope part: heads × 512
	QHeadStride    int64   // packed joint: 576; packed split, or without a rope part: 512
	QRTokenStride  int64   // split only; packed: heads × 64
	QRHeadStride   int64   // split only; packed: 64
	OutTokenStride int64   // packed: heads × 512
	OutHeadStride  int64   // packed: 512
	LSETokenStride int64   // packed: heads
	LSEHeadStride  int64   // packed: 1
}

func (s *scratch) setDecode(a DecodeArgs) {
	s.decode.layer = clamp32(a.Layer)
	s.decode.rows = clamp32(a.Rows)
	s.decode.softmax_scale = C.float(a.SoftmaxScale)
	s.decode.q_token_stride = C.int64_t(a.QTokenStride)
	s.decode.q_head_stride = C.int64_t(a.QHeadStride)
	s.decode.qr_token_stride = C.int64_t(a.QRTokenStride)
	s.decode.qr_head_stride = C.int64_t(a.QRHeadStride)
	s.decode.out_token_stride = C.int64_t(a.OutTokenStride)
	s.decode.out_head_stride = C.int64_t(a.OutHeadStride)
	s.decode.lse_token_stride = C.int64_t(a.LSETokenStride)
	s.decode.lse_head_stride = C.int64_t(a.LSEHeadStride)
}

// GatherArgs say which cached rows to read back.
type GatherArgs struct {
	Layer  int
	Row    int    // of the batch
	First  uint64 // token of the sequence
	Count  uint64 // tokens
	Stride int64  // of the destination between tokens, in elements; 0: packed, 576, or 512 without a rope part
}

func (s *scratch) setGather(a GatherArgs) {
	s.gather.layer = clamp32(a.Layer)
	s.gather.row = clamp32(a.Row)
	s.gather.first = C.uint64_t(a.First)
	s.gather.count = C.uint64_t(a.Count)
	s.gather.stride = C.int64_t(a.Stride)
}

// useOn is useAlone together with a stream; call free afterwards.
func (p *Plan) useOn(s *Stream) (unsafe.Pointer, C.hopmla_stream, error) {
	h, err := p.useAlone()
	if err != nil {
		return nil, nil, err
	}
	stream, err := s.use(p.core)
	if err != nil {
		p.lock.Unlock()
	}
	return h, stream, err
}

func (p *Plan) free(s *Stream) {
	s.free()
	p.lock.Unlock()
}

// AppendDevice enqueues the writing of the step's new tokens into one layer of their pages. Recorded when the stream is
// being captured. Addresses are of device memory, 16-byte aligned, that stays until the stream (and every launch of a graph
// that records this) is past it; rope is 0 where the format has no rope part. Never Go memory.
func (p *Plan) AppendDevice(args AppendArgs, latent, rope DevicePtr, s *Stream) error {
	h, stream, err := p.useOn(s)
	if err != nil {
		return err
	}
	defer p.free(s)
	scratch := p.own
	scratch.setAppend(args, p.dtype(C.int32_t(args.Dtype)))
	return scratch.failure(C.go_append((*C.hopmla_plan)(h), &scratch.append, C.uintptr_t(latent), C.uintptr_t(rope), stream,
		&scratch.err))
}

// DecodeDevice enqueues the attention of the step's query rows over one layer: q [rows, heads, 576], or with qRope [rows,
// heads, 64] its first part [rows, heads, 512], which is all of it without a rope part; out [rows, heads, 512]; lse [rows,
// heads] float32 or 0. Two runs give the same bits. Recorded when the stream is being captured. Addresses as for
// AppendDevice (lse: 4-byte aligned).
func (p *Plan) DecodeDevice(args DecodeArgs, q, qRope, out, lse DevicePtr, s *Stream) error {
	h, stream, err := p.useOn(s)
	if err != nil {
		return err
	}
	defer p.free(s)
	scratch := p.own
	scratch.setDecode(args)
	return scratch.failure(C.go_decode((*C.hopmla_plan)(h), &scratch.decode, C.uintptr_t(q), C.uintptr_t(qRope),
		C.uintptr_t(out), C.uintptr_t(lse), stream, &scratch.err))
}

// GatherDevice enqueues a copy of cached rows of one batch row to a dense array [count, 576], or [count, 512]. Recorded
// when the stream is being captured; rows beyond the sequence's length at replay are then written as 0. Address as for
// AppendDevice.
func (p *Plan) GatherDevice(args GatherArgs, destination DevicePtr, s *Stream) error {
	h, stream, err := p.useOn(s)
	if err != nil {
		return err
	}
	defer p.free(s)
	scratch := p.own
	scratch.setGather(args)
	return scratch.failure(C.go_gather((*C.hopmla_plan)(h), &scratch.gather, C.uintptr_t(destination), stream,
		&scratch.err))
}
