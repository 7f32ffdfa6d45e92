// SPDX-License-Identifier: Apache-2.0
//! Memory that the library's kernels can use.

use crate::error::call;
use crate::{callback, sys, Context, Error, Plain, Result, Status, Stream};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::slice;

/// The address of `T`s in device memory (host memory on the CPU backend). An address and no more: it keeps nothing alive,
/// and only `unsafe` methods follow it.
pub struct DevicePtr<T> {
    address: u64,
    _type: PhantomData<fn() -> T>,
}

impl<T> Clone for DevicePtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for DevicePtr<T> {}

impl<T> fmt::Debug for DevicePtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)
    }
}

impl<T> DevicePtr<T> {
    /// An address as the driver gives it, a `CUdeviceptr`.
    pub const fn from_address(address: u64) -> Self {
        DevicePtr { address, _type: PhantomData }
    }

    /// The address.
    pub const fn address(self) -> u64 {
        self.address
    }

    /// The address `n` elements further on.
    pub const fn add(self, n: usize) -> Self {
        DevicePtr::from_address(self.address.wrapping_add((n as u64).wrapping_mul(size_of::<T>() as u64)))
    }

    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.address as usize as *mut c_void
    }
}

/// An allocation through the context's allocator.
struct Allocation {
    address: *mut c_void,
    bytes: u64,
    kind: i32,
    context: Context,
}

// SAFETY: plain memory; freed by whoever is last, on any thread.
unsafe impl Send for Allocation {}
// SAFETY: the same.
unsafe impl Sync for Allocation {}

impl Allocation {
    fn new<T>(context: &Context, len: usize, kind: i32) -> Result<Allocation> {
        let bytes = (len as u64).checked_mul(size_of::<T>() as u64).filter(|&bytes| bytes <= 1 << 47);
        let bytes = bytes.ok_or_else(|| Error::new(Status::Argument, format!("{} elements are too many", len)))?;
        let (bytes, mut address) = (bytes.max(1), ptr::null_mut());
        // SAFETY: the handle is alive.
        call(|error| unsafe { sys::hopmla_memory_alloc(context.raw(), bytes, kind, &mut address, error) })?;
        Ok(Allocation { address, bytes, kind, context: context.clone() })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: the same bytes and kind as it was made with; nothing uses it any more (`unsafe` methods had their
            // callers promise so, the others synchronise).
            unsafe { sys::hopmla_memory_free(self.context.raw(), self.address, self.bytes, self.kind) };
        }
    }
}

/// Device memory of `len` elements, aligned to 1024 bytes, as memory for pools and plans is.
pub struct DeviceBuffer<T> {
    memory: Allocation,
    len: usize,
    _type: PhantomData<T>,
}

