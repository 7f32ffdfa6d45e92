// SPDX-License-Identifier: Apache-2.0
//! Events and graphs.

use crate::error::call;
use crate::{callback, sys, Context, Result, Stream};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

/// A mark in a stream, with a time stamp. Used by one thread at a time.
pub struct Event {
    raw: sys::hopmla_event,
    context: Context,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: used by one thread at a time, any thread; the context is thread-safe.
unsafe impl Send for Event {}

impl Event {
    /// Creates an event that has not happened.
    pub fn new(context: &Context) -> Result<Event> {
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_event_create(context.raw(), &mut raw, error) })?;
        Ok(Event { raw, context: context.clone(), _not_sync: PhantomData })
    }

    pub(crate) fn raw(&self) -> sys::hopmla_event {
        self.raw
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Enqueues it. Not while the stream is being captured.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        self.context.expect_same(stream.context(), "the stream")?;
        // SAFETY: all handles are alive.
        call(|error| unsafe { sys::hopmla_event_record(self.context.raw(), self.raw, stream.raw(), error) })
    }

    /// Waits until it has happened.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: both handles are alive.
        call(|error| unsafe { sys::hopmla_event_synchronize(self.context.raw(), self.raw, error) })
    }

    /// Time from an earlier event, when both have happened; zero when that one was the later.
    pub fn since(&self, begin: &Event) -> Result<Duration> {
        self.context.expect_same(&begin.context, "the event")?;
        let mut microseconds = 0.0;
        // SAFETY: all handles are alive.
        call(|error| unsafe {
            sys::hopmla_event_elapsed(self.context.raw(), begin.raw, self.raw, &mut microseconds, error)
        })?;
        Ok(Duration::from_nanos((microseconds.max(0.0) * 1e3) as u64))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: the last user of the handle; the context is alive.
            unsafe { sys::hopmla_event_destroy(self.context.raw(), self.raw) };
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.raw).finish()
    }
}

/// Recorded work that can be launched any number of times. Used by one thread at a time.
pub struct Graph {
    raw: sys::hopmla_graph,
    context: Context,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: used by one thread at a time, any thread; the context is thread-safe.
unsafe impl Send for Graph {}

impl Graph {
    pub(crate) fn wrap(context: &Context, raw: sys::hopmla_graph) -> Graph {
        Graph { raw, context: context.clone(), _not_sync: PhantomData }
    }

    /// Enqueues one run of everything that was recorded.
    ///
    /// # Safety
    ///
    /// A graph holds bare addresses. Until the run has finished: every plan and all memory recorded in it is alive; nobody
    /// else reads or writes that memory; each of its plans has a step open on this stream, by no other thread at the
    /// same time; and the graph itself is not dropped.
    pub unsafe fn launch(&self, stream: &Stream) -> Result<()> {
        self.context.expect_same(stream.context(), "the stream")?;
        // SAFETY: the handles are alive; the caller vouches for what is recorded.
        call(|error| unsafe { sys::hopmla_graph_launch(self.context.raw(), self.raw, stream.raw(), error) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: the last user of the handle; that no run is under way was promised at `launch`.
            unsafe { sys::hopmla_graph_destroy(self.context.raw(), self.raw) };
        }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Graph").field(&self.raw).finish()
    }
}
