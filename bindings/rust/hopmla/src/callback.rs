// SPDX-License-Identifier: Apache-2.0
//! What the library calls back. Nothing unwinds into C: a panic ends in the callback. A callback must not call the
//! library, so this crate's calls fail while one runs on the same thread, and what is dropped there is leaked.

use crate::{sys, Error, Status};
use std::cell::Cell;
use std::ffi::{c_void, CStr};
use std::mem;
use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{self, NonNull};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a callback runs on this thread.
#[inline]
pub(crate) fn inside() -> bool {
    INSIDE.with(Cell::get)
}

#[cold]
pub(crate) fn refusal() -> Error {
    Error::new(Status::State, "called from a log or allocator callback, which must not call the library")
}

/// Runs the caller's code; None when it panicked.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Option<T> {
    let before = INSIDE.with(|flag| flag.replace(true));
    let outcome = catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        // Dropping what was thrown may panic again; what that throws is let be.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(another);
        }
    });
    INSIDE.with(|flag| flag.set(before));
    outcome.ok()
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warning,
    /// What is used, and why.
    Info,
    /// For who looks for a defect.
    Debug,
}

impl LogLevel {
    pub(crate) fn raw(self) -> i32 {
        match self {
            LogLevel::Error => sys::HOPMLA_LOG_ERROR,
            LogLevel::Warning => sys::HOPMLA_LOG_WARNING,
            LogLevel::Info => sys::HOPMLA_LOG_INFO,
            LogLevel::Debug => sys::HOPMLA_LOG_DEBUG,
        }
    }

    fn from_raw(level: i32) -> LogLevel {
        match level {
            sys::HOPMLA_LOG_ERROR => LogLevel::Error,
            sys::HOPMLA_LOG_WARNING => LogLevel::Warning,
            sys::HOPMLA_LOG_INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        }
    }
}

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryKind {
    /// Bookkeeping, ordinary host memory.
    Host,
    /// Host memory that the device reads and writes.
    Pinned,
    /// Device memory that holds KV pages.
    Pool,
    /// Device memory that holds a plan's tables.
    Tables,
    /// Device memory that holds partial results, and what buffers are made of.
    Workspace,
}

fn memory_kind(kind: i32) -> Option<MemoryKind> {
    Some(match kind {
        sys::HOPMLA_MEMORY_HOST => MemoryKind::Host,
        sys::HOPMLA_MEMORY_PINNED => MemoryKind::Pinned,
        sys::HOPMLA_MEMORY_POOL => MemoryKind::Pool,
        sys::HOPMLA_MEMORY_TABLES => MemoryKind::Tables,
        sys::HOPMLA_MEMORY_WORKSPACE => MemoryKind::Workspace,
        _ => return None,
    })
}

/// Where the library gets its memory from. "Device memory" is host memory on the CPU backend; on CUDA the device
/// context is current during the calls, but for [`MemoryKind::Host`]. Calls come from any thread, some of them with a
/// pool locked: they must not call the library. A panic counts as "no memory" in `allocate` and leaks in `free`.
///
/// # Safety
///
/// `allocate` returns null or memory of the size, alignment and kind asked for, which nobody else uses until `free`.
pub unsafe trait Allocator: Send + Sync {
    /// `size` bytes, at least 1, aligned to `alignment`, a power of two of at most 4096; or null. `stream` is the
    /// driver's handle of the stream that uses it first, or null where not known.
    fn allocate(&self, size: u64, alignment: u64, kind: MemoryKind, stream: *mut c_void) -> *mut c_void;

    /// Takes back what `allocate` gave.
    ///
    /// # Safety
    ///
    /// `address` came from `allocate` with the same size and kind, and is used no longer.
    unsafe fn free(&self, address: *mut c_void, size: u64, kind: MemoryKind, stream: *mut c_void);
}

type LogFn = dyn Fn(LogLevel, &str) + Send + Sync;

/// What a context's callbacks point to.
#[derive(Default)]
pub(crate) struct Callbacks {
    pub(crate) log: Option<(LogLevel, Box<LogFn>)>,
    pub(crate) allocator: Option<Box<dyn Allocator>>,
}

/// The same in the one place where the library finds it. Outlives the C context.
pub(crate) struct Installed(NonNull<Callbacks>);

impl Installed {
    pub(crate) fn new(callbacks: Callbacks) -> Installed {
        Installed(NonNull::from(Box::leak(Box::new(callbacks))))
    }

    /// Writes the callbacks into the options.
    pub(crate) fn write(&self, options: &mut sys::hopmla_context_options) {
        let user = self.0.as_ptr().cast::<c_void>();
        // SAFETY: made in `new`, and shared only for reading.
        let callbacks = unsafe { self.0.as_ref() };
        if let Some((level, _)) = &callbacks.log {
            options.log_level = level.raw();
            options.log = Some(log);
            options.log_user = user;
        }
        if callbacks.allocator.is_some() {
            options.alloc = Some(allocate);
            options.free = Some(free);
            options.alloc_user = user;
        }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if !inside() {
            // SAFETY: made in `new`; the C context, its only other user, has gone.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

unsafe extern "C" fn log(user: *mut c_void, level: i32, text: *const c_char) {
    guarded(|| {
        // SAFETY: `user` is what `Installed` holds, which outlives the context; the text is NUL-terminated.
        let (callbacks, text) = unsafe { (&*(user as *const Callbacks), CStr::from_ptr(text)) };
        if let Some((_, f)) = &callbacks.log {
            f(LogLevel::from_raw(level), &text.to_string_lossy());
        }
    });
}

unsafe extern "C" fn allocate(
    user: *mut c_void,
    size: u64,
    alignment: u64,
    kind: i32,
    stream: sys::hopmla_stream,
) -> *mut c_void {
    let memory = guarded(|| {
        // SAFETY: as in `log`.
        let callbacks = unsafe { &*(user as *const Callbacks) };
        match (&callbacks.allocator, memory_kind(kind)) {
            (Some(allocator), Some(kind)) => allocator.allocate(size, alignment, kind, stream as *mut c_void),
            _ => ptr::null_mut(),
        }
    });
    memory.unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn free(user: *mut c_void, address: *mut c_void, size: u64, kind: i32, stream: sys::hopmla_stream) {
    guarded(|| {
        // SAFETY: as in `log`.
        let callbacks = unsafe { &*(user as *const Callbacks) };
        if let (Some(allocator), Some(kind)) = (&callbacks.allocator, memory_kind(kind)) {
            // SAFETY: the library gives back what it got from `allocate`.
            unsafe { allocator.free(address, size, kind, stream as *mut c_void) };
        }
    });
}
