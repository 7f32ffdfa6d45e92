// SPDX-License-Identifier: Apache-2.0

package hopmla

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"hopmla.dev/go/hopmla/internal/bare"
)

const (
	heads = 3
	scale = 0.0721688
)

// must ends a test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func values(n int, seed uint32) []uint16 {
	out := make([]uint16, n)
	for i := range out {
		h := (seed*1000003 + uint32(i)) * 0x9e3779b1
		h = (h ^ h>>15) * 0x85ebca77
		h ^= h >> 13
		out[i] = BF16FromFloat32(float32(h%2001)/1000 - 1)
	}
	return out
}

// world is a context, a pool of some pages in two layers, and a plan of four rows.
func world(t testing.TB, pages int) (*Context, *Pool, *Plan) {
	t.Helper()
	c, err := NewContext(ContextOptions{Backend: CPU, CPUThreads: 2})
	must(t, err)
	pool, err := c.NewPool(PoolOptions{Format: BF16, Layers: 2, Pages: pages})
	must(t, err)
	plan, err := pool.NewPlan(PlanOptions{MaxBatch: 4, MaxQTokens: 2, Heads: heads, MaxKVTokens: 640})
	must(t, err)
	t.Cleanup(func() { plan.Close(); pool.Close(); c.Close() })
	return c, pool, plan
}

func create(t testing.TB, pool *Pool, n int) []Seq {
	t.Helper()
	seqs, err := pool.Create(n)
	must(t, err)
	return seqs
}

// expectRow compares decoded heads of one row with a reference in float64.
func expectRow(t testing.TB, q, rows, out []uint16, lse []float32) {
	t.Helper()
	f := func(b uint16) float64 { return float64(BF16ToFloat32(b)) }
	for h := 0; h < heads; h++ {
		scores, top, total := make([]float64, len(rows)/QKDim), math.Inf(-1), 0.0
		for i := range scores {
			for d := 0; d < QKDim; d++ {
				scores[i] += f(q[h*QKDim+d]) * f(rows[i*QKDim+d]) * float64(float32(scale))
			}
			top = math.Max(top, scores[i])
		}
		for _, s := range scores {
			total += math.Exp(s - top)
		}
		if want := top + math.Log(total); math.Abs(float64(lse[h])-want) > 1e-3 {
			t.Fatalf("lse %g, must be %g", lse[h], want)
		}
		for d := 0; d < LatentDim; d++ {
			want := 0.0
			for i, s := range scores {
				want += math.Exp(s-top) / total * f(rows[i*QKDim+d])
			}
			if have := f(out[h*LatentDim+d]); math.Abs(have-want) > 8e-4+math.Abs(want)/64 {
				t.Fatalf("head %d value %d: %g, must be %g", h, d, have, want)
			}
		}
	}
}

func TestSlicesMatchTheReference(t *testing.T) {
	_, pool, plan := world(t, 16)
	seqs := create(t, pool, 2)
	var cached [2][]uint16
	for round, n := range [][]uint32{{70, 1}, {1, 1}, {1, 130}, {0, 1}} {
		must(t, pool.Reserve(seqs, n))
		rows := values(int(n[0]+n[1])*QKDim, uint32(round)+1)
		cached[0] = append(cached[0], rows[:int(n[0])*QKDim]...)
		cached[1] = append(cached[1], rows[int(n[0])*QKDim:]...)
		q, out, lse := values(2*heads*QKDim, uint32(round)+100), make([]uint16, 2*heads*LatentDim), make([]float32, 2*heads)
		must(t, plan.Update(seqs, n, []uint32{1, 1}, nil))
		for layer := 0; layer < 2; layer++ {
			must(t, plan.AppendRows(layer, rows))
			must(t, plan.Decode(layer, scale, q, out, lse))
			for i := range cached {
				expectRow(t, q[i*heads*QKDim:], cached[i], out[i*heads*LatentDim:], lse[i*heads:])
			}
		}
		back := make([]uint16, len(cached[0]))
		must(t, plan.Gather(1, 0, 0, back))
		for i := range back {
			if back[i] != cached[0][i] {
				t.Fatalf("gathered value %d differs", i)
			}
		}
		must(t, plan.End(nil))
		must(t, plan.Wait(context.Background()))
		must(t, pool.Commit(seqs, n))
	}
}

