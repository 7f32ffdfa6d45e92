// SPDX-License-Identifier: Apache-2.0
//! One step of a plan, between update and end.

use crate::batch::{count, expect_len};
use crate::{
    AppendArgs, Backend, DecodeArgs, DevicePtr, Element, Error, GatherArgs, KvFormat, Plan, Result, SeqId, Source,
    Status, Stream, LATENT_DIM, ROPE_DIM,
};
use std::ffi::c_void;
use std::mem::size_of;
use std::ops::Range;
use std::ptr;

/// An open step. Its pages are pinned until the stream has passed its end: sequences may be committed, released,
/// truncated and forked meanwhile, on any thread. Dropping it ends it too, without a word about failures.
///
/// The slice methods are for the CPU backend, where the work has finished when they return; on CUDA they are
/// [`Status::Mismatch`]. Tensors start at multiples of 16 bytes, as `Vec` allocates them and arrays on the stack need not.
#[derive(Debug)]
pub struct Step<'p> {
    plan: &'p mut Plan,
    stream: &'p Stream,
    ended: bool,
}

impl<'p> Step<'p> {
    pub(crate) fn new(plan: &'p mut Plan, stream: &'p Stream) -> Self {
        Step { plan, stream, ended: false }
    }

    /// The stream that it runs on.
    pub fn stream(&self) -> &Stream {
        self.stream
    }

    pub(crate) fn plan_raw(&self) -> *mut crate::sys::hopmla_plan {
        self.plan.raw()
    }

    pub(crate) fn format(&self) -> KvFormat {
        self.plan.pool().format()
    }

    #[cfg(feature = "cudarc")]
    pub(crate) fn heads(&self) -> usize {
        self.plan.heads()
    }

    /// Replaces the batch, within the same step; as [`Plan::begin`].
    pub fn update(&mut self, seqs: &[SeqId], n_append: &[u32], q_lens: &[u32]) -> Result<()> {
        self.plan.update(seqs, n_append, q_lens, self.stream)
    }

    /// Ends the step: enqueues its fence.
    pub fn end(mut self) -> Result<()> {
        self.plan.end(self.stream)?;
        self.ended = true;
        Ok(())
    }

    /// Slices may be passed: work has finished when the call returns.
    fn expect_host(&self) -> Result<()> {
        if self.plan.pool().context().backend() != Backend::Cpu {
            let message = "slices are for the CPU backend: on CUDA use device memory and the enqueue methods";
            return Err(Error::new(Status::Mismatch, message));
        }
        if self.stream.capturing() {
            let message = "the stream is being captured, and a slice would not live until the graph is launched";
            return Err(Error::new(Status::Capture, message));
        }
        Ok(())
    }

    /// CPU. Writes the step's new tokens into one layer of their pages: `latent` is `[tokens, 512]`, `rope` `[tokens, 64]`
    /// and rotated already, row i for the i-th appended token in batch order. `rope` is empty where the pool's format has
    /// no rope part.
    pub fn append<S: Source>(&mut self, layer: u32, latent: &[S], rope: &[S]) -> Result<()> {
        self.expect_host()?;
        let tokens = latent.len() / LATENT_DIM;
        expect_len("latent", latent.len(), tokens * LATENT_DIM, "whole rows of 512")?;
        let rope_dim = self.format().rope_dim();
        expect_len("rope", rope.len(), tokens * rope_dim, "64 for each latent row, or none")?;
        let args = AppendArgs { layer, tokens: tokens as u64, ..AppendArgs::default() };
        let rope = if rope_dim > 0 { rope.as_ptr().cast() } else { ptr::null() };
        // SAFETY: the slices have that many rows, nothing is kept after the call, and the step is open.
        unsafe { self.plan.append_raw(&args, S::DTYPE, latent.as_ptr().cast(), rope, self.stream) }
    }

    /// CPU. As [`append`](Step::append), from whole rows `[tokens, 576]`: 512 latent then 64 rope values; without a rope
    /// part `[tokens, 512]`.
    pub fn append_rows<S: Source>(&mut self, layer: u32, rows: &[S]) -> Result<()> {
        self.expect_host()?;
        let format = self.format();
        let tokens = rows.len() / format.qk_dim();
        expect_len("rows", rows.len(), tokens * format.qk_dim(), format.row())?;
        let (args, has_rope) = (AppendArgs::of_rows(layer, tokens, format), format.rope_dim() > 0);
        let rope = if has_rope { rows.get(LATENT_DIM..).unwrap_or(rows).as_ptr().cast() } else { ptr::null() };
        // SAFETY: as in `append`; the rope part of a row starts 512 elements on.
        unsafe { self.plan.append_raw(&args, S::DTYPE, rows.as_ptr().cast(), rope, self.stream) }
    }

