// SPDX-License-Identifier: Apache-2.0
//! Wrong use is an error that says what to do, whatever the order things are dropped in.

mod common;
use common::*;
use hopmla::*;
use std::mem::forget;

fn status<T: std::fmt::Debug>(outcome: Result<T>) -> Status {
    outcome.unwrap_err().status()
}

#[test]
fn everything_may_be_dropped_in_any_order() {
    for order in 0..24u32 {
        let (context, pool, plan) = world(4);
        let seq = pool.create_sequence().unwrap();
        let stream = Stream::new(&context).unwrap();
        seq.reserve(1).unwrap();
        let mut parts: Vec<Option<Box<dyn std::any::Any>>> =
            vec![Some(Box::new((context, stream))), Some(Box::new(pool)), Some(Box::new(plan)), Some(Box::new(seq))];
        let mut left = order;
        for n in (1..=4).rev() {
            let nth = (left % n) as usize;
            left /= n;
            let slot = parts.iter().enumerate().filter(|(_, p)| p.is_some()).map(|(i, _)| i).nth(nth).unwrap();
            parts[slot] = None;
        }
    }
}

#[test]
fn a_sequence_outlives_the_pool_handle() {
    let (_, pool, plan) = world(4);
    let seq = pool.create_sequence().unwrap();
    drop((pool, plan));
    seq.reserve(65).unwrap();
    assert_eq!(seq.pages().unwrap(), [0, 1]);
    assert_eq!(seq.describe().unwrap().reserved, 65);
}

#[test]
fn released_ids_are_stale_and_foreign_ones_are_known() {
    let (_, pool, _) = world(4);
    let (_, other, _) = world(4);
    let id = pool.create_sequence().unwrap().into_id();
    pool.release(&[id]).unwrap();
    assert_eq!(status(pool.release(&[id])), Status::StaleId);
    assert_eq!(status(pool.reserve(&[id], &[1])), Status::StaleId);
    drop(Sequence::own(pool.clone(), id)); // nothing to release, and nobody else's is
    assert_eq!(status(pool.pages(SeqId(0))), Status::ForeignId);
    let theirs = other.create_sequence().unwrap();
    assert!(matches!(pool.reserve(&[theirs.id()], &[1]), Err(Error::Argument(_))));
    let twice = pool.create_sequence().unwrap().into_id();
    assert_eq!(status(pool.reserve(&[twice, twice], &[1, 1])), Status::DuplicateId);
}

