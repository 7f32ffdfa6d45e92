// SPDX-License-Identifier: Apache-2.0

// Package prom serves the statistics of hopmla pools and the call counters of profilers through the official Prometheus client:
//
//	registry.MustRegister(prom.NewCollector(pool, prometheus.Labels{"pool": "main"}), prom.NewCallCollector(profiler, nil))
package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"hopmla.dev/go/hopmla"
)

// Source is what statistics come from; a *hopmla.Pool is one.
type Source interface {
	Stats() (hopmla.PoolStats, error)
}

type figure struct {
	desc *prometheus.Desc
	read func(hopmla.PoolStats) float64
}

type collector struct {
	source  Source
	figures []figure
}

// NewCollector makes a collector of a pool's books. They are read at every scrape, under the pool's own short lock, from any
// goroutine; labels tell several pools apart. A pool that was closed reports an error to the scrape.
func NewCollector(source Source, labels prometheus.Labels) prometheus.Collector {
	c := &collector{source: source}
	add := func(name, help string, read func(hopmla.PoolStats) float64) {
		desc := prometheus.NewDesc("hopmla_pool_"+name, help, nil, labels)
		c.figures = append(c.figures, figure{desc, read})
	}
	add("sequences", "Live sequences.", func(s hopmla.PoolStats) float64 { return float64(s.Sequences) })
	add("pages", "All pages.", func(s hopmla.PoolStats) float64 { return float64(s.PagesTotal) })
	add("pages_free", "Pages that a reserve can take, pinned ones included.",
		func(s hopmla.PoolStats) float64 { return float64(s.PagesFree) })
	add("pages_used", "Pages owned by a sequence, or the source of a copy until its sequence's next commit.",
		func(s hopmla.PoolStats) float64 { return float64(s.PagesUsed) })
	add("pages_shared", "Used pages owned by more than one sequence.",
		func(s hopmla.PoolStats) float64 { return float64(s.PagesShared) })
	add("pages_pinned", "Pages that a step not yet past its fence may touch.",
		func(s hopmla.PoolStats) float64 { return float64(s.PagesPinned) })
	add("pages_high_water", "Most pages ever used.", func(s hopmla.PoolStats) float64 { return float64(s.PagesHighWater) })
	add("tokens_committed", "Tokens over all sequences, shared ones counted for each.",
		func(s hopmla.PoolStats) float64 { return float64(s.TokensCommitted) })
	add("tokens_reserved", "Tokens reserved and not yet committed.",
		func(s hopmla.PoolStats) float64 { return float64(s.TokensReserved) })
	add("copies_owed", "Copy-on-write copies booked and not yet enqueued.",
		func(s hopmla.PoolStats) float64 { return float64(s.CopiesOwed) })
	return c
}

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		out <- f.desc
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	stats, err := c.source.Stats()
	for _, f := range c.figures {
		if err != nil {
			out <- prometheus.NewInvalidMetric(f.desc, err)
			continue
		}
		out <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, f.read(stats))
	}
}
