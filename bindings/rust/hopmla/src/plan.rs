// SPDX-License-Identifier: Apache-2.0
//! Plans: an engine's step over a pool.

use crate::batch::{count, expect_len};
use crate::error::call;
use crate::stream::StreamInner;
use crate::{
    callback, sys, DevicePtr, Element, Error, KvFormat, PlanTables, Pool, Result, SeqId, Source, Status, Step, Stream,
};
use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{forget, size_of};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Convention of the log-sum-exp output. In all of them an empty row's output is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lse {
    /// Natural logarithm, −inf for an empty row.
    Natural,
    /// Base 2, −inf for an empty row (FlashInfer).
    Base2,
    /// Natural logarithm, +inf for an empty row (FlashMLA).
    NaturalPosInf,
}

impl Lse {
    pub(crate) fn raw(self) -> i32 {
        match self {
            Lse::Natural => sys::HOPMLA_LSE_NATURAL,
            Lse::Base2 => sys::HOPMLA_LSE_BASE2,
            Lse::NaturalPosInf => sys::HOPMLA_LSE_NATURAL_POSINF,
        }
    }
}

/// The envelope of a plan: launches depend on nothing else.
#[derive(Clone, Copy)]
pub struct PlanOptions {
    raw: sys::hopmla_plan_options,
}

impl PlanOptions {
    /// At most `max_batch` rows of at most `max_kv_tokens` tokens, `heads` query heads of this rank, one query token a
    /// row.
    pub fn new(max_batch: u32, heads: u32, max_kv_tokens: u64) -> PlanOptions {
        PlanOptions {
            raw: sys::hopmla_plan_options {
                struct_size: size_of::<sys::hopmla_plan_options>() as u32,
                max_batch,
                max_q_tokens: 1,
                heads,
                max_kv_tokens,
                lse: sys::HOPMLA_LSE_NATURAL,
                max_units: 0,
                staging_depth: 4,
                reserved: 0,
                memory: ptr::null_mut(),
                memory_bytes: 0,
            },
        }
    }

    /// Query tokens of a row, 1 … 1024. Up to 8 is the fast range.
    pub fn max_q_tokens(mut self, n: u32) -> Self {
        self.raw.max_q_tokens = n;
        self
    }

    /// Convention of the log-sum-exp.
    pub fn lse(mut self, lse: Lse) -> Self {
        self.raw.lse = lse.raw();
        self
    }

    /// Streaming multiprocessors to use at most, 0: all. Ignored on CPU.
    pub fn max_units(mut self, n: u32) -> Self {
        self.raw.max_units = n;
        self
    }

    /// Updates that may be under way at one time, 1 … 64; one more is [`Status::Busy`].
    pub fn staging_depth(mut self, n: u32) -> Self {
        self.raw.staging_depth = n;
        self
    }

    /// Puts tables and workspace into device memory of the caller's, 1024-byte aligned, of the first size that
    /// [`query`](PlanOptions::query) says.
    ///
    /// # Safety
    ///
    /// The memory outlives the plan and every launch, and nobody else writes to it.
    pub unsafe fn memory(mut self, address: *mut c_void, bytes: u64) -> Self {
        self.raw.memory = address;
        self.raw.memory_bytes = bytes;
        self
    }

    /// Bytes of device memory and of pinned memory that such a plan needs.
    pub fn query(&self, pool: &Pool) -> Result<(u64, u64)> {
        let (mut device, mut pinned) = (0, 0);
        // SAFETY: handle and struct are alive.
        call(|error| unsafe { sys::hopmla_plan_query(pool.raw(), &self.raw, &mut device, &mut pinned, error) })?;
        Ok((device, pinned))
    }
}

/// Strides in elements; 0 means packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strides {
    /// Between tokens.
    pub token: i64,
    /// Between heads.
    pub head: i64,
}

/// Where the new tokens' rows are, for [`Plan::enqueue_append`]. Strides are in elements; 0 means packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendArgs {
    /// Layer.
    pub layer: u32,
    /// Rows that the sources hold; rows beyond it are left out under graph replay.
    pub tokens: u64,
    /// Between latent rows; packed: 512.
    pub latent_stride: i64,
    /// Between rope rows; packed: 64. 0 where there are none.
    pub rope_stride: i64,
}

