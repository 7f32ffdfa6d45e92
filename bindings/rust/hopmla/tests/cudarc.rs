// SPDX-License-Identifier: Apache-2.0
//! cudarc's slices go straight in. Compiled everywhere; it runs where the CUDA backend does, and says so where not.
#![cfg(all(feature = "cudarc", feature = "half"))]

use cudarc::driver::{sys::CUstreamCaptureMode, CudaContext, CudaSlice, CudaView, CudaViewMut};
use half::bf16;
use hopmla::*;
use std::sync::Arc;

const HEADS: usize = 16;
const SCALE: f32 = 0.0721688;

fn values(n: usize, seed: u32) -> Vec<bf16> {
    (0..n as u32)
        .map(|i| {
            let h = (seed.wrapping_mul(1_000_003).wrapping_add(i)).wrapping_mul(0x9e37_79b9);
            bf16::from_f32(((h ^ h >> 15).wrapping_mul(0x85eb_ca77) >> 8) as f32 / 8_388_608.0 - 1.0)
        })
        .collect()
}

/// bf16 values in memory that holds their bits. (A program turns on cudarc's feature `f16`, and has slices of bf16; it brings
/// a newer `half` than this test is compiled with.)
fn view(bits: &CudaSlice<u16>) -> CudaView<'_, bf16> {
    // SAFETY: bf16 is its bits.
    unsafe { bits.transmute(bits.len()) }.unwrap()
}

fn view_mut(bits: &mut CudaSlice<u16>) -> CudaViewMut<'_, bf16> {
    let n = bits.len();
    // SAFETY: bf16 is its bits.
    unsafe { bits.transmute_mut(n) }.unwrap()
}

fn bits(values: &[bf16]) -> Vec<u16> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// What an engine writes: slices as they are. Only compiled.
#[allow(dead_code)]
fn straight_in(step: &mut Step, rows: &CudaSlice<bf16>, q: &CudaSlice<bf16>, out: &mut CudaSlice<bf16>) -> Result<()> {
    step.append_rows_cuda(0, rows)?;
    step.append_cuda(0, &rows.slice(..LATENT_DIM), &rows.slice(LATENT_DIM..QK_DIM))?;
    step.decode_split_cuda(0, SCALE, q, &q.slice(..ROPE_DIM), &mut out.slice_mut(..), None)?;
    step.decode_cuda(0, SCALE, q, out, None)
}

/// A context that works, or the reason why there is none.
fn device() -> std::result::Result<Arc<CudaContext>, Error> {
    Context::new(Backend::Cuda)?; // without a driver cudarc panics
    Ok(CudaContext::new(0).unwrap())
}

#[test]
fn slices_of_cudarc_decode_as_on_the_cpu() {
    let cuda = match device() {
        Ok(cuda) => cuda,
        Err(reason) => return println!("skipped: {}", reason),
    };
    let (rows, q) = (values(70 * QK_DIM, 1), values(HEADS * QK_DIM, 2));
    let expected = on_cpu(&rows, &q);

    let context = Context::from_cudarc(&cuda).unwrap();
    let (stream, other) = (cuda.new_stream().unwrap(), cuda.new_stream().unwrap());
    let pool = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 1, 8)).unwrap();
    let mut plan = Plan::new(&pool, &PlanOptions::new(1, HEADS as u32, 128)).unwrap();
    let steps = Stream::from_cudarc(&context, &stream).unwrap();
    let foreign = Stream::new(&context).unwrap();
    let seq = pool.create_sequence().unwrap();
    seq.reserve(70).unwrap();

    // Written on another stream than the step's, and dropped as soon as they are enqueued.
    let (latent, rows) = (other.clone_htod(&bits(&rows)).unwrap(), other.clone_htod(&bits(&rows)).unwrap());
    let q = other.clone_htod(&bits(&q)).unwrap();
    let mut out = stream.alloc_zeros::<u16>(HEADS * LATENT_DIM).unwrap();
    let mut lse = stream.alloc_zeros::<f32>(HEADS).unwrap();
    let mut step = plan.begin(&[seq.id()], &[70], &[1], &foreign).unwrap();
    let refused = step.append_rows_cuda(0, &view(&rows)).unwrap_err();
    assert_eq!(refused.status(), Status::Mismatch);
    step.end().unwrap();
    foreign.synchronize().unwrap();

    let mut step = plan.begin(&[seq.id()], &[70], &[1], &steps).unwrap();
    assert_eq!(step.append_rows_cuda(0, &view(&latent).slice(1..)).unwrap_err().status(), Status::Argument);
    step.append_rows_cuda(0, &view(&rows)).unwrap();
    drop((rows, latent));
    step.decode_cuda(0, SCALE, &view(&q), &mut view_mut(&mut out), Some(&mut lse.as_view_mut())).unwrap();
    drop(q);
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
    let captured = step.gather_cuda(0, 0, 0..1, &mut view_mut(&mut out).slice_mut(..QK_DIM)).unwrap_err();
    assert_eq!(captured.status(), Status::Capture);
    stream.end_capture(cudarc::driver::sys::CUgraphInstantiate_flags(0)).unwrap();
    step.end().unwrap();
    seq.commit(70).unwrap();
    drop((context, plan, pool, steps, seq)); // in any order

    let out: Vec<u16> = stream.clone_dtoh(&out).unwrap();
    let lse: Vec<f32> = stream.clone_dtoh(&lse).unwrap();
    for (have, want) in out.iter().zip(&expected.0) {
        let (have, want) = (bf16::from_bits(*have).to_f32(), want.to_f32());
        assert!((have - want).abs() <= 1e-3 + want.abs() / 64.0, "{} must be {}", have, want);
    }
    for (have, want) in lse.iter().zip(&expected.1) {
        assert!((have - want).abs() <= 1e-3, "{} must be {}", have, want);
    }
}

fn on_cpu(rows: &[bf16], q: &[bf16]) -> (Vec<bf16>, Vec<f32>) {
    let context = Context::new(Backend::Cpu).unwrap();
    let pool = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 1, 8)).unwrap();
    let mut plan = Plan::new(&pool, &PlanOptions::new(1, HEADS as u32, 128)).unwrap();
    let stream = Stream::default_of(&context);
    let seq = pool.create_sequence().unwrap();
    let (mut out, mut lse) = (vec![bf16::ZERO; HEADS * LATENT_DIM], vec![0.0; HEADS]);
    seq.reserve(70).unwrap();
    let mut step = plan.begin(&[seq.id()], &[70], &[1], &stream).unwrap();
    step.append_rows(0, rows).unwrap();
    step.decode(0, SCALE, q, &mut out, Some(&mut lse)).unwrap();
    step.end().unwrap();
    (out, lse)
}
