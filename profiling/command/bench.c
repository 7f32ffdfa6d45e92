/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include "args.h"
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct request {
    int32_t backend;
    const char *file;
    const char *only;
    bool quick;
    bool json;
} request;

static void print_ceilings(const bench *b, bool json)
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
    printf("%s: reads %.0f GB/s, bf16 %.4g TFLOP/s in a burst, %.4g sustained; plans declare %llu tokens\n",
           b->device.info.name, c->read_bytes_per_second / 1e9, c->flops_burst / 1e12, c->flops_sustained / 1e12,
           (unsigned long long)b->envelope);
    printf("%-8s %5s %4s %4s %9s %7s %11s %11s %9s %9s %9s %11s %9s\n", "kind", "b", "s_q", "h", "mean len", "layers",
           "us a layer", "bound", "fraction", "GB/s", "TFLOP/s", "steady us", "error");
    fflush(stdout);
}

static void print_row(const bench_case *c, const bench_result *r, bool json)
{
    double gbps = r->work.bytes / r->us / 1e3, tflops = r->work.flops / r->us / 1e6;
    if (json) {
        json_writer w = json_begin(stdout);
        json_text(&w, "kind", c->kind);
        json_count(&w, "b", c->b);
        json_count(&w, "s_q", c->s_q);
        json_count(&w, "h", c->h);
        json_real(&w, "mean_len", r->mean_len);
        json_count(&w, "layers", r->layers);
        json_real(&w, "us", r->us);
        json_real(&w, "bound_us", r->bound_us);
        json_real(&w, "fraction", r->bound_us / r->us);
        json_real(&w, "gbps", gbps);
        json_real(&w, "tflops", tflops);
        json_real(&w, "bytes", r->work.bytes);
        json_real(&w, "flops", r->work.flops);
        json_real(&w, "intensity", r->work.flops / r->work.bytes);
        if (r->steady_us > 0)
            json_real(&w, "steady_us", r->steady_us);
        json_real(&w, "error", r->error);
        json_bool(&w, "right", r->right);
        json_end(&w);
        return;
    }
    char steady[16] = "";
    if (r->steady_us > 0)
        snprintf(steady, sizeof(steady), "%.2f", r->steady_us);
    printf("%-8s %5u %4u %4u %9.0f %7u %11.2f %11.2f %9.3f %9.1f %9.3f %11s %9.1e%s\n", c->kind, (unsigned)c->b,
           (unsigned)c->s_q, (unsigned)c->h, r->mean_len, (unsigned)r->layers, r->us, r->bound_us, r->bound_us / r->us,
           gbps, tflops, steady, r->error, r->right ? "" : "  WRONG");
    fflush(stdout);
}

/** Cached tokens × query rows: what a CPU's time depends on. */
static double size_of(const bench_case *c)
{
    double tokens = 0;
    for (uint32_t i = 0; i < c->b; ++i)
        tokens += c->lens[i];
    return tokens * c->h * c->s_q;
}

static bool wanted(const request *q, const bench_case *c)
{
    char name[80];
    double mean = size_of(c) / c->h / c->s_q / c->b;
    snprintf(name, sizeof(name), "%s-b%u-q%u-h%u-l%.0f", c->kind, (unsigned)c->b, (unsigned)c->s_q, (unsigned)c->h,
             mean);
    return (q->only == NULL || strstr(name, q->only) != NULL) && (!q->quick || size_of(c) <= 1 << 22);
}