impl AppendArgs {
    /// Whole rows of a pool of that format, one after the other.
    pub(crate) fn of_rows(layer: u32, tokens: usize, format: KvFormat) -> AppendArgs {
        let stride = format.qk_dim() as i64;
        let rope_stride = if format.rope_dim() > 0 { stride } else { 0 };
        AppendArgs { layer, tokens: tokens as u64, latent_stride: stride, rope_stride }
    }
}

/// Shapes and strides of a decode, for [`Plan::enqueue_decode`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DecodeArgs {
    /// Layer.
    pub layer: u32,
    /// Query-token rows that the tensors hold; those beyond the step's are written as output 0 and an empty LSE.
    pub rows: u32,
    /// Factor on q·k before the softmax; no default, finite and > 0.
    pub softmax_scale: f32,
    /// Of q: packed joint heads × 576 and 576; packed split, and without a rope part, heads × 512 and 512.
    pub q: Strides,
    /// Of the rotated part of a split q; packed: heads × 64 and 64. 0 without a rope part.
    pub q_rope: Strides,
    /// Of the output; packed: heads × 512 and 512.
    pub out: Strides,
    /// Of the LSE; packed: heads and 1.
    pub lse: Strides,
}

impl DecodeArgs {
    /// Packed tensors.
    pub fn new(layer: u32, rows: u32, softmax_scale: f32) -> DecodeArgs {
        DecodeArgs { layer, rows, softmax_scale, ..DecodeArgs::default() }
    }

    pub(crate) fn raw(&self) -> sys::hopmla_decode_args {
        sys::hopmla_decode_args {
            struct_size: size_of::<sys::hopmla_decode_args>() as u32,
            layer: self.layer,
            rows: self.rows,
            softmax_scale: self.softmax_scale,
            q_token_stride: self.q.token,
            q_head_stride: self.q.head,
            qr_token_stride: self.q_rope.token,
            qr_head_stride: self.q_rope.head,
            out_token_stride: self.out.token,
            out_head_stride: self.out.head,
            lse_token_stride: self.lse.token,
            lse_head_stride: self.lse.head,
        }
    }
}

/// Which rows of a layer to read back, for [`Plan::enqueue_gather`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatherArgs {
    /// Layer.
    pub layer: u32,
    /// Row of the batch.
    pub row: u32,
    /// First token of the sequence.
    pub first: u64,
    /// Tokens.
    pub count: u64,
    /// Of the destination between tokens, in elements; 0: packed, 576, or 512 without a rope part.
    pub stride: i64,
}

/// What an engine's steps over a pool run through: tables at fixed addresses on the device, and the kernels' workspace.
/// It keeps its pool alive. Used by one thread and on one stream at a time, hence not `Sync`; several plans on one pool
/// are independent.
///
/// [`begin`](Plan::begin) starts a [`Step`]. On the CPU backend the step's methods take slices and are safe. On CUDA, and
/// for graphs on either backend, the `enqueue_*` methods take device addresses: `unsafe`, because the work outlives any
/// borrow.
pub struct Plan {
    raw: NonNull<sys::hopmla_plan>,
    pool: Pool,
    heads: usize,
    /// The last step's stream: the library tells streams apart by their handles, so this one's must not be reused.
    stream: Option<Arc<StreamInner>>,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: used by one thread at a time, any thread.
unsafe impl Send for Plan {}

impl Plan {
    /// Creates a plan. Synchronises; not during a capture. A pool holds at most 64 plans.
    pub fn new(pool: &Pool, options: &PlanOptions) -> Result<Plan> {
        let mut raw = ptr::null_mut();
        // SAFETY: handle and struct are alive; memory of the caller's was vouched for in `PlanOptions::memory`.
        call(|error| unsafe { sys::hopmla_plan_create(pool.raw(), &options.raw, &mut raw, error) })?;
        Ok(Plan {
            raw: NonNull::new(raw).ok_or_else(|| Error::new(Status::Internal, "no plan came back"))?,
            pool: pool.clone(),
            heads: options.raw.heads as usize,
            stream: None,
            _not_sync: PhantomData,
        })
    }

    pub(crate) fn raw(&self) -> *mut sys::hopmla_plan {
        self.raw.as_ptr()
    }

    pub(crate) fn heads(&self) -> usize {
        self.heads
    }