func TestSplitTensorsGiveTheSameBits(t *testing.T) {
	_, pool, plan := world(t, 16)
	seqs, rows, q := create(t, pool, 2), values(9*QKDim, 5), values(heads*QKDim, 6)
	part := func(x []uint16, from, to int) (out []uint16) {
		for ; len(x) > 0; x = x[QKDim:] {
			out = append(out, x[from:to]...)
		}
		return out
	}
	wide := func(x []uint16) (out []float32) {
		for _, b := range x {
			out = append(out, BF16ToFloat32(b))
		}
		return out
	}
	outs := [3][]uint16{}
	for i := range outs {
		outs[i] = make([]uint16, heads*LatentDim)
		seq := seqs[i/2 : i/2+1]
		if i == 1 {
			must(t, pool.Truncate(seq, []uint64{0}))
		}
		must(t, pool.Reserve(seq, []uint32{9}))
		must(t, plan.Update(seq, []uint32{9}, []uint32{1}, nil))
		latent, rope := part(rows, 0, 512), part(rows, 512, 576)
		switch i {
		case 0:
			must(t, plan.AppendRows(0, rows))
		case 1:
			must(t, plan.Append(0, latent, rope))
		case 2:
			must(t, plan.AppendFloat32(0, wide(latent), wide(rope)))
		}
		if i == 0 {
			must(t, plan.Decode(0, scale, q, outs[i], nil))
		} else {
			must(t, plan.DecodeSplit(0, scale, part(q, 0, 512), part(q, 512, 576), outs[i], nil))
		}
		must(t, plan.End(nil))
	}
	for i := range outs[0] {
		if outs[0][i] != outs[1][i] || outs[0][i] != outs[2][i] {
			t.Fatalf("value %d differs", i)
		}
	}
}

func TestCachesWithoutARopePart(t *testing.T) {
	c, err := NewContext(ContextOptions{Backend: CPU, CPUThreads: 2})
	must(t, err)
	defer c.Close()
	pool, err := c.NewPool(PoolOptions{Format: FP16NoPE, Layers: 1, Pages: 4})
	must(t, err)
	pool.Close()
	pool, err = c.NewPool(PoolOptions{Format: BF16NoPE, Layers: 1, Pages: 4})
	must(t, err)
	defer pool.Close()
	if layout, err := pool.Describe(); err != nil || layout.RowStride != 1024 || layout.Format.QKDim() != LatentDim {
		t.Fatal(layout, err)
	}
	plan, err := pool.NewPlan(PlanOptions{MaxBatch: 1, Heads: heads, MaxKVTokens: 640})
	must(t, err)
	defer plan.Close()
	seqs, rows, q := create(t, pool, 1), values(70*LatentDim, 5), values(heads*LatentDim, 6)
	out, lse, back := make([]uint16, heads*LatentDim), make([]float32, heads), make([]uint16, 70*LatentDim)
	wide := func(x []uint16) (out []uint16) { // with a rope part of zeros
		for ; len(x) > 0; x = x[LatentDim:] {
			out = append(append(out, x[:LatentDim]...), make([]uint16, RopeDim)...)
		}
		return out
	}
	must(t, pool.Reserve(seqs, []uint32{70}))
	must(t, plan.Update(seqs, []uint32{70}, []uint32{1}, nil))
	for _, err := range []error{plan.Append(0, rows, make([]uint16, 70*RopeDim)), plan.AppendRows(0, rows[8:]),
		plan.DecodeSplit(0, scale, q, make([]uint16, heads*RopeDim), out, nil)} {
		if !errors.Is(err, ErrArgument) {
			t.Fatal(err)
		}
	}
	for _, whole := range []bool{false, true} {
		if whole {
			must(t, plan.AppendRows(0, rows))
		} else {
			must(t, plan.Append(0, rows, nil))
		}
		must(t, plan.Decode(0, scale, q, out, lse))
		expectRow(t, wide(q), wide(rows), out, lse)
		must(t, plan.Gather(0, 0, 0, back))
		for i := range back {
			if back[i] != rows[i] {
				t.Fatalf("gathered value %d differs", i)
			}
		}
	}
	must(t, plan.End(nil))
}