static int run(bench *b, const request *q, const bench_suite *suite)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint64_t storage = 0, rows = 0, wrong = 0;
    double logs = 0;
    for (uint64_t i = 0; i < suite->count; ++i) {
        const bench_case *c = &suite->cases[i];
        uint64_t bytes = bench_layer_bytes(c) * bench_layers(b, c);
        rows += wanted(q, c);
        storage = wanted(q, c) && bytes > storage ? bytes : storage;
    }
    if (rows == 0)
        die("no row of the suite is asked for");
    must(hopmla_measure_ceilings(b->device.context, &b->ceilings, &error), &error, "hopmla_measure_ceilings");
    print_ceilings(b, q->json);
    bench_prepare(b, storage);
    for (uint64_t i = 0; i < suite->count; ++i) {
        if (!wanted(q, &suite->cases[i]))
            continue;
        bench_result r = bench_measure(b, &suite->cases[i]);
        print_row(&suite->cases[i], &r, q->json);
        logs += log(r.bound_us / r.us);
        wrong += !r.right;
    }
    bench_finish(b);
    if (!q->json)
        printf("%llu rows, geometric mean of the fraction %.3f\n", (unsigned long long)rows, exp(logs / (double)rows));
    if (wrong > 0)
        fprintf(stderr, "hopmla: %llu of %llu rows have wrong results\n", (unsigned long long)wrong,
                (unsigned long long)rows);
    return wrong > 0 ? COMMAND_FAILED : 0;
}

int bench_main(int argc, char **argv)
{
    request q = { .backend = HOPMLA_BACKEND_AUTO };
    bench b = { .max_layers = 61, .envelope = 131072, .seconds = 0.3, .ceilings = HOPMLA_CEILINGS_INIT };
    bool pool = false;
    uint64_t pages = 1000000, context = 64;
    const option options[] = {
        { OPTION_BACKEND, "backend", "B", &q.backend, 0, 0,
          "cpu, cuda or auto (the default); --pool: cpu unless given" },
        { OPTION_TEXT, "cases", "FILE", &q.file, 0, 0,
          "shapes to measure instead of the default suite: JSON lines with\nkind, b, s_q, h, and lens: a number or b of them" },
        { OPTION_TEXT, "only", "TEXT", &q.only, 0, 0, "rows whose name, like fixed-b1-q1-h16-l1024, contains TEXT" },
        { OPTION_FLAG, "quick", NULL, &q.quick, 0, 0, "only rows that are quick on a CPU too" },
        { OPTION_COUNT, "layers", "N", &b.max_layers, 1, 1024, "most layers of a graph (61)" },
        { OPTION_COUNT, "envelope", "N", &b.envelope, 1, 1 << 20, "tokens of a row that plans declare (131072)" },
        { OPTION_REAL, "seconds", "S", &b.seconds, 0, 3600, "of replays for each row (0.3)" },
        { OPTION_FLAG, "steady", NULL, &b.steady, 0, 0,
          "rows with 64 and more heads x query tokens also after two seconds\nof continuous replay, when power limits the clock" },
        { OPTION_FLAG, "pool", NULL, &pool, 0, 0,
          "costs of the books instead: reserve, plan update, commit, fork, release" },
        { OPTION_COUNT, "pages", "N", &pages, 1000, 100000000, "--pool: largest pool (1000000)" },
        { OPTION_COUNT, "context", "N", &context, 1, 65536, "--pool: tokens of each sequence (64)" },
        { OPTION_FLAG, "json", NULL, &q.json, 0, 0, "one JSON object a line, the ceilings first" },
    };
    const usage u = { "bench",
                      NULL,
                      "Measures decode: one graph of up to 61 layers for each shape, KV cold and random, against the\n"
                      "ceilings that the device shows in the same run.",
                      options,
                      sizeof(options) / sizeof(options[0]),
                      "The bound is the longer of reading the bytes (each sequence's KV once, Q, O) and computing the\n"
                      "FLOPs (2 x 1088 for each query row and visible token) at the measured ceilings in a burst." };
    args_parse(&u, argc, argv);
    if (pool)
        return bench_pool(q.backend == HOPMLA_BACKEND_AUTO ? HOPMLA_BACKEND_CPU : q.backend, q.json, pages, context);
    bench_suite suite = { 0 };
    if (q.file != NULL)
        bench_read_suite(&suite, q.file);
    else
        bench_default_suite(&suite);
    device_open(&b.device, q.backend);
    int status = run(&b, &q, &suite);
    device_close(&b.device);
    bench_suite_free(&suite);
    return status;
}
