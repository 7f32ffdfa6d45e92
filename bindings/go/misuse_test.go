// SPDX-License-Identifier: Apache-2.0

package hopmla

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func expect(t *testing.T, err error, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%v, must be %v", err, target)
	}
}

func TestCloseInAnyOrderAndTwice(t *testing.T) {
	for order := 0; order < 6; order++ {
		c, pool, plan := world(t, 4)
		seqs := create(t, pool, 1)
		must(t, pool.Reserve(seqs, []uint32{1}))
		must(t, plan.Update(seqs, []uint32{1}, []uint32{1}, nil)) // a step that is never ended
		closers := [][]func() error{{c.Close, pool.Close, plan.Close}, {c.Close, plan.Close, pool.Close},
			{pool.Close, c.Close, plan.Close}, {pool.Close, plan.Close, c.Close}, {plan.Close, c.Close, pool.Close},
			{plan.Close, pool.Close, c.Close}}[order]
		for _, close := range closers {
			must(t, close())
			must(t, close())
		}
	}
}

func TestUseAfterClose(t *testing.T) {
	c, pool, plan := world(t, 4)
	stream, err := c.NewStream()
	must(t, err)
	event, err := c.NewEvent()
	must(t, err)
	buffer, err := c.NewBuffer(16)
	must(t, err)
	seqs := create(t, pool, 1) // lives, and goes with the pool
	must(t, stream.BeginCapture())
	graph, err := stream.EndCapture()
	must(t, err)
	must(t, c.Close())
	_, err = c.NewStream()
	expect(t, err, ErrClosed)
	_, err = c.Describe()
	expect(t, err, ErrClosed)
	must(t, pool.Reserve(seqs, []uint32{1})) // keeps what it needs of the context
	must(t, plan.Update(seqs, []uint32{1}, []uint32{1}, stream))
	must(t, plan.End(stream))
	must(t, stream.Close())
	expect(t, plan.Update(seqs, []uint32{1}, []uint32{1}, stream), ErrClosed)
	expect(t, stream.Synchronize(), ErrClosed)
	expect(t, event.Record(stream), ErrClosed)
	must(t, graph.Close())
	expect(t, graph.Launch(nil), ErrClosed)
	must(t, event.Close())
	expect(t, event.Synchronize(), ErrClosed)
	must(t, buffer.Close())
	expect(t, Upload(buffer, 0, []uint16{1}, nil), ErrClosed)
	if buffer.Ptr() != 0 {
		t.Fatal("a closed buffer has an address")
	}
	must(t, pool.Close())
	expect(t, pool.Reserve(seqs, []uint32{1}), ErrClosed)
	_, err = pool.Stats()
	expect(t, err, ErrClosed)
	must(t, plan.Close())
	expect(t, plan.AppendRows(0, nil), ErrClosed)
	expect(t, plan.End(nil), ErrClosed)
	_, err = plan.Done()
	expect(t, err, ErrClosed)
}

func TestErrors(t *testing.T) {
	_, pool, _ := world(t, 4)
	seqs := create(t, pool, 2)
	must(t, pool.Reserve(seqs[:1], []uint32{200}))
	err := pool.Reserve(seqs[1:], []uint32{128})
	expect(t, err, ErrOutOfPages)
	expect(t, err, GroupCapacity)
	var detail *Error
	if !errors.As(err, &detail) || detail.Value != 2 || !strings.Contains(err.Error(), "2 are missing") {
		t.Fatal(err)
	}
	if errors.Is(err, ErrBusy) || errors.Is(err, GroupArgument) {
		t.Fatal("too many targets match")
	}
	if ErrStaleID.String() != "STALE_ID" || Status(-12345).String() != "UNKNOWN" || ErrBusy.Error() == "" {
		t.Fatal("names")
	}
	for status, group := range map[Status]Group{ErrRange: GroupArgument, ErrState: GroupOrder, ErrTooMany: GroupCapacity,
		ErrBusy: GroupBusy, ErrNoDriver: GroupUnavailable, ErrDriver: GroupDriver, ErrDriverSticky: GroupLost,
		ErrInternal: GroupInternal, ErrIO: GroupIO, 5: GroupInternal, -12345: GroupInternal} {
		if status.Group() != group {
			t.Errorf("%v is of group %d", status, status.Group())
		}
	}
}

