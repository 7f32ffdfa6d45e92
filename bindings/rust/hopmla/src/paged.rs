// SPDX-License-Identifier: Apache-2.0
//! The raw entry: decode over the caller's own pages, tables and lengths, without a pool.

use crate::error::call;
use crate::{sys, Context, DecodeArgs, DevicePtr, Element, KvFormat, Lse, Result, Stream};
use std::ffi::c_void;
use std::mem::size_of;
use std::ptr;

/// The caller's cache and batch. Page and row strides in bytes, 0 for the packed ones.
#[derive(Clone, Copy, Debug)]
pub struct PagedDesc {
    /// Bytes of a cached token.
    pub format: KvFormat,
    /// Rows, 1 … 65535.
    pub batch: u32,
    /// Host maximum of the query lengths, 1 … 1024.
    pub max_q_tokens: u32,
    /// Host maximum of the lengths, 1 … 2^20.
    pub max_kv_tokens: u64,
    /// Query heads, 1 … 256.
    pub heads: u32,
    /// Convention of the log-sum-exp.
    pub lse: Lse,
    /// Streaming multiprocessors to use at most, 0: all.
    pub max_units: u32,
    /// Pages in the arrays; larger or negative table entries are refused.
    pub pages: u64,
    /// Entries between rows of the block table, at least `max_kv_tokens` / 64 rounded up.
    pub table_stride: u64,
    /// Between pages of latent rows; packed: 64 rows.
    pub latent_page_stride: u64,
    /// Between latent rows; packed: 1152 when they hold a rope part too, else 1024.
    pub latent_row_stride: u64,
    /// Between pages of rope rows; packed: 64 rows.
    pub rope_page_stride: u64,
    /// Between rope rows; packed: 128.
    pub rope_row_stride: u64,
}

impl PagedDesc {
    /// One query token a row over packed pages of whole rows.
    pub fn new(format: KvFormat, batch: u32, heads: u32, max_kv_tokens: u64, pages: u64) -> PagedDesc {
        PagedDesc {
            format,
            batch,
            max_q_tokens: 1,
            max_kv_tokens,
            heads,
            lse: Lse::Natural,
            max_units: 0,
            pages,
            table_stride: (max_kv_tokens + u64::from(sys::HOPMLA_PAGE_TOKENS) - 1) / u64::from(sys::HOPMLA_PAGE_TOKENS),
            latent_page_stride: 0,
            latent_row_stride: 0,
            rope_page_stride: 0,
            rope_row_stride: 0,
        }
    }

    fn raw(&self) -> sys::hopmla_paged_desc {
        sys::hopmla_paged_desc {
            struct_size: size_of::<sys::hopmla_paged_desc>() as u32,
            format: self.format.raw(),
            batch: self.batch,
            max_q_tokens: self.max_q_tokens,
            max_kv_tokens: self.max_kv_tokens,
            heads: self.heads,
            lse: self.lse.raw(),
            max_units: self.max_units,
            page_tokens: sys::HOPMLA_PAGE_TOKENS,
            pages: self.pages,
            table_stride: self.table_stride,
            latent_page_stride: self.latent_page_stride,
            latent_row_stride: self.latent_row_stride,
            rope_page_stride: self.rope_page_stride,
            rope_row_stride: self.rope_row_stride,
        }
    }

    /// Bytes of workspace that it needs. The workspace needs no zeroing, is 1024-byte aligned, and one a stream.
    pub fn workspace_bytes(&self, context: &Context) -> Result<u64> {
        let mut bytes = 0;
        // SAFETY: handle and struct are alive.
        call(|error| unsafe { sys::hopmla_decode_paged_workspace(context.raw(), &self.raw(), &mut bytes, error) })?;
        Ok(bytes)
    }

