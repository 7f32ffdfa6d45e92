// SPDX-License-Identifier: Apache-2.0

// A continuous-batching decode loop over a small pool: requests come and go, fork for parallel sampling, and are preempted
// when pages run out. There is no model: the cache holds patterns, and every query asks for one position of its sequence, so
// that the next token depends on what the pool, the tables and the kernels bring back. The C and Rust examples print the
// same, byte for byte.
//
//	go run ./example [--cuda] [SEED]
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"

	"hopmla.dev/go/hopmla"
)

const (
	layers     = 2
	heads      = 4
	pages      = 12
	batch      = 8  // sequences in a step
	chunk      = 64 // most tokens that a sequence appends in a step
	maxTokens  = 256
	requests   = 12
	samples    = 3 // most per request
	vocabulary = 64

	qk     = hopmla.QKDim
	latent = hopmla.LatentDim
)

// What stands in for a model: the same integers in every language.

var seed uint32 = 1

func hash(a, b, c uint32) uint32 {
	h := seed*0x9e3779b1 + a*0x85ebca77 + b*0xc2b2ae3d + c*0x27d4eb2f
	h = (h ^ h>>15) * 0x85ebca77
	h = (h ^ h>>13) * 0xc2b2ae3d
	return h ^ h>>16
}

const (
	token    = 0
	position = 1
	plus     = 0x3f80
	minus    = 0xbf80
)

// sign is ±1 as a bfloat16; value d of pattern number of a kind.
func sign(kind, number uint32, d int) uint16 {
	if hash(kind, number, uint32(d))&1 != 0 {
		return plus
	}
	return minus
}

// row adds a cached row: the token's pattern, then the position's.
func row(rows []uint16, t, p uint32) []uint16 {
	for d := 0; d < qk; d++ {
		if d < latent {
			rows = append(rows, sign(token, t, d))
		} else {
			rows = append(rows, sign(position, p, d))
		}
	}
	return rows
}

// query adds a query that finds one position: its pattern against the cached ones, nothing against the tokens'.
func query(q []uint16, p uint32) []uint16 {
	for d := 0; d < qk; d++ {
		if d < latent {
			q = append(q, 0)
		} else {
			q = append(q, sign(position, p, d))
		}
	}
	return q
}

// recognise is the token whose pattern is nearest.
func recognise(out []uint16) uint32 {
	best, most := uint32(0), float32(-1e30)
	for t := uint32(0); t < vocabulary; t++ {
		var sum float32
		for d, b := range out {
			if sign(token, t, d) == plus {
				sum += hopmla.BF16ToFloat32(b)
			} else {
				sum -= hopmla.BF16ToFloat32(b)
			}
		}
		if sum > most {
			best, most = t, sum
		}
	}
	return best
}

// sample is one of a request: a sequence of the pool while it runs, tokens alone while it waits.
type sample struct {
	request, index, siblings uint32 // siblings: forks still to be made when the prompt is cached
	tokens                   []uint32
	target                   int
	seq                      hopmla.Seq
	cached                   int
}

func newSample(request uint32) *sample {
	length := 20 + hash(7, request, 1)%160
	s := &sample{request: request, siblings: hash(7, request, 0) % samples,
		target: int(length + 10 + hash(7, request, 2)%40)}
	for i := uint32(0); i < length; i++ {
		s.tokens = append(s.tokens, hash(8, request, i)%vocabulary)
	}
	return s
}

// wanted is the position that a head asks for.
func (s *sample) wanted(head int) uint32 {
	n := uint32(len(s.tokens))
	return hash(10+uint32(head), s.tokens[n-1], n) % n
}

