// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

// PagedDesc describes the caller's own cache and batch, for a decode without a pool. Strides are in bytes, 0 for packed.
type PagedDesc struct {
	Format           Format
	Batch            int // rows, 1 … 65535
	MaxQTokens       int // host maximum of the query lengths, 1 … 1024; 0: 1
	MaxKVTokens      int // host maximum of the lengths, 1 … 2^20
	Heads            int
	LSE              LSE
	MaxUnits         int
	Pages            uint64 // in the arrays; larger or negative table entries are refused
	TableStride      uint64 // entries between rows of the block table; 0: MaxKVTokens / 64 rounded up
	LatentPageStride uint64 // packed: 64 rows
	LatentRowStride  uint64 // packed: 1152 when rows hold a rope part too, else 1024
	RopePageStride   uint64 // packed: 64 rows
	RopeRowStride    uint64 // packed: 128
}

func (d PagedDesc) raw() C.hopmla_paged_desc {
	raw := C.hopmla_paged_desc{
		struct_size:        C.sizeof_hopmla_paged_desc,
		format:             C.int32_t(d.Format),
		batch:              clamp32(d.Batch),
		max_q_tokens:       1,
		max_kv_tokens:      C.uint64_t(d.MaxKVTokens),
		heads:              clamp32(d.Heads),
		lse:                C.int32_t(d.LSE),
		max_units:          clamp32(d.MaxUnits),
		page_tokens:        PageTokens,
		pages:              C.uint64_t(d.Pages),
		table_stride:       C.uint64_t(d.TableStride),
		latent_page_stride: C.uint64_t(d.LatentPageStride),
		latent_row_stride:  C.uint64_t(d.LatentRowStride),
		rope_page_stride:   C.uint64_t(d.RopePageStride),
		rope_row_stride:    C.uint64_t(d.RopeRowStride),
	}
	if d.MaxQTokens != 0 {
		raw.max_q_tokens = clamp32(d.MaxQTokens)
	}
	if d.TableStride == 0 {
		raw.table_stride = (raw.max_kv_tokens + PageTokens - 1) / PageTokens
	}
	return raw
}

// PagedTensors are the addresses of a paged decode: device memory, never Go's.
type PagedTensors struct {
	Latent         DevicePtr // pages of [64, 512] latent values, or of [64, 576] when Rope is 0 and the format has that part
	Rope           DevicePtr // pages of [64, 64] rotary values, or 0
	BlockTable     DevicePtr // [batch, TableStride] int32
	Q, QRope       DevicePtr // as for Plan.DecodeDevice
	Out, LSE       DevicePtr
	Workspace      DevicePtr // that was prepared
	WorkspaceBytes uint64
}

// PagedErrors is what the device found wrong; 0 is nothing.
type PagedErrors uint32

const (
	BadPage   PagedErrors = C.HOPMLA_PAGED_BAD_PAGE   // a table entry outside the pages
	BadLength PagedErrors = C.HOPMLA_PAGED_BAD_LENGTH // a length outside its range
	BadRows   PagedErrors = C.HOPMLA_PAGED_BAD_ROWS   // query rows beyond DecodeArgs.Rows: they were not written
)

// PagedWorkspace is how many bytes of workspace a description needs: 1024-byte aligned, not zeroed, one a stream.
func (c *Context) PagedWorkspace(desc PagedDesc) (uint64, error) {
	p, err := c.use()
	if err != nil {
		return 0, err
	}
	defer c.lock.RUnlock()
	raw := desc.raw()
	var bytes C.uint64_t
	s := newScratch()
	err = s.done(C.hopmla_decode_paged_workspace((*C.hopmla_context)(p), &raw, &bytes, &s.err))
	return uint64(bytes), err
}

// PagedPrepare schedules a batch on the device, for every layer decoded with the same lengths and workspace afterwards.
// kvLens is [batch] int32, qLens likewise or 0 for MaxQTokens each. Clears the error word. Enqueues; capturable.
func (c *Context) PagedPrepare(desc PagedDesc, kvLens, qLens, workspace DevicePtr, workspaceBytes uint64, s *Stream) error {
	if _, err := c.use(); err != nil {
		return err
	}
	defer c.lock.RUnlock()
	raw := desc.raw()
	return onStream(c.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.go_paged_prepare(c.core.p, &raw, C.uintptr_t(kvLens), C.uintptr_t(qLens), C.uintptr_t(workspace),
			C.uint64_t(workspaceBytes), stream, err)
	})
}

// PagedDecode decodes one layer of the batch that was prepared. A table entry outside the pages is reported in the error
// word, and its page counts as all zeros. args.Layer is ignored. Enqueues; capturable.
func (c *Context) PagedDecode(desc PagedDesc, args DecodeArgs, t PagedTensors, s *Stream) error {
	if _, err := c.use(); err != nil {
		return err
	}
	defer c.lock.RUnlock()
	raw := desc.raw()
	tensors := C.go_paged_tensors{
		latent:          C.uintptr_t(t.Latent),
		rope:            C.uintptr_t(t.Rope),
		block_table:     C.uintptr_t(t.BlockTable),
		q:               C.uintptr_t(t.Q),
		q_rope:          C.uintptr_t(t.QRope),
		out:             C.uintptr_t(t.Out),
		lse:             C.uintptr_t(t.LSE),
		workspace:       C.uintptr_t(t.Workspace),
		workspace_bytes: C.uint64_t(t.WorkspaceBytes),
	}
	own := newScratch()
	defer scratches.Put(own)
	own.setDecode(args)
	return onStream(c.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.go_paged_decode(c.core.p, &raw, &own.decode, &tensors, stream, err)
	})
}

// PagedErrorWord reads what the device found wrong since the last prepare. Synchronises the stream.
func (c *Context) PagedErrorWord(workspace DevicePtr, s *Stream) (PagedErrors, error) {
	if _, err := c.use(); err != nil {
		return 0, err
	}
	defer c.lock.RUnlock()
	var word C.uint32_t
	err := onStream(c.core, s, func(stream C.hopmla_stream, err *C.hopmla_error) C.hopmla_status {
		return C.go_paged_errors(c.core.p, C.uintptr_t(workspace), &word, stream, err)
	})
	return PagedErrors(word), err
}
