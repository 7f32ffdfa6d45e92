// SPDX-License-Identifier: Apache-2.0

package hopmla

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func profiler(t testing.TB, c *Context, options ProfilerOptions) *Profiler {
	t.Helper()
	p, err := c.NewProfiler(options)
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// oneStep appends n tokens of a new sequence and decodes one row.
func oneStep(t testing.TB, pool *Pool, plan *Plan, n uint32) {
	seqs := create(t, pool, 1)
	must(t, pool.Reserve(seqs, []uint32{n}))
	must(t, plan.Update(seqs, []uint32{n}, []uint32{1}, nil))
	must(t, plan.AppendRows(0, values(int(n)*QKDim, 1)))
	must(t, plan.Decode(0, scale, values(heads*QKDim, 2), make([]uint16, heads*LatentDim), nil))
	must(t, plan.End(nil))
	must(t, pool.Release(seqs...))
}

func TestCallsAreRecordedAndSummed(t *testing.T) {
	c, pool, plan := world(t, 8)
	p := profiler(t, c, ProfilerOptions{Events: true, Capacity: 64})
	oneStep(t, pool, plan, 70) // not started: not recorded
	must(t, p.SetCeilings(Ceilings{ReadBytesPerSecond: 1e10, FlopsBurst: 1e11, FlopsSustained: 1e11}))
	must(t, p.Start())
	oneStep(t, pool, plan, 70)
	oneStep(t, pool, plan, 3)
	must(t, p.Stop())
	must(t, p.Stop())
	oneStep(t, pool, plan, 70)
	must(t, p.Finish())
	info, err := p.Describe()
	if err != nil || info.Started || info.Recorded != 6 || info.Waiting != 6 || info.TimeSource != SourceHost {
		t.Fatal(info, err)
	}
	records, err := p.Read(2)
	must(t, err)
	rest, err := p.Read(100)
	must(t, err)
	for i, r := range append(records, rest...) {
		if want := []CallKind{CallUpdate, CallAppend, CallDecode}[i%3]; r.Kind != want || r.ID != uint64(i+1) {
			t.Fatalf("record %d is %v, number %d", i, r.Kind, r.ID)
		}
	}
	decode := rest[0]
	if decode.KVTokens != 70 || decode.Heads != heads || decode.FLOPs != 2*1088*heads*70 || decode.DeviceTime <= 0 ||
		decode.Fraction <= 0 || decode.Valid&ValidDRAM != 0 || decode.DRAMReadBytes != 0 {
		t.Fatalf("%+v", decode)
	}
	if again, err := p.Read(10); err != nil || len(again) != 0 {
		t.Fatal(again, err)
	}
	sum, err := p.Totals(CallDecode, plan)
	if err != nil || sum.Records != 2 || sum.FLOPs != 2*1088*heads*73 || sum.TimeMax < sum.TimeMin {
		t.Fatal(sum, err)
	}
	for _, kind := range CallKinds {
		if _, err := p.Totals(kind, nil); err != nil || kind.String() == "unknown" {
			t.Fatal(kind, err)
		}
	}
	_, err = p.Totals(99, nil)
	expect(t, err, ErrEnum)
	if tables, err := plan.Tables(); err != nil || tables.Number != decode.Plan || sum.Plan != decode.Plan {
		t.Fatal(tables, sum, err)
	}
	must(t, p.ClearCeilings())
	must(t, p.Start())
	oneStep(t, pool, plan, 70)
	records, err = p.Read(10)
	if err != nil || len(records) != 3 || records[2].Valid&ValidBound != 0 {
		t.Fatal(records, err)
	}
}

func TestWrongUseOfProfilers(t *testing.T) {
	c, pool, plan := world(t, 8)
	other, _, foreign := world(t, 8)
	one, two := profiler(t, c, ProfilerOptions{}), profiler(t, c, ProfilerOptions{})
	must(t, one.Start())
	expect(t, one.Start(), ErrState)
	expect(t, two.Start(), ErrState)
	_, err := one.Totals(CallDecode, foreign)
	expect(t, err, ErrMismatch)
	expect(t, ExportMetrics(io.Discard, profiler(t, other, ProfilerOptions{}), pool, ExportOptions{}), ErrMismatch)
	_, err = c.NewProfiler(ProfilerOptions{Capacity: 1 << 25})
	expect(t, err, ErrArgument)
	_, err = c.NewProfiler(ProfilerOptions{CUPTIPath: "a\x00b"})
	expect(t, err, ErrArgument)
	expect(t, one.SetCeilings(Ceilings{}), ErrArgument)
	expect(t, plan.NoteLaunch(LaunchNote{Appends: 1}, func() error { return nil }), ErrState)

	must(t, c.Close()) // in any order, and while it is started
	oneStep(t, pool, plan, 3)
	must(t, one.Close())
	must(t, one.Close())
	expect(t, one.Start(), ErrClosed)
	_, err = one.Read(1)
	expect(t, err, ErrClosed)
	expect(t, ExportMetrics(io.Discard, one, nil, ExportOptions{}), ErrClosed)
	must(t, two.Start())
	must(t, plan.Close())
	_, err = two.Totals(CallDecode, plan)
	expect(t, err, ErrClosed)
	_, err = (&Profiler{}).Read(1)
	expect(t, err, ErrClosed)
}

func TestANotedLaunchIsOneRecord(t *testing.T) {
	c, pool, plan := world(t, 8)
	stream, err := c.NewStream()
	must(t, err)
	defer stream.Close()
	source, err := c.NewBuffer(QKDim * 2)
	must(t, err)
	defer source.Close()
	must(t, stream.BeginCapture())
	args := AppendArgs{Tokens: 1, LatentStride: QKDim, RopeStride: QKDim}
	must(t, plan.AppendDevice(args, source.Ptr(), source.Ptr()+LatentDim*2, stream))
	graph, err := stream.EndCapture()
	must(t, err)
	defer graph.Close()
	p := profiler(t, c, ProfilerOptions{})
	must(t, p.Start())
	seqs := create(t, pool, 1)
	must(t, pool.Reserve(seqs, []uint32{1}))
	must(t, plan.Update(seqs, []uint32{1}, []uint32{0}, stream))
	expect(t, plan.NoteLaunch(LaunchNote{}, func() error { return nil }), ErrArgument)
	launch := func() error { return graph.Launch(stream) }
	must(t, plan.NoteLaunch(LaunchNote{Appends: 1}, launch))
	func() {
		defer func() { _ = recover() }()
		_ = plan.NoteLaunch(LaunchNote{Appends: 1}, func() error { panic("between") })
	}()
	must(t, plan.NoteLaunch(LaunchNote{Appends: 1}, launch)) // the one before was ended
	mine := errors.New("mine")
	expect(t, plan.NoteLaunch(LaunchNote{Appends: 1}, func() error { return mine }), mine)
	must(t, plan.End(stream))
	must(t, p.Finish())
	records, err := p.Read(100)
	must(t, err)
	launches := 0
	for _, r := range records {
		if r.Kind == CallAppend && r.Graph && r.Calls == 1 {
			launches++
		}
	}
	if launches != 2 { // those that were launched
		t.Fatal(launches, records)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) {
	if b.err == nil {
		panic("in a writer")
	}
	return 0, b.err
}

func TestExports(t *testing.T) {
	c, pool, plan := world(t, 8)
	p := profiler(t, c, ProfilerOptions{})
	must(t, p.Start())
	oneStep(t, pool, plan, 9)
	records, err := p.Read(100)
	if err != nil || len(records) != 3 {
		t.Fatal(records, err)
	}
	options := ExportOptions{Device: "a processor",
		Ceilings: &Ceilings{ReadBytesPerSecond: 1e10, FlopsBurst: 1e11, FlopsSustained: 1e11}}
	for format, part := range map[ExportFormat]string{ExportJSONLines: `"decode"`, ExportCSV: "decode",
		ExportTrace: "traceEvents", ExportRoofline: "<svg", ExportTimeline: "<svg"} {
		var out bytes.Buffer
		must(t, ExportRecords(&out, format, records, options))
		if !strings.Contains(out.String(), part) {
			t.Errorf("format %d: %s", format, out.String())
		}
	}
	var csv, metrics bytes.Buffer
	must(t, ExportMetrics(&metrics, p, pool, options))
	if text := metrics.String(); !strings.Contains(text, `hopmla_calls_total{kind="decode"} 1`) ||
		!strings.HasSuffix(text, "# EOF\n") {
		t.Fatal(text)
	}
	must(t, ExportRecords(&csv, ExportCSV, records, options))
	path := filepath.Join(t.TempDir(), "records.csv")
	must(t, ExportRecordsToFile(path, ExportCSV, records, options))
	if text, err := os.ReadFile(path); err != nil || string(text) != csv.String() {
		t.Fatal(string(text), err)
	}
	err = ExportRecordsToFile("/nowhere/at/all", ExportCSV, records, options)
	expect(t, err, ErrIO)
	expect(t, err, GroupIO)
	if !strings.Contains(err.Error(), "errno 2") {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	err = ExportRecords(broken{full}, ExportCSV, records, options)
	expect(t, err, full)
	expect(t, err, ErrIO)
	err = ExportRecords(broken{}, ExportCSV, records, options)
	expect(t, err, ErrIO)
	if !strings.Contains(err.Error(), "panicked") {
		t.Fatal(err)
	}
	must(t, ExportRecords(io.Discard, ExportCSV, nil, options))
	expect(t, ExportRecords(io.Discard, 99, records, options), ErrEnum)
}

func TestManyGoroutinesUnderOneProfiler(t *testing.T) {
	c, pool, _ := world(t, 64)
	p := profiler(t, c, ProfilerOptions{Capacity: 4})
	must(t, p.Start())
	var group sync.WaitGroup
	for g := 0; g < 4; g++ {
		group.Add(1)
		go func() {
			defer group.Done()
			plan, err := pool.NewPlan(PlanOptions{MaxBatch: 1, Heads: heads, MaxKVTokens: 640})
			if err != nil {
				t.Error(err)
				return
			}
			defer plan.Close()
			for i := uint32(1); i <= 20; i++ {
				oneStep(t, pool, plan, i)
			}
		}()
	}
	read := 0
	for i := 0; i < 200; i++ {
		records, err := p.Read(7)
		must(t, err)
		read += len(records)
	}
	group.Wait()
	must(t, p.Stop())
	left, err := p.Read(100)
	must(t, err)
	info, err := p.Describe()
	if err != nil || info.Recorded != 240 || uint64(read+len(left))+info.Dropped != 240 {
		t.Fatal(read, len(left), info, err)
	}
}

func TestCeilingsAreKeptInAFile(t *testing.T) {
	c, _, _ := world(t, 1)
	path := filepath.Join(t.TempDir(), "ceilings")
	measured, err := c.LoadCeilings(path)
	must(t, err)
	kept, err := c.LoadCeilings(path)
	if err != nil || !kept.Measured.Equal(measured.Measured) || kept.FlopsBurst == 0 {
		t.Fatal(measured, kept, err)
	}
	_, err = c.LoadCeilings("a\x00b")
	expect(t, err, ErrArgument)
}
