// SPDX-License-Identifier: Apache-2.0

package prom

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"hopmla.dev/go/hopmla"
)

func TestCollector(t *testing.T) {
	c, err := hopmla.NewContext(hopmla.ContextOptions{Backend: hopmla.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pool, err := c.NewPool(hopmla.PoolOptions{Format: hopmla.BF16, Layers: 1, Pages: 7})
	if err != nil {
		t.Fatal(err)
	}
	seqs, err := pool.Create(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Reserve(seqs, []uint32{65, 1}); err != nil {
		t.Fatal(err)
	}

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(pool, prometheus.Labels{"pool": "test"}))
	families, err := registry.Gather()
	if err != nil || len(families) != 10 {
		t.Fatal(len(families), err)
	}
	want := map[string]float64{"hopmla_pool_pages": 7, "hopmla_pool_pages_free": 4, "hopmla_pool_sequences": 2,
		"hopmla_pool_tokens_reserved": 66}
	for _, family := range families {
		metric := family.GetMetric()[0]
		if metric.GetLabel()[0].GetValue() != "test" {
			t.Error("the label is missing")
		}
		if value, ok := want[family.GetName()]; ok && metric.GetGauge().GetValue() != value {
			t.Errorf("%s is %g, must be %g", family.GetName(), metric.GetGauge().GetValue(), value)
		}
	}

	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Gather(); err == nil {
		t.Error("a closed pool is silent")
	}
}
