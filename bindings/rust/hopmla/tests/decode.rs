// SPDX-License-Identifier: Apache-2.0
//! Right results through every path: slices, split tensors, device addresses, graphs, raw pages.

mod common;
use common::*;
use hopmla::*;

#[test]
fn slices_match_the_reference() {
    let (context, pool, mut plan) = world(16);
    let stream = Stream::default_of(&context);
    let (a, b) = (pool.create_sequence().unwrap(), pool.create_sequence().unwrap());
    let (mut rows_a, mut rows_b) = (Vec::new(), Vec::new());
    for (round, &(na, nb)) in [(70u32, 1u32), (1, 1), (1, 130), (0, 1)].iter().enumerate() {
        let ids = [a.id(), b.id()];
        pool.reserve(&ids, &[na, nb]).unwrap();
        let new = values((na + nb) as usize * QK_DIM, round as u32 + 1);
        let (new_a, new_b) = new.split_at(na as usize * QK_DIM);
        rows_a.extend_from_slice(new_a);
        rows_b.extend_from_slice(new_b);
        let q = values(2 * HEADS * QK_DIM, round as u32 + 100);
        let (mut out, mut lse) = (vec![Bf16(0x7fff); 2 * HEADS * LATENT_DIM], vec![0f32; 2 * HEADS]);

        let mut step = plan.begin(&ids, &[na, nb], &[1, 1], &stream).unwrap();
        for layer in 0..2 {
            step.append_rows(layer, &new).unwrap();
            step.decode(layer, SCALE, &q, &mut out, Some(&mut lse)).unwrap();
            expect_row(&q[..HEADS * QK_DIM], &rows_a, &out[..HEADS * LATENT_DIM], &lse[..HEADS]);
            expect_row(&q[HEADS * QK_DIM..], &rows_b, &out[HEADS * LATENT_DIM..], &lse[HEADS..]);
        }
        let mut back = vec![Bf16(0); rows_a.len()];
        step.gather(1, 0, 0..(rows_a.len() / QK_DIM) as u64, &mut back).unwrap();
        assert_eq!(back, rows_a);
        step.end().unwrap();
        assert!(plan.is_done().unwrap());
        pool.commit(&ids, &[na, nb]).unwrap();
    }
}

#[test]
fn split_tensors_and_f32_sources_give_the_same_bits() {
    let (context, pool, mut plan) = world(16);
    let stream = Stream::new(&context).unwrap();
    let seqs = [pool.create_sequence().unwrap(), pool.create_sequence().unwrap()];
    let rows = values(9 * QK_DIM, 5);
    let q = values(HEADS * QK_DIM, 6);
    let part = |x: &[Bf16], from: usize, to: usize| -> Vec<Bf16> {
        x.chunks(QK_DIM).flat_map(|row| row[from..to].iter().copied()).collect()
    };
    let mut outs = vec![vec![Bf16(0); HEADS * LATENT_DIM]; 2];
    for (i, seq) in seqs.iter().enumerate() {
        seq.reserve(9).unwrap();
        let mut step = plan.begin(&[seq.id()], &[9], &[1], &stream).unwrap();
        if i == 0 {
            step.append_rows(0, &rows).unwrap();
            step.decode(0, SCALE, &q, &mut outs[0], None).unwrap();
        } else {
            let wide = |x: Vec<Bf16>| x.into_iter().map(Bf16::to_f32).collect::<Vec<f32>>();
            step.append(0, &wide(part(&rows, 0, 512)), &wide(part(&rows, 512, 576))).unwrap();
            step.decode_split(0, SCALE, &part(&q, 0, 512), &part(&q, 512, 576), &mut outs[1], None).unwrap();
        }
        step.end().unwrap();
    }
    assert_eq!(outs[0], outs[1]);
}

#[test]
fn caches_without_a_rope_part() {
    let format = KvFormat::Bf16Nope;
    assert_eq!((format.rope_dim(), format.qk_dim()), (0, LATENT_DIM));
    let context = ContextOptions::new(Backend::Cpu).cpu_threads(2).create().unwrap();
    let stream = Stream::default_of(&context);
    let pool = Pool::new(&context, &PoolOptions::new(format, 1, 4)).unwrap();
    assert_eq!(pool.describe().unwrap().row_stride, 1024);
    let mut plan = Plan::new(&pool, &PlanOptions::new(1, HEADS as u32, 640)).unwrap();
    let seq = pool.create_sequence().unwrap();
    let (rows, q) = (values(70 * LATENT_DIM, 5), values(HEADS * LATENT_DIM, 6));
    let (mut out, mut lse) = (vec![Bf16(0); HEADS * LATENT_DIM], vec![0f32; HEADS]);
    let mut back = vec![Bf16(0); rows.len()];
    seq.reserve(70).unwrap();
    let mut step = plan.begin(&[seq.id()], &[70], &[1], &stream).unwrap();
    let (rope, wrong) = (values(70 * ROPE_DIM, 7), values(HEADS * ROPE_DIM, 8));
    assert_eq!(step.append(0, &rows, &rope).unwrap_err().status(), Status::Argument);
    assert_eq!(step.append_rows(0, &rows[8..]).unwrap_err().status(), Status::Argument);
    assert_eq!(step.decode_split(0, SCALE, &q, &wrong, &mut out, None).unwrap_err().status(), Status::Argument);
    for whole in [false, true] {
        if whole {
            step.append_rows(0, &rows).unwrap();
        } else {
            step.append(0, &rows, &[]).unwrap();
        }
        step.decode(0, SCALE, &q, &mut out, Some(&mut lse)).unwrap();
        /* The same as with a rope part of zeros. */
        let wide = |x: &[Bf16]| -> Vec<Bf16> {
            x.chunks(LATENT_DIM).flat_map(|row| [row, &[Bf16(0); ROPE_DIM]].concat()).collect()
        };
        expect_row(&wide(&q), &wide(&rows), &out, &lse);
        step.gather(0, 0, 0..70, &mut back).unwrap();
        assert_eq!(back, rows);
    }
    step.end().unwrap();
}

