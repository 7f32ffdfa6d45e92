// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
import "C"

import (
	"math"
	"runtime"
	"unsafe"
)

// Format is the bytes of a cached token.
type Format int32

const (
	BF16     Format = C.HOPMLA_KV_BF16      // 512 latent then 64 rope values of bfloat16
	FP16     Format = C.HOPMLA_KV_FP16      // the same of IEEE half precision
	BF16NoPE Format = C.HOPMLA_KV_BF16_NOPE // 512 latent values of bfloat16, no rope part
	FP16NoPE Format = C.HOPMLA_KV_FP16_NOPE // the same of IEEE half precision
)

// RopeDim is how many values a token's rotary part has: 64, or 0.
func (f Format) RopeDim() int {
	if f == BF16NoPE || f == FP16NoPE {
		return 0
	}
	return RopeDim
}

// QKDim is how many values a token has, and a head's query: 576, or 512 without a rope part.
func (f Format) QKDim() int {
	return LatentDim + f.RopeDim()
}

// PoolOptions say what a pool is made of.
type PoolOptions struct {
	Format       Format
	Layers       int
	Pages        int    // pages a layer; or 0 to give Bytes
	Bytes        uint64 // capacity over all layers, rounded down to whole pages; or 0 to give Pages
	MaxSequences int    // live at one time; 0: 65536
	BooksOnly    bool   // no storage: the pool only books, for a scheduler process; no plan can be made on it

	// Memory is device memory of the caller's for the pages, 1024-byte aligned, of MemoryBytes; or 0. It must outlive the
	// pool, its plans and every launch. Never Go memory.
	Memory      DevicePtr
	MemoryBytes uint64
}

func (o PoolOptions) raw() C.hopmla_pool_options {
	raw := C.hopmla_pool_options{
		struct_size:   C.sizeof_hopmla_pool_options,
		format:        C.int32_t(o.Format),
		storage:       C.HOPMLA_STORAGE_LIBRARY,
		layers:        clamp32(o.Layers),
		pages:         C.uint64_t(o.Pages),
		bytes:         C.uint64_t(o.Bytes),
		max_sequences: 65536,
		page_tokens:   PageTokens,
		memory_bytes:  C.uint64_t(o.MemoryBytes),
	}
	if o.MaxSequences != 0 {
		raw.max_sequences = clamp32(o.MaxSequences)
	}
	if o.BooksOnly {
		raw.storage = C.HOPMLA_STORAGE_NONE
	} else if o.Memory != 0 {
		raw.storage = C.HOPMLA_STORAGE_CALLER
	}
	return raw
}

// clamp32 keeps a number that is too large or negative too large, for the library to refuse.
func clamp32(n int) C.uint32_t {
	if n < 0 || uint64(n) > math.MaxUint32 {
		return math.MaxUint32
	}
	return C.uint32_t(n)
}

// Seq is a sequence in a pool. It carries a generation: one that was released is ErrStaleID, one of another pool
// ErrForeignID, never somebody else's data. 0 is none.
type Seq uint64

// AllTokens as the length of a fork: every committed token.
const AllTokens uint64 = math.MaxUint64

// Pool is a pool of pages with the sequences in it. All of its methods may be called by any goroutine at any time; a short
// mutex guards the books, and none makes a driver call or enqueues work. The same calls give the same page ids, on any
// device. Pages are not cleared: rows that were committed without an append read as unspecified numbers.
type Pool struct {
	handle
	core   *core
	format Format
}

// NewPool creates a pool. Not during a stream capture.
func (c *Context) NewPool(options PoolOptions) (*Pool, error) {
	p, err := c.use()
	if err != nil {
		return nil, err
	}
	defer c.lock.RUnlock()
	raw := options.raw()
	var made *C.hopmla_pool
	s := newScratch()
	err = s.done(C.go_pool_create((*C.hopmla_context)(p), &raw, C.uintptr_t(options.Memory), &made, &s.err))
	if err != nil {
		return nil, err
	}
	pool := &Pool{handle: handle{p: unsafe.Pointer(made)}, core: c.core.retain(), format: options.Format}
	runtime.SetFinalizer(pool, (*Pool).Close)
	return pool, nil
}

// Close drops the pool and with it every sequence; its storage goes when the last plan was closed too.
func (p *Pool) Close() error {
	return p.closer(p, p.core, func(h unsafe.Pointer) { C.hopmla_pool_destroy((*C.hopmla_pool)(h)) })
}

