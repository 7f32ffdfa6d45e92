// SPDX-License-Identifier: Apache-2.0
//! Paged latent-KV pools and Multi-head Latent Attention (MLA) decode for LLM inference engines, on CPU and NVIDIA
//! Hopper: a safe wrapper of `libhopmla`.
//!
//! A [`Context`] is a backend on a device, a [`Pool`] holds pages of 64 cached tokens, a [`Sequence`] owns a list of them,
//! and a [`Plan`] runs an engine's steps over it:
//!
//! ```
//! use hopmla::{Backend, Bf16, Context, KvFormat, Plan, PlanOptions, Pool, PoolOptions, Stream};
//!
//! # fn main() -> hopmla::Result<()> {
//! let context = Context::new(Backend::Cpu)?;
//! let pool = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 1, 16))?;
//! let mut plan = Plan::new(&pool, &PlanOptions::new(4, 8, 1024))?;
//! let stream = Stream::default_of(&context);
//!
//! let seq = pool.create_sequence()?;
//! seq.reserve(3)?;
//! let rows = vec![Bf16::from_f32(0.5); 3 * hopmla::QK_DIM]; // three tokens of one layer
//! let q = vec![Bf16::from_f32(0.25); 8 * hopmla::QK_DIM]; // one query token, eight heads
//! let mut out = vec![Bf16::default(); 8 * hopmla::LATENT_DIM];
//!
//! let mut step = plan.begin(&[seq.id()], &[3], &[1], &stream)?;
//! step.append_rows(0, &rows)?;
//! step.decode(0, 0.1352, &q, &mut out, None)?;
//! step.end()?;
//! seq.commit(3)?;
//! assert_eq!(out[0].to_f32(), 0.5);
//! # Ok(())
//! # }
//! ```
//!
//! Handles may be dropped in any order: each keeps alive what it is made from. What cannot be shared or moved between
//! threads by the library's rules is not `Sync` or `Send` here. Slices are for the CPU backend, where work has finished
//! when a call returns; on CUDA work outlives any borrow, so the `enqueue_*` methods take addresses and are `unsafe`.

#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod batch;
mod buffer;
mod callback;
mod context;
#[cfg(feature = "cudarc")]
pub mod cuda;
mod element;
mod error;
mod export;
mod graph;
mod info;
mod paged;
mod plan;
mod pool;
mod profile;
mod record;
mod sequence;
mod step;
mod stream;

pub use buffer::{DeviceBuffer, DevicePtr, PinnedBuffer};
pub use callback::{Allocator, LogLevel, MemoryKind};
pub use context::{Backend, Context, ContextOptions, CpuIsa};
#[cfg(feature = "cudarc")]
pub use cuda::{CudaRead, CudaWrite};
pub use element::{Bf16, Element, Plain, Source, F16};
pub use error::{Detail, Error, Result, Status};
pub use export::{Export, ExportFormat};
pub use graph::{Event, Graph};
pub use info::{Ceilings, ContextInfo, PlanTables, PoolLayout, PoolStats, ProfilerInfo, SeqInfo, Totals};
pub use paged::{PagedCache, PagedDesc, PagedErrors};
pub use plan::{AppendArgs, DecodeArgs, GatherArgs, Lse, Plan, PlanOptions, Strides};
pub use pool::{KvFormat, Pool, PoolOptions, Storage};
pub use profile::{Counters, LaunchNote, Profiler, ProfilerOptions};
pub use record::{CallKind, FigureSource, Record};
pub use sequence::{SeqId, Sequence};
pub use step::Step;
pub use stream::Stream;

/// The declarations underneath.
pub use hopmla_sys as sys;

/// Tokens of a page.
pub const PAGE_TOKENS: usize = sys::HOPMLA_PAGE_TOKENS as usize;
/// Values of a cached token's latent part, and of a head's output.
pub const LATENT_DIM: usize = sys::HOPMLA_LATENT_DIM as usize;
/// Values of a cached token's rotary part.
pub const ROPE_DIM: usize = sys::HOPMLA_ROPE_DIM as usize;
/// Values of a cached token, and of a head's query; [`KvFormat::qk_dim`] for any format.
pub const QK_DIM: usize = sys::HOPMLA_QK_DIM as usize;

/// Version of the library in use: major, minor, patch. May be called from any thread.
pub fn version() -> (u32, u32, u32) {
    // SAFETY: takes nothing and is thread-safe.
    let packed = unsafe { sys::hopmla_version() };
    (packed >> 16, packed >> 8 & 0xff, packed & 0xff)
}