func TestForksShareAndPart(t *testing.T) {
	_, pool, plan := world(t, 16)
	seqs := create(t, pool, 1)
	prefix := values(70*QKDim, 1)
	must(t, pool.Reserve(seqs, []uint32{70}))
	must(t, plan.Update(seqs, []uint32{70}, []uint32{0}, nil))
	must(t, plan.AppendRows(0, prefix))
	must(t, plan.End(nil))
	must(t, pool.Commit(seqs, []uint32{70}))
	child, err := pool.Fork(seqs[0], AllTokens)
	must(t, err)
	seqs = append(seqs, child)
	must(t, pool.Reserve(seqs, []uint32{1, 1}))
	if info, err := pool.DescribeSeq(seqs[0]); err != nil || !info.CopyOwed || info.PagesShared != 1 {
		t.Fatal(info, err)
	}
	token, q := values(2*QKDim, 2), values(2*heads*QKDim, 3)
	out, lse := make([]uint16, 2*heads*LatentDim), make([]float32, 2*heads)
	must(t, plan.Update(seqs, []uint32{1, 1}, []uint32{1, 1}, nil))
	must(t, plan.AppendRows(0, token))
	must(t, plan.Decode(0, scale, q, out, lse))
	must(t, plan.End(nil))
	must(t, pool.Commit(seqs, []uint32{1, 1}))
	for i := 0; i < 2; i++ {
		rows := append(append([]uint16{}, prefix...), token[i*QKDim:(i+1)*QKDim]...)
		expectRow(t, q[i*heads*QKDim:], rows, out[i*heads*LatentDim:], lse[i*heads:])
	}
	a, err := pool.Pages(seqs[0])
	must(t, err)
	b, err := pool.Pages(child)
	must(t, err)
	if len(a) != 2 || len(b) != 2 || a[0] != b[0] || a[1] == b[1] {
		t.Fatal(a, b)
	}
}

func TestGraphReplaysOverDeviceMemory(t *testing.T) {
	c, pool, plan := world(t, 16)
	stream, err := c.NewStream()
	must(t, err)
	defer stream.Close()
	buffer := func(bytes int) *Buffer {
		b, err := c.NewBuffer(bytes)
		must(t, err)
		t.Cleanup(func() { b.Close() })
		return b
	}
	source, qb, ob, lb := buffer(4*QKDim*2), buffer(8*heads*QKDim*2), buffer(8*heads*LatentDim*2), buffer(8*heads*4)
	must(t, stream.BeginCapture())
	args := AppendArgs{Tokens: 4, LatentStride: QKDim, RopeStride: QKDim}
	must(t, plan.AppendDevice(args, source.Ptr(), source.Ptr()+LatentDim*2, stream))
	must(t, plan.DecodeDevice(DecodeArgs{Rows: 8, SoftmaxScale: scale}, qb.Ptr(), 0, ob.Ptr(), lb.Ptr(), stream))
	graph, err := stream.EndCapture()
	must(t, err)
	defer graph.Close()

	seqs := create(t, pool, 1)
	var cached []uint16
	out, lse := make([]uint16, 8*heads*LatentDim), make([]float32, 8*heads)
	for round := uint32(0); round < 70; round++ {
		rows, q := values(QKDim, round), values(heads*QKDim, round+1000)
		cached = append(cached, rows...)
		must(t, pool.Reserve(seqs, []uint32{1}))
		must(t, Upload(source, 0, rows, stream))
		must(t, Upload(qb, 0, q, stream))
		must(t, plan.Update(seqs, []uint32{1}, []uint32{1}, stream))
		must(t, graph.Launch(stream))
		must(t, plan.End(stream))
		must(t, pool.Commit(seqs, []uint32{1}))
		must(t, Download(ob, 0, out, stream))
		must(t, Download(lb, 0, lse, stream))
		expectRow(t, q, cached, out, lse)
		if out[heads*LatentDim] != 0 || !math.IsInf(float64(lse[heads]), -1) {
			t.Fatal("a padded row is not empty")
		}
	}
	back, err := c.NewBuffer(QKDim * 2)
	must(t, err)
	must(t, plan.Update(seqs, []uint32{0}, []uint32{0}, stream))
	must(t, plan.GatherDevice(GatherArgs{First: 3, Count: 1}, back.Ptr(), stream))
	row := make([]uint16, QKDim)
	must(t, Download(back, 0, row, stream))
	if row[7] != cached[3*QKDim+7] {
		t.Fatal("gathered another row")
	}
	must(t, plan.End(stream))
	must(t, back.Close())
}