    /// Schedules a batch on the device, for every layer decoded with the same lengths and workspace afterwards. Clears
    /// the error word. `q_lens` `None` means `max_q_tokens` each; a length outside its range is cut and reported in the
    /// error word.
    ///
    /// # Safety
    ///
    /// `kv_lens` and `q_lens` are addresses of `batch` values and `workspace` of `workspace_bytes` bytes, in memory of the
    /// context's device. All stay alive, the workspace untouched by others, until the stream is past every decode with
    /// it, and past every launch of a graph that records this.
    pub unsafe fn prepare(
        &self,
        kv_lens: DevicePtr<i32>,
        q_lens: Option<DevicePtr<i32>>,
        workspace: DevicePtr<u8>,
        workspace_bytes: u64,
        stream: &Stream,
    ) -> Result<()> {
        let (context, desc) = (stream.context(), self.raw());
        let q_lens = q_lens.map_or(ptr::null(), |p| p.as_ptr() as *const i32);
        // SAFETY: the caller's promise.
        call(|error| unsafe {
            sys::hopmla_decode_paged_prepare(
                context.raw(),
                &desc,
                kv_lens.as_ptr() as *const i32,
                q_lens,
                workspace.as_ptr(),
                workspace_bytes,
                stream.raw(),
                error,
            )
        })
    }

    /// Decodes one layer of the batch that was prepared with the same description and workspace. Entries of the block
    /// table outside 0 … pages − 1 are reported in the error word, and the page counts as all zeros. Tensors as for
    /// [`crate::Plan::enqueue_decode`]; `args.layer` is ignored.
    ///
    /// # Safety
    ///
    /// As for [`crate::Plan::enqueue_decode`], for the cache's arrays too; the workspace is as `prepare` left it.
    #[allow(clippy::too_many_arguments)] // tensors, as the C function's
    pub unsafe fn decode<T: Element>(
        &self,
        args: &DecodeArgs,
        cache: &PagedCache<T>,
        q: DevicePtr<T>,
        q_rope: Option<DevicePtr<T>>,
        out: DevicePtr<T>,
        lse: Option<DevicePtr<f32>>,
        stream: &Stream,
    ) -> Result<()> {
        let (context, desc, args) = (stream.context(), self.raw(), args.raw());
        let constant = |p: Option<DevicePtr<T>>| p.map_or(ptr::null(), |p| p.as_ptr() as *const c_void);
        // SAFETY: the caller's promise.
        call(|error| unsafe {
            sys::hopmla_decode_paged(
                context.raw(),
                &desc,
                &args,
                cache.latent.as_ptr(),
                constant(cache.rope),
                cache.block_table.as_ptr() as *const i32,
                q.as_ptr(),
                constant(q_rope),
                out.as_ptr(),
                lse.map_or(ptr::null_mut(), DevicePtr::as_ptr),
                cache.workspace.as_ptr(),
                cache.workspace_bytes,
                stream.raw(),
                error,
            )
        })
    }
}

/// Arrays of a paged cache of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct PagedCache<T> {
    /// Pages of `[64, 512]` latent values, or of `[64, 576]` when there is no `rope` and the format has that part.
    pub latent: DevicePtr<T>,
    /// Pages of `[64, 64]` rotary values; none where the format has no rope part.
    pub rope: Option<DevicePtr<T>>,
    /// `[batch, table_stride]` page ids.
    pub block_table: DevicePtr<i32>,
    /// The one that was prepared.
    pub workspace: DevicePtr<u8>,
    /// Its size.
    pub workspace_bytes: u64,
}

/// What the device found wrong since the last prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagedErrors(u32);

impl PagedErrors {
    /// Reads the error word of a workspace. Synchronises the stream.
    ///
    /// # Safety
    ///
    /// The workspace is alive and was prepared.
    pub unsafe fn read(workspace: DevicePtr<u8>, stream: &Stream) -> Result<PagedErrors> {
        let mut word = 0;
        // SAFETY: the caller's promise.
        call(|error| unsafe {
            sys::hopmla_decode_paged_errors(stream.context().raw(), workspace.as_ptr(), &mut word, stream.raw(), error)
        })?;
        Ok(PagedErrors(word))
    }

    /// Nothing was wrong.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// A table entry outside the pages.
    pub fn bad_page(self) -> bool {
        self.0 & sys::HOPMLA_PAGED_BAD_PAGE != 0
    }

    /// A length outside its range.
    pub fn bad_length(self) -> bool {
        self.0 & sys::HOPMLA_PAGED_BAD_LENGTH != 0
    }

    /// Query rows beyond `args.rows`: they were not written.
    pub fn bad_rows(self) -> bool {
        self.0 & sys::HOPMLA_PAGED_BAD_ROWS != 0
    }
}
