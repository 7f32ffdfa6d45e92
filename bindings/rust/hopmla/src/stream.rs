// SPDX-License-Identifier: Apache-2.0
//! Streams.

use crate::error::call;
use crate::{callback, sys, Context, Event, Graph, Result};
use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// An order of work. On CPU everything has finished when the call returns; a stream there exists so that capture works
/// the same. Used by one thread at a time, hence not `Sync`; it may move to another thread.
pub struct Stream {
    inner: Arc<StreamInner>,
    _not_sync: PhantomData<Cell<()>>,
}

/// What keeps the handle alive; only its end and its flag are reached from other threads.
pub(crate) struct StreamInner {
    raw: sys::hopmla_stream,
    owned: bool,
    capturing: AtomicBool,
    context: Context,
    #[cfg(feature = "cudarc")]
    cudarc: Option<Arc<::cudarc::driver::CudaStream>>,
}

// SAFETY: the handle is destroyed by whoever is last, on any thread, and used otherwise through `Stream` alone.
unsafe impl Send for StreamInner {}
// SAFETY: the same.
unsafe impl Sync for StreamInner {}

impl Drop for StreamInner {
    fn drop(&mut self) {
        if self.owned && !callback::inside() {
            // SAFETY: the last user of the handle; the context is alive.
            unsafe { sys::hopmla_stream_destroy(self.context.raw(), self.raw) };
        }
    }
}

impl Stream {
    /// Creates a stream that does not wait for the default stream. Work in it still finishes when it is dropped.
    pub fn new(context: &Context) -> Result<Stream> {
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_stream_create(context.raw(), &mut raw, error) })?;
        Ok(Stream::wrap(context, raw, true))
    }

    /// The default stream: of the context on CUDA, the calling thread on CPU. It cannot be captured.
    pub fn default_of(context: &Context) -> Stream {
        Stream::wrap(context, ptr::null_mut(), false)
    }

    /// A `CUstream` of the caller's. It is not destroyed.
    ///
    /// # Safety
    ///
    /// It is a live stream of the context's device context, outlives every use here, and while it is being captured it
    /// is passed only to `unsafe` methods.
    pub unsafe fn from_raw(context: &Context, stream: *mut c_void) -> Stream {
        Stream::wrap(context, stream.cast(), false)
    }

    fn wrap(context: &Context, raw: sys::hopmla_stream, owned: bool) -> Stream {
        Stream::of(StreamInner {
            raw,
            owned,
            capturing: AtomicBool::new(false),
            context: context.clone(),
            #[cfg(feature = "cudarc")]
            cudarc: None,
        })
    }

    fn of(inner: StreamInner) -> Stream {
        Stream { inner: Arc::new(inner), _not_sync: PhantomData }
    }

    #[cfg(feature = "cudarc")]
    pub(crate) fn wrap_cudarc(context: &Context, stream: Arc<::cudarc::driver::CudaStream>) -> Stream {
        Stream::of(StreamInner {
            raw: stream.cu_stream().cast(),
            owned: false,
            capturing: AtomicBool::new(false),
            context: context.clone(),
            cudarc: Some(stream),
        })
    }

    /// cudarc's, when it was made from one.
    #[cfg(feature = "cudarc")]
    pub(crate) fn cudarc(&self) -> Option<&Arc<::cudarc::driver::CudaStream>> {
        self.inner.cudarc.as_ref()
    }

    pub(crate) fn raw(&self) -> sys::hopmla_stream {
        self.inner.raw
    }

    pub(crate) fn keep(&self) -> Arc<StreamInner> {
        Arc::clone(&self.inner)
    }

    pub(crate) fn is(&self, kept: &Arc<StreamInner>) -> bool {
        Arc::ptr_eq(&self.inner, kept)
    }

    /// Whether a capture was begun here and not ended.
    pub(crate) fn capturing(&self) -> bool {
        self.inner.capturing.load(Ordering::Relaxed)
    }

    /// The driver's handle, for an engine's own launches.
    pub fn as_raw(&self) -> *mut c_void {
        self.inner.raw.cast()
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.inner.context
    }

    /// Waits until its work has finished, and reports what failed in it.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: both handles are alive.
        call(|error| unsafe { sys::hopmla_stream_synchronize(self.context().raw(), self.raw(), error) })
    }

    /// Makes later work wait for an event.
    pub fn wait(&self, event: &Event) -> Result<()> {
        self.context().expect_same(event.context(), "the event")?;
        // SAFETY: all handles are alive.
        call(|error| unsafe { sys::hopmla_stream_wait_event(self.context().raw(), self.raw(), event.raw(), error) })
    }

    /// Starts capture: calls on the stream are recorded instead of run, until [`end_capture`](Stream::end_capture).
    pub fn begin_capture(&self) -> Result<()> {
        // SAFETY: both handles are alive.
        call(|error| unsafe { sys::hopmla_graph_begin(self.context().raw(), self.raw(), error) })?;
        self.inner.capturing.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Ends capture and makes a graph of what was recorded.
    pub fn end_capture(&self) -> Result<Graph> {
        let mut graph = ptr::null_mut();
        // SAFETY: both handles are alive.
        let outcome =
            call(|error| unsafe { sys::hopmla_graph_end(self.context().raw(), self.raw(), &mut graph, error) });
        if !callback::inside() {
            self.inner.capturing.store(false, Ordering::Relaxed); // a broken capture has ended too
        }
        outcome?;
        Ok(Graph::wrap(self.context(), graph))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.inner.raw).finish()
    }
}
