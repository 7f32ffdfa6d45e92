// SPDX-License-Identifier: Apache-2.0
//! The paged pool.

use crate::batch::{count, expect_len};
use crate::error::call;
use crate::{callback, sys, Context, Error, PoolLayout, PoolStats, Result, SeqId, SeqInfo, Sequence, Status};
use crate::{LATENT_DIM, ROPE_DIM};
use std::ffi::c_void;
use std::fmt;
use std::mem::size_of;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// The bytes of a cached token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvFormat {
    /// 512 latent then 64 rope values of bfloat16.
    Bf16,
    /// The same of IEEE half precision.
    Fp16,
    /// 512 latent values of bfloat16, no rope part.
    Bf16Nope,
    /// The same of IEEE half precision.
    Fp16Nope,
}

impl KvFormat {
    pub(crate) fn raw(self) -> i32 {
        match self {
            KvFormat::Bf16 => sys::HOPMLA_KV_BF16,
            KvFormat::Fp16 => sys::HOPMLA_KV_FP16,
            KvFormat::Bf16Nope => sys::HOPMLA_KV_BF16_NOPE,
            KvFormat::Fp16Nope => sys::HOPMLA_KV_FP16_NOPE,
        }
    }

    /// Values of a token's rope part: 64, or 0.
    pub fn rope_dim(self) -> usize {
        match self {
            KvFormat::Bf16 | KvFormat::Fp16 => ROPE_DIM,
            KvFormat::Bf16Nope | KvFormat::Fp16Nope => 0,
        }
    }

    /// Values of a token, and of a head's query: 576, or 512 without a rope part.
    pub fn qk_dim(self) -> usize {
        LATENT_DIM + self.rope_dim()
    }

    /// The format of the same element type with a rope part.
    pub(crate) fn with_rope(self) -> KvFormat {
        match self {
            KvFormat::Bf16 | KvFormat::Bf16Nope => KvFormat::Bf16,
            KvFormat::Fp16 | KvFormat::Fp16Nope => KvFormat::Fp16,
        }
    }

    /// How long a row is, in words.
    pub(crate) fn row(self) -> &'static str {
        if self.rope_dim() > 0 {
            "576 for each token"
        } else {
            "512 for each token"
        }
    }
}

/// Whose memory the pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Storage {
    /// Allocated at creation.
    Library,
    /// None: the pool only books, for a scheduler process; no plan can be made on it.
    None,
}

/// What a pool is made of.
#[derive(Clone, Copy)]
pub struct PoolOptions {
    raw: sys::hopmla_pool_options,
    format: KvFormat,
}

impl PoolOptions {
    /// A pool of `pages` pages of 64 tokens in each of `layers` layers, allocated by the library, for at most 65,536 live
    /// sequences.
    pub fn new(format: KvFormat, layers: u32, pages: u64) -> PoolOptions {
        PoolOptions {
            raw: sys::hopmla_pool_options {
                struct_size: size_of::<sys::hopmla_pool_options>() as u32,
                format: format.raw(),
                storage: sys::HOPMLA_STORAGE_LIBRARY,
                layers,
                pages,
                bytes: 0,
                max_sequences: 65536,
                page_tokens: sys::HOPMLA_PAGE_TOKENS,
                memory: ptr::null_mut(),
                memory_bytes: 0,
            },
            format,
        }
    }

    /// As many whole pages as fit into `bytes` over all layers, instead of a number of pages.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.raw.pages = 0;
        self.raw.bytes = bytes;
        self
    }

    /// Most sequences that live at one time, 1 … 2^24 − 1.
    pub fn max_sequences(mut self, n: u32) -> Self {
        self.raw.max_sequences = n;
        self
    }

    /// Whether there are pages, or only books.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.raw.storage = match storage {
            Storage::Library => sys::HOPMLA_STORAGE_LIBRARY,
            Storage::None => sys::HOPMLA_STORAGE_NONE,
        };
        self
    }

    /// Puts the pages into device memory of the caller's, 1024-byte aligned.
    ///
    /// # Safety
    ///
    /// The memory outlives the pool, its plans and every launch, and nobody else writes to it.
    pub unsafe fn memory(mut self, address: *mut c_void, bytes: u64) -> Self {
        self.raw.storage = sys::HOPMLA_STORAGE_CALLER;
        self.raw.memory = address;
        self.raw.memory_bytes = bytes;
        self
    }

    /// Sizes of the pool before it is made.
    pub fn query(&self, context: &Context) -> Result<PoolLayout> {
        PoolLayout::read(|layout, error| {
            // SAFETY: handle and structs are alive and carry their sizes.
            unsafe { sys::hopmla_pool_query(context.raw(), &self.raw, layout, error) }
        })
    }
}

/// A pool of pages with the sequences in it. Cheap to clone; clones are the same pool. It lives until its last clone,
/// [`Sequence`] and [`crate::Plan`] has gone, in any order.
///
/// Every method may be called from any thread at any time; a short mutex guards the books. None makes a driver call or
/// enqueues work. The same calls in the same order give the same page ids, on any device.
///
/// Pages are not cleared: rows that were committed without an append read as unspecified numbers.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<PoolInner>,
}

struct PoolInner {
    raw: NonNull<sys::hopmla_pool>,
    format: KvFormat,
    context: Context,
}

// SAFETY: the pool's functions are thread-safe.
unsafe impl Send for PoolInner {}
// SAFETY: the same.
unsafe impl Sync for PoolInner {}

