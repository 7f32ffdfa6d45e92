// SPDX-License-Identifier: Apache-2.0
//! A continuous-batching decode loop over a small pool: requests come and go, fork for parallel sampling, and are preempted
//! when pages run out. There is no model: the cache holds patterns, and every query asks for one position of its sequence,
//! so that the next token depends on what the pool, the tables and the kernels bring back. The C and Go examples print the
//! same, byte for byte.
//!
//!     cargo run --release --example serve -- [--cuda] [SEED]

use hopmla::*;
use std::collections::VecDeque;

const LAYERS: usize = 2;
const HEADS: usize = 4;
const PAGES: u64 = 12;
const BATCH: usize = 8; // sequences in a step
const CHUNK: usize = 64; // most tokens that a sequence appends in a step
const MAX_TOKENS: u64 = 256;
const REQUESTS: u32 = 12;
const SAMPLES: u32 = 3; // most per request
const VOCABULARY: u32 = 64;

// ---- what stands in for a model: the same integers in every language ----

#[derive(Clone, Copy)]
struct Seed(u32);

const TOKEN: u32 = 0;
const POSITION: u32 = 1;
const PLUS: Bf16 = Bf16(0x3f80);
const MINUS: Bf16 = Bf16(0xbf80);

impl Seed {
    fn hash(self, a: u32, b: u32, c: u32) -> u32 {
        let mut h = self.0.wrapping_mul(0x9e37_79b1);
        h = h.wrapping_add(a.wrapping_mul(0x85eb_ca77));
        h = h.wrapping_add(b.wrapping_mul(0xc2b2_ae3d));
        h = h.wrapping_add(c.wrapping_mul(0x27d4_eb2f));
        h = (h ^ h >> 15).wrapping_mul(0x85eb_ca77);
        h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae3d);
        h ^ h >> 16
    }

    /// ±1; value `d` of pattern `number` of a kind.
    fn sign(self, kind: u32, number: u32, d: usize) -> Bf16 {
        if self.hash(kind, number, d as u32) & 1 != 0 {
            PLUS
        } else {
            MINUS
        }
    }

    /// A cached row: the token's pattern, then the position's.
    fn row(self, token: u32, position: u32) -> impl Iterator<Item = Bf16> {
        (0..QK_DIM).map(move |d| match d < LATENT_DIM {
            true => self.sign(TOKEN, token, d),
            false => self.sign(POSITION, position, d),
        })
    }

    /// A query that finds one position: its pattern against the cached ones, nothing against the tokens'.
    fn query(self, position: u32) -> impl Iterator<Item = Bf16> {
        (0..QK_DIM).map(move |d| match d < LATENT_DIM {
            true => Bf16(0),
            false => self.sign(POSITION, position, d),
        })
    }

    /// The token whose pattern is nearest.
    fn recognise(self, out: &[Bf16]) -> u32 {
        let (mut best, mut most) = (0, -1e30f32);
        for token in 0..VOCABULARY {
            let mut sum = 0.0;
            for (d, value) in out.iter().enumerate() {
                let value = value.to_f32();
                sum += if self.sign(TOKEN, token, d) == PLUS { value } else { -value };
            }
            if sum > most {
                (best, most) = (token, sum);
            }
        }
        best
    }
}

// ---- requests ----

/// One sample of a request: with a sequence of the pool while it runs, tokens alone while it waits.
struct Sample {
    request: u32,
    index: u32,
    siblings: u32, // forks still to be made when the prompt is cached
    tokens: Vec<u32>,
    target: usize,
    seq: Option<Sequence>,
    cached: usize,
}

impl Sample {
    fn new(seed: Seed, request: u32) -> Sample {
        let length = 20 + seed.hash(7, request, 1) % 160;
        Sample {
            request,
            index: 0,
            siblings: seed.hash(7, request, 0) % SAMPLES,
            tokens: (0..length).map(|i| seed.hash(8, request, i) % VOCABULARY).collect(),
            target: (length + 10 + seed.hash(7, request, 2) % 40) as usize,
            seq: None,
            cached: 0,
        }
    }

    fn id(&self) -> SeqId {
        self.seq.as_ref().expect("it runs").id()
    }

    /// The position that a head asks for.
    fn wanted(&self, seed: Seed, head: usize) -> usize {
        let last = self.tokens[self.tokens.len() - 1];
        seed.hash(10 + head as u32, last, self.tokens.len() as u32) as usize % self.tokens.len()
    }
}

#[derive(Default)]
struct Counters {
    steps: u32,
    appended: usize,
    decoded: usize,
    recalled: usize,
    forks: u32,
    preemptions: u32,
    finished: u32,
}