#[test]
fn forks_share_pages_and_part() {
    let (context, pool, mut plan) = world(16);
    let stream = Stream::default_of(&context);
    let parent = pool.create_sequence().unwrap();
    let prefix = values(70 * QK_DIM, 1);
    parent.reserve(70).unwrap();
    let mut step = plan.begin(&[parent.id()], &[70], &[0], &stream).unwrap();
    step.append_rows(0, &prefix).unwrap();
    step.append_rows(1, &prefix).unwrap();
    step.end().unwrap();
    parent.commit(70).unwrap();

    let child = parent.fork(None).unwrap();
    assert_eq!(pool.stats().unwrap().pages_shared, 2);
    let ids = [parent.id(), child.id()];
    pool.reserve(&ids, &[1, 1]).unwrap();
    let (new, q) = (values(2 * QK_DIM, 2), values(2 * HEADS * QK_DIM, 3));
    let (mut out, mut lse) = (vec![Bf16(0); 2 * HEADS * LATENT_DIM], vec![0f32; 2 * HEADS]);
    let mut step = plan.begin(&ids, &[1, 1], &[1, 1], &stream).unwrap();
    step.append_rows(1, &new).unwrap();
    step.decode(1, SCALE, &q, &mut out, Some(&mut lse)).unwrap();
    drop(step); // ends it too
    pool.commit(&ids, &[1, 1]).unwrap();
    for (i, token) in new.chunks(QK_DIM).enumerate() {
        let rows = [&prefix[..], token].concat();
        let (q, out) = (&q[i * HEADS * QK_DIM..], &out[i * HEADS * LATENT_DIM..]);
        expect_row(&q[..HEADS * QK_DIM], &rows, &out[..HEADS * LATENT_DIM], &lse[i * HEADS..]);
    }
    assert_eq!(parent.pages().unwrap()[0], child.pages().unwrap()[0]);
    assert_ne!(parent.pages().unwrap()[1], child.pages().unwrap()[1]);
}

#[test]
fn a_graph_replays_over_device_memory() {
    let (context, pool, mut plan) = world(16);
    let stream = Stream::new(&context).unwrap();
    let mut source = DeviceBuffer::<Bf16>::zeroed(&context, 4 * QK_DIM).unwrap();
    let mut q = DeviceBuffer::<Bf16>::zeroed(&context, 8 * HEADS * QK_DIM).unwrap();
    let out = DeviceBuffer::<Bf16>::zeroed(&context, 8 * HEADS * LATENT_DIM).unwrap();
    let lse = DeviceBuffer::<f32>::zeroed(&context, 8 * HEADS).unwrap();
    let append =
        AppendArgs { tokens: 4, latent_stride: QK_DIM as i64, rope_stride: QK_DIM as i64, ..Default::default() };
    stream.begin_capture().unwrap();
    // SAFETY: the buffers and the plan outlive the graph, and only this thread uses them.
    unsafe {
        plan.enqueue_append(&append, source.ptr(), Some(source.ptr().add(LATENT_DIM)), &stream).unwrap();
        let args = DecodeArgs::new(0, 8, SCALE);
        plan.enqueue_decode(&args, q.ptr(), None, out.ptr(), Some(lse.ptr()), &stream).unwrap();
    }
    let graph = stream.end_capture().unwrap();

    let seq = pool.create_sequence().unwrap();
    let mut cached = Vec::new();
    let (mut out_host, mut lse_host) = (vec![Bf16(0); 8 * HEADS * LATENT_DIM], vec![0f32; 8 * HEADS]);
    for round in 0..70 {
        let (rows, queries) = (values(QK_DIM, round), values(HEADS * QK_DIM, round + 1000));
        cached.extend_from_slice(&rows);
        seq.reserve(1).unwrap();
        source.write(0, &rows, &stream).unwrap();
        q.write(0, &queries, &stream).unwrap();
        let step = plan.begin(&[seq.id()], &[1], &[1], &stream).unwrap();
        // SAFETY: everything recorded is alive, and the step is open on this stream.
        unsafe { graph.launch(&stream).unwrap() };
        step.end().unwrap();
        seq.commit(1).unwrap();
        out.read(0, &mut out_host, &stream).unwrap();
        lse.read(0, &mut lse_host, &stream).unwrap();
        expect_row(&queries, &cached, &out_host, &lse_host);
        assert!(out_host[HEADS * LATENT_DIM..].iter().all(|x| x.0 == 0));
        assert!(lse_host[HEADS..].iter().all(|&x| x == f32::NEG_INFINITY));
    }
}

