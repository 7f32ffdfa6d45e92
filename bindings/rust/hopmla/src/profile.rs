// SPDX-License-Identifier: Apache-2.0
//! Profilers: a record of every call, totals, and launches of graphs told to them.

use crate::batch::count;
use crate::error::call;
use crate::record::{CallKind, Record};
use crate::{callback, sys, Ceilings, Context, Error, Plan, ProfilerInfo, Result, Status, Step, Stream, Totals};
use std::ffi::CString;
use std::fmt;
use std::mem::{size_of, MaybeUninit};
use std::ptr::{self, NonNull};

/// Sets of hardware counters; the counted call is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counters {
    /// None.
    None,
    /// DRAM bytes, L2 bytes, elapsed cycles.
    Light,
    /// And tensor operations, active cycles, tensor cycles.
    Full,
    /// CUPTI's metrics of these names, at most 8.
    Custom(Vec<String>),
}

/// How a profiler is made. The default records shapes, bytes and FLOPs, and on CPU the host's time.
#[derive(Clone, Debug)]
pub struct ProfilerOptions {
    clocks: u32,
    counters: Counters,
    sample_period: u32,
    capacity: u32,
    flags: u32,
    cupti_path: Option<String>,
}

impl Default for ProfilerOptions {
    fn default() -> Self {
        ProfilerOptions {
            clocks: 0,
            counters: Counters::None,
            sample_period: 1,
            capacity: 0,
            flags: 0,
            cupti_path: None,
        }
    }
}

impl ProfilerOptions {
    /// The default.
    pub fn new() -> Self {
        ProfilerOptions::default()
    }

    /// Two CUDA events around each call. Ignored on CPU.
    pub fn events(mut self) -> Self {
        self.clocks |= sys::HOPMLA_CLOCK_EVENTS;
        self
    }

    /// CUPTI's kernel times; where they are given, they take the place of events.
    pub fn activity(mut self) -> Self {
        self.clocks |= sys::HOPMLA_CLOCK_ACTIVITY;
        self
    }

    /// Hardware counters.
    pub fn counters(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    /// Counters are read for every n-th call of a kind.
    pub fn sample_period(mut self, n: u32) -> Self {
        self.sample_period = n;
        self
    }

    /// Records that may be under way or wait to be read, 1 … 2^24, rounded up to a power of two; 0: 65,536.
    pub fn capacity(mut self, records: u32) -> Self {
        self.capacity = records;
        self
    }

    /// Finished records go to the totals and are not kept.
    pub fn totals_only(mut self) -> Self {
        self.flags |= sys::HOPMLA_PROFILER_TOTALS_ONLY;
        self
    }

    /// A libcupti.so to open before all others.
    pub fn cupti_path(mut self, path: impl Into<String>) -> Self {
        self.cupti_path = Some(path.into());
        self
    }
}

fn c_string(name: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Status::Argument, format!("{} has a NUL in it", name)))
}

/// What a graph holds, for [`Step::noted`]: replays call nothing that could be recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchNote {
    /// Appends with the step's plan in the graph.
    pub appends: u32,
    /// Decodes.
    pub decodes: u32,
    /// Whether the appends' sources are `f32`, not the pool's own.
    pub from_f32: bool,
}

/// Records what calls cost: bytes and FLOPs by shape, device time and hardware counters where the machine permits, totals
/// of them. Calls never fail, wait or allocate because of it. It keeps its context alive, and may be used from any thread.
/// One of a context can be started at a time.
pub struct Profiler {
    raw: NonNull<sys::hopmla_profiler>,
    context: Context,
}

// SAFETY: every function of a profiler is thread-safe.
unsafe impl Send for Profiler {}
// SAFETY: the same.
unsafe impl Sync for Profiler {}

impl Drop for Profiler {
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: the last user of the handle; the context is alive.
            unsafe { sys::hopmla_profiler_destroy(self.raw.as_ptr()) };
        }
    }
}

impl Profiler {
    /// Creates a profiler, stopped. What the machine cannot give is left out: [`describe`](Profiler::describe) says what
    /// and why. Not during a capture.
    pub fn new(context: &Context, options: &ProfilerOptions) -> Result<Profiler> {
        let (counters, metrics) = match &options.counters {
            Counters::None => (sys::HOPMLA_COUNTERS_NONE, None),
            Counters::Light => (sys::HOPMLA_COUNTERS_LIGHT, None),
            Counters::Full => (sys::HOPMLA_COUNTERS_FULL, None),
            Counters::Custom(names) => (sys::HOPMLA_COUNTERS_CUSTOM, Some(c_string("a metric", &names.join(","))?)),
        };
        let path = options.cupti_path.as_deref().map(|path| c_string("cupti_path", path)).transpose()?;
        let raw = sys::hopmla_profiler_options {
            struct_size: size_of::<sys::hopmla_profiler_options>() as u32,
            clocks: options.clocks,
            counters,
            sample_period: options.sample_period,
            capacity: options.capacity,
            flags: options.flags,
            metrics: metrics.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
            cupti_path: path.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
        };
        let mut made = ptr::null_mut();
        // SAFETY: the handle is alive, and the strings are read before the call returns.
        call(|error| unsafe { sys::hopmla_profiler_create(context.raw(), &raw, &mut made, error) })?;
        let raw = NonNull::new(made).ok_or_else(|| Error::new(Status::Internal, "no profiler came back"))?;
        Ok(Profiler { raw, context: context.clone() })
    }