struct Server {
    seed: Seed,
    pool: Pool,
    plan: Plan,
    stream: Stream,
    rows: DeviceBuffer<Bf16>,
    q: DeviceBuffer<Bf16>,
    out: DeviceBuffer<Bf16>,
    running: Vec<Sample>,
    waiting: VecDeque<Sample>,
    count: Counters,
}

impl Server {
    fn new(seed: Seed, backend: Backend) -> Result<Server> {
        let context = Context::new(backend)?;
        let pool = Pool::new(&context, &PoolOptions::new(KvFormat::Bf16, LAYERS as u32, PAGES))?;
        Ok(Server {
            seed,
            plan: Plan::new(&pool, &PlanOptions::new(BATCH as u32, HEADS as u32, MAX_TOKENS))?,
            pool,
            stream: Stream::new(&context)?,
            rows: DeviceBuffer::zeroed(&context, BATCH * CHUNK * QK_DIM)?,
            q: DeviceBuffer::zeroed(&context, BATCH * HEADS * QK_DIM)?,
            out: DeviceBuffer::zeroed(&context, BATCH * HEADS * LATENT_DIM)?,
            running: Vec::new(),
            waiting: VecDeque::new(),
            count: Counters::default(),
        })
    }

    /// As many as there is room for in the batch, forks to come counted, and pages for.
    fn admit(&mut self) -> Result<()> {
        let mut promised = self.running.len() + self.running.iter().map(|s| s.siblings as usize).sum::<usize>();
        let mut pages = self.pool.stats()?.pages_free;
        while let Some(mut sample) = self.waiting.pop_front() {
            let needs = ((sample.tokens.len() + PAGE_TOKENS) / PAGE_TOKENS) as u64;
            promised += 1 + sample.siblings as usize;
            if promised > BATCH || needs > pages {
                self.waiting.push_front(sample);
                break;
            }
            pages -= needs;
            sample.seq = Some(self.pool.create_sequence()?);
            self.running.push(sample);
        }
        Ok(())
    }

    /// The youngest goes back to the front of the queue and starts over later.
    fn preempt(&mut self) {
        let mut sample = self.running.pop().expect("an empty batch needs no pages");
        sample.seq = None; // releases it
        sample.cached = 0;
        self.waiting.push_front(sample);
        self.count.preemptions += 1;
    }

    /// After a prompt: the others of its request share its pages, and go on to a token of their own.
    fn fork_siblings(&mut self, parent: usize) -> Result<()> {
        let siblings = std::mem::take(&mut self.running[parent].siblings);
        for index in (1..=siblings).rev() {
            let p = &self.running[parent];
            let mut tokens = p.tokens.clone();
            if let Some(last) = tokens.last_mut() {
                *last = self.seed.hash(9, *last, index) % VOCABULARY;
            }
            let seq = p.seq.as_ref().expect("it runs").fork(None)?;
            let child = Sample { tokens, index, siblings: 0, seq: Some(seq), ..*p };
            self.running.push(child);
            self.count.forks += 1;
        }
        Ok(())
    }

