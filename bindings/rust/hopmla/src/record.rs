// SPDX-License-Identifier: Apache-2.0
//! What a profiler records of a call.

use crate::sys;
use std::fmt;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $raw:ident, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A value that this crate does not know.
            Unknown(i32),
        }

        impl $name {
            #[allow(dead_code)]
            pub(crate) fn from_raw(value: i32) -> $name {
                match value {
                    $(sys::$raw => $name::$variant,)*
                    other => $name::Unknown(other),
                }
            }

            #[allow(dead_code)]
            pub(crate) fn raw(self) -> i32 {
                match self {
                    $($name::$variant => sys::$raw,)*
                    $name::Unknown(other) => other,
                }
            }

            /// Its name, as exports have it.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                    $name::Unknown(_) => "unknown",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

names! {
    /// What a record or a total is about.
    CallKind {
        /// Append.
        Append = HOPMLA_CALL_APPEND, "append";
        /// Decode, of a plan or of raw pages.
        Decode = HOPMLA_CALL_DECODE, "decode";
        /// Gather.
        Gather = HOPMLA_CALL_GATHER, "gather";
        /// The start of a step, or the preparation of raw pages.
        Update = HOPMLA_CALL_UPDATE, "update";
        /// A launch of a graph that holds appends and decodes.
        Launch = HOPMLA_CALL_LAUNCH, "launch";
    }
}

impl CallKind {
    /// All of them.
    pub const ALL: [CallKind; 5] =
        [CallKind::Append, CallKind::Decode, CallKind::Gather, CallKind::Update, CallKind::Launch];
}

names! {
    /// Where a figure comes from.
    FigureSource {
        /// There is none.
        None = HOPMLA_SOURCE_NONE, "none";
        /// Computed from shapes and lengths.
        Analytic = HOPMLA_SOURCE_ANALYTIC, "analytic";
        /// The time of the call itself, on the CPU backend.
        Host = HOPMLA_SOURCE_HOST, "host";
        /// A pair of CUDA events.
        Event = HOPMLA_SOURCE_EVENT, "event";
        /// CUPTI's kernel times.
        Activity = HOPMLA_SOURCE_ACTIVITY, "activity";
        /// CUPTI's hardware counters.
        Counter = HOPMLA_SOURCE_COUNTER, "counter";
    }
}

/// One call, or one launch of a graph with the sums of the calls in it. What could not be measured is `None`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Record(pub(crate) sys::hopmla_record);

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident: $type:ty = |$r:ident| $value:expr;)*) => {
        impl Record {
            $($(#[$doc])* pub fn $name(&self) -> $type {
                let $r = &self.0;
                $value
            })*
        }

        impl fmt::Debug for Record {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Record")$(.field(stringify!($name), &self.$name()))*.finish()
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for Record {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                const FIELDS: usize = [$(stringify!($name)),*].len();
                let mut out = serializer.serialize_struct("Record", FIELDS)?;
                $(out.serialize_field(stringify!($name), &self.$name())?;)*
                out.end()
            }
        }
    };
}

fn given<T>(record: &sys::hopmla_record, bits: u32, value: T) -> Option<T> {
    (record.valid & bits == bits).then_some(value)
}

use sys::{
    HOPMLA_VALID_BOUND as BOUND, HOPMLA_VALID_CUSTOM as CUSTOM, HOPMLA_VALID_DRAM as DRAM,
    HOPMLA_VALID_TENSOR as TENSOR, HOPMLA_VALID_TIME as TIME, HOPMLA_VALID_WORK as WORK,
};

figures! {
    /// What it is about.
    kind: CallKind = |r| CallKind::from_raw(r.kind);
    /// 1, 2, … in the order of the calls; a gap was dropped.
    id: u64 = |r| r.id;
    /// Number of the plan in the process, from 1; 0: raw.
    plan: u64 = |r| r.plan;
    /// Step of the plan, from 1.
    step: u64 = |r| r.step;
    /// 1, or the calls in the graph.
    calls: u32 = |r| r.calls;
    /// Layer of one call.
    layer: u32 = |r| r.layer;
    /// Batch rows.
    batch: u32 = |r| r.batch;
    /// Query tokens (decode, launch), tokens (append, gather), batch rows (update).
    rows: u32 = |r| r.rows;
    /// Query heads.
    heads: u32 = |r| r.heads;
    /// Whether it is a launch of a graph.
    of_graph: bool = |r| r.flags & sys::HOPMLA_RECORD_GRAPH != 0;
    /// Whether it is without a pool.
    raw_pages: bool = |r| r.flags & sys::HOPMLA_RECORD_RAW != 0;
    /// Where the device time comes from.
    time_source: FigureSource = |r| FigureSource::from_raw(r.time_source);
    /// Cached tokens of all batch rows that decode, in one layer.
    kv_tokens: Option<u64> = |r| given(r, WORK, r.kv_tokens);
    /// FLOPs.
    flops: Option<u64> = |r| given(r, WORK, r.flops);
    /// Bytes.
    bytes: Option<u64> = |r| given(r, WORK, r.bytes);
    /// The same with cached tokens that several batch rows share counted once.
    unique_bytes: Option<u64> = |r| given(r, WORK, r.unique_bytes);
    /// `CLOCK_MONOTONIC` when the call came, in nanoseconds.
    host_begin_ns: i64 = |r| r.host_begin_ns;
    /// Nanoseconds that the call took.
    host_ns: i64 = |r| r.host_ns;
    /// When the device began, on the host's clock.
    device_begin_ns: Option<i64> = |r| given(r, TIME, r.device_begin_ns);
    /// Device time.
    device_ns: Option<i64> = |r| given(r, TIME, r.device_ns);
    /// FLOPs a byte.
    intensity: Option<f64> = |r| given(r, WORK, r.intensity);
    /// Bytes a second of device time.
    bytes_per_second: Option<f64> = |r| given(r, WORK | TIME, r.bytes_per_second);
    /// FLOPs a second of device time.
    flops_per_second: Option<f64> = |r| given(r, WORK | TIME, r.flops_per_second);
    /// The longer of unique bytes at the read ceiling and FLOPs at the higher FLOP ceiling.
    bound_ns: Option<f64> = |r| given(r, BOUND, r.bound_ns);
    /// Bound / device time.
    fraction: Option<f64> = |r| given(r, BOUND | TIME, r.fraction);
    /// Bytes read from DRAM.
    dram_read_bytes: Option<u64> = |r| given(r, DRAM, r.dram_read_bytes);
    /// Bytes written to DRAM.
    dram_write_bytes: Option<u64> = |r| given(r, DRAM, r.dram_write_bytes);
    /// Bytes asked of L2 by the multiprocessors.
    l2_bytes: Option<u64> = |r| given(r, DRAM, r.l2_bytes);
    /// Elapsed cycles.
    elapsed_cycles: Option<u64> = |r| given(r, DRAM, r.elapsed_cycles);
    /// FLOPs that the tensor cores counted.
    tensor_flops: Option<u64> = |r| given(r, TENSOR, r.tensor_flops);
    /// Active cycles of a multiprocessor on average.
    active_cycles: Option<f64> = |r| given(r, TENSOR, r.active_cycles);
    /// Cycles in which its tensor cores worked, on average.
    tensor_cycles: Option<f64> = |r| given(r, TENSOR, r.tensor_cycles);
    /// The metrics that were asked for by name, in their order.
    custom: Option<[f64; 8]> = |r| given(r, CUSTOM, r.custom);
}
