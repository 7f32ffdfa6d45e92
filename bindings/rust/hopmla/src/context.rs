// SPDX-License-Identifier: Apache-2.0
//! The context: a backend, a device, and the caller's callbacks.

use crate::callback::{self, Allocator, Callbacks, Installed, LogLevel};
use crate::error::call;
use crate::{sys, Ceilings, ContextInfo, Error, Result, Status};
use std::any::Any;
use std::ffi::{c_void, CString};
use std::fmt;
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// CUDA where a driver and a device of compute capability 9.0 are, else CPU.
    Auto,
    /// The portable, multithreaded CPU backend. Every call has finished when it returns.
    Cpu,
    /// NVIDIA Hopper. Calls enqueue on a stream.
    Cuda,
}

impl Backend {
    fn raw(self) -> i32 {
        match self {
            Backend::Auto => sys::HOPMLA_BACKEND_AUTO,
            Backend::Cpu => sys::HOPMLA_BACKEND_CPU,
            Backend::Cuda => sys::HOPMLA_BACKEND_CUDA,
        }
    }
}

/// Highest instruction set that the CPU backend may use. One that the processor lacks is
/// [`Status::Unsupported`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CpuIsa {
    /// The best there is.
    Auto,
    /// No vector extensions beyond the compiler's baseline.
    Portable,
    /// AVX2, FMA, F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL; its BF16 dot products where the processor has them.
    Avx512,
}

impl CpuIsa {
    fn raw(self) -> i32 {
        match self {
            CpuIsa::Auto => sys::HOPMLA_CPU_ISA_AUTO,
            CpuIsa::Portable => sys::HOPMLA_CPU_ISA_PORTABLE,
            CpuIsa::Avx2 => sys::HOPMLA_CPU_ISA_AVX2,
            CpuIsa::Avx512 => sys::HOPMLA_CPU_ISA_AVX512,
        }
    }
}

/// How a context is made. The default is [`Backend::Auto`] on device 0 with all cores, without log or allocator.
pub struct ContextOptions {
    backend: Backend,
    device: i32,
    cpu_threads: i32,
    cpu_isa: CpuIsa,
    cu_context: *mut c_void,
    /// What has to live as long as the context, for its `cu_context`.
    pub(crate) keep: Option<Arc<dyn Any + Send + Sync>>,
    callbacks: Callbacks,
}

impl Default for ContextOptions {
    fn default() -> Self {
        ContextOptions::new(Backend::Auto)
    }
}

impl ContextOptions {
    /// The defaults on a backend.
    pub fn new(backend: Backend) -> Self {
        ContextOptions {
            backend,
            device: 0,
            cpu_threads: 0,
            cpu_isa: CpuIsa::Auto,
            cu_context: ptr::null_mut(),
            keep: None,
            callbacks: Callbacks::default(),
        }
    }

    /// CUDA device ordinal, whose primary context is used. Ignored on CPU.
    pub fn device(mut self, ordinal: i32) -> Self {
        self.device = ordinal;
        self
    }

    /// Threads of the CPU backend, the calling one counted; 0: one per core that this process may use; at most 1024.
    pub fn cpu_threads(mut self, threads: u32) -> Self {
        self.cpu_threads = i32::try_from(threads).unwrap_or(i32::MAX);
        self
    }

    /// Highest instruction set of the CPU backend.
    pub fn cpu_isa(mut self, isa: CpuIsa) -> Self {
        self.cpu_isa = isa;
        self
    }

    /// Receives log lines up to a level, on the thread that made the call. Until it returns, calls of this crate on that
    /// thread fail with [`Status::State`]. A panic in it is caught and the line is lost.
    pub fn log(mut self, level: LogLevel, f: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        self.callbacks.log = Some((level, Box::new(f)));
        self
    }

    /// Takes all memory from an allocator of the caller's.
    pub fn allocator(mut self, allocator: impl Allocator + 'static) -> Self {
        self.callbacks.allocator = Some(Box::new(allocator));
        self
    }

    /// Uses a `CUcontext` of the caller's instead of a device's primary context.
    ///
    /// # Safety
    ///
    /// It is a live `CUcontext` that outlives the context and everything made from it.
    pub unsafe fn cu_context(mut self, context: *mut c_void) -> Self {
        self.cu_context = context;
        self
    }

