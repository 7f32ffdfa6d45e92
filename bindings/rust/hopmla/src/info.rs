// SPDX-License-Identifier: Apache-2.0
//! What the library says about itself: plain structs, serialisable with the feature `serde`.

use crate::error::call;
use crate::{sys, Result};
use std::mem::{size_of, MaybeUninit};
use std::os::raw::c_char;

macro_rules! info {
    ($(#[$doc:meta])* $name:ident from $raw:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $convert:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// Has the library fill the C struct, and converts it.
            pub(crate) fn read(
                f: impl FnOnce(*mut sys::$raw, *mut sys::hopmla_error) -> sys::hopmla_status,
            ) -> Result<$name> {
                // SAFETY: all-zero bytes are a value of every public struct.
                let mut raw: sys::$raw = unsafe { MaybeUninit::zeroed().assume_init() };
                raw.struct_size = size_of::<sys::$raw>() as u32;
                call(|error| f(&mut raw, error))?;
                Ok($name { $($field: $convert(raw.$field),)* })
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                const FIELDS: usize = [$(stringify!($field)),*].len();
                let mut out = serializer.serialize_struct(stringify!($name), FIELDS)?;
                $(out.serialize_field(stringify!($field), &self.$field)?;)*
                out.end()
            }
        }
    };
}

fn same<T>(value: T) -> T {
    value
}

fn text(value: [c_char; 128]) -> String {
    let bytes: Vec<u8> = value.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn address<T>(value: *const T) -> u64 {
    value as usize as u64
}

fn address_mut<T>(value: *mut T) -> u64 {
    address(value)
}

info! {
    /// What a context runs on.
    ContextInfo from hopmla_context_info {
        /// `sys::HOPMLA_BACKEND_CPU` or `sys::HOPMLA_BACKEND_CUDA`.
        backend: i32 = same,
        /// Device ordinal; −1 on CPU.
        device: i32 = same,
        /// CUDA version that the driver supports, for example 13000; 0 on CPU.
        driver_version: i32 = same,
        /// Compute capability, major.
        compute_major: i32 = same,
        /// Compute capability, minor.
        compute_minor: i32 = same,
        /// Streaming multiprocessors, or threads of the CPU backend.
        units: i32 = same,
        /// Instruction set in use, `sys::HOPMLA_CPU_ISA_*`; 0 on CUDA.
        cpu_isa: i32 = same,
        /// Memory of the device, or of the machine.
        memory_bytes: u64 = same,
        /// Cache of the second level; 0 where not known.
        l2_bytes: u64 = same,
        /// Of the device or processor.
        name: String = text,
    }
}

info! {
    /// Measured ceilings of a device.
    Ceilings from hopmla_ceilings {
        /// Reading memory far larger than the cache.
        read_bytes_per_second: f64 = same,
        /// bf16 multiply-add with float32 sums, in the first milliseconds.
        flops_burst: f64 = same,
        /// The same after about two seconds of it, when power limits the clock.
        flops_sustained: f64 = same,
    }
}

info! {
    /// Where every byte of a pool is. Row t of page p of layer l starts at
    /// `base + l * layer_stride + p * page_stride + t * row_stride`.
    PoolLayout from hopmla_pool_layout {
        /// `sys::HOPMLA_KV_*`.
        format: i32 = same,
        /// `sys::HOPMLA_STORAGE_*`.
        storage: i32 = same,
        /// `sys::HOPMLA_BACKEND_*`: the kind of memory.
        backend: i32 = same,
        /// Device ordinal; −1 on CPU.
        device: i32 = same,
        /// Layers.
        layers: u32 = same,
        /// Tokens of a page.
        page_tokens: u32 = same,
        /// Bytes between rows.
        row_stride: u32 = same,
        /// Pages a layer.
        pages: u64 = same,
        /// Bytes between pages.
        page_stride: u64 = same,
        /// Bytes between layers.
        layer_stride: u64 = same,
        /// Bytes of the whole region, one piece.
        bytes: u64 = same,
        /// Bytes of the books in host memory, before any sequence exists.
        host_bytes: u64 = same,
        /// Address of the first byte; 0 without storage, or before creation.
        base: u64 = address_mut,
    }
}

info! {
    /// A pool's books.
    PoolStats from hopmla_pool_stats {
        /// Live sequences.
        sequences: u32 = same,
        /// All pages.
        pages_total: u64 = same,
        /// Pages that a reserve can take, pinned ones included.
        pages_free: u64 = same,
        /// Pages owned by a sequence, or the source of a copy until its sequence's next commit.
        pages_used: u64 = same,
        /// Of these, owned by more than one.
        pages_shared: u64 = same,
        /// Used or free, that a step not yet past its fence may touch.
        pages_pinned: u64 = same,
        /// Most ever used.
        pages_high_water: u64 = same,
        /// Tokens over all sequences, shared ones counted for each.
        tokens_committed: u64 = same,
        /// Tokens reserved and not yet committed.
        tokens_reserved: u64 = same,
        /// Copy-on-write copies booked and not yet enqueued.
        copies_owed: u64 = same,
    }
}

info! {
    /// A sequence.
    SeqInfo from hopmla_seq_info {
        /// Pages in its list.
        pages: u32 = same,
        /// Of these, owned by another sequence too.
        pages_shared: u32 = same,
        /// 1 when the next step with it copies its partial page.
        copy_owed: u32 = same,
        /// Tokens.
        committed: u64 = same,
        /// Tokens beyond the committed ones that there are pages for.
        reserved: u64 = same,
    }
}

info! {
    /// Addresses of a plan's tables on the device, for an engine's own kernels; to be read only, `int32` each. Rows beyond
    /// `count` have length 0.
    PlanTables from hopmla_plan_tables {
        /// Rows that the tables have room for.
        max_batch: u32 = same,
        /// Entries between rows of the block table.
        table_stride: u32 = same,
        /// `[1]` rows of the batch.
        count: u64 = address,
        /// `[max_batch]` tokens, those of the step counted.
        kv_lens: u64 = address,
        /// `[max_batch]` query tokens.
        q_lens: u64 = address,
        /// `[max_batch + 1]` first query row of each batch row.
        q_starts: u64 = address,
        /// `[max_batch + 1]` first appended token of each batch row.
        append_starts: u64 = address,
        /// `[max_batch, table_stride]` page ids.
        block_table: u64 = address,
    }
}
