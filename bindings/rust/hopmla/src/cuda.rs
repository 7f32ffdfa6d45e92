// SPDX-License-Identifier: Apache-2.0
//! cudarc's contexts, streams and slices, as engines built on candle have them.
//!
//! [`ContextOptions::cudarc`] and [`Stream::from_cudarc`] keep the `Arc`s alive, so both are safe. The `*_cuda` methods of
//! [`Step`] take slices and views and are safe too, although their work outlives the call: they hold the guards that
//! cudarc gives for an address until the work is enqueued, and with them cudarc orders all later use of the memory, its
//! end included, after that work. An engine that has switched that bookkeeping off (`disable_event_tracking`, which is
//! `unsafe`) has promised to order its streams itself.
//!
//! A graph holds bare addresses and no guard, so these methods fail with [`Status::Capture`] while their stream is being
//! captured: what is to be recorded goes through [`crate::Plan::enqueue_append`] and its kin, which are `unsafe`, with
//! [`DevicePtr::from_address`] of what cudarc's `device_ptr` says. (cudarc lets any thread begin a capture of a shared
//! stream at any time, safely, and launch what came of it. Nothing here can keep one from beginning between the question
//! and the enqueue; do not capture a stream on one thread that another one uses.)

use crate::batch::{count, expect_len};
use crate::{
    AppendArgs, Backend, Context, ContextOptions, DecodeArgs, DevicePtr, Element, Error, GatherArgs, Result, Source,
    Status, Step, Stream, LATENT_DIM, ROPE_DIM,
};
use ::cudarc::driver::{
    sys::CUstreamCaptureStatus, CudaContext, CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr as Read,
    DevicePtrMut as Write, SyncOnDrop,
};
use std::ops::Range;
use std::sync::Arc;

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

/// Device memory of cudarc's that may be read. Sealed: cudarc's own traits may be implemented by anybody, safely, with any
/// address.
pub trait CudaRead<T>: Read<T> + Sealed {}

/// Device memory of cudarc's that may be written. Sealed.
pub trait CudaWrite<T>: Write<T> + Sealed {}

impl<T> Sealed for CudaSlice<T> {}
impl<T> Sealed for CudaView<'_, T> {}
impl<T> Sealed for CudaViewMut<'_, T> {}
impl<T> CudaRead<T> for CudaSlice<T> {}
impl<T> CudaRead<T> for CudaView<'_, T> {}
impl<T> CudaRead<T> for CudaViewMut<'_, T> {}
impl<T> CudaWrite<T> for CudaSlice<T> {}
impl<T> CudaWrite<T> for CudaViewMut<'_, T> {}

impl ContextOptions {
    /// Uses cudarc's context, and keeps it alive. On [`Backend::Cpu`] it is not looked at.
    pub fn cudarc(mut self, context: &Arc<CudaContext>) -> Self {
        self.keep = Some(Arc::clone(context) as _);
        // SAFETY: a live context, which is kept until everything made from it has gone.
        unsafe { self.cu_context(context.cu_ctx().cast()) }
    }
}

impl Context {
    /// The CUDA backend on cudarc's context, which is kept alive.
    pub fn from_cudarc(context: &Arc<CudaContext>) -> Result<Context> {
        ContextOptions::new(Backend::Cuda).cudarc(context).create()
    }
}

impl Stream {
    /// cudarc's stream, which is kept alive. It has to be of the context's device context; the first call that uses it says
    /// so with [`Status::Mismatch`] when it is not.
    pub fn from_cudarc(context: &Context, stream: &Arc<CudaStream>) -> Result<Stream> {
        if context.backend() != Backend::Cuda {
            return Err(Error::new(Status::Mismatch, "cudarc's streams are for the CUDA backend"));
        }
        Ok(Stream::wrap_cudarc(context, Arc::clone(stream)))
    }
}

fn device<T>(address: u64) -> DevicePtr<T> {
    DevicePtr::from_address(address)
}