    /// Creates the context. On CUDA it loads every kernel; nothing is loaded lazily afterwards. May synchronise the
    /// device: not during a stream capture.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] says why a backend cannot be used here; with [`Backend::Auto`] that is a log line at
    /// [`LogLevel::Info`] instead.
    pub fn create(self) -> Result<Context> {
        // SAFETY: takes nothing and is thread-safe.
        let abi = unsafe { sys::hopmla_abi_version() };
        if abi != sys::HOPMLA_ABI_VERSION {
            return Err(Error::new(
                Status::Unsupported,
                format!("the library's ABI is number {}, this crate needs {}", abi, sys::HOPMLA_ABI_VERSION),
            ));
        }
        let callbacks = Installed::new(self.callbacks);
        let mut options = sys::hopmla_context_options {
            struct_size: size_of::<sys::hopmla_context_options>() as u32,
            backend: self.backend.raw(),
            device: self.device,
            cpu_threads: self.cpu_threads,
            cpu_isa: self.cpu_isa.raw(),
            log_level: 0,
            cu_context: self.cu_context as *mut sys::CUctx_st,
            log: None,
            log_user: ptr::null_mut(),
            alloc: None,
            free: None,
            alloc_user: ptr::null_mut(),
        };
        callbacks.write(&mut options);
        let mut raw = ptr::null_mut();
        // SAFETY: the options are complete; what they point to outlives the context, which owns it below.
        call(|error| unsafe { sys::hopmla_context_create(&options, &mut raw, error) })?;
        let mut inner = ContextInner {
            raw: NonNull::new(raw).ok_or_else(|| Error::new(Status::Internal, "no context came back"))?,
            backend: Backend::Cpu,
            _callbacks: callbacks,
            _keep: self.keep,
        };
        if inner.describe()?.backend == sys::HOPMLA_BACKEND_CUDA {
            inner.backend = Backend::Cuda;
        }
        Ok(Context { inner: Arc::new(inner) })
    }
}

/// A backend on a device. Cheap to clone; clones are the same context. It lives until its last clone, pool, stream and
/// buffer has gone, in any order. All of it may be used from any thread at any time.
#[derive(Clone)]
pub struct Context {
    inner: Arc<ContextInner>,
}

struct ContextInner {
    raw: NonNull<sys::hopmla_context>,
    backend: Backend,
    _callbacks: Installed, // dropped after `drop` has run
    _keep: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: the context's functions are thread-safe, and so are its callbacks.
unsafe impl Send for ContextInner {}
// SAFETY: the same.
unsafe impl Sync for ContextInner {}

impl ContextInner {
    fn describe(&self) -> Result<ContextInfo> {
        ContextInfo::read(|info, error| {
            // SAFETY: the handle is alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_context_describe(self.raw.as_ptr(), info, error) }
        })
    }
}

impl Drop for ContextInner {
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: the last user of the handle; pools, streams and buffers hold the Arc, so that nothing of the
            // library calls back after this.
            unsafe { sys::hopmla_context_destroy(self.raw.as_ptr()) };
        }
    }
}

impl Context {
    /// A context with default options on a backend.
    pub fn new(backend: Backend) -> Result<Context> {
        ContextOptions::new(backend).create()
    }

    pub(crate) fn raw(&self) -> *mut sys::hopmla_context {
        self.inner.raw.as_ptr()
    }

    /// Whether both are one context, not merely alike.
    pub fn same(&self, other: &Context) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// [`Backend::Cpu`] or [`Backend::Cuda`].
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    /// What it runs on. Makes no driver call.
    pub fn describe(&self) -> Result<ContextInfo> {
        self.inner.describe()
    }

    /// Measures the ceilings that decode times are held against. Takes about three seconds and 1 GiB of device memory
    /// (64 MiB on CPU); meaningless while other work runs. Synchronises.
    pub fn measure_ceilings(&self) -> Result<Ceilings> {
        Ceilings::read(|ceilings, error| {
            // SAFETY: the handle is alive, and `read` passes a struct with its size.
            unsafe { sys::hopmla_measure_ceilings(self.raw(), ceilings, error) }
        })
    }

    /// Ceilings that were measured here before, from a file, or measures them and keeps them there. `None` is the user's
    /// cache folder. A file that cannot be written is a log line.
    pub fn load_ceilings(&self, path: Option<&Path>) -> Result<Ceilings> {
        let path = path.map(|path| CString::new(path.as_os_str().as_bytes())).transpose();
        let path = path.map_err(|_| Error::new(Status::Argument, "the path has a NUL in it"))?;
        let path = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        Ceilings::read(|ceilings, error| {
            // SAFETY: the handle is alive, `read` passes a struct with its size, and the path is read before the return.
            unsafe { sys::hopmla_load_ceilings(self.raw(), path, ceilings, error) }
        })
    }

    /// Fails unless an object belongs to this context.
    pub(crate) fn expect_same(&self, other: &Context, what: &str) -> Result<()> {
        if self.same(other) {
            return Ok(());
        }
        Err(Error::new(Status::Mismatch, format!("{} belongs to another context", what)))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("backend", &self.backend()).finish()
    }
}
