// SPDX-License-Identifier: Apache-2.0
//! Log and allocator callbacks: nothing unwinds into C, and nothing calls back into the library.

mod common;
use common::*;
use hopmla::*;
use std::alloc::{alloc, dealloc, Layout};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn lines_arrive() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let options = ContextOptions::new(Backend::Cpu).log(LogLevel::Debug, move |level, text| {
        sink.lock().unwrap().push((level, text.to_string()));
    });
    drop(options.create().unwrap());
    assert!(lines.lock().unwrap().iter().any(|(level, text)| *level == LogLevel::Info && text.contains("CPU")));
    assert_eq!(Arc::strong_count(&lines), 1); // the closure went with the context
}

#[test]
fn a_panic_in_a_log_callback_stays_there() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let options = ContextOptions::new(Backend::Cpu).log(LogLevel::Debug, move |_, _| {
        seen.fetch_add(1, Ordering::Relaxed);
        panic!("in a log callback");
    });
    let context = options.create().unwrap();
    assert!(count.load(Ordering::Relaxed) > 0);
    Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 1, 1)).unwrap();
}

#[test]
fn a_callback_cannot_call_the_library() {
    let (_, pool, _) = world(4);
    let outcome = Arc::new(Mutex::new(None));
    let (sink, inner) = (Arc::clone(&outcome), pool.clone());
    let options = ContextOptions::new(Backend::Cpu).log(LogLevel::Debug, move |_, _| {
        *sink.lock().unwrap() = Some(inner.stats().unwrap_err().status());
    });
    drop(options.create().unwrap());
    assert_eq!(outcome.lock().unwrap().take(), Some(Status::State));
    pool.stats().unwrap(); // and works again afterwards
}

/// Counts, and panics or says no at the n-th allocation.
struct Counting {
    live: Arc<Mutex<HashMap<usize, Layout>>>,
    left: AtomicUsize,
    panics: bool,
}

// SAFETY: Rust's allocator, asked for what the library asks for.
unsafe impl Allocator for Counting {
    fn allocate(&self, size: u64, alignment: u64, _: MemoryKind, _: *mut c_void) -> *mut c_void {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            assert!(!self.panics, "in an allocator");
            return std::ptr::null_mut();
        }
        let layout = Layout::from_size_align(size as usize, alignment as usize).unwrap();
        // SAFETY: the size is not 0.
        let address = unsafe { alloc(layout) };
        self.live.lock().unwrap().insert(address as usize, layout);
        address.cast()
    }

    unsafe fn free(&self, address: *mut c_void, size: u64, _: MemoryKind, _: *mut c_void) {
        let layout = self.live.lock().unwrap().remove(&(address as usize)).unwrap();
        assert_eq!(layout.size() as u64, size);
        // SAFETY: from `allocate`, with its layout.
        unsafe { dealloc(address.cast(), layout) };
    }
}

fn scenario(context: &Context) -> Result<()> {
    let pool = Pool::new(context, &PoolOptions::new(KvFormat::Bf16, 1, 4).max_sequences(16))?;
    let _plan = Plan::new(&pool, &PlanOptions::new(1, 1, 64))?;
    pool.create_sequence()?.reserve(100)?;
    DeviceBuffer::<f32>::zeroed(context, 10)?;
    Ok(())
}

#[test]
fn allocators_that_fail_or_panic() {
    for panics in [false, true] {
        let mut finished = false;
        for n in 0..40 {
            let live = Arc::new(Mutex::new(HashMap::new()));
            let allocator = Counting { live: Arc::clone(&live), left: AtomicUsize::new(n), panics };
            let outcome = ContextOptions::new(Backend::Cpu)
                .cpu_threads(1)
                .allocator(allocator)
                .create()
                .and_then(|context| scenario(&context));
            finished = outcome.is_ok();
            assert!(matches!(outcome, Ok(()) | Err(Error::Capacity(_))), "{:?}", outcome);
            assert!(live.lock().unwrap().is_empty(), "leaked");
            if finished {
                break;
            }
        }
        assert!(finished);
    }
}