#[test]
fn raw_pages_match_the_reference() {
    let context = Context::new(Backend::Cpu).unwrap();
    let stream = Stream::default_of(&context);
    let rows = values(128 * QK_DIM, 1);
    let q_host = values(HEADS * QK_DIM, 2);
    let mut pages = DeviceBuffer::<Bf16>::zeroed(&context, 3 * 64 * QK_DIM).unwrap();
    pages.write(2 * 64 * QK_DIM, &rows[..64 * QK_DIM], &stream).unwrap();
    pages.write(0, &rows[64 * QK_DIM..], &stream).unwrap();
    let mut table = DeviceBuffer::<i32>::zeroed(&context, 2).unwrap();
    table.write(0, &[2, 0], &stream).unwrap();
    let mut lens = DeviceBuffer::<i32>::zeroed(&context, 1).unwrap();
    lens.write(0, &[100], &stream).unwrap();
    let mut q = DeviceBuffer::<Bf16>::zeroed(&context, HEADS * QK_DIM).unwrap();
    q.write(0, &q_host, &stream).unwrap();
    let out = DeviceBuffer::<Bf16>::zeroed(&context, HEADS * LATENT_DIM).unwrap();
    let lse = DeviceBuffer::<f32>::zeroed(&context, HEADS).unwrap();

    let desc = PagedDesc::new(KvFormat::Bf16, 1, HEADS as u32, 128, 3);
    let bytes = desc.workspace_bytes(&context).unwrap();
    let workspace = DeviceBuffer::<u8>::zeroed(&context, bytes as usize).unwrap();
    let cache = PagedCache {
        latent: pages.ptr(),
        rope: None,
        block_table: table.ptr(),
        workspace: workspace.ptr(),
        workspace_bytes: bytes,
    };
    let (mut out_host, mut lse_host) = (vec![Bf16(0); HEADS * LATENT_DIM], vec![0f32; HEADS]);
    for (second_page, bad) in [(0, false), (3, true)] {
        table.write(1, &[second_page], &stream).unwrap();
        // SAFETY: every buffer is alive and of the size that the description says.
        let errors = unsafe {
            desc.prepare(lens.ptr(), None, workspace.ptr(), bytes, &stream).unwrap();
            let args = DecodeArgs::new(0, 1, SCALE);
            desc.decode(&args, &cache, q.ptr(), None, out.ptr(), Some(lse.ptr()), &stream).unwrap();
            PagedErrors::read(workspace.ptr(), &stream).unwrap()
        };
        assert_eq!(errors.bad_page(), bad);
        assert_eq!(errors.is_empty(), !bad);
        if !bad {
            out.read(0, &mut out_host, &stream).unwrap();
            lse.read(0, &mut lse_host, &stream).unwrap();
            expect_row(&q_host, &rows[..100 * QK_DIM], &out_host, &lse_host);
        }
    }
}

#[test]
fn events_and_descriptions() {
    let (context, pool, plan) = world(16);
    let stream = Stream::new(&context).unwrap();
    let (a, b) = (Event::new(&context).unwrap(), Event::new(&context).unwrap());
    assert_eq!(b.since(&a).unwrap_err().status(), Status::State);
    a.record(&stream).unwrap();
    stream.wait(&a).unwrap();
    b.record(&stream).unwrap();
    b.synchronize().unwrap();
    assert!(b.since(&a).unwrap().as_secs() < 60);

    let info = context.describe().unwrap();
    assert_eq!((info.backend, info.units), (sys::HOPMLA_BACKEND_CPU, 2));
    assert!(!info.name.is_empty());
    let layout = pool.describe().unwrap();
    assert_eq!((layout.pages, layout.layers, layout.row_stride), (16, 2, 1152));
    assert_ne!(layout.base, 0);
    assert_eq!(plan.tables().unwrap().max_batch, 4);
    let options = PoolOptions::new(KvFormat::Fp16, 2, 0).bytes(layout.bytes).max_sequences(9);
    assert_eq!(options.query(&context).unwrap().pages, 16);
    assert!(PlanOptions::new(4, 3, 640).query(&pool).unwrap().0 > 0);
    assert_eq!(version().0, 0);
}
