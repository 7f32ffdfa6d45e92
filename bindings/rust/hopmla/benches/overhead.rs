// SPDX-License-Identifier: Apache-2.0
//! What this crate adds to a call of the library: a decode of no rows, which the library checks and leaves, through the
//! crate and without it. `cargo bench`.

use hopmla::*;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::{Duration, Instant};

/// Nanoseconds a call, in the fastest of many short rounds: what a busy machine disturbs least.
fn measure(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 1000;
    let (start, mut least) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < Duration::from_secs(1) {
        let begin = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        least = least.min(begin.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    least
}

fn main() -> Result<()> {
    let context = Context::new(Backend::Cpu)?;
    let pool = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 1, 1))?;
    let mut plan = Plan::new(&pool, &PlanOptions::new(1, 1, 64))?;
    let stream = Stream::default_of(&context);
    let args = DecodeArgs::new(0, 0, 1.0);
    let none = DevicePtr::<Bf16>::from_address(0);
    let safe = measure(|| {
        // SAFETY: no rows, so that no address is followed.
        unsafe { plan.enqueue_decode(&args, none, None, none, None, &stream).unwrap() }
    });

    // SAFETY: handles that nobody else has, all-zero structs with their sizes, and no rows.
    let bare = unsafe {
        let mut error: sys::hopmla_error = MaybeUninit::zeroed().assume_init();
        error.struct_size = 256;
        let mut raw_context = ptr::null_mut();
        let mut options: sys::hopmla_context_options = MaybeUninit::zeroed().assume_init();
        options.struct_size = 72;
        options.backend = sys::HOPMLA_BACKEND_CPU;
        assert_eq!(sys::hopmla_context_create(&options, &mut raw_context, &mut error), 0);
        let mut options: sys::hopmla_pool_options = MaybeUninit::zeroed().assume_init();
        assert_eq!(sys::hopmla_pool_options_init(&mut options, 56), 0);
        (options.format, options.layers, options.pages) = (sys::HOPMLA_KV_BF16, 1, 1);
        let mut raw_pool = ptr::null_mut();
        assert_eq!(sys::hopmla_pool_create(raw_context, &options, &mut raw_pool, &mut error), 0);
        let mut options: sys::hopmla_plan_options = MaybeUninit::zeroed().assume_init();
        assert_eq!(sys::hopmla_plan_options_init(&mut options, 56), 0);
        (options.max_batch, options.heads, options.max_kv_tokens) = (1, 1, 64);
        let mut raw_plan = ptr::null_mut();
        assert_eq!(sys::hopmla_plan_create(raw_pool, &options, &mut raw_plan, &mut error), 0);
        let mut args: sys::hopmla_decode_args = MaybeUninit::zeroed().assume_init();
        assert_eq!(sys::hopmla_decode_args_init(&mut args, 80), 0);
        args.softmax_scale = 1.0;
        let (null, null_mut, no_stream) = (ptr::null(), ptr::null_mut(), ptr::null_mut());
        let bare = measure(|| {
            let status = sys::hopmla_decode(raw_plan, &args, null, null, null_mut, null_mut, no_stream, &mut error);
            assert_eq!(status, 0);
        });
        sys::hopmla_plan_destroy(raw_plan);
        sys::hopmla_pool_destroy(raw_pool);
        sys::hopmla_context_destroy(raw_context);
        bare
    };
    println!("bare {:.1} ns, through the crate {:.1} ns: {:.1} ns more", bare, safe, safe - bare);
    Ok(())
}
