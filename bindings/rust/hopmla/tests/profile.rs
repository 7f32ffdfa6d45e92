// SPDX-License-Identifier: Apache-2.0
//! Profilers: records, totals, launches and exports, and wrong use of them.

mod common;
use common::*;
use hopmla::*;
use std::io::{Error as IoError, ErrorKind, Write};
use std::thread;

/// One step of a sequence with `n` new tokens.
fn step(plan: &mut Plan, stream: &Stream, n: u32) {
    let seq = plan.pool().create_sequence().unwrap();
    let (rows, q) = (values(n as usize * QK_DIM, 1), values(HEADS * QK_DIM, 2));
    let mut out = vec![Bf16(0); HEADS * LATENT_DIM];
    seq.reserve(n).unwrap();
    let mut step = plan.begin(&[seq.id()], &[n], &[1], stream).unwrap();
    step.append_rows(0, &rows).unwrap();
    step.decode(0, SCALE, &q, &mut out, None).unwrap();
    step.end().unwrap();
}

#[test]
fn calls_are_recorded_and_summed() {
    let (context, _pool, mut plan) = world(8);
    let stream = Stream::new(&context).unwrap();
    let profiler = Profiler::new(&context, &ProfilerOptions::new().events().capacity(64)).unwrap();
    step(&mut plan, &stream, 70); // not started: not recorded
    profiler.set_ceilings(&Ceilings::new(1e10, 1e11, 1e11)).unwrap();
    profiler.start().unwrap();
    step(&mut plan, &stream, 70);
    step(&mut plan, &stream, 3);
    profiler.stop().unwrap();
    profiler.stop().unwrap();
    step(&mut plan, &stream, 70);
    profiler.finish().unwrap();
    let info = profiler.describe().unwrap();
    assert_eq!((info.started, info.recorded, info.waiting, info.dropped), (false, 6, 6, 0));
    assert_eq!(info.time_source, FigureSource::Host);

    let first = profiler.read(2).unwrap();
    let rest = profiler.read(usize::MAX).unwrap();
    let kinds: Vec<CallKind> = first.iter().chain(&rest).map(Record::kind).collect();
    use CallKind::{Append, Decode, Update};
    assert_eq!(kinds, [Update, Append, Decode, Update, Append, Decode]);
    let decode = &rest[0];
    assert_eq!((decode.kv_tokens(), decode.heads(), decode.rows(), decode.calls()), (Some(70), 3, 1, 1));
    assert_eq!(decode.flops(), Some(2 * 1088 * 3 * 70));
    assert!(decode.device_ns().unwrap() > 0 && decode.fraction().unwrap() > 0.0);
    assert_eq!((decode.dram_read_bytes(), decode.custom()), (None, None));
    assert!(profiler.read(10).unwrap().is_empty());

    let totals = profiler.totals(Decode, Some(&plan)).unwrap();
    assert_eq!((totals.records, totals.calls, totals.flops), (2, 2, 2 * 1088 * 3 * 73));
    assert_eq!((plan.tables().unwrap().number, totals.plan), (decode.plan(), decode.plan()));
    assert_eq!(profiler.totals(CallKind::Gather, None).unwrap().records, 0);
    for kind in CallKind::ALL {
        profiler.totals(kind, None).unwrap();
    }
    profiler.clear_ceilings().unwrap();
    profiler.start().unwrap();
    step(&mut plan, &stream, 70);
    assert!(profiler.read(3).unwrap()[2].fraction().is_none());
    assert_eq!(profiler.totals(CallKind::Unknown(99), None).unwrap_err().status(), Status::Enum);
}

