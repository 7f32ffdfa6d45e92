// SPDX-License-Identifier: Apache-2.0
//! What may be shared and moved, and many threads at once.

mod common;
use common::*;
use hopmla::*;
use std::thread;

#[test]
fn send_and_sync_as_promised() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Context>();
    sync::<Context>();
    send::<Pool>();
    sync::<Pool>();
    send::<Sequence>();
    sync::<Sequence>();
    send::<DeviceBuffer<f32>>();
    sync::<DeviceBuffer<f32>>();
    send::<PinnedBuffer<f32>>();
    sync::<PinnedBuffer<f32>>();
    send::<DevicePtr<*mut u8>>();
    send::<Profiler>();
    sync::<Profiler>();
    send::<Record>();
    sync::<Record>();
    send::<Error>();
    sync::<Error>();
    send::<Plan>();
    send::<Stream>();
    send::<Event>();
    send::<Graph>();
    // That the last four are not `Sync`, nor `Step` `Send`: two impls would apply below if they were.
    trait Ambiguous<A> {
        fn check() {}
    }
    impl<T: ?Sized> Ambiguous<()> for T {}
    struct Shared;
    impl<T: ?Sized + Sync> Ambiguous<Shared> for T {}
    <Plan as Ambiguous<_>>::check();
    <Stream as Ambiguous<_>>::check();
    <Event as Ambiguous<_>>::check();
    <Graph as Ambiguous<_>>::check();
    struct Moved;
    trait Stays<A> {
        fn check() {}
    }
    impl<T: ?Sized> Stays<()> for T {}
    impl<T: ?Sized + Send> Stays<Moved> for T {}
    <Step as Stays<_>>::check();
}

#[test]
fn one_pool_from_many_threads() {
    let (_, pool, _) = world(64);
    thread::scope(|scope| {
        for t in 0..8u32 {
            let pool = &pool;
            scope.spawn(move || {
                for i in 0..300 {
                    let seq = pool.create_sequence().unwrap();
                    match seq.reserve(64 + (i + t) % 300) {
                        Ok(()) => {
                            seq.commit(64).unwrap();
                            let fork = seq.fork(Some(60)).unwrap();
                            assert_eq!(fork.describe().unwrap().committed, 60);
                            seq.truncate(10).unwrap();
                        }
                        Err(error) => assert!(error.missing_pages().is_some(), "{}", error),
                    }
                    pool.stats().unwrap();
                }
            });
        }
    });
    let stats = pool.stats().unwrap();
    assert_eq!((stats.sequences, stats.pages_free, stats.pages_pinned), (0, 64, 0));
}

#[test]
fn one_plan_a_thread() {
    let (context, pool, _) = world(64);
    thread::scope(|scope| {
        for t in 0..4u32 {
            let (context, pool) = (&context, &pool);
            scope.spawn(move || {
                let mut plan = Plan::new(pool, &PlanOptions::new(1, HEADS as u32, 640)).unwrap();
                let stream = Stream::new(context).unwrap();
                for round in 0..20 {
                    let n = 1 + (round * 37 + t) % 90;
                    let (rows, q) = (values(n as usize * QK_DIM, t * 100 + round), values(HEADS * QK_DIM, round));
                    let (mut out, mut lse) = (vec![Bf16(0); HEADS * LATENT_DIM], vec![0f32; HEADS]);
                    let seq = pool.create_sequence().unwrap();
                    seq.reserve(n).unwrap();
                    let mut step = loop {
                        match plan.begin(&[seq.id()], &[n], &[1], &stream) {
                            Ok(step) => break step,
                            Err(Error::Busy(_)) => thread::yield_now(),
                            Err(error) => panic!("{}", error),
                        }
                    };
                    step.append_rows(0, &rows).unwrap();
                    seq.commit(n).unwrap();
                    step.decode(0, SCALE, &q, &mut out, Some(&mut lse)).unwrap();
                    drop(seq); // while its step is open
                    step.end().unwrap();
                    expect_row(&q, &rows, &out, &lse);
                }
            });
        }
    });
    assert_eq!(pool.stats().unwrap().pages_free, 64);
}

#[test]
fn a_plan_moves_between_threads() {
    let (context, pool, plan) = world(8);
    let seq = pool.create_sequence().unwrap();
    let mut plan = Some(plan);
    for i in 0..8 {
        let (mut moved, stream, id) = (plan.take().unwrap(), Stream::new(&context).unwrap(), seq.id());
        seq.reserve(1).unwrap();
        plan = Some(
            thread::spawn(move || {
                let mut step = moved.begin(&[id], &[1], &[0], &stream).unwrap();
                step.append_rows(0, &values(QK_DIM, i)).unwrap();
                step.end().unwrap();
                moved
            })
            .join()
            .unwrap(),
        );
        seq.commit(1).unwrap();
    }
}