#[test]
fn lengths_that_do_not_agree() {
    let (context, pool, mut plan) = world(4);
    let stream = Stream::default_of(&context);
    let seq = pool.create_sequence().unwrap();
    assert_eq!(status(pool.reserve(&[seq.id()], &[1, 2])), Status::Argument);
    assert_eq!(status(pool.commit(&[seq.id()], &[])), Status::Argument);
    assert_eq!(status(pool.truncate(&[], &[1])), Status::Argument);
    assert_eq!(status(plan.begin(&[seq.id()], &[], &[1], &stream)), Status::Argument);
    assert_eq!(status(plan.begin(&[seq.id()], &[1], &[1, 1], &stream)), Status::Argument);
    assert_eq!(status(plan.begin(&[seq.id()], &[1], &[1], &stream)), Status::Range);

    seq.reserve(2).unwrap();
    let (rows, q) = (values(2 * QK_DIM, 1), values(HEADS * QK_DIM, 2));
    let (mut out, mut lse) = (vec![Bf16(0); HEADS * LATENT_DIM], vec![0f32; HEADS]);
    let mut step = plan.begin(&[seq.id()], &[2], &[1], &stream).unwrap();
    assert_eq!(status(step.append_rows(0, &rows[..QK_DIM])), Status::Range); // too few tokens
    assert_eq!(status(step.append_rows(0, &rows[1..])), Status::Argument);
    assert_eq!(status(step.append(0, &rows[..1024], &rows[..64])), Status::Argument);
    assert_eq!(status(step.append_rows(2, &rows)), Status::Argument); // no such layer
    assert_eq!(status(step.append_rows::<F16>(0, &[F16(0); 2 * QK_DIM])), Status::Dtype);
    assert_eq!(status(step.decode(0, SCALE, &q[1..], &mut out, None)), Status::Argument);
    assert_eq!(status(step.decode(0, SCALE, &q, &mut out[1..], None)), Status::Argument);
    assert_eq!(status(step.decode(0, SCALE, &q, &mut out, Some(&mut lse[1..]))), Status::Argument);
    assert_eq!(status(step.decode(0, SCALE, &[], &mut [] as &mut [Bf16], None)), Status::Range);
    assert_eq!(status(step.decode(0, f32::NAN, &q, &mut out, None)), Status::Argument);
    assert_eq!(
        status(step.decode(0, SCALE, &[F16(0); HEADS * QK_DIM], &mut [F16(0); HEADS * 512], None)),
        Status::Dtype
    );
    let mut back = vec![Bf16(0); 3 * QK_DIM];
    assert_eq!(status(step.gather(0, 0, 0..3, &mut back)), Status::Range);
    assert_eq!(status(step.gather(0, 0, 0..2, &mut back)), Status::Argument);
    assert_eq!(status(step.gather(0, 0, 0..u64::MAX, &mut back)), Status::Range);
    assert_eq!(status(step.gather(0, 1, 0..2, &mut back[..2 * QK_DIM])), Status::Range);
    step.append_rows(0, &rows).unwrap();
    step.decode(0, SCALE, &q, &mut out, Some(&mut lse)).unwrap();
    expect_row(&q, &rows, &out, &lse);
}

#[test]
fn unaligned_slices_are_refused() {
    let (context, pool, mut plan) = world(4);
    let stream = Stream::default_of(&context);
    let seq = pool.create_sequence().unwrap();
    seq.reserve(1).unwrap();
    let rows = values(QK_DIM + 8, 1);
    let odd = (0..8).find(|&i| rows[i..].as_ptr() as usize % 16 != 0).unwrap();
    let mut step = plan.begin(&[seq.id()], &[1], &[0], &stream).unwrap();
    assert_eq!(status(step.append_rows(0, &rows[odd..odd + QK_DIM])), Status::Alignment);
}

#[test]
fn out_of_pages_says_how_many() {
    let (_, pool, _) = world(4);
    let (a, b) = (pool.create_sequence().unwrap(), pool.create_sequence().unwrap());
    a.reserve(200).unwrap();
    let error = b.reserve(128).unwrap_err();
    assert_eq!((error.missing_pages(), error.status()), (Some(2), Status::OutOfPages));
    assert!(matches!(error, Error::Capacity(_)));
    assert!(error.to_string().contains("2 are missing"), "{}", error);
    drop(a);
    b.reserve(128).unwrap();
}

#[test]
fn contexts_do_not_mix() {
    let (context, pool, mut plan) = world(4);
    let other = Context::new(Backend::Cpu).unwrap();
    let (stream, strange) = (Stream::new(&context).unwrap(), Stream::new(&other).unwrap());
    let event = Event::new(&other).unwrap();
    let seq = pool.create_sequence().unwrap();
    assert_eq!(status(plan.begin(&[seq.id()], &[0], &[1], &strange)), Status::Mismatch);
    assert_eq!(status(stream.wait(&event)), Status::Mismatch);
    assert_eq!(status(event.record(&stream)), Status::Mismatch);
    let mut buffer = DeviceBuffer::<f32>::zeroed(&other, 4).unwrap();
    assert_eq!(status(buffer.write(0, &[1.0], &stream)), Status::Mismatch);
    assert_eq!(status(buffer.write(3, &[1.0, 2.0], &strange)), Status::Range);
    assert_eq!(status(buffer.write(usize::MAX, &[1.0, 2.0], &strange)), Status::Range);
    assert_eq!(status(DeviceBuffer::<u64>::zeroed(&other, usize::MAX)), Status::Argument);
}

