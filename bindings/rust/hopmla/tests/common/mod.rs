// SPDX-License-Identifier: Apache-2.0
//! What the tests share: numbers, and a reference in float64.
#![allow(dead_code)]

use hopmla::*;

pub const HEADS: usize = 3;
pub const SCALE: f32 = 0.0721688;

/// A reproducible number of size below 1.
pub fn value(seed: u32) -> Bf16 {
    let mut h = seed.wrapping_mul(0x9e37_79b1);
    h = (h ^ h >> 15).wrapping_mul(0x85eb_ca77);
    h ^= h >> 13;
    Bf16::from_f32((h % 2001) as f32 / 1000.0 - 1.0)
}

pub fn values(n: usize, seed: u32) -> Vec<Bf16> {
    (0..n as u32).map(|i| value(seed.wrapping_mul(1_000_003).wrapping_add(i))).collect()
}

/// A context, a pool of `pages` pages in two layers, and a plan of four rows.
pub fn world(pages: u64) -> (Context, Pool, Plan) {
    let context = ContextOptions::new(Backend::Cpu).cpu_threads(2).create().unwrap();
    let pool = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, 2, pages)).unwrap();
    let plan = Plan::new(&pool, &PlanOptions::new(4, HEADS as u32, 640).max_q_tokens(2)).unwrap();
    (context, pool, plan)
}

/// Attention of one query row over cached rows `[tokens, 576]`: output and log-sum-exp.
pub fn reference(q: &[Bf16], rows: &[Bf16]) -> (Vec<f64>, f64) {
    let f = |x: Bf16| f64::from(x.to_f32());
    let scores: Vec<f64> = rows
        .chunks(QK_DIM)
        .map(|row| row.iter().zip(q).map(|(&a, &b)| f(a) * f(b)).sum::<f64>() * f64::from(SCALE))
        .collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
    let mut out = vec![0.0; LATENT_DIM];
    for (row, s) in rows.chunks(QK_DIM).zip(&scores) {
        for (o, &v) in out.iter_mut().zip(row) {
            *o += (s - top).exp() / total * f(v);
        }
    }
    (out, top + total.ln())
}

/// Compares decoded heads of one row with the reference.
pub fn expect_row(q: &[Bf16], rows: &[Bf16], out: &[Bf16], lse: &[f32]) {
    for h in 0..HEADS {
        let (want, want_lse) = reference(&q[h * QK_DIM..(h + 1) * QK_DIM], rows);
        assert!((f64::from(lse[h]) - want_lse).abs() < 1e-3, "lse {} {}", lse[h], want_lse);
        for (d, want) in want.iter().enumerate() {
            let have = f64::from(out[h * LATENT_DIM + d].to_f32());
            assert!((have - want).abs() < 8e-4 + want.abs() / 64.0, "head {} {}: {} {}", h, d, have, want);
        }
    }
}