func TestIDs(t *testing.T) {
	_, pool, _ := world(t, 4)
	_, other, _ := world(t, 4)
	seqs, theirs := create(t, pool, 1), create(t, other, 1)
	expect(t, pool.Reserve([]Seq{seqs[0], seqs[0]}, []uint32{1, 1}), ErrDuplicateID)
	must(t, pool.Release(seqs...))
	expect(t, pool.Release(seqs...), ErrStaleID)
	expect(t, pool.Reserve(theirs, []uint32{1}), GroupArgument)
	_, err := pool.Pages(0)
	expect(t, err, ErrForeignID)
	_, err = pool.Create(-1)
	expect(t, err, ErrArgument)
	must(t, pool.Release())
}

func TestLengths(t *testing.T) {
	c, pool, plan := world(t, 4)
	seqs := create(t, pool, 1)
	expect(t, pool.Reserve(seqs, []uint32{1, 2}), ErrArgument)
	expect(t, pool.Commit(seqs, nil), ErrArgument)
	expect(t, pool.Truncate(nil, []uint64{1}), ErrArgument)
	expect(t, plan.Update(seqs, nil, []uint32{1}, nil), ErrArgument)
	expect(t, plan.Update(seqs, []uint32{1}, nil, nil), ErrArgument)
	expect(t, plan.Update(seqs, []uint32{1}, []uint32{1}, nil), ErrRange)
	rows, q := values(2*QKDim, 1), values(heads*QKDim, 2)
	out, lse := make([]uint16, heads*LatentDim), make([]float32, heads)
	expect(t, plan.Decode(0, scale, q, out, lse), ErrState)
	must(t, pool.Reserve(seqs, []uint32{2}))
	must(t, plan.Update(seqs, []uint32{2}, []uint32{1}, nil))
	expect(t, plan.AppendRows(0, rows[:QKDim]), ErrRange)
	expect(t, plan.AppendRows(0, nil), ErrRange)
	expect(t, plan.AppendRows(0, rows[1:]), ErrArgument)
	expect(t, plan.AppendRows(2, rows), ErrArgument)
	expect(t, plan.AppendRows(-1, rows), ErrArgument)
	expect(t, plan.Append(0, rows[:1024], rows[:64]), ErrArgument)
	expect(t, plan.Append(0, values(1028, 1)[4:], rows[:128]), ErrAlignment)
	expect(t, plan.Decode(0, scale, q[1:], out, lse), ErrArgument)
	expect(t, plan.Decode(0, scale, q, out[1:], lse), ErrArgument)
	expect(t, plan.Decode(0, scale, q, out, lse[1:]), ErrArgument)
	expect(t, plan.Decode(0, scale, nil, nil, nil), ErrRange)
	expect(t, plan.Decode(0, 0, q, out, lse), ErrArgument)
	expect(t, plan.DecodeSplit(0, scale, q, nil, out, lse), ErrNull)
	expect(t, plan.Gather(0, 0, 0, make([]uint16, 3*QKDim)), ErrRange)
	expect(t, plan.Gather(0, 0, 0, make([]uint16, 3)), ErrArgument)
	must(t, plan.AppendRows(0, rows))
	must(t, plan.Decode(0, scale, q, out, lse))
	expectRow(t, q, rows, out, lse)
	must(t, plan.End(nil))
	expect(t, plan.AppendRows(0, rows), ErrState)
	expect(t, plan.End(nil), ErrState)

	buffer, err := c.NewBuffer(8)
	must(t, err)
	expect(t, Upload(buffer, 4, []uint32{1, 2}, nil), ErrRange)
	expect(t, Download(buffer, -1, []uint32{1}, nil), ErrRange)
	_, err = c.NewBuffer(0)
	expect(t, err, ErrArgument)
	_, err = c.NewPool(PoolOptions{Format: BF16, Layers: -1, Pages: 1})
	expect(t, err, ErrArgument)
	books, err := c.NewPool(PoolOptions{Format: BF16, Layers: 61, Pages: 10, BooksOnly: true})
	must(t, err)
	_, err = books.NewPlan(PlanOptions{MaxBatch: 1, Heads: 1, MaxKVTokens: 64})
	expect(t, err, ErrNoStorage)
}