impl Step<'_> {
    /// The step's stream as cudarc knows it, when its work is run and not recorded.
    fn cuda_stream(&self) -> Result<Arc<CudaStream>> {
        let stream = self.stream().cudarc().ok_or_else(|| {
            Error::new(
                Status::Mismatch,
                "the step's stream is not one of Stream::from_cudarc, which could order memory",
            )
        })?;
        match stream.capture_status() {
            Ok(CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE) => Ok(Arc::clone(stream)),
            Ok(_) => Err(Error::new(
                Status::Capture,
                "the stream is being captured, and a slice need not live until the graph is launched: use enqueue_*",
            )),
            Err(error) => Err(Error::new(Status::Driver, format!("cuStreamIsCapturing: {:?}", error))),
        }
    }

    /// CUDA. As [`append`](Step::append), from device memory: `latent` is `[tokens, 512]`, `rope` `[tokens, 64]`. For pools
    /// without a rope part there is [`append_rows_cuda`](Step::append_rows_cuda).
    pub fn append_cuda<S: Source>(
        &mut self,
        layer: u32,
        latent: &impl CudaRead<S>,
        rope: &impl CudaRead<S>,
    ) -> Result<()> {
        let stream = self.cuda_stream()?;
        let tokens = latent.len() / LATENT_DIM;
        expect_len("latent", latent.len(), tokens * LATENT_DIM, "whole rows of 512")?;
        expect_len("rope", rope.len(), tokens * ROPE_DIM, "64 for each latent row")?;
        let args = AppendArgs { layer, tokens: tokens as u64, ..AppendArgs::default() };
        let (latent, _latent) = read(latent, &stream, "latent")?;
        let (rope, _rope) = read(rope, &stream, "rope")?;
        // SAFETY: that many rows of this context's memory, which the guards keep until the stream is past the call.
        unsafe { self.enqueue_append::<S>(&args, latent, Some(rope)) }
    }

    /// CUDA. As [`append_rows`](Step::append_rows), from device memory: whole rows `[tokens, 576]`, or
    /// `[tokens, 512]`.
    pub fn append_rows_cuda<S: Source>(&mut self, layer: u32, rows: &impl CudaRead<S>) -> Result<()> {
        let stream = self.cuda_stream()?;
        let format = self.format();
        let tokens = rows.len() / format.qk_dim();
        expect_len("rows", rows.len(), tokens * format.qk_dim(), format.row())?;
        let args = AppendArgs::of_rows(layer, tokens, format);
        let (rows, _rows) = read::<S>(rows, &stream, "rows")?;
        // SAFETY: as in `append_cuda`; the rope part of a row starts 512 elements on.
        unsafe { self.enqueue_append(&args, rows, (format.rope_dim() > 0).then(|| rows.add(LATENT_DIM))) }
    }

    /// CUDA. As [`decode`](Step::decode), over device memory.
    pub fn decode_cuda<T: Element>(
        &mut self,
        layer: u32,
        softmax_scale: f32,
        q: &impl CudaRead<T>,
        out: &mut impl CudaWrite<T>,
        lse: Option<&mut CudaViewMut<'_, f32>>,
    ) -> Result<()> {
        self.decode_device(layer, softmax_scale, (q, self.format().qk_dim()), None::<&CudaSlice<T>>, out, lse)
    }

    /// CUDA. As [`decode_split`](Step::decode_split), over device memory.
    pub fn decode_split_cuda<T: Element>(
        &mut self,
        layer: u32,
        softmax_scale: f32,
        q: &impl CudaRead<T>,
        q_rope: &impl CudaRead<T>,
        out: &mut impl CudaWrite<T>,
        lse: Option<&mut CudaViewMut<'_, f32>>,
    ) -> Result<()> {
        self.decode_device(layer, softmax_scale, (q, LATENT_DIM), Some(q_rope), out, lse)
    }

    fn decode_device<T: Element>(
        &mut self,
        layer: u32,
        softmax_scale: f32,
        (q, q_dim): (&impl CudaRead<T>, usize),
        q_rope: Option<&impl CudaRead<T>>,
        out: &mut impl CudaWrite<T>,
        lse: Option<&mut CudaViewMut<'_, f32>>,
    ) -> Result<()> {
        let stream = self.cuda_stream()?;
        let heads = self.heads();
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
        let (q, _q) = read(q, &stream, "q")?;
        let q_rope = q_rope.map(|q_rope| read(q_rope, &stream, "q_rope")).transpose()?;
        let (out, _out) = write(out, &stream, "out")?;
        let lse = lse.map(|lse| write(lse, &stream, "lse")).transpose()?;
        let (q_rope, _q_rope) = q_rope.map_or((None, None), |(at, guard)| (Some(at), Some(guard)));
        let (lse, _lse) = lse.map_or((None, None), |(at, guard)| (Some(at), Some(guard)));
        // SAFETY: that many packed rows of this context's memory, which the guards keep until the stream is past the call;
        // `out` and `lse` are borrowed alone.
        unsafe { self.enqueue_decode::<T>(&args, q, q_rope, out, lse) }
    }

    /// CUDA. As [`gather`](Step::gather), to device memory.
    pub fn gather_cuda<T: Element>(
        &mut self,
        layer: u32,
        row: u32,
        tokens: Range<u64>,
        out: &mut impl CudaWrite<T>,
    ) -> Result<()> {
        let stream = self.cuda_stream()?;
        let (n, format) = (tokens.end.saturating_sub(tokens.start), self.format());
        if n > (usize::MAX / format.qk_dim()) as u64 {
            return Err(Error::new(Status::Range, format!("{} tokens are more than a sequence holds", n)));
        }
        expect_len("out", out.len(), n as usize * format.qk_dim(), format.row())?;
        let args = GatherArgs { layer, row, first: tokens.start, count: n, stride: 0 };
        let (out, _out) = write::<T>(out, &stream, "out")?;
        // SAFETY: as in `decode_device`.
        unsafe { self.enqueue_gather(&args, out) }
    }
}

type Guarded<'a, T> = (DevicePtr<T>, SyncOnDrop<'a>);

fn expect_context(own: &CudaStream, other: &CudaStream, name: &str) -> Result<()> {
    if own.context().cu_ctx() == other.context().cu_ctx() {
        return Ok(());
    }
    Err(Error::new(Status::Mismatch, format!("{} is memory of another CUDA context than the stream's", name)))
}

/// The address to read from, once the stream waits for earlier writes. Drop the guard after the enqueue.
fn read<'a, T>(memory: &'a impl CudaRead<T>, stream: &'a CudaStream, name: &str) -> Result<Guarded<'a, T>> {
    expect_context(stream, memory.stream(), name)?;
    let (address, guard) = memory.device_ptr(stream);
    Ok((device(address), guard))
}

/// The address to write to, once the stream waits for earlier use. Drop the guard after the enqueue.
fn write<'a, T>(memory: &'a mut impl CudaWrite<T>, stream: &'a CudaStream, name: &str) -> Result<Guarded<'a, T>> {
    expect_context(stream, memory.stream(), name)?;
    let (address, guard) = memory.device_ptr_mut(stream);
    Ok((device(address), guard))
}
