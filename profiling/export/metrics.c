/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/export/metrics.h"

#include <stddef.h>
#include <string.h>

/* A family of one name: "# TYPE", "# UNIT" where the name ends with one, "# HELP". */
static void family(hm_out *out, const char *name, const char *type, const char *unit, const char *help)
{
    hm_out_print(out, "# TYPE hopmla_%s %s\n", name, type);
    if (unit) {
        hm_out_print(out, "# UNIT hopmla_%s %s\n", name, unit);
    }
    hm_out_print(out, "# HELP hopmla_%s %s\n", name, help);
}

static void line_of_count(hm_out *out, const char *name, uint64_t value)
{
    hm_out_print(out, "hopmla_%s ", name);
    hm_out_unsigned(out, value);
    hm_out_text(out, "\n");
}

static void gauge(hm_out *out, const char *name, uint64_t value, const char *help)
{
    family(out, name, "gauge", NULL, help);
    line_of_count(out, name, value);
}

static void of_kind(hm_out *out, const char *name, const char *suffix, int kind)
{
    hm_out_print(out, "hopmla_%s%s{kind=\"%s\"} ", name, suffix, hm_kind_name(kind));
}

/* Counters that are a whole number in hopmla_totals. */
static const struct {
    const char *name;
    const char *unit;
    const char *help;
    size_t offset;
} counters[] = {
#define COUNTER(name, unit, field, help)                                                                               \
    {                                                                                                                  \
        name, unit, help, offsetof(hopmla_totals, field)                                                               \
    }
    COUNTER("records", NULL, records, "Calls and graph launches that were recorded."),
    COUNTER("dropped_records", NULL, dropped, "Records that found the ring full and are in none of the other figures."),
    COUNTER("calls", NULL, calls, "Calls, those in launched graphs counted each."),
    COUNTER("flops", NULL, flops, "Analytic floating point operations."),
    COUNTER("analytic_bytes", "bytes", bytes, "Analytic bytes read and written."),
    COUNTER("unique_analytic_bytes", "bytes", unique_bytes, "Analytic bytes, tokens that rows share counted once."),
    COUNTER("timed_flops", NULL, timed_flops, "Analytic operations of records with a device time."),
    COUNTER("timed_analytic_bytes", "bytes", timed_bytes, "Analytic bytes of records with a device time."),
    COUNTER("timed_unique_analytic_bytes", "bytes", timed_unique_bytes, "Unique bytes of records with a device time."),
    COUNTER("counted_records", NULL, counted, "Records with memory counters."),
    COUNTER("counted_analytic_bytes", "bytes", counted_bytes, "Analytic bytes of records with memory counters."),
    COUNTER("dram_read_bytes", "bytes", dram_read_bytes, "Bytes that the hardware read from device memory."),
    COUNTER("dram_written_bytes", "bytes", dram_write_bytes, "Bytes that the hardware wrote to device memory."),
    COUNTER("l2_bytes", "bytes", l2_bytes, "Bytes that the multiprocessors asked of the second level cache."),
    COUNTER("counted_flops", NULL, counted_flops, "Analytic operations of records with tensor counters."),
    COUNTER("tensor_flops", NULL, tensor_flops, "Operations of the tensor cores that the hardware counted."),
};

static void whole_counters(hm_out *out, const hopmla_totals totals[HM_KINDS])
{
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        family(out, counters[i].name, "counter", counters[i].unit, counters[i].help);
        for (int kind = 1; kind < HM_KINDS; kind++) {
            uint64_t value;
            memcpy(&value, (const char *)&totals[kind] + counters[i].offset, sizeof(value));
            of_kind(out, counters[i].name, "_total", kind);
            hm_out_unsigned(out, value);
            hm_out_text(out, "\n");
        }
    }
}

static void seconds(hm_out *out, double ns)
{
    hm_out_real(out, ns / 1e9); /* divided, so that whole nanoseconds stay exact */
    hm_out_text(out, "\n");
}

static void quantile(hm_out *out, int kind, const char *which, int64_t ns)
{
    hm_out_print(out, "hopmla_device_time_seconds{kind=\"%s\",quantile=\"%s\"} ", hm_kind_name(kind), which);
    seconds(out, (double)ns);
}

