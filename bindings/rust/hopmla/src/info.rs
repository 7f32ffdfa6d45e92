// SPDX-License-Identifier: Apache-2.0
//! What the library says about itself: plain structs, serialisable with the feature `serde`.

use crate::error::call;
use crate::{sys, FigureSource, Result};
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

fn text<const N: usize>(value: [c_char; N]) -> String {
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
        /// When they were measured, in seconds since 1970; 0 where not known.
        unix_time: i64 = same,
        /// Clock of the multiprocessors during the sustained part; 0 where not known.
        sustained_mhz: f64 = same,
        /// Power of the card then; 0 where not known.
        sustained_watts: f64 = same,
        /// The driver's release; empty where not known.
        driver: String = text,
    }
}

impl Ceilings {
    /// Ceilings that were measured before, in bytes and FLOPs a second.
    pub fn new(read_bytes_per_second: f64, flops_burst: f64, flops_sustained: f64) -> Ceilings {
        Ceilings {
            read_bytes_per_second,
            flops_burst,
            flops_sustained,
            unix_time: 0,
            sustained_mhz: 0.0,
            sustained_watts: 0.0,
            driver: String::new(),
        }
    }

    pub(crate) fn raw(&self) -> sys::hopmla_ceilings {
        let mut driver = [0; 32];
        for (to, &from) in driver.iter_mut().zip(self.driver.as_bytes()).take(31) {
            *to = from as c_char;
        }
        sys::hopmla_ceilings {
            struct_size: size_of::<sys::hopmla_ceilings>() as u32,
            reserved: 0,
            read_bytes_per_second: self.read_bytes_per_second,
            flops_burst: self.flops_burst,
            flops_sustained: self.flops_sustained,
            unix_time: self.unix_time,
            sustained_mhz: self.sustained_mhz,
            sustained_watts: self.sustained_watts,
            driver,
        }
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
        /// Of the plan in the process, as records and totals have it.
        number: u64 = same,
    }
}

fn yes(value: i32) -> bool {
    value != 0
}

info! {
    /// What a profiler measures here.
    ProfilerInfo from hopmla_profiler_info {
        /// Whether it is started.
        started: bool = yes,
        /// Where device times come from.
        time_source: FigureSource = FigureSource::from_raw,
        /// Hardware counters that are read, `sys::HOPMLA_COUNTERS_*`.
        counters: i32 = same,
        /// Whether a tool listens to NVTX ranges.
        nvtx: bool = yes,
        /// Records that may be under way or wait to be read.
        capacity: u32 = same,
        /// Records made since creation, dropped ones too.
        recorded: u64 = same,
        /// Of these, those that found the ring full.
        dropped: u64 = same,
        /// Made and not yet read.
        waiting: u64 = same,
        /// Finished without the device time that `time_source` promises.
        untimed: u64 = same,
        /// Why there are no activity times though asked for, and how to get them; else empty.
        activity_missing: String = text,
        /// The same for counters.
        counters_missing: String = text,
    }
}

info! {
    /// Sums over finished records since a profiler's creation, read or not.
    Totals from hopmla_totals {
        /// Number of the plan; 0: all plans and raw calls.
        plan: u64 = same,
        /// Records.
        records: u64 = same,
        /// Records of the kind that are in none of the others; 0 for one plan: not known.
        dropped: u64 = same,
        /// Calls, those in graphs too.
        calls: u64 = same,
        /// Records with a device time: what the times below are of.
        timed: u64 = same,
        /// FLOPs of all records whose work is known.
        flops: u64 = same,
        /// Bytes of the same.
        bytes: u64 = same,
        /// Of these FLOPs, those with a device time.
        timed_flops: u64 = same,
        /// Of these bytes, those with a device time.
        timed_bytes: u64 = same,
        /// Sum of device times.
        time_ns: i64 = same,
        /// Shortest.
        time_min_ns: i64 = same,
        /// Longest.
        time_max_ns: i64 = same,
        /// Median, within 5 %.
        time_p50_ns: i64 = same,
        /// 90th percentile, within 5 %.
        time_p90_ns: i64 = same,
        /// 99th percentile, within 5 %.
        time_p99_ns: i64 = same,
        /// Sum of bounds over timed records whose bound is known.
        bound_ns: f64 = same,
        /// Their times: `bound_ns` / `bound_time_ns` is the mean fraction.
        bound_time_ns: f64 = same,
        /// Records with DRAM counters whose work is known.
        counted: u64 = same,
        /// Their analytic bytes.
        counted_bytes: u64 = same,
        /// Bytes read from DRAM.
        dram_read_bytes: u64 = same,
        /// Bytes written to DRAM.
        dram_write_bytes: u64 = same,
        /// Bytes asked of L2.
        l2_bytes: u64 = same,
        /// Analytic FLOPs of records with tensor counters.
        counted_flops: u64 = same,
        /// FLOPs that the tensor cores counted.
        tensor_flops: u64 = same,
        /// As `bytes`, cached tokens that several rows share counted once: what bounds are computed from.
        unique_bytes: u64 = same,
        /// Of these bytes, those with a device time.
        timed_unique_bytes: u64 = same,
        /// Device times of records whose work is known: `timed_bytes` over it is a rate.
        timed_work_ns: i64 = same,
    }
}