impl Drop for PoolInner {
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: the last user of the handle.
            unsafe { sys::hopmla_pool_destroy(self.raw.as_ptr()) };
        }
    }
}

impl Pool {
    /// Creates a pool. Not during a stream capture.
    pub fn new(context: &Context, options: &PoolOptions) -> Result<Pool> {
        let mut raw = ptr::null_mut();
        // SAFETY: handle and struct are alive; memory of the caller's was vouched for in `PoolOptions::memory`.
        call(|error| unsafe { sys::hopmla_pool_create(context.raw(), &options.raw, &mut raw, error) })?;
        let inner = PoolInner {
            raw: NonNull::new(raw).ok_or_else(|| Error::new(Status::Internal, "no pool came back"))?,
            format: options.format,
            context: context.clone(),
        };
        Ok(Pool { inner: Arc::new(inner) })
    }

    pub(crate) fn raw(&self) -> *mut sys::hopmla_pool {
        self.inner.raw.as_ptr()
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.inner.context
    }

    /// The bytes of its tokens.
    pub fn format(&self) -> KvFormat {
        self.inner.format
    }

    /// Where its bytes are.
    pub fn describe(&self) -> Result<PoolLayout> {
        PoolLayout::read(|layout, error| {
            // SAFETY: the handle is alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_pool_describe(self.raw(), layout, error) }
        })
    }

    /// Its books. While a step is pending, counting pinned pages takes time in proportion to the pool's pages; figures may
    /// be of slightly different moments while other threads work.
    pub fn stats(&self) -> Result<PoolStats> {
        PoolStats::read(|stats, error| {
            // SAFETY: the handle is alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_pool_get_stats(self.raw(), stats, error) }
        })
    }

    /// Creates an empty sequence that is released when dropped. Takes no page.
    pub fn create_sequence(&self) -> Result<Sequence> {
        let mut id = 0;
        // SAFETY: the handle is alive, and there is room for one id.
        call(|error| unsafe { sys::hopmla_seq_create(self.raw(), &mut id, 1, error) })?;
        Ok(Sequence::own(self.clone(), SeqId(id)))
    }

    /// Makes room for new tokens: afterwards sequence i can take `n_new[i]` tokens beyond its committed ones. All or
    /// nothing for the batch. Reserving again replaces the former figure where it is larger.
    ///
    /// # Errors
    ///
    /// [`Error::Capacity`] with [`Error::missing_pages`] when there are too few pages: nothing has changed; release
    /// somebody and retry.
    pub fn reserve(&self, seqs: &[SeqId], n_new: &[u32]) -> Result<()> {
        expect_len("n_new", n_new.len(), seqs.len(), "one for each sequence")?;
        let n = count(seqs.len())?;
        // SAFETY: both arrays have n elements, and are read before the call returns.
        call(|error| unsafe { sys::hopmla_seq_reserve(self.raw(), SeqId::raw(seqs), n_new.as_ptr(), n, error) })
    }

    /// Moves reserved tokens into the sequences, once a step's append is enqueued. All or nothing.
    pub fn commit(&self, seqs: &[SeqId], n_tokens: &[u32]) -> Result<()> {
        expect_len("n_tokens", n_tokens.len(), seqs.len(), "one for each sequence")?;
        let n = count(seqs.len())?;
        // SAFETY: both arrays have n elements, and are read before the call returns.
        call(|error| unsafe { sys::hopmla_seq_commit(self.raw(), SeqId::raw(seqs), n_tokens.as_ptr(), n, error) })
    }

    /// Shortens sequences: tokens beyond `lengths[i]`, committed or reserved, are dropped and their pages freed. All or
    /// nothing. Safe while steps in flight read them.
    pub fn truncate(&self, seqs: &[SeqId], lengths: &[u64]) -> Result<()> {
        expect_len("lengths", lengths.len(), seqs.len(), "one for each sequence")?;
        let n = count(seqs.len())?;
        // SAFETY: both arrays have n elements, and are read before the call returns.
        call(|error| unsafe { sys::hopmla_seq_truncate(self.raw(), SeqId::raw(seqs), lengths.as_ptr(), n, error) })
    }

    /// Releases sequences by their ids, for those that no [`Sequence`] owns. All or nothing. Safe while steps in flight
    /// read them. The ids are stale afterwards.
    pub fn release(&self, seqs: &[SeqId]) -> Result<()> {
        let n = count(seqs.len())?;
        // SAFETY: the array has n elements, and is read before the call returns.
        call(|error| unsafe { sys::hopmla_seq_release(self.raw(), SeqId::raw(seqs), n, error) })
    }

    /// Describes a sequence.
    pub fn describe_sequence(&self, seq: SeqId) -> Result<SeqInfo> {
        SeqInfo::read(|info, error| {
            // SAFETY: the handle is alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_seq_describe(self.raw(), seq.0, info, error) }
        })
    }

    /// Page ids of a sequence, in order of its tokens.
    pub fn pages(&self, seq: SeqId) -> Result<Vec<i32>> {
        let mut pages: Vec<i32> = Vec::new();
        loop {
            let (room, mut n) = (count(pages.len())?, 0);
            // SAFETY: there is room for `room` ids, and never more are written.
            call(|error| unsafe { sys::hopmla_seq_pages(self.raw(), seq.0, pages.as_mut_ptr(), room, &mut n, error) })?;
            let fits = n <= room;
            pages.resize(n as usize, 0);
            if fits {
                return Ok(pages);
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("format", &self.format()).finish_non_exhaustive()
    }
}