static void times(hm_out *out, const hopmla_totals totals[HM_KINDS])
{
    family(out, "device_time_seconds", "summary", "seconds", "Device times of records since the profiler was made.");
    for (int kind = 1; kind < HM_KINDS; kind++) {
        const hopmla_totals *t = &totals[kind];
        if (t->timed) { /* of none there are no quantiles */
            quantile(out, kind, "0", t->time_min_ns);
            quantile(out, kind, "0.5", t->time_p50_ns);
            quantile(out, kind, "0.9", t->time_p90_ns);
            quantile(out, kind, "0.99", t->time_p99_ns);
            quantile(out, kind, "1", t->time_max_ns);
        }
        of_kind(out, "device_time_seconds", "_count", kind);
        hm_out_unsigned(out, t->timed);
        hm_out_text(out, "\n");
        of_kind(out, "device_time_seconds", "_sum", kind);
        seconds(out, (double)t->time_ns);
    }
    family(out, "timed_work_seconds", "counter", "seconds", "Device times of records whose work is known.");
    for (int kind = 1; kind < HM_KINDS; kind++) {
        of_kind(out, "timed_work_seconds", "_total", kind);
        seconds(out, (double)totals[kind].timed_work_ns);
    }
    family(out, "bound_seconds", "counter", "seconds", "What records with a bound take at least at the ceilings.");
    for (int kind = 1; kind < HM_KINDS; kind++) {
        of_kind(out, "bound_seconds", "_total", kind);
        seconds(out, totals[kind].bound_ns);
    }
    family(out, "bounded_time_seconds", "counter", "seconds", "Device times of records with a bound.");
    for (int kind = 1; kind < HM_KINDS; kind++) {
        of_kind(out, "bounded_time_seconds", "_total", kind);
        seconds(out, totals[kind].bound_time_ns);
    }
}

static void profiler(hm_out *out, const hopmla_profiler_info *info, const hopmla_totals totals[HM_KINDS])
{
    gauge(out, "profiler_started", (uint64_t)(info->started != 0), "1 while calls are recorded.");
    gauge(out, "profiler_waiting_records", info->waiting, "Records that wait to be read.");
    family(out, "profiler_untimed_records", "counter", NULL, "Records without the device time that was asked for.");
    line_of_count(out, "profiler_untimed_records_total", info->untimed);
    whole_counters(out, totals);
    times(out, totals);
}

static void pool(hm_out *out, const hopmla_pool_stats *s)
{
    gauge(out, "pool_sequences", s->sequences, "Live sequences.");
    gauge(out, "pool_pages", s->pages_total, "All pages.");
    gauge(out, "pool_pages_free", s->pages_free, "Pages that a reserve can take, pinned ones included.");
    gauge(out, "pool_pages_used", s->pages_used,
          "Pages owned by a sequence, or the source of a copy until its sequence's next commit.");
    gauge(out, "pool_pages_shared", s->pages_shared, "Used pages owned by more than one sequence.");
    gauge(out, "pool_pages_pinned", s->pages_pinned, "Pages that a step not yet past its fence may touch.");
    gauge(out, "pool_pages_high_water", s->pages_high_water, "Most pages ever used.");
    gauge(out, "pool_tokens_committed", s->tokens_committed,
          "Tokens over all sequences, shared ones counted for each.");
    gauge(out, "pool_tokens_reserved", s->tokens_reserved, "Tokens reserved and not yet committed.");
    gauge(out, "pool_copies_owed", s->copies_owed, "Copy-on-write copies booked and not yet enqueued.");
}

static void ceiling(hm_out *out, const char *name, double value, const char *help)
{
    family(out, name, "gauge", NULL, help);
    hm_out_print(out, "hopmla_%s ", name);
    hm_out_real(out, value);
    hm_out_text(out, "\n");
}

void hm_write_metrics(hm_out *out, const hm_metrics *m)
{
    family(out, "build", "info", NULL, "The library, and the device that it runs on.");
    hm_out_print(out, "hopmla_build_info{version=\"%s\"", hopmla_version_string());
    if (m->device) {
        hm_out_text(out, ",device=");
        hm_out_label(out, m->device);
    }
    hm_out_text(out, "} 1\n");
    if (m->ceilings) {
        ceiling(out, "ceiling_read_bytes_per_second", m->ceilings->read_bytes_per_second, "Measured read bandwidth.");
        ceiling(out, "ceiling_burst_flops_per_second", m->ceilings->flops_burst,
                "Measured rate of operations in the first milliseconds.");
        ceiling(out, "ceiling_sustained_flops_per_second", m->ceilings->flops_sustained,
                "Measured rate of operations when power limits the clock.");
    }
    if (m->profiler) {
        profiler(out, m->profiler, m->totals);
    }
    if (m->pool) {
        pool(out, m->pool);
    }
    hm_out_text(out, "# EOF\n");
}