#[test]
fn one_at_a_time_and_of_one_context() {
    let (context, pool, mut plan) = world(8);
    let (other, _, foreign) = world(8);
    let one = Profiler::new(&context, &ProfilerOptions::new()).unwrap();
    let two = Profiler::new(&context, &ProfilerOptions::new()).unwrap();
    one.start().unwrap();
    assert_eq!(one.start().unwrap_err().status(), Status::State);
    assert_eq!(two.start().unwrap_err().status(), Status::State);
    assert_eq!(one.totals(CallKind::Decode, Some(&foreign)).unwrap_err().status(), Status::Mismatch);
    let elsewhere = Profiler::new(&other, &ProfilerOptions::new()).unwrap();
    let mixed = Export::new().metrics(Some(&elsewhere), Some(&pool), &mut Vec::new()).unwrap_err();
    assert_eq!(mixed.status(), Status::Mismatch);
    assert!(Profiler::new(&context, &ProfilerOptions::new().capacity(u32::MAX)).is_err());
    assert!(Profiler::new(&context, &ProfilerOptions::new().cupti_path("a\0b")).is_err());

    // Dropped while it is started, and its context's other handles before it.
    let stream = Stream::new(&context).unwrap();
    step(&mut plan, &stream, 5);
    drop((context, pool, plan, stream));
    drop(one);
    two.start().unwrap();
}

#[test]
fn a_noted_launch_is_one_record() {
    let (context, pool, mut plan) = world(8);
    let stream = Stream::new(&context).unwrap();
    let profiler = Profiler::new(&context, &ProfilerOptions::new()).unwrap();
    let source = DeviceBuffer::<Bf16>::zeroed(&context, QK_DIM).unwrap();
    let args = AppendArgs { tokens: 1, latent_stride: 576, rope_stride: 576, ..AppendArgs::default() };
    stream.begin_capture().unwrap();
    // SAFETY: the buffer outlives the graph.
    unsafe { plan.enqueue_append(&args, source.ptr(), Some(source.ptr().add(LATENT_DIM)), &stream).unwrap() };
    let graph = stream.end_capture().unwrap();
    profiler.start().unwrap();
    let seq = pool.create_sequence().unwrap();
    seq.reserve(1).unwrap();
    let mut step = plan.begin(&[seq.id()], &[1], &[0], &stream).unwrap();
    let none = step.noted(&LaunchNote::default(), |_| Ok(())).unwrap_err();
    assert_eq!(none.status(), Status::Argument);
    let note = LaunchNote { appends: 1, ..LaunchNote::default() };
    // SAFETY: plan and buffer are alive, and the step is open.
    step.noted(&note, |stream| unsafe { graph.launch(stream) }).unwrap();
    let panics = std::panic::AssertUnwindSafe(|| step.noted(&note, |_| -> Result<()> { panic!("between") }));
    std::panic::catch_unwind(panics).unwrap_err();
    let failed = step.noted(&note, |_| -> Result<()> { Err(none) }).unwrap_err();
    assert_eq!(failed.status(), Status::Argument);
    // SAFETY: the same.
    step.noted(&note, |stream| unsafe { graph.launch(stream) }).unwrap(); // the ones before were ended
    step.end().unwrap();
    profiler.finish().unwrap();
    let records = profiler.read(100).unwrap();
    let launches = records.iter().filter(|r| r.kind() == CallKind::Append && r.of_graph() && r.calls() == 1).count();
    assert_eq!(launches, 2, "{:?}", records); // those that were launched
}

