// SPDX-License-Identifier: Apache-2.0

package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"hopmla.dev/go/hopmla"
)

// CallSource is what totals of calls come from; a *hopmla.Profiler is one.
type CallSource interface {
	Totals(kind hopmla.CallKind, plan *hopmla.Plan) (hopmla.Totals, error)
}

type counter struct {
	desc *prometheus.Desc
	read func(hopmla.Totals) float64
}

type callCollector struct {
	source   CallSource
	counters []counter
	times    *prometheus.Desc
}

// NewCallCollector makes a collector of a profiler's totals, with a label for the kind of call. They are read at every
// scrape, from any goroutine, and take in what has finished; nothing waits. Names are those of hopmla.ExportMetrics. For a
// process whose records nobody reads make the profiler with TotalsOnly.
func NewCallCollector(source CallSource, labels prometheus.Labels) prometheus.Collector {
	c := &callCollector{source: source}
	kinds := []string{"kind"}
	add := func(name, help string, read func(hopmla.Totals) float64) {
		c.counters = append(c.counters, counter{prometheus.NewDesc("hopmla_"+name+"_total", help, kinds, labels), read})
	}
	add("records", "Calls and graph launches that were recorded.",
		func(t hopmla.Totals) float64 { return float64(t.Records) })
	add("dropped_records", "Records that found the ring full and are in none of the other figures.",
		func(t hopmla.Totals) float64 { return float64(t.Dropped) })
	add("calls", "Calls, those in launched graphs counted each.",
		func(t hopmla.Totals) float64 { return float64(t.Calls) })
	add("flops", "Analytic floating point operations.", func(t hopmla.Totals) float64 { return float64(t.FLOPs) })
	add("analytic_bytes", "Analytic bytes read and written.", func(t hopmla.Totals) float64 { return float64(t.Bytes) })
	add("timed_flops", "Analytic operations of records with a device time.",
		func(t hopmla.Totals) float64 { return float64(t.TimedFLOPs) })
	add("timed_analytic_bytes", "Analytic bytes of records with a device time.",
		func(t hopmla.Totals) float64 { return float64(t.TimedBytes) })
	add("unique_analytic_bytes", "Analytic bytes, tokens that rows share counted once.",
		func(t hopmla.Totals) float64 { return float64(t.UniqueBytes) })
	add("timed_unique_analytic_bytes", "Unique bytes of records with a device time.",
		func(t hopmla.Totals) float64 { return float64(t.TimedUniqueBytes) })
	add("timed_work_seconds", "Device times of records whose work is known.",
		func(t hopmla.Totals) float64 { return t.TimedWork.Seconds() })
	add("counted_records", "Records with memory counters.",
		func(t hopmla.Totals) float64 { return float64(t.Counted) })
	add("counted_analytic_bytes", "Analytic bytes of records with memory counters.",
		func(t hopmla.Totals) float64 { return float64(t.CountedBytes) })
	add("dram_read_bytes", "Bytes that the hardware read from device memory.",
		func(t hopmla.Totals) float64 { return float64(t.DRAMReadBytes) })
	add("dram_written_bytes", "Bytes that the hardware wrote to device memory.",
		func(t hopmla.Totals) float64 { return float64(t.DRAMWriteBytes) })
	add("l2_bytes", "Bytes that the multiprocessors asked of the second level cache.",
		func(t hopmla.Totals) float64 { return float64(t.L2Bytes) })
	add("counted_flops", "Analytic operations of records with tensor counters.",
		func(t hopmla.Totals) float64 { return float64(t.CountedFLOPs) })
	add("tensor_flops", "Operations of the tensor cores that the hardware counted.",
		func(t hopmla.Totals) float64 { return float64(t.TensorFLOPs) })
	add("bound_seconds", "What records with a bound take at least at the ceilings.",
		func(t hopmla.Totals) float64 { return t.Bound.Seconds() })
	add("bounded_time_seconds", "Device times of records with a bound.",
		func(t hopmla.Totals) float64 { return t.BoundTime.Seconds() })
	c.times = prometheus.NewDesc("hopmla_device_time_seconds", "Device times of records since the profiler was made.", kinds,
		labels)
	return c
}

func (c *callCollector) Describe(out chan<- *prometheus.Desc) {
	for _, counter := range c.counters {
		out <- counter.desc
	}
	out <- c.times
}

func (c *callCollector) Collect(out chan<- prometheus.Metric) {
	for _, kind := range hopmla.CallKinds {
		t, err := c.source.Totals(kind, nil)
		if err != nil {
			out <- prometheus.NewInvalidMetric(c.times, err)
			return
		}
		for _, counter := range c.counters {
			out <- prometheus.MustNewConstMetric(counter.desc, prometheus.CounterValue, counter.read(t), kind.String())
		}
		quantiles := map[float64]float64{} // of none there are none
		if t.Timed > 0 {
			quantiles = map[float64]float64{0: t.TimeMin.Seconds(), 0.5: t.TimeP50.Seconds(), 0.9: t.TimeP90.Seconds(),
				0.99: t.TimeP99.Seconds(), 1: t.TimeMax.Seconds()}
		}
		out <- prometheus.MustNewConstSummary(c.times, t.Timed, t.Time.Seconds(), quantiles, kind.String())
	}
}