// call makes one call of the library on the pool.
func (p *Pool) call(f func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status) error {
	h, err := p.use()
	if err != nil {
		return err
	}
	defer p.lock.RUnlock()
	s := newScratch()
	return s.done(f((*C.hopmla_pool)(h), &s.err))
}

// PoolLayout says where every byte of a pool is: row t of page p of layer l starts at Base + l*LayerStride + p*PageStride +
// t*RowStride.
type PoolLayout struct {
	Format                                    Format
	Backend                                   Backend
	Device, Layers, PageTokens                int
	Pages, RowStride, PageStride, LayerStride uint64
	Bytes                                     uint64 // of the whole region, one piece
	HostBytes                                 uint64 // of the books, before any sequence exists
	Base                                      DevicePtr
}

func layoutOf(raw *C.hopmla_pool_layout) PoolLayout {
	return PoolLayout{
		Format:      Format(raw.format),
		Backend:     Backend(raw.backend),
		Device:      int(raw.device),
		Layers:      int(raw.layers),
		PageTokens:  int(raw.page_tokens),
		Pages:       uint64(raw.pages),
		RowStride:   uint64(raw.row_stride),
		PageStride:  uint64(raw.page_stride),
		LayerStride: uint64(raw.layer_stride),
		Bytes:       uint64(raw.bytes),
		HostBytes:   uint64(raw.host_bytes),
		Base:        DevicePtr(uintptr(raw.base)),
	}
}

// QueryPool says how large a pool would be.
func (c *Context) QueryPool(options PoolOptions) (PoolLayout, error) {
	p, err := c.use()
	if err != nil {
		return PoolLayout{}, err
	}
	defer c.lock.RUnlock()
	raw, layout := options.raw(), C.hopmla_pool_layout{struct_size: C.sizeof_hopmla_pool_layout}
	s := newScratch()
	err = s.done(C.hopmla_pool_query((*C.hopmla_context)(p), &raw, &layout, &s.err))
	return layoutOf(&layout), err
}

// Describe says where the pool's bytes are.
func (p *Pool) Describe() (PoolLayout, error) {
	layout := C.hopmla_pool_layout{struct_size: C.sizeof_hopmla_pool_layout}
	err := p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_pool_describe(pool, &layout, err)
	})
	return layoutOf(&layout), err
}

// PoolStats are a pool's books.
type PoolStats struct {
	Sequences       uint32 // live
	PagesTotal      uint64
	PagesFree       uint64 // that a reserve can take, pinned ones included
	PagesUsed       uint64 // owned by a sequence, or the source of a copy until its sequence's next commit
	PagesShared     uint64 // of these, owned by more than one
	PagesPinned     uint64 // used or free, that a step not yet past its fence may touch
	PagesHighWater  uint64 // most ever used
	TokensCommitted uint64 // over all sequences, shared ones counted for each
	TokensReserved  uint64 // reserved and not yet committed
	CopiesOwed      uint64 // copy-on-write copies booked and not yet enqueued
}

// Stats reads the books. While a step is pending, counting pinned pages takes time in proportion to the pool's pages;
// figures may be of slightly different moments while others work.
func (p *Pool) Stats() (PoolStats, error) {
	raw := C.hopmla_pool_stats{struct_size: C.sizeof_hopmla_pool_stats}
	err := p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_pool_get_stats(pool, &raw, err)
	})
	return PoolStats{
		Sequences:       uint32(raw.sequences),
		PagesTotal:      uint64(raw.pages_total),
		PagesFree:       uint64(raw.pages_free),
		PagesUsed:       uint64(raw.pages_used),
		PagesShared:     uint64(raw.pages_shared),
		PagesPinned:     uint64(raw.pages_pinned),
		PagesHighWater:  uint64(raw.pages_high_water),
		TokensCommitted: uint64(raw.tokens_committed),
		TokensReserved:  uint64(raw.tokens_reserved),
		CopiesOwed:      uint64(raw.copies_owed),
	}, err
}

// Create makes n empty sequences. Takes no page.
func (p *Pool) Create(n int) ([]Seq, error) {
	if n < 0 {
		return nil, failf(ErrArgument, "n is %d, must be 0 or more", n)
	}
	c, err := count(n)
	if err != nil {
		return nil, err
	}
	seqs := make([]Seq, n)
	err = p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_seq_create(pool, ids(seqs), c, err)
	})
	if err != nil {
		return nil, err
	}
	return seqs, nil
}

