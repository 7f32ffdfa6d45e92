/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include "json.h"
#include "profile.h"
#include "profile_table.h"

#include <math.h>
#include <stdio.h>

/** "131072 tokens", or what stands for it. */
static const char *envelope_text(const bench *b, char *text, size_t size)
{
    if (b->envelope > 0)
        snprintf(text, size, "%llu tokens", (unsigned long long)b->envelope);
    else
        snprintf(text, size, "the longest length of their row");
    return text;
}

void bench_print_ceilings(const bench *b, bool json)
{
    const hopmla_ceilings *c = &b->ceilings;
    if (json) {
        json_writer w = json_begin(stdout);
        json_text(&w, "kind", "ceilings");
        json_text(&w, "backend", device_backend(&b->device));
        json_text(&w, "device", b->device.info.name);
        json_real(&w, "read_gbps", c->read_bytes_per_second / 1e9);
        json_real(&w, "burst_tflops", c->flops_burst / 1e12);
        json_real(&w, "sustained_tflops", c->flops_sustained / 1e12);
        json_count(&w, "envelope", b->envelope);
        json_end(&w);
        return;
    }
    char envelope[48];
    printf("%s: reads %.0f GB/s, bf16 %.4g TFLOP/s in a burst, %.4g sustained; plans declare %s\n", b->device.info.name,
           c->read_bytes_per_second / 1e9, c->flops_burst / 1e12, c->flops_sustained / 1e12,
           envelope_text(b, envelope, sizeof(envelope)));
    printf("%-8s %-9s %5s %4s %4s %9s %7s %11s %11s %9s %9s %9s %9s", "kind", "format", "b", "s_q", "h", "mean len",
           "layers", "us a layer", "bound", "fraction", "GB/s", "TFLOP/s", "error");
    if (b->steady)
        printf(" %11s %11s %9s %6s %6s", "burst us", "steady us", "TFLOP/s", "MHz", "W");
    if (profile_asked())
        printf(" %11s %9s %9s %9s", "watched us", "read/an.", "L2/an.", "tensor/an.");
    putchar('\n');
    fflush(stdout);
}

/** Microseconds of a layer as the profiler saw them; NAN where it gave no times. */
static double watched_us(const hopmla_totals *t)
{
    double layers = t->records > 0 ? (double)t->calls / (double)t->records : 1;
    return t->timed > 0 ? (double)t->time_ns / 1e3 / (double)t->timed / layers : NAN;
}

/** Bytes that the hardware read from memory over those that have to be read once: KV and queries. 1 is perfect where the
 * KV is cold; NAN where nothing was counted. */
static double read_ratio(const bench_result *r)
{
    const hopmla_totals *t = &r->watched;
    return t->counted > 0 ? (double)t->dram_read_bytes / ((double)t->counted * r->layers * r->read_bytes) : NAN;
}

static void print_watched(json_writer *w, const bench_result *r)
{
    const hopmla_totals *t = &r->watched;
    const struct {
        const char *name;
        double value;
    } figures[] = { { "watched_us", watched_us(t) },
                    { "read_ratio", read_ratio(r) },
                    { "l2_ratio", totals_l2_ratio(t) },
                    { "tensor_ratio", totals_tensor_ratio(t) } };
    for (int i = 0; i < 4; ++i) {
        if (!isnan(figures[i].value))
            json_real(w, figures[i].name, figures[i].value);
    }
}

static void print_object(const bench *b, const char *suite, const bench_case *c, const bench_result *r)
{
    json_writer w = json_begin(stdout);
    json_text(&w, "kind", c->kind);
    json_text(&w, "suite", suite);
    json_text(&w, "format", format_name(c->format));
    json_count(&w, "b", c->b);
    json_count(&w, "s_q", c->s_q);
    json_count(&w, "h", c->h);
    json_real(&w, "mean_len", r->mean_len);
    json_count(&w, "envelope", b->envelope);
    json_count(&w, "layers", r->layers);
    json_real(&w, "us", r->us);
    json_real(&w, "bound_us", r->bound_us);
    json_real(&w, "fraction", r->bound_us / r->us);
    json_real(&w, "gbps", r->work.bytes / r->us / 1e3);
    json_real(&w, "tflops", r->work.flops / r->us / 1e6);
    json_real(&w, "bytes", r->work.bytes);
    json_real(&w, "flops", r->work.flops);
    json_real(&w, "intensity", r->work.flops / r->work.bytes);
    const bench_power *p = &r->power;
    if (p->steady_us > 0) {
        json_real(&w, "burst_us", p->burst_us);
        json_real(&w, "steady_us", p->steady_us);
        json_real(&w, "steady_tflops", r->work.flops / p->steady_us / 1e6);
        json_real(&w, "steady_gbps", r->work.bytes / p->steady_us / 1e3);
    }
    if (p->reading.watts > 0) {
        json_real(&w, "steady_mhz", p->reading.sm_mhz);
        json_real(&w, "steady_watts", p->reading.watts);
    }
    print_watched(&w, r);
    json_real(&w, "error", r->error);
    json_bool(&w, "right", r->right);
    json_end(&w);
}

void bench_print_row(const bench *b, const char *suite, const bench_case *c, const bench_result *r, bool json)
{
    if (json) {
        print_object(b, suite, c, r);
        fflush(stdout);
        return;
    }
    printf("%-8s %-9s %5u %4u %4u %9.0f %7u %11.2f %11.2f %9.3f %9.1f %9.3f %9.1e", c->kind, format_name(c->format),
           (unsigned)c->b, (unsigned)c->s_q, (unsigned)c->h, r->mean_len, (unsigned)r->layers, r->us, r->bound_us,
           r->bound_us / r->us, r->work.bytes / r->us / 1e3, r->work.flops / r->us / 1e6, r->error);
    if (r->power.steady_us > 0)
        printf(" %11.2f %11.2f %9.3f", r->power.burst_us, r->power.steady_us, r->work.flops / r->power.steady_us / 1e6);
    if (r->power.reading.watts > 0)
        printf(" %6.0f %6.0f", r->power.reading.sm_mhz, r->power.reading.watts);
    if (profile_asked()) {
        print_figure(11, 2, watched_us(&r->watched));
        print_figure(9, 3, read_ratio(r));
        print_figure(9, 3, totals_l2_ratio(&r->watched));
        print_figure(9, 3, totals_tensor_ratio(&r->watched));
    }
    puts(r->right ? "" : "  WRONG");
    fflush(stdout);
}