    /// CPU. Attention of the step's query rows over one layer: `q` `[rows, heads, 576]`, without a rope part `[rows, heads,
    /// 512]`, `out` `[rows, heads, 512]`, `lse` `[rows, heads]`. Rows beyond the step's own are written as output 0 and an
    /// empty LSE.
    pub fn decode<T: Element>(
        &mut self,
        layer: u32,
        softmax_scale: f32,
        q: &[T],
        out: &mut [T],
        lse: Option<&mut [f32]>,
    ) -> Result<()> {
        self.decode_slices(layer, softmax_scale, (q, self.format().qk_dim()), None, out, lse)
    }

    /// CPU. As [`decode`](Step::decode), with `q` `[rows, heads, 512]` and its rotated part `[rows, heads, 64]` apart.
    pub fn decode_split<T: Element>(
        &mut self,
        layer: u32,
        softmax_scale: f32,
        q: &[T],
        q_rope: &[T],
        out: &mut [T],
        lse: Option<&mut [f32]>,
    ) -> Result<()> {
        self.decode_slices(layer, softmax_scale, (q, LATENT_DIM), Some(q_rope), out, lse)
    }

    fn decode_slices<T: Element>(
        &mut self,
        layer: u32,
        softmax_scale: f32,
        (q, q_dim): (&[T], usize),
        q_rope: Option<&[T]>,
        out: &mut [T],
        lse: Option<&mut [f32]>,
    ) -> Result<()> {
        self.expect_host()?;
        self.plan.expect_format::<T>()?;
        let heads = self.plan.heads();
        let rows = out.len() / (heads * LATENT_DIM);
        expect_len("out", out.len(), rows * heads * LATENT_DIM, "whole rows of heads × 512")?;
        expect_len("q", q.len(), rows * heads * q_dim, "as many rows as out has")?;
        if let Some(q_rope) = q_rope {
            expect_len("q_rope", q_rope.len(), rows * heads * ROPE_DIM, "as many rows as out has")?;
        }
        if let Some(lse) = &lse {
            expect_len("lse", lse.len(), rows * heads, "as many rows as out has")?;
        }
        let args = DecodeArgs::new(layer, count(rows)?, softmax_scale);
        let q_rope: *const c_void = q_rope.map_or(ptr::null(), |s| s.as_ptr().cast());
        let lse: *mut c_void = lse.map_or(ptr::null_mut(), |s| s.as_mut_ptr().cast());
        // SAFETY: the slices have that many packed rows, `out` and `lse` are borrowed alone, nothing is kept after the
        // call, and the step is open.
        unsafe { self.plan.decode_raw(&args, q.as_ptr().cast(), q_rope, out.as_mut_ptr().cast(), lse, self.stream) }
    }

    /// CPU. Copies cached rows of one batch row to `out`, `[tokens.len(), 576]`, or `[tokens.len(), 512]`.
    pub fn gather<T: Element>(&mut self, layer: u32, row: u32, tokens: Range<u64>, out: &mut [T]) -> Result<()> {
        self.expect_host()?;
        self.plan.expect_format::<T>()?;
        let (n, format) = (tokens.end.saturating_sub(tokens.start), self.format());
        if n > (usize::MAX / format.qk_dim() / size_of::<T>()) as u64 {
            return Err(Error::new(Status::Range, format!("{} tokens are more than a sequence holds", n)));
        }
        expect_len("out", out.len(), n as usize * format.qk_dim(), format.row())?;
        let args = GatherArgs { layer, row, first: tokens.start, count: n, stride: 0 };
        // SAFETY: the slice has that many packed rows, nothing is kept after the call, and the step is open.
        unsafe { self.plan.gather_raw(&args, out.as_mut_ptr().cast(), self.stream) }
    }

    /// [`Plan::enqueue_append`] on the step's stream.
    ///
    /// # Safety
    ///
    /// The same.
    pub unsafe fn enqueue_append<S: Source>(
        &mut self,
        args: &AppendArgs,
        latent: DevicePtr<S>,
        rope: Option<DevicePtr<S>>,
    ) -> Result<()> {
        // SAFETY: the caller's promise, and the step is open.
        unsafe { self.plan.enqueue_append(args, latent, rope, self.stream) }
    }

    /// [`Plan::enqueue_decode`] on the step's stream.
    ///
    /// # Safety
    ///
    /// The same.
    pub unsafe fn enqueue_decode<T: Element>(
        &mut self,
        args: &DecodeArgs,
        q: DevicePtr<T>,
        q_rope: Option<DevicePtr<T>>,
        out: DevicePtr<T>,
        lse: Option<DevicePtr<f32>>,
    ) -> Result<()> {
        // SAFETY: the caller's promise, and the step is open.
        unsafe { self.plan.enqueue_decode(args, q, q_rope, out, lse, self.stream) }
    }

    /// [`Plan::enqueue_gather`] on the step's stream.
    ///
    /// # Safety
    ///
    /// The same.
    pub unsafe fn enqueue_gather<T: Element>(&mut self, args: &GatherArgs, destination: DevicePtr<T>) -> Result<()> {
        // SAFETY: the caller's promise, and the step is open.
        unsafe { self.plan.enqueue_gather(args, destination, self.stream) }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.plan.end(self.stream);
        }
    }
}
