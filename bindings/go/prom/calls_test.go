// SPDX-License-Identifier: Apache-2.0

package prom

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"hopmla.dev/go/hopmla"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCallCollector(t *testing.T) {
	c, err := hopmla.NewContext(hopmla.ContextOptions{Backend: hopmla.CPU})
	must(t, err)
	defer c.Close()
	pool, err := c.NewPool(hopmla.PoolOptions{Format: hopmla.BF16, Layers: 1, Pages: 7})
	must(t, err)
	defer pool.Close()
	plan, err := pool.NewPlan(hopmla.PlanOptions{MaxBatch: 1, Heads: 2, MaxKVTokens: 64})
	must(t, err)
	defer plan.Close()
	profiler, err := c.NewProfiler(hopmla.ProfilerOptions{TotalsOnly: true})
	must(t, err)
	must(t, profiler.Start())
	seqs, err := pool.Create(1)
	must(t, err)
	must(t, pool.Reserve(seqs, []uint32{3}))
	must(t, plan.Update(seqs, []uint32{3}, []uint32{1}, nil))
	must(t, plan.AppendRows(0, make([]uint16, 3*hopmla.QKDim)))
	out := make([]uint16, 2*hopmla.LatentDim)
	must(t, plan.Decode(0, 1, make([]uint16, 2*hopmla.QKDim), out, nil))
	must(t, plan.End(nil))
	must(t, profiler.Finish())

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCallCollector(profiler, nil), NewCollector(pool, nil))
	must(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP hopmla_calls_total Calls, those in launched graphs counted each.
# TYPE hopmla_calls_total counter
hopmla_calls_total{kind="append"} 1
hopmla_calls_total{kind="decode"} 1
hopmla_calls_total{kind="gather"} 0
hopmla_calls_total{kind="launch"} 0
hopmla_calls_total{kind="update"} 1
# HELP hopmla_flops_total Analytic floating point operations.
# TYPE hopmla_flops_total counter
hopmla_flops_total{kind="append"} 0
hopmla_flops_total{kind="decode"} 13056
hopmla_flops_total{kind="gather"} 0
hopmla_flops_total{kind="launch"} 0
hopmla_flops_total{kind="update"} 0
`), "hopmla_calls_total", "hopmla_flops_total"))

	// The library's own exporter has every family that this one has.
	var text bytes.Buffer
	must(t, hopmla.ExportMetrics(&text, profiler, pool, hopmla.ExportOptions{}))
	families, err := registry.Gather()
	must(t, err)
	if len(families) != 20+10 {
		t.Fatal(len(families), "families")
	}
	for _, family := range families {
		if !regexp.MustCompile(`(?m)^` + family.GetName() + `(_count)?[{ ]`).Match(text.Bytes()) {
			t.Errorf("%s is not in hopmla.ExportMetrics", family.GetName())
		}
	}

	must(t, profiler.Close())
	if _, err := registry.Gather(); err == nil {
		t.Error("a closed profiler is silent")
	}
}