    /// Reserves pages for as much of the batch as there are pages for: ids, tokens to append, query tokens.
    fn reserve(&mut self) -> Result<(Vec<SeqId>, Vec<u32>, Vec<u32>)> {
        loop {
            let seqs: Vec<SeqId> = self.running.iter().map(Sample::id).collect();
            let left = |s: &Sample| s.tokens.len() - s.cached;
            let n_append: Vec<u32> = self.running.iter().map(|s| left(s).min(CHUNK) as u32).collect();
            // A chunk that is not the last decodes nothing.
            let q_lens = self.running.iter().map(|s| u32::from(left(s) <= CHUNK)).collect();
            match self.pool.reserve(&seqs, &n_append) {
                Ok(()) => return Ok((seqs, n_append, q_lens)),
                Err(error) if error.missing_pages().is_some() => self.preempt(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends what the step has, in every layer, and decodes; the output of every layer.
    fn run_layers(
        &mut self,
        (seqs, n_append, q_lens): (&[SeqId], &[u32], &[u32]),
        rows: &[Bf16],
        q: &[Vec<Bf16>],
    ) -> Result<Vec<Vec<Bf16>>> {
        let q_rows = q_lens.iter().sum::<u32>();
        let stride = QK_DIM as i64;
        let mut outs = Vec::new();
        let mut step = self.plan.begin(seqs, n_append, q_lens, &self.stream)?;
        self.rows.write(0, rows, &self.stream)?;
        for (layer, q) in q.iter().enumerate() {
            let tokens = (rows.len() / QK_DIM) as u64;
            let append = AppendArgs { layer: layer as u32, tokens, latent_stride: stride, rope_stride: stride };
            let decode = DecodeArgs::new(layer as u32, q_rows, 1.0); // ±1 patterns: a match scores 64, others about 8
            self.q.write(0, q, &self.stream)?;
            // SAFETY: the buffers hold that many rows, and are read and written again only after the stream is past this:
            // `write` and `read` wait for it.
            unsafe {
                step.enqueue_append(&append, self.rows.ptr(), Some(self.rows.ptr().add(LATENT_DIM)))?;
                step.enqueue_decode(&decode, self.q.ptr(), None, self.out.ptr(), None)?;
            }
            let mut out = vec![Bf16(0); q_rows as usize * HEADS * LATENT_DIM];
            self.out.read(0, &mut out, &self.stream)?;
            outs.push(out);
        }
        step.end()?;
        Ok(outs)
    }

    fn step(&mut self) -> Result<()> {
        let seed = self.seed;
        let (seqs, n_append, q_lens) = self.reserve()?;
        let mut rows = Vec::new();
        let mut q = vec![Vec::new(); LAYERS];
        for (i, s) in self.running.iter().enumerate() {
            for position in s.cached..s.cached + n_append[i] as usize {
                rows.extend(seed.row(s.tokens[position], position as u32));
            }
            for head in 0..LAYERS * HEADS * q_lens[i] as usize {
                q[head / HEADS].extend(seed.query(s.wanted(seed, head) as u32));
            }
        }
        let outs = self.run_layers((&seqs, &n_append, &q_lens), &rows, &q)?;
        self.pool.commit(&seqs, &n_append)?;

        let (tokens, q_rows) = (rows.len() / QK_DIM, q_lens.iter().sum::<u32>() as usize);
        print!("step {}: {} sequences, {} tokens in, {} out", self.count.steps, seqs.len(), tokens, q_rows);
        let mut row = 0;
        for (i, s) in self.running.iter_mut().enumerate() {
            s.cached += n_append[i] as usize;
            if q_lens[i] == 0 {
                continue;
            }
            let mut next = s.index;
            for head in 0..LAYERS * HEADS {
                let at = (row * HEADS + head % HEADS) * LATENT_DIM;
                let token = seed.recognise(&outs[head / HEADS][at..at + LATENT_DIM]);
                self.count.recalled += usize::from(token == s.tokens[s.wanted(seed, head)]);
                next = seed.hash(11, next, token);
            }
            s.tokens.push(next % VOCABULARY);
            print!(" {}.{}:{}", s.request, s.index, next % VOCABULARY);
            row += 1;
        }
        println!();
        for (i, _) in q_lens.iter().enumerate().filter(|(_, &n)| n > 0) {
            self.fork_siblings(i)?;
        }
        for i in (0..self.running.len()).rev() {
            let s = &self.running[i];
            if s.tokens.len() >= s.target {
                println!("done {}.{} after {} tokens", s.request, s.index, s.tokens.len());
                self.running.remove(i);
                self.count.finished += 1;
            }
        }
        self.count.steps += 1;
        self.count.appended += tokens;
        self.count.decoded += q_rows;
        Ok(())
    }
}

fn main() -> Result<()> {
    let (mut seed, mut backend) = (Seed(1), Backend::Cpu);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--cuda" => backend = Backend::Cuda,
            number => seed = Seed(number.parse().expect("usage: serve [--cuda] [SEED]")),
        }
    }
    let mut server = Server::new(seed, backend)?;
    let profiler = Profiler::new(server.pool.context(), &ProfilerOptions::new().totals_only())?;
    profiler.start()?;
    let mut request = 0;
    while request < REQUESTS || !server.running.is_empty() || !server.waiting.is_empty() {
        while request < REQUESTS {
            let more = seed.hash(6, request, 0) % 4 == 0;
            server.waiting.push_back(Sample::new(seed, request));
            request += 1;
            if !more {
                break;
            }
        }
        server.admit()?;
        server.step()?;
    }

    let (count, stats) = (&server.count, server.pool.stats()?);
    println!(
        "steps {}, tokens in {}, out {}, recalled {} of {}",
        count.steps,
        count.appended,
        count.decoded,
        count.recalled,
        count.decoded * LAYERS * HEADS
    );
    println!("forks {}, preemptions {}, finished {}", count.forks, count.preemptions, count.finished);
    println!(
        "pages {}, free {}, most used {}, sequences left {}",
        stats.pages_total, stats.pages_free, stats.pages_high_water, stats.sequences
    );
    profiler.finish()?;
    for kind in [CallKind::Append, CallKind::Decode, CallKind::Update] {
        let totals = profiler.totals(kind, None)?;
        println!("{}: calls {}, FLOPs {}, bytes {}", kind, totals.calls, totals.flops, totals.bytes);
    }
    Ok(())
}