// Fork makes a sequence that shares the first length committed tokens of another, or AllTokens. No page is taken or copied
// now: whoever first appends into a shared partial page gets a page of its own at the next Reserve. ErrState when the
// parent committed tokens behind a copy that no Update has enqueued yet.
func (p *Pool) Fork(parent Seq, length uint64) (Seq, error) {
	var child C.hopmla_seq
	err := p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_seq_fork(pool, C.hopmla_seq(parent), C.uint64_t(length), &child, err)
	})
	return Seq(child), err
}

// Reserve makes room: afterwards seqs[i] can take nNew[i] tokens beyond its committed ones. All or nothing for the batch.
// Reserving again replaces the former figure where it is larger. ErrOutOfPages carries the number of missing pages in
// Error.Value; nothing has changed then.
func (p *Pool) Reserve(seqs []Seq, nNew []uint32) error {
	if err := expectLen("nNew", len(nNew), len(seqs), "one for each sequence"); err != nil {
		return err
	}
	n, err := count(len(seqs))
	if err != nil {
		return err
	}
	return p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_seq_reserve(pool, ids(seqs), numbers(nNew), n, err)
	})
}

// Commit moves reserved tokens into the sequences, once a step's append is enqueued. All or nothing.
func (p *Pool) Commit(seqs []Seq, nTokens []uint32) error {
	if err := expectLen("nTokens", len(nTokens), len(seqs), "one for each sequence"); err != nil {
		return err
	}
	n, err := count(len(seqs))
	if err != nil {
		return err
	}
	return p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_seq_commit(pool, ids(seqs), numbers(nTokens), n, err)
	})
}

// Truncate shortens sequences: tokens beyond lengths[i], committed or reserved, are dropped and their pages freed. All or
// nothing. Safe while steps in flight read them.
func (p *Pool) Truncate(seqs []Seq, lengths []uint64) error {
	if err := expectLen("lengths", len(lengths), len(seqs), "one for each sequence"); err != nil {
		return err
	}
	n, err := count(len(seqs))
	if err != nil || n == 0 {
		return err
	}
	return p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_seq_truncate(pool, ids(seqs), (*C.uint64_t)(unsafe.Pointer(&lengths[0])), n, err)
	})
}

// Release releases sequences and their pages; safe while steps in flight read them. All or nothing. The ids are stale
// afterwards.
func (p *Pool) Release(seqs ...Seq) error {
	n, err := count(len(seqs))
	if err != nil {
		return err
	}
	return p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_seq_release(pool, ids(seqs), n, err)
	})
}

// SeqInfo describes a sequence.
type SeqInfo struct {
	Pages       int    // in its list
	PagesShared int    // of these, owned by another sequence too
	CopyOwed    bool   // the next update with it copies its partial page
	Committed   uint64 // tokens
	Reserved    uint64 // tokens beyond the committed ones
}

// DescribeSeq describes a sequence.
func (p *Pool) DescribeSeq(seq Seq) (SeqInfo, error) {
	raw := C.hopmla_seq_info{struct_size: C.sizeof_hopmla_seq_info}
	err := p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_seq_describe(pool, C.hopmla_seq(seq), &raw, err)
	})
	return SeqInfo{
		Pages:       int(raw.pages),
		PagesShared: int(raw.pages_shared),
		CopyOwed:    raw.copy_owed != 0,
		Committed:   uint64(raw.committed),
		Reserved:    uint64(raw.reserved),
	}, err
}

// Pages are a sequence's page ids, in order of its tokens.
func (p *Pool) Pages(seq Seq) ([]int32, error) {
	var pages []int32
	for {
		var n C.uint32_t
		room := C.uint32_t(len(pages))
		var first *C.int32_t
		if room > 0 {
			first = (*C.int32_t)(unsafe.Pointer(&pages[0]))
		}
		err := p.call(func(pool *C.hopmla_pool, err *C.hopmla_error) C.hopmla_status {
			return C.hopmla_seq_pages(pool, C.hopmla_seq(seq), first, room, &n, err)
		})
		if err != nil {
			return nil, err
		}
		if n <= room {
			return pages[:n], nil
		}
		pages = make([]int32, n)
	}
}