#[test]
fn a_capture_keeps_no_slices() {
    let (context, pool, mut plan) = world(4);
    let (stream, used) = (Stream::new(&context).unwrap(), Stream::new(&context).unwrap());
    let seq = pool.create_sequence().unwrap();
    seq.reserve(1).unwrap();
    let rows = values(QK_DIM, 1);
    let mut buffer = DeviceBuffer::<f32>::zeroed(&context, 4).unwrap();
    let mut step = plan.begin(&[seq.id()], &[1], &[1], &stream).unwrap();
    assert_eq!(status(stream.end_capture()), Status::State);
    stream.begin_capture().unwrap();
    assert_eq!(status(stream.begin_capture()), Status::Capture);
    assert_eq!(status(step.append_rows(0, &rows)), Status::Capture);
    assert_eq!(status(buffer.write(0, &[1.0], &stream)), Status::Capture);
    assert_eq!(status(step.update(&[], &[], &[])), Status::Capture);
    assert_eq!(status(Stream::default_of(&context).begin_capture()), Status::Argument);
    let graph = stream.end_capture().unwrap();
    step.append_rows(0, &rows).unwrap();
    step.end().unwrap();
    used.begin_capture().unwrap();
    assert_eq!(status(plan.begin(&[seq.id()], &[0], &[1], &used)), Status::Capture);
    drop((used, graph)); // a capture that never ends
}

#[test]
fn a_forgotten_step_stays_open() {
    let (context, pool, mut plan) = world(4);
    let mut second = Plan::new(&pool, &PlanOptions::new(4, HEADS as u32, 640)).unwrap();
    let (stream, other) = (Stream::new(&context).unwrap(), Stream::new(&context).unwrap());
    let seq = pool.create_sequence().unwrap();
    seq.reserve(1).unwrap();
    forget(plan.begin(&[seq.id()], &[1], &[1], &stream).unwrap());
    assert!(matches!(second.begin(&[seq.id()], &[1], &[1], &other), Err(Error::Busy(_))));
    assert!(matches!(plan.begin(&[seq.id()], &[1], &[1], &other), Err(Error::Order(_))));
    drop(stream);
    drop(plan);
    second.begin(&[seq.id()], &[1], &[1], &other).unwrap().end().unwrap();
}

#[test]
fn plans_need_storage_and_sane_options() {
    let context = Context::new(Backend::Cpu).unwrap();
    let options = PoolOptions::new(KvFormat::Bf16, 61, 1000).storage(Storage::None);
    let pool = Pool::new(&context, &options).unwrap();
    assert_eq!(status(Plan::new(&pool, &PlanOptions::new(1, 1, 64))), Status::NoStorage);
    assert_eq!(status(Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 0, 1))), Status::Argument);
    assert_eq!(status(Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 65535, 1 << 31))), Status::Argument);
    assert_eq!(status(ContextOptions::new(Backend::Cpu).cpu_threads(u32::MAX).create()), Status::Argument);
    let small = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 1, 1)).unwrap();
    assert_eq!(status(Plan::new(&small, &PlanOptions::new(0, 1, 64))), Status::Argument);
    let plans: Vec<_> = (0..64).map(|_| Plan::new(&small, &PlanOptions::new(1, 1, 64)).unwrap()).collect();
    assert_eq!(status(Plan::new(&small, &PlanOptions::new(1, 1, 64))), Status::TooMany);
    drop(plans);
}

#[test]
fn cuda_says_why_not() {
    match Context::new(Backend::Cuda) {
        Ok(context) => assert_eq!(context.backend(), Backend::Cuda),
        Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{:?}", error),
    }
}