func TestRawPages(t *testing.T) {
	c, _, _ := world(t, 1)
	rows, q := values(128*QKDim, 1), values(heads*QKDim, 2)
	buffers := map[string]*Buffer{}
	desc := PagedDesc{Format: BF16, Batch: 1, MaxKVTokens: 128, Heads: heads, Pages: 3}
	bytes, err := c.PagedWorkspace(desc)
	must(t, err)
	for name, size := range map[string]int{"pages": 3 * 64 * QKDim * 2, "table": 8, "lens": 4, "q": heads * QKDim * 2,
		"out": heads * LatentDim * 2, "lse": heads * 4, "workspace": int(bytes)} {
		buffers[name], err = c.NewBuffer(size)
		must(t, err)
		defer buffers[name].Close()
	}
	must(t, Upload(buffers["pages"], 2*64*QKDim*2, rows[:64*QKDim], nil))
	must(t, Upload(buffers["pages"], 0, rows[64*QKDim:], nil))
	must(t, Upload(buffers["lens"], 0, []int32{100}, nil))
	must(t, Upload(buffers["q"], 0, q, nil))
	workspace := buffers["workspace"].Ptr()
	tensors := PagedTensors{Latent: buffers["pages"].Ptr(), BlockTable: buffers["table"].Ptr(), Q: buffers["q"].Ptr(),
		Out: buffers["out"].Ptr(), LSE: buffers["lse"].Ptr(), Workspace: workspace, WorkspaceBytes: bytes}
	for _, second := range []int32{0, 3} {
		must(t, Upload(buffers["table"], 0, []int32{2, second}, nil))
		must(t, c.PagedPrepare(desc, buffers["lens"].Ptr(), 0, workspace, bytes, nil))
		must(t, c.PagedDecode(desc, DecodeArgs{Rows: 1, SoftmaxScale: scale}, tensors, nil))
		word, err := c.PagedErrorWord(workspace, nil)
		must(t, err)
		if second == 3 {
			if word != BadPage {
				t.Fatalf("error word %d", word)
			}
			continue
		}
		out, lse := make([]uint16, heads*LatentDim), make([]float32, heads)
		must(t, Download(buffers["out"], 0, out, nil))
		must(t, Download(buffers["lse"], 0, lse, nil))
		if word != 0 {
			t.Fatalf("error word %d", word)
		}
		expectRow(t, q, rows[:100*QKDim], out, lse)
	}
}

func TestEventsAndDescriptions(t *testing.T) {
	c, pool, plan := world(t, 16)
	stream, err := c.NewStream()
	must(t, err)
	a, err := c.NewEvent()
	must(t, err)
	b, err := c.NewEvent()
	must(t, err)
	must(t, a.Record(stream))
	must(t, stream.WaitEvent(a))
	must(t, b.Record(nil))
	must(t, b.Synchronize())
	must(t, stream.Synchronize())
	if d, err := b.Since(a); err != nil || d < 0 || d > time.Minute {
		t.Fatal(d, err)
	}
	info, err := c.Describe()
	if err != nil || info.Backend != CPU || info.Units != 2 || info.Name == "" || info.Device != -1 {
		t.Fatal(info, err)
	}
	layout, err := pool.Describe()
	if err != nil || layout.Pages != 16 || layout.RowStride != 1152 || layout.Base == 0 {
		t.Fatal(layout, err)
	}
	query, err := c.QueryPool(PoolOptions{Format: FP16, Layers: 2, Bytes: layout.Bytes})
	if err != nil || query.Pages != 16 {
		t.Fatal(query, err)
	}
	if device, pinned, err := pool.QueryPlan(PlanOptions{MaxBatch: 1, Heads: 1, MaxKVTokens: 64}); err != nil || device == 0 || pinned == 0 {
		t.Fatal(device, pinned, err)
	}
	if tables, err := plan.Tables(); err != nil || tables.MaxBatch != 4 || tables.BlockTable == 0 {
		t.Fatal(tables, err)
	}
	if Version() == "" {
		t.Fatal("no version")
	}
}

// best is the time of one call in nanoseconds, in the fastest of many short rounds: what a busy machine disturbs least.
func best(call func(n int)) float64 {
	const calls = 1000
	least := math.Inf(1)
	for begin := time.Now(); time.Since(begin) < time.Second; {
		start := time.Now()
		call(calls)
		least = math.Min(least, float64(time.Since(start).Nanoseconds())/calls)
	}
	return least
}

// What this module adds to a call of the library: a decode of no rows, which the library checks and leaves, by C alone, by
// cgo alone, and through the module's methods for device memory and for slices.
func BenchmarkOverhead(b *testing.B) {
	_, _, plan := world(b, 4)
	must(b, plan.Update(nil, nil, nil, nil))
	other, status := bare.Open()
	if status != 0 {
		b.Fatal(status)
	}
	defer other.Close()
	var failed error
	c := best(func(n int) { other.Decode(n) })
	cgo := best(func(n int) {
		for ; n > 0; n-- {
			other.Decode(1)
		}
	})
	device := best(func(n int) {
		for ; n > 0; n-- {
			failed = plan.DecodeDevice(DecodeArgs{SoftmaxScale: scale}, 0, 0, 0, 0, nil)
		}
	})
	must(b, failed)
	q, out, lse := make([]uint16, 0), make([]uint16, 0), make([]float32, 0)
	host := best(func(n int) {
		for ; n > 0; n-- {
			failed = plan.Decode(0, scale, q, out, lse)
		}
	})
	must(b, failed)
	b.ReportMetric(c, "ns/C-call")
	b.ReportMetric(cgo-c, "ns-more/cgo-call")
	b.ReportMetric(device-c, "ns-more/device-call")
	b.ReportMetric(host-c, "ns-more/slice-call")
}