    /// Its pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Starts a step on a stream: sequence i appends `n_append[i]` reserved tokens and decodes `q_lens[i]` query tokens.
    /// Its length in the step is committed + `n_append[i]`; query token j of `q_lens[i]` sees the first
    /// length − (`q_lens[i]` − 1 − j) tokens. Rows of all tensors are packed in batch order.
    ///
    /// Enqueues one transfer of what has changed, waits for other plans' steps on the same pages, and the copies that
    /// forks owe. Not during a capture.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when every staging buffer is in use, when the last step ran on another stream and is not past its
    /// fence, or when a page is in a step of another plan that was not ended. Nothing has changed then.
    pub fn begin<'p>(
        &'p mut self,
        seqs: &[SeqId],
        n_append: &[u32],
        q_lens: &[u32],
        stream: &'p Stream,
    ) -> Result<Step<'p>> {
        self.update(seqs, n_append, q_lens, stream)?;
        Ok(Step::new(self, stream))
    }

    pub(crate) fn update(&mut self, seqs: &[SeqId], n_append: &[u32], q_lens: &[u32], stream: &Stream) -> Result<()> {
        expect_len("n_append", n_append.len(), seqs.len(), "one for each sequence")?;
        expect_len("q_lens", q_lens.len(), seqs.len(), "one for each sequence")?;
        self.pool.context().expect_same(stream.context(), "the stream")?;
        let n = count(seqs.len())?;
        // SAFETY: the arrays have n elements, and are read before the call returns.
        let outcome = call(|error| unsafe {
            sys::hopmla_plan_update(
                self.raw(),
                SeqId::raw(seqs),
                n_append.as_ptr(),
                q_lens.as_ptr(),
                n,
                stream.raw(),
                error,
            )
        });
        match &outcome {
            Ok(()) if !self.stream.as_ref().map_or(false, |kept| stream.is(kept)) => self.stream = Some(stream.keep()),
            // Something may have been enqueued: neither stream's handle may be reused.
            Err(Error::Driver(_) | Error::Lost(_) | Error::Internal(_)) => forget(stream.keep()),
            _ => {}
        }
        outcome
    }

    pub(crate) fn end(&mut self, stream: &Stream) -> Result<()> {
        // SAFETY: both handles are alive, and of one context.
        call(|error| unsafe { sys::hopmla_plan_end(self.raw(), stream.raw(), error) })
    }

    /// Whether every ended step is past its fence. Makes no driver call.
    pub fn is_done(&self) -> Result<bool> {
        let mut done = 0;
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_plan_done(self.raw(), &mut done, error) })?;
        Ok(done != 0)
    }

    /// Where its tables are, for an engine's own kernels.
    pub fn tables(&self) -> Result<PlanTables> {
        PlanTables::read(|tables, error| {
            // SAFETY: the handle is alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_plan_get_tables(self.raw(), tables, error) }
        })
    }

    /// Enqueues the writing of the step's new tokens into one layer of their pages. Recorded when the stream is being
    /// captured, then for the steps at whose time the graph is launched.
    ///
    /// # Safety
    ///
    /// `latent` and `rope` (`None` where the pool's format has no rope part) are addresses of `args.tokens` rows with their
    /// strides, 16-byte aligned, in memory of the context's device. They stay alive and unwritten until the stream (and every
    /// launch of a graph that records this) is past it. Outside a capture a step of this plan is open on the stream.
    pub unsafe fn enqueue_append<S: Source>(
        &mut self,
        args: &AppendArgs,
        latent: DevicePtr<S>,
        rope: Option<DevicePtr<S>>,
        stream: &Stream,
    ) -> Result<()> {
        let rope = rope.map_or(ptr::null(), |p| p.as_ptr() as *const c_void);
        // SAFETY: the caller's promise.
        unsafe { self.append_raw(args, S::DTYPE, latent.as_ptr(), rope, stream) }
    }

    /// # Safety
    /// As [`enqueue_append`](Plan::enqueue_append).
    pub(crate) unsafe fn append_raw(
        &mut self,
        args: &AppendArgs,
        dtype: i32,
        latent: *const c_void,
        rope: *const c_void,
        stream: &Stream,
    ) -> Result<()> {
        self.pool.context().expect_same(stream.context(), "the stream")?;
        let raw = sys::hopmla_append_args {
            struct_size: size_of::<sys::hopmla_append_args>() as u32,
            layer: args.layer,
            dtype,
            reserved: 0,
            tokens: args.tokens,
            latent_stride: args.latent_stride,
            rope_stride: args.rope_stride,
        };
        // SAFETY: the caller's promise.
        call(|error| unsafe { sys::hopmla_append(self.raw(), &raw, latent, rope, stream.raw(), error) })
    }

    /// Enqueues the attention of the step's query rows over one layer: `q` is `[rows, heads, 576]`, or with `q_rope`
    /// (`[rows, heads, 64]`, the rotated part), or where the pool has no rope part, `[rows, heads, 512]`; `out` is
    /// `[rows, heads, 512]`, `lse` `[rows, heads]`. Two runs give the same bits. Recorded when the stream is being captured.
    ///
    /// # Safety
    ///
    /// The addresses are of tensors of that shape with the strides of `args`, aligned to 16 bytes (`lse`: 4), in memory
    /// of the context's device, `out` and `lse` apart from everything else. They stay alive and untouched by others until
    /// the stream (and every launch of a graph that records this) is past it. Outside a capture a step of this plan is
    /// open on the stream.
    pub unsafe fn enqueue_decode<T: Element>(
        &mut self,
        args: &DecodeArgs,
        q: DevicePtr<T>,
        q_rope: Option<DevicePtr<T>>,
        out: DevicePtr<T>,
        lse: Option<DevicePtr<f32>>,
        stream: &Stream,
    ) -> Result<()> {
        self.expect_format::<T>()?;
        let q_rope = q_rope.map_or(ptr::null(), |p| p.as_ptr() as *const c_void);
        let lse = lse.map_or(ptr::null_mut(), DevicePtr::as_ptr);
        // SAFETY: the caller's promise.
        unsafe { self.decode_raw(args, q.as_ptr(), q_rope, out.as_ptr(), lse, stream) }
    }

    /// # Safety
    /// As [`enqueue_decode`](Plan::enqueue_decode).
    pub(crate) unsafe fn decode_raw(
        &mut self,
        args: &DecodeArgs,
        q: *const c_void,
        q_rope: *const c_void,
        out: *mut c_void,
        lse: *mut c_void,
        stream: &Stream,
    ) -> Result<()> {
        self.pool.context().expect_same(stream.context(), "the stream")?;
        let raw = args.raw();
        // SAFETY: the caller's promise.
        call(|error| unsafe { sys::hopmla_decode(self.raw(), &raw, q, q_rope, out, lse, stream.raw(), error) })
    }

    /// Enqueues a copy of cached rows of one batch row to a dense array `[count, 576]`, or `[count, 512]`. Recorded when the
    /// stream is being captured; rows beyond the sequence's length at replay are then written as 0.
    ///
    /// # Safety
    ///
    /// `destination` is an address of that many rows with their stride, 16-byte aligned, in memory of the context's
    /// device, alive and untouched by others until the stream (and every launch of a graph that records this) is past
    /// it. Outside a capture a step of this plan is open on the stream.
    pub unsafe fn enqueue_gather<T: Element>(
        &mut self,
        args: &GatherArgs,
        destination: DevicePtr<T>,
        stream: &Stream,
    ) -> Result<()> {
        self.expect_format::<T>()?;
        // SAFETY: the caller's promise.
        unsafe { self.gather_raw(args, destination.as_ptr(), stream) }
    }

    /// # Safety
    /// As [`enqueue_gather`](Plan::enqueue_gather).
    pub(crate) unsafe fn gather_raw(
        &mut self,
        args: &GatherArgs,
        destination: *mut c_void,
        stream: &Stream,
    ) -> Result<()> {
        self.pool.context().expect_same(stream.context(), "the stream")?;
        let raw = sys::hopmla_gather_args {
            struct_size: size_of::<sys::hopmla_gather_args>() as u32,
            layer: args.layer,
            row: args.row,
            reserved: 0,
            first: args.first,
            count: args.count,
            stride: args.stride,
        };
        // SAFETY: the caller's promise.
        call(|error| unsafe { sys::hopmla_gather(self.raw(), &raw, destination, stream.raw(), error) })
    }

    pub(crate) fn expect_format<T: Element>(&self) -> Result<()> {
        if T::FORMAT == self.pool.format().with_rope() {
            return Ok(());
        }
        let message = format!("tensors are {:?}, the pool is {:?}", T::FORMAT, self.pool.format());
        Err(Error::new(Status::Dtype, message))
    }
}

impl Drop for Plan {
    /// Waits for steps that have not passed their fence.
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: the last user of the handle; graphs that hold its launches are not launched any more, as promised
            // at `Graph::launch`.
            unsafe { sys::hopmla_plan_destroy(self.raw()) };
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("pool", &self.pool).finish_non_exhaustive()
    }
}
