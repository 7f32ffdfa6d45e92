// SPDX-License-Identifier: Apache-2.0
//! The optional features.

#[cfg(feature = "serde")]
#[test]
fn statistics_serialise() {
    use hopmla::*;
    let context = Context::new(Backend::Cpu).unwrap();
    let pool = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 1, 7)).unwrap();
    let json = serde_json::to_value(pool.stats().unwrap()).unwrap();
    assert_eq!((json["pages_total"].as_u64(), json["pages_free"].as_u64()), (Some(7), Some(7)));
    let info = serde_json::to_value(context.describe().unwrap()).unwrap();
    assert!(info["name"].is_string());
    assert_eq!(info.as_object().unwrap().len(), 10);
}

#[cfg(feature = "half")]
#[test]
fn slices_of_half() {
    use half::{bf16, f16};
    use hopmla::*;
    fn run<T: Element>(one: T, zero: T) -> Vec<T> {
        let context = Context::new(Backend::Cpu).unwrap();
        let pool = Pool::new(&context, &PoolOptions::new(T::FORMAT, 1, 7)).unwrap();
        let mut plan = Plan::new(&pool, &PlanOptions::new(1, 1, 64)).unwrap();
        let stream = Stream::default_of(&context);
        let seq = pool.create_sequence().unwrap();
        seq.reserve(1).unwrap();
        let (row, mut out) = (vec![one; QK_DIM], vec![zero; LATENT_DIM]);
        let mut step = plan.begin(&[seq.id()], &[1], &[1], &stream).unwrap();
        step.append_rows(0, &row).unwrap();
        step.decode(0, 0.1, &row, &mut out, None).unwrap();
        drop(step);
        out
    }
    assert_eq!(run(bf16::ONE, bf16::ZERO), [bf16::ONE; LATENT_DIM]);
    assert_eq!(run(f16::ONE, f16::ZERO), [f16::ONE; LATENT_DIM]);
}