impl<T: Plain> DeviceBuffer<T> {
    /// Allocates memory and clears it. Synchronises; not during a capture.
    pub fn zeroed(context: &Context, len: usize) -> Result<Self> {
        let memory = Allocation::new::<T>(context, len, sys::HOPMLA_MEMORY_WORKSPACE)?;
        let stream = Stream::default_of(context);
        // SAFETY: the memory has that many bytes.
        call(|error| unsafe {
            sys::hopmla_memory_fill(context.raw(), memory.address, 0, memory.bytes, stream.raw(), error)
        })?;
        stream.synchronize()?;
        Ok(DeviceBuffer { memory, len, _type: PhantomData })
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its address, for `unsafe` calls.
    pub fn ptr(&self) -> DevicePtr<T> {
        DevicePtr::from_address(self.memory.address as usize as u64)
    }

    fn check(&self, at: usize, len: usize) -> Result<u64> {
        if at > self.len || len > self.len - at {
            let message = format!("{} elements from {} on are not within {}", len, at, self.len);
            return Err(Error::new(Status::Range, message));
        }
        Ok((len * size_of::<T>()) as u64)
    }

    /// Copies `data` to the elements from `at` on, after earlier work of the stream. Synchronises the stream.
    pub fn write(&mut self, at: usize, data: &[T], stream: &Stream) -> Result<()> {
        let bytes = self.check(at, data.len())?;
        self.memory.context.expect_same(stream.context(), "the stream")?;
        stream.synchronize()?; // refuses a stream that is being captured, which would keep the addresses
        let to = self.ptr().add(at).as_ptr();
        // SAFETY: both sides have that many bytes; the copy has finished before this returns.
        call(|error| unsafe {
            sys::hopmla_memory_copy(stream.context().raw(), to, data.as_ptr().cast(), bytes, stream.raw(), error)
        })?;
        stream.synchronize()
    }

    /// Copies the elements from `at` on to `data`, after earlier work of the stream. Synchronises the stream.
    pub fn read(&self, at: usize, data: &mut [T], stream: &Stream) -> Result<()> {
        let bytes = self.check(at, data.len())?;
        self.memory.context.expect_same(stream.context(), "the stream")?;
        stream.synchronize()?;
        let from = self.ptr().add(at).as_ptr();
        // SAFETY: both sides have that many bytes; the copy has finished before this returns.
        call(|error| unsafe {
            sys::hopmla_memory_copy(stream.context().raw(), data.as_mut_ptr().cast(), from, bytes, stream.raw(), error)
        })?;
        stream.synchronize()
    }

    /// Enqueues a copy of `data`. Recorded when the stream is being captured.
    ///
    /// # Safety
    ///
    /// Until the stream (and every launch of a graph that records this) is past it, both sides stay alive, nobody writes
    /// to `data`, and nobody else touches the destination.
    pub unsafe fn enqueue_write(&mut self, at: usize, data: &PinnedBuffer<T>, stream: &Stream) -> Result<()> {
        let bytes = self.check(at, data.len())?;
        self.memory.context.expect_same(stream.context(), "the stream")?;
        let to = self.ptr().add(at).as_ptr();
        // SAFETY: both sides have that many bytes; the caller vouches for their life.
        call(|error| unsafe {
            sys::hopmla_memory_copy(stream.context().raw(), to, data.as_ptr().cast(), bytes, stream.raw(), error)
        })
    }

    /// Enqueues a copy to `data`. Recorded when the stream is being captured.
    ///
    /// # Safety
    ///
    /// Until the stream (and every launch of a graph that records this) is past it, both sides stay alive, nobody writes
    /// to the source, and nobody else touches `data`.
    pub unsafe fn enqueue_read(&self, at: usize, data: &mut PinnedBuffer<T>, stream: &Stream) -> Result<()> {
        let bytes = self.check(at, data.len())?;
        self.memory.context.expect_same(stream.context(), "the stream")?;
        let from = self.ptr().add(at).as_ptr();
        // SAFETY: both sides have that many bytes; the caller vouches for their life.
        call(|error| unsafe {
            sys::hopmla_memory_copy(stream.context().raw(), data.as_mut_ptr().cast(), from, bytes, stream.raw(), error)
        })
    }
}

impl<T> fmt::Debug for DeviceBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceBuffer({:?}, {} elements)", self.memory.address, self.len)
    }
}

/// Host memory that the device can read and write (page-locked on CUDA), as a slice.
pub struct PinnedBuffer<T> {
    memory: Allocation,
    len: usize,
    _type: PhantomData<T>,
}

impl<T: Plain> PinnedBuffer<T> {
    /// Allocates memory and clears it. Not during a capture.
    pub fn zeroed(context: &Context, len: usize) -> Result<Self> {
        let memory = Allocation::new::<T>(context, len, sys::HOPMLA_MEMORY_PINNED)?;
        // SAFETY: host memory of that many bytes.
        unsafe { ptr::write_bytes(memory.address.cast::<u8>(), 0, memory.bytes as usize) };
        Ok(PinnedBuffer { memory, len, _type: PhantomData })
    }
}

impl<T: Plain> Deref for PinnedBuffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: initialised host memory of that many elements, for which any bytes are a value.
        unsafe { slice::from_raw_parts(self.memory.address.cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for PinnedBuffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the same, and nobody else has it.
        unsafe { slice::from_raw_parts_mut(self.memory.address.cast(), self.len) }
    }
}

impl<T> fmt::Debug for PinnedBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedBuffer({:?}, {} elements)", self.memory.address, self.len)
    }
}