func TestContextsDoNotMix(t *testing.T) {
	c, pool, plan := world(t, 4)
	other, _, _ := world(t, 4)
	strange, err := other.NewStream()
	must(t, err)
	stream, err := c.NewStream()
	must(t, err)
	event, err := other.NewEvent()
	must(t, err)
	seqs := create(t, pool, 1)
	expect(t, plan.Update(seqs, []uint32{0}, []uint32{1}, strange), ErrMismatch)
	expect(t, stream.WaitEvent(event), ErrMismatch)
	expect(t, event.Record(stream), ErrMismatch)
	external, err := c.ExternalStream(0x1000)
	must(t, err)
	expect(t, plan.Update(seqs, []uint32{0}, []uint32{1}, external), ErrMismatch) // none of the CPU backend's
	must(t, external.Close())
	must(t, stream.BeginCapture())
	expect(t, stream.BeginCapture(), ErrCapture)
	expect(t, plan.Update(seqs, []uint32{0}, []uint32{1}, stream), ErrCapture)
	buffer, err := c.NewBuffer(8)
	must(t, err)
	expect(t, Upload(buffer, 0, []uint64{1}, stream), ErrCapture)
	graph, err := stream.EndCapture()
	must(t, err)
	must(t, graph.Close())
	must(t, pool.Reserve(seqs, []uint32{1}))
	must(t, plan.Update(seqs, []uint32{1}, []uint32{0}, stream))
	must(t, stream.BeginCapture())
	expect(t, plan.AppendRows(0, values(QKDim, 1)), ErrCapture) // a graph keeps no slices
	graph, err = stream.EndCapture()
	must(t, err)
	must(t, graph.Close())
	must(t, plan.AppendRows(0, values(QKDim, 1)))
	must(t, plan.End(stream))
	var none *Stream
	expect(t, none.BeginCapture(), ErrArgument)
}

func TestCUDASaysWhyNot(t *testing.T) {
	c, err := NewContext(ContextOptions{Backend: CUDA})
	if err == nil {
		c.Close()
		return
	}
	expect(t, err, GroupUnavailable)
}

func TestLogCallback(t *testing.T) {
	var lines []string
	c, err := NewContext(ContextOptions{Backend: CPU, LogLevel: LogDebug, Log: func(level LogLevel, text string) {
		lines = append(lines, text)
		if level != LogInfo {
			t.Errorf("level %d", level)
		}
	}})
	must(t, err)
	must(t, c.Close())
	if len(lines) == 0 || !strings.Contains(lines[0], "CPU") {
		t.Fatal(lines)
	}
}

func TestPanicInACallback(t *testing.T) {
	calls := 0
	c, err := NewContext(ContextOptions{Backend: CPU, LogLevel: LogDebug, Log: func(LogLevel, string) {
		calls++
		panic("in a log callback")
	}})
	must(t, err)
	if calls == 0 {
		t.Fatal("not called")
	}
	pool, err := c.NewPool(PoolOptions{Format: BF16, Layers: 1, Pages: 1})
	must(t, err)
	must(t, c.Close())
	must(t, pool.Close())
}

func TestOnePoolFromManyGoroutines(t *testing.T) {
	_, pool, _ := world(t, 64)
	var group sync.WaitGroup
	for g := 0; g < 16; g++ {
		group.Add(1)
		go func(g int) {
			defer group.Done()
			for i := 0; i < 200; i++ {
				seqs, err := pool.Create(1)
				if err != nil {
					t.Error(err)
					return
				}
				if err := pool.Reserve(seqs, []uint32{uint32(64 + (i+g)%300)}); err == nil {
					if err := pool.Commit(seqs, []uint32{64}); err != nil {
						t.Error(err)
					}
					child, err := pool.Fork(seqs[0], 60)
					if err != nil {
						t.Error(err)
					}
					seqs = append(seqs, child)
				} else if !errors.Is(err, ErrOutOfPages) {
					t.Error(err)
				}
				if err := pool.Release(seqs...); err != nil {
					t.Error(err)
				}
				runtime.Gosched()
			}
		}(g)
	}
	group.Wait()
	stats, err := pool.Stats()
	if err != nil || stats.Sequences != 0 || stats.PagesFree != 64 {
		t.Fatal(stats, err)
	}
}