type server struct {
	pool             *hopmla.Pool
	plan             *hopmla.Plan
	stream           *hopmla.Stream
	rows, q, out     *hopmla.Buffer
	running, waiting []*sample

	steps, appended, decoded, recalled, forks, preemptions, finished int
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// admit lets in as many as there is room for in the batch, forks to come counted, and pages for.
func (v *server) admit() {
	promised := len(v.running)
	for _, s := range v.running {
		promised += int(s.siblings)
	}
	stats, err := v.pool.Stats()
	check(err)
	free := int(stats.PagesFree)
	for len(v.waiting) > 0 {
		s := v.waiting[0]
		needs := (len(s.tokens) + hopmla.PageTokens) / hopmla.PageTokens
		promised += 1 + int(s.siblings)
		if promised > batch || needs > free {
			return
		}
		free -= needs
		seqs, err := v.pool.Create(1)
		check(err)
		s.seq = seqs[0]
		v.waiting = v.waiting[1:]
		v.running = append(v.running, s)
	}
}

// preempt sends the youngest back to the front of the queue; it starts over later.
func (v *server) preempt() {
	last := len(v.running) - 1
	s := v.running[last]
	v.running = v.running[:last]
	check(v.pool.Release(s.seq))
	s.seq, s.cached = 0, 0
	v.waiting = append([]*sample{s}, v.waiting...)
	v.preemptions++
}

// forkSiblings comes after a prompt: the others of its request share its pages, and go on to a token of their own.
func (v *server) forkSiblings(parent *sample) {
	for i := parent.siblings; i > 0; i-- {
		child := *parent
		child.index, child.siblings = i, 0
		child.tokens = append([]uint32{}, parent.tokens...)
		last := &child.tokens[len(child.tokens)-1]
		*last = hash(9, *last, i) % vocabulary
		var err error
		child.seq, err = v.pool.Fork(parent.seq, hopmla.AllTokens)
		check(err)
		v.running = append(v.running, &child)
		v.forks++
	}
	parent.siblings = 0
}

// reserve gets pages for as much of the batch as there are pages for.
func (v *server) reserve() (seqs []hopmla.Seq, nAppend, qLens []uint32) {
	for {
		seqs, nAppend, qLens = nil, nil, nil
		for _, s := range v.running {
			left, decodes := len(s.tokens)-s.cached, uint32(1)
			if left > chunk {
				left, decodes = chunk, 0 // a chunk that is not the last decodes nothing
			}
			seqs, nAppend, qLens = append(seqs, s.seq), append(nAppend, uint32(left)), append(qLens, decodes)
		}
		err := v.pool.Reserve(seqs, nAppend)
		if !errors.Is(err, hopmla.ErrOutOfPages) {
			check(err)
			return
		}
		v.preempt()
	}
}

// runLayers appends what the step has, in every layer, and decodes; the output of every layer.
func (v *server) runLayers(rows []uint16, q [layers][]uint16, qRows int) (out [layers][]uint16) {
	check(hopmla.Upload(v.rows, 0, rows, v.stream))
	for layer := range q {
		check(hopmla.Upload(v.q, 0, q[layer], v.stream))
		args := hopmla.AppendArgs{Layer: layer, Tokens: len(rows) / qk, LatentStride: qk, RopeStride: qk}
		check(v.plan.AppendDevice(args, v.rows.Ptr(), v.rows.Ptr()+latent*2, v.stream))
		// Of ±1 patterns: a match scores 64, others about 8.
		decode := hopmla.DecodeArgs{Layer: layer, Rows: qRows, SoftmaxScale: 1}
		check(v.plan.DecodeDevice(decode, v.q.Ptr(), 0, v.out.Ptr(), 0, v.stream))
		out[layer] = make([]uint16, qRows*heads*latent)
		check(hopmla.Download(v.out, 0, out[layer], v.stream))
	}
	return out
}

func (v *server) step(w *bufio.Writer) {
	seqs, nAppend, qLens := v.reserve()
	var rows []uint16
	var q [layers][]uint16
	qRows := 0
	for i, s := range v.running {
		for t := 0; t < int(nAppend[i]); t++ {
			rows = row(rows, s.tokens[s.cached+t], uint32(s.cached+t))
		}
		for head := 0; qLens[i] > 0 && head < layers*heads; head++ {
			q[head/heads] = query(q[head/heads], s.wanted(head))
		}
		qRows += int(qLens[i])
	}
	check(v.plan.Update(seqs, nAppend, qLens, v.stream))
	out := v.runLayers(rows, q, qRows)
	check(v.plan.End(v.stream))
	check(v.pool.Commit(seqs, nAppend))

	fmt.Fprintf(w, "step %d: %d sequences, %d tokens in, %d out", v.steps, len(seqs), len(rows)/qk, qRows)
	batch, at := v.running, 0
	for i, s := range batch {
		s.cached += int(nAppend[i])
		if qLens[i] == 0 {
			continue
		}
		next := s.index
		for head := 0; head < layers*heads; head++ {
			from := (at*heads + head%heads) * latent
			t := recognise(out[head/heads][from : from+latent])
			if t == s.tokens[s.wanted(head)] {
				v.recalled++
			}
			next = hash(11, next, t)
		}
		s.tokens = append(s.tokens, next%vocabulary)
		fmt.Fprintf(w, " %d.%d:%d", s.request, s.index, next%vocabulary)
		at++
	}
	fmt.Fprintln(w)
	for i, s := range batch {
		if qLens[i] > 0 {
			v.forkSiblings(s)
		}
	}
	for i := len(v.running) - 1; i >= 0; i-- {
		if s := v.running[i]; len(s.tokens) >= s.target {
			fmt.Fprintf(w, "done %d.%d after %d tokens\n", s.request, s.index, len(s.tokens))
			check(v.pool.Release(s.seq))
			v.running = append(v.running[:i:i], v.running[i+1:]...)
			v.finished++
		}
	}
	v.steps++
	v.appended += len(rows) / qk
	v.decoded += qRows
}

func main() {
	backend := hopmla.CPU
	for _, argument := range os.Args[1:] {
		if argument == "--cuda" {
			backend = hopmla.CUDA
			continue
		}
		number, err := strconv.ParseUint(argument, 10, 32)
		check(err)
		seed = uint32(number)
	}
	context, err := hopmla.NewContext(hopmla.ContextOptions{Backend: backend})
	check(err)
	defer context.Close()
	v := &server{}
	v.pool, err = context.NewPool(hopmla.PoolOptions{Format: hopmla.BF16, Layers: layers, Pages: pages})
	check(err)
	defer v.pool.Close()
	v.plan, err = v.pool.NewPlan(hopmla.PlanOptions{MaxBatch: batch, Heads: heads, MaxKVTokens: maxTokens})
	check(err)
	defer v.plan.Close()
	v.stream, err = context.NewStream()
	check(err)
	defer v.stream.Close()
	profiler, err := context.NewProfiler(hopmla.ProfilerOptions{TotalsOnly: true})
	check(err)
	defer profiler.Close()
	check(profiler.Start())
	v.rows, err = context.NewBuffer(batch * chunk * qk * 2)
	check(err)
	defer v.rows.Close()
	v.q, err = context.NewBuffer(batch * heads * qk * 2)
	check(err)
	defer v.q.Close()
	v.out, err = context.NewBuffer(batch * heads * latent * 2)
	check(err)
	defer v.out.Close()

	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for request := uint32(0); request < requests || len(v.running) > 0 || len(v.waiting) > 0; {
		for more := true; more && request < requests; request++ {
			more = hash(6, request, 0)%4 == 0
			v.waiting = append(v.waiting, newSample(request))
		}
		v.admit()
		v.step(w)
	}
	stats, err := v.pool.Stats()
	check(err)
	fmt.Fprintf(w, "steps %d, tokens in %d, out %d, recalled %d of %d\n", v.steps, v.appended, v.decoded, v.recalled,
		v.decoded*layers*heads)
	fmt.Fprintf(w, "forks %d, preemptions %d, finished %d\n", v.forks, v.preemptions, v.finished)
	fmt.Fprintf(w, "pages %d, free %d, most used %d, sequences left %d\n", stats.PagesTotal, stats.PagesFree,
		stats.PagesHighWater, stats.Sequences)
	check(profiler.Finish())
	for _, kind := range []hopmla.CallKind{hopmla.CallAppend, hopmla.CallDecode, hopmla.CallUpdate} {
		totals, err := profiler.Totals(kind, nil)
		check(err)
		fmt.Fprintf(w, "%v: calls %d, FLOPs %d, bytes %d\n", kind, totals.Calls, totals.FLOPs, totals.Bytes)
	}
}
