/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_table.h"

#include "json.h"

#include <math.h>
#include <string.h>

const char *kind_name(int32_t kind)
{
    static const char *const names[] = { "", "append", "decode", "gather", "update", "launch" };
    return kind > 0 && kind < PROFILE_KINDS ? names[kind] : "";
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

double totals_gbps(const hopmla_totals *t)
{
    return t->timed_unique_bytes > 0 ? ratio((double)t->timed_unique_bytes, (double)t->timed_work_ns) : NAN;
}

double totals_tflops(const hopmla_totals *t)
{
    return t->timed_flops > 0 ? ratio((double)t->timed_flops / 1e3, (double)t->timed_work_ns) : NAN;
}

double totals_fraction(const hopmla_totals *t)
{
    return ratio(t->bound_ns, t->bound_time_ns);
}

double totals_read_ratio(const hopmla_totals *t)
{
    return t->counted > 0 ? ratio((double)t->dram_read_bytes, (double)t->counted_bytes) : NAN;
}

double totals_written_ratio(const hopmla_totals *t)
{
    return t->counted > 0 ? ratio((double)t->dram_write_bytes, (double)t->counted_bytes) : NAN;
}

double totals_l2_ratio(const hopmla_totals *t)
{
    return t->counted > 0 ? ratio((double)t->l2_bytes, (double)t->counted_bytes) : NAN;
}

double totals_tensor_ratio(const hopmla_totals *t)
{
    return ratio((double)t->tensor_flops, (double)t->counted_flops);
}

void print_figure(int width, int digits, double value)
{
    if (isnan(value))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, digits, value);
}

static const char *source_text(int32_t source)
{
    switch (source) {
    case HOPMLA_SOURCE_HOST:
        return "the host's clock";
    case HOPMLA_SOURCE_EVENT:
        return "CUDA events, a few microseconds too long each";
    case HOPMLA_SOURCE_ACTIVITY:
        return "CUPTI's kernel times";
    default:
        return "none";
    }
}

static double us(int64_t ns, const hopmla_totals *t)
{
    return t->timed > 0 ? (double)ns / 1e3 : NAN;
}

static void print_line(const profile_result *r, const hopmla_totals *t)
{
    printf("%-8s %9llu %9llu", kind_name(t->kind), (unsigned long long)t->calls, (unsigned long long)t->records);
    print_figure(10, 2, t->timed > 0 ? (double)t->time_ns / 1e6 : NAN);
    print_figure(10, 1, us(t->time_p50_ns, t));
    print_figure(10, 1, us(t->time_p99_ns, t));
    print_figure(9, 1, totals_gbps(t));
    print_figure(9, 3, totals_tflops(t));
    print_figure(8, 1, 100 * totals_fraction(t));
    if (r->info.counters != HOPMLA_COUNTERS_NONE) {
        print_figure(9, 3, totals_read_ratio(t));
        print_figure(9, 3, totals_written_ratio(t));
        print_figure(9, 3, totals_l2_ratio(t));
        print_figure(9, 3, totals_tensor_ratio(t));
    }
    putchar('\n');
}

static void print_head(const profile_result *r)
{
    bool counted = r->info.counters != HOPMLA_COUNTERS_NONE;
    printf("\n%-8s %9s %9s %10s %10s %10s %9s %9s %8s", "", "", "", "time", "p50", "p99", "", "", "% of");
    if (counted)
        printf(" %9s %9s %9s %9s", "DRAM", "DRAM", "L2", "tensor");
    printf("\n%-8s %9s %9s %10s %10s %10s %9s %9s %8s", "kind", "calls", "records", "ms", "us", "us", "GB/s", "TFLOP/s",
           "bound");
    if (counted)
        printf(" %9s %9s %9s %9s", "read", "written", "hw/an.", "hw/an.");
    putchar('\n');
}

static void print_foot(const profile_result *r)
{
    const hopmla_profiler_info *i = &r->info;
    printf("times: %s; p50 and p99 are of a record: one call, or one launch of a graph\n", source_text(i->time_source));
    puts("GB/s, % of bound: of bytes with cached tokens that several rows share counted once");
    if (i->counters != HOPMLA_COUNTERS_NONE)
        puts(
            "DRAM, L2, tensor: bytes that the hardware read from and wrote to memory, or asked of L2, over analytic bytes;\n"
            "operations of its tensor cores over analytic FLOPs; a dash where they were not counted");
    if (!r->has_ceilings)
        puts("% of bound: the ceilings were not measured");
    bool same = strcmp(i->activity_missing, i->counters_missing) == 0;
    if (i->activity_missing[0] != '\0')
        printf("no kernel times%s: %s\n", same ? " and no counters" : "", i->activity_missing);
    if (i->counters_missing[0] != '\0' && !same)
        printf("no counters: %s\n", i->counters_missing);
    if (i->dropped > 0)
        printf("%llu of %llu records were dropped: the ring was full\n", (unsigned long long)i->dropped,
               (unsigned long long)i->recorded);
    if (i->untimed > 0)
        printf("%llu records have no time: too many calls between two reads\n", (unsigned long long)i->untimed);
}

static void json_figure(json_writer *w, const char *key, double value)
{
    if (!isnan(value))
        json_real(w, key, value);
}

static void print_object(const profile_result *r, const hopmla_totals *t)
{
    json_writer w = json_begin(stdout);
    json_text(&w, "kind", "profile");
    json_text(&w, "call", kind_name(t->kind));
    json_count(&w, "calls", t->calls);
    json_count(&w, "records", t->records);
    json_count(&w, "dropped", t->dropped);
    json_text(&w, "times", source_text(r->info.time_source));
    json_figure(&w, "ms", t->timed > 0 ? (double)t->time_ns / 1e6 : NAN);
    json_figure(&w, "us_p50", us(t->time_p50_ns, t));
    json_figure(&w, "us_p99", us(t->time_p99_ns, t));
    json_figure(&w, "gbps", totals_gbps(t));
    json_figure(&w, "tflops", totals_tflops(t));
    json_figure(&w, "fraction", totals_fraction(t));
    json_figure(&w, "dram_read_ratio", totals_read_ratio(t));
    json_figure(&w, "dram_written_ratio", totals_written_ratio(t));
    json_figure(&w, "l2_ratio", totals_l2_ratio(t));
    json_figure(&w, "tensor_ratio", totals_tensor_ratio(t));
    json_end(&w);
}

void profile_print(const profile_result *r, bool json)
{
    if (!json)
        print_head(r);
    for (int32_t kind = 1; kind < PROFILE_KINDS; ++kind) {
        const hopmla_totals *t = &r->totals[kind];
        if (t->records + t->dropped == 0)
            continue;
        if (json)
            print_object(r, t);
        else
            print_line(r, t);
    }
    if (!json)
        print_foot(r);
}