    pub(crate) fn raw(&self) -> *mut sys::hopmla_profiler {
        self.raw.as_ptr()
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Starts recording the context's calls.
    ///
    /// # Errors
    ///
    /// [`Error::Order`] when this or another profiler of the context is started; [`Error::Busy`] when another one of the
    /// process holds the hardware counters.
    pub fn start(&self) -> Result<()> {
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_profiler_start(self.raw(), error) })
    }

    /// Stops recording; what was recorded can still be read. Stopping twice is allowed.
    pub fn stop(&self) -> Result<()> {
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_profiler_stop(self.raw(), error) })
    }

    /// What it measures here, and what is missing and why.
    pub fn describe(&self) -> Result<ProfilerInfo> {
        ProfilerInfo::read(|info, error| {
            // SAFETY: the handle is alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_profiler_describe(self.raw(), info, error) }
        })
    }

    /// What bounds are computed from, of records that are summed or read from now on.
    pub fn set_ceilings(&self, ceilings: &Ceilings) -> Result<()> {
        let raw = ceilings.raw();
        // SAFETY: handle and struct are alive.
        call(|error| unsafe { sys::hopmla_profiler_set_ceilings(self.raw(), &raw, error) })
    }

    /// Forgets them: bounds of records that are summed or read from now on are not valid.
    pub fn clear_ceilings(&self) -> Result<()> {
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_profiler_set_ceilings(self.raw(), ptr::null(), error) })
    }

    /// Takes up to `most` finished records out of the ring, in the order of their calls. Never waits.
    pub fn read(&self, most: usize) -> Result<Vec<Record>> {
        let info = self.describe()?;
        let room = most.min(info.waiting.min(u64::from(info.capacity)) as usize);
        // SAFETY: all-zero bytes are a value of every public struct.
        let empty: sys::hopmla_record = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut records = vec![Record(empty); room];
        let (capacity, mut n) = (count(room)?, 0);
        let size = size_of::<sys::hopmla_record>() as u64;
        // SAFETY: there is room for `capacity` records, which the library fills one after the other.
        call(|error| unsafe {
            sys::hopmla_profiler_read(self.raw(), records.as_mut_ptr().cast(), size, capacity, &mut n, error)
        })?;
        records.truncate(n as usize);
        Ok(records)
    }

    /// Waits until every record of a call that has returned can be read. Synchronises the context; not during a capture.
    pub fn finish(&self) -> Result<()> {
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_profiler_finish(self.raw(), error) })
    }

    /// The totals of a kind, of one plan or of all. Never waits.
    ///
    /// # Errors
    ///
    /// [`Status::TooMany`] when 64 other plans were seen before this one: its records are in the totals of all only.
    pub fn totals(&self, kind: CallKind, plan: Option<&Plan>) -> Result<Totals> {
        if let Some(plan) = plan {
            self.context.expect_same(plan.pool().context(), "the plan")?;
        }
        let plan = plan.map_or(ptr::null_mut(), Plan::raw);
        Totals::read(|totals, error| {
            // SAFETY: the handles are alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_profiler_get_totals(self.raw(), kind.raw(), plan, totals, error) }
        })
    }
}

impl fmt::Debug for Profiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiler").field("context", &self.context).finish_non_exhaustive()
    }
}

/// Ends a launch also where what is between panics.
struct Launching {
    plan: *mut sys::hopmla_plan,
    stream: sys::hopmla_stream,
}

impl Launching {
    fn end(&self, launched: bool) -> Result<()> {
        // SAFETY: the step that is borrowed meanwhile keeps both alive; the begin was on this thread.
        call(|error| unsafe { sys::hopmla_plan_launch_end(self.plan, launched.into(), self.stream, error) })
    }
}

impl Drop for Launching {
    fn drop(&mut self) {
        let _ = self.end(false);
    }
}

impl Step<'_> {
    /// Tells a profiler and NVTX that what `launch` does is one launch of a graph with this plan's calls, on the step's
    /// stream: `step.noted(&note, |stream| unsafe { graph.launch(stream) })`. A launch that fails or panics leaves no
    /// record.
    ///
    /// # Errors
    ///
    /// Those of `launch`, and [`Status::Argument`] for a note that counts no call.
    pub fn noted<R>(&mut self, note: &LaunchNote, launch: impl FnOnce(&Stream) -> Result<R>) -> Result<R> {
        let raw = sys::hopmla_launch_note {
            struct_size: size_of::<sys::hopmla_launch_note>() as u32,
            appends: note.appends,
            decodes: note.decodes,
            dtype: if note.from_f32 { sys::HOPMLA_DTYPE_FP32 } else { 0 },
        };
        let launching = Launching { plan: self.plan_raw(), stream: self.stream().raw() };
        // SAFETY: the step is open on its stream, and nobody else has its plan.
        let begun =
            call(|error| unsafe { sys::hopmla_plan_launch_begin(launching.plan, &raw, launching.stream, error) });
        if let Err(error) = begun {
            std::mem::forget(launching);
            return Err(error);
        }
        let outcome = launch(self.stream());
        let ended = launching.end(outcome.is_ok());
        std::mem::forget(launching);
        outcome.and_then(|value| ended.map(|()| value))
    }
}