func TestOnePlanAGoroutineAndCloseMeanwhile(t *testing.T) {
	c, pool, _ := world(t, 64)
	var group sync.WaitGroup
	for g := 0; g < 4; g++ {
		plan, err := pool.NewPlan(PlanOptions{MaxBatch: 1, Heads: heads, MaxKVTokens: 640})
		must(t, err)
		stream, err := c.NewStream()
		must(t, err)
		group.Add(2)
		go func(g int) {
			defer group.Done()
			for i := 0; i < 20; i++ {
				n := uint32(1 + (i*37+g)%90)
				rows, q := values(int(n)*QKDim, uint32(g*100+i)), values(heads*QKDim, uint32(i))
				out, lse := make([]uint16, heads*LatentDim), make([]float32, heads)
				seqs, err := pool.Create(1)
				if err == nil {
					err = pool.Reserve(seqs, []uint32{n})
				}
				for err == nil || errors.Is(err, ErrBusy) {
					if err = plan.Update(seqs, []uint32{n}, []uint32{1}, stream); err == nil {
						break
					}
					runtime.Gosched()
				}
				if err == nil {
					err = plan.AppendRows(0, rows)
				}
				if err == nil {
					err = plan.Decode(0, scale, q, out, lse)
				}
				if err == nil {
					err = pool.Release(seqs...)
				}
				if err == nil {
					err = plan.End(stream)
				}
				if errors.Is(err, ErrClosed) {
					return // the last plan is closed under way
				}
				if err != nil {
					t.Error(err)
					return
				}
				expectRow(t, q, rows, out, lse)
			}
		}(g)
		go func(g int) {
			defer group.Done()
			if g == 3 {
				plan.Close()
			}
		}(g)
	}
	group.Wait()
}

func TestFinalizersCloseWhatIsForgotten(t *testing.T) {
	for i := 0; i < 20; i++ {
		c, err := NewContext(ContextOptions{Backend: CPU, CPUThreads: 1, LogLevel: LogDebug, Log: func(LogLevel, string) {}})
		must(t, err)
		pool, err := c.NewPool(PoolOptions{Format: BF16, Layers: 1, Pages: 1})
		must(t, err)
		_, err = pool.NewPlan(PlanOptions{MaxBatch: 1, Heads: 1, MaxKVTokens: 64})
		must(t, err)
		_, err = c.NewStream()
		must(t, err)
		runtime.GC()
	}
}

// What no constructor made is closed, and nothing is no object.
func TestWhatWasNeverMade(t *testing.T) {
	var (
		c      Context
		pool   Pool
		plan   Plan
		stream Stream
		event  Event
		graph  Graph
		buffer Buffer
	)
	_, err := c.NewPool(PoolOptions{})
	expect(t, err, ErrClosed)
	_, err = pool.Create(1)
	expect(t, err, ErrClosed)
	_, err = pool.NewPlan(PlanOptions{})
	expect(t, err, ErrClosed)
	expect(t, plan.Update(nil, nil, nil, nil), ErrClosed)
	expect(t, plan.AppendRows(0, nil), ErrClosed)
	expect(t, plan.Decode(0, scale, nil, nil, nil), ErrClosed)
	expect(t, plan.DecodeDevice(DecodeArgs{}, 0, 0, 0, 0, nil), ErrClosed)
	expect(t, plan.Wait(context.Background()), ErrClosed)
	expect(t, stream.Synchronize(), ErrClosed)
	expect(t, event.Synchronize(), ErrClosed)
	expect(t, graph.Launch(nil), ErrClosed)
	expect(t, Upload(&buffer, 0, []uint16{}, nil), nil)
	expect(t, Upload(&buffer, 0, []uint16{1}, nil), ErrRange)
	for _, close := range []func() error{c.Close, pool.Close, plan.Close, stream.Close, event.Close, graph.Close, buffer.Close} {
		must(t, close())
	}

	real, _, _ := world(t, 1)
	made, err := real.NewStream()
	must(t, err)
	mark, err := real.NewEvent()
	must(t, err)
	expect(t, made.WaitEvent(nil), ErrNull)
	_, err = mark.Since(nil)
	expect(t, err, ErrNull)
	expect(t, Upload(nil, 0, []uint16{1}, nil), ErrNull)
}