struct Broken(bool);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        assert!(!self.0, "in a writer");
        Err(IoError::new(ErrorKind::Other, "the disk is full"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn exports_go_where_they_should() {
    let (context, pool, mut plan) = world(8);
    let stream = Stream::new(&context).unwrap();
    let profiler = Profiler::new(&context, &ProfilerOptions::new()).unwrap();
    profiler.start().unwrap();
    step(&mut plan, &stream, 9);
    let records = profiler.read(100).unwrap();
    assert_eq!(records.len(), 3);
    let ceilings = Ceilings::new(1e10, 1e11, 1e11);
    let export = Export::new().device("a processor").ceilings(&ceilings);
    let text = |format| {
        let mut out = Vec::new();
        export.records(format, &records, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(ExportFormat::Csv).lines().count(), 4);
    assert!(text(ExportFormat::JsonLines).contains("\"decode\""));
    assert!(text(ExportFormat::Trace).contains("traceEvents"));
    for format in [ExportFormat::Roofline, ExportFormat::Timeline] {
        assert!(text(format).contains("<svg"));
    }
    let mut metrics = Vec::new();
    export.metrics(Some(&profiler), Some(&pool), &mut metrics).unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("hopmla_calls_total{kind=\"decode\"} 1\n") && metrics.ends_with("# EOF\n"), "{}", metrics);

    let path = std::env::temp_dir().join(format!("hopmla-export-{}.csv", std::process::id()));
    export.records_to_file(ExportFormat::Csv, &records, &path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text(ExportFormat::Csv));
    std::fs::remove_file(&path).unwrap();
    let nowhere = export.records_to_file(ExportFormat::Csv, &records, "/nowhere/at/all").unwrap_err();
    assert!(matches!(nowhere, Error::Io(_)) && nowhere.detail().native_code == 2, "{}", nowhere);
    let full = export.records(ExportFormat::Csv, &records, &mut Broken(false)).unwrap_err();
    assert!(matches!(full, Error::Io(_)) && full.to_string().contains("the disk is full"), "{}", full);
    let panicked = export.records(ExportFormat::Csv, &records, &mut Broken(true)).unwrap_err();
    assert!(panicked.to_string().contains("panicked"), "{}", panicked);
}

#[test]
fn many_threads_under_one_profiler() {
    let (context, pool, _plan) = world(64);
    let profiler = Profiler::new(&context, &ProfilerOptions::new().capacity(4)).unwrap();
    profiler.start().unwrap();
    let read: usize = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut plan = Plan::new(&pool, &PlanOptions::new(1, HEADS as u32, 640)).unwrap();
                let stream = Stream::new(&context).unwrap();
                for i in 0..20 {
                    step(&mut plan, &stream, 1 + i);
                }
            });
        }
        (0..200).map(|_| profiler.read(7).unwrap().len()).sum()
    });
    profiler.stop().unwrap();
    let left = profiler.read(100).unwrap().len();
    let info = profiler.describe().unwrap();
    assert_eq!(info.recorded, 240);
    assert_eq!((read + left) as u64 + info.dropped, 240);
}

#[cfg(feature = "serde")]
#[test]
fn records_serialise() {
    let (context, _pool, mut plan) = world(8);
    let stream = Stream::new(&context).unwrap();
    let profiler = Profiler::new(&context, &ProfilerOptions::new()).unwrap();
    profiler.start().unwrap();
    step(&mut plan, &stream, 9);
    let json = serde_json::to_value(profiler.read(100).unwrap()).unwrap();
    assert_eq!(json[2]["kind"], "decode");
    assert_eq!(json[2]["kv_tokens"], 9);
    assert!(json[2]["dram_read_bytes"].is_null());
    let totals = serde_json::to_value(profiler.totals(CallKind::Decode, None).unwrap()).unwrap();
    assert_eq!(totals["records"], 1);
}

#[test]
fn ceilings_are_kept_in_a_file() {
    let context = Context::new(Backend::Cpu).unwrap();
    let path = std::env::temp_dir().join(format!("hopmla-ceilings-{}", std::process::id()));
    let measured = context.load_ceilings(Some(&path)).unwrap();
    let kept = context.load_ceilings(Some(&path)).unwrap();
    assert_eq!(kept.unix_time, measured.unix_time);
    assert!((kept.flops_burst / measured.flops_burst - 1.0).abs() < 1e-6);
    std::fs::remove_file(&path).unwrap();
    let profiler = Profiler::new(&context, &ProfilerOptions::new()).unwrap();
    profiler.set_ceilings(&measured).unwrap();
    assert_eq!(profiler.set_ceilings(&Ceilings::new(0.0, 1.0, 1.0)).unwrap_err().status(), Status::Argument);
}
