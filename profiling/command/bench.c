/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include "args.h"
#include "bench_times.h"
#include "profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_SUITES = 3,
    MAX_ENVELOPE = 1 << 20
};

typedef struct request {
    int32_t backend;
    const char *file;     /* of cases, or NULL */
    const char *suite;    /* its name, or "all" */
    const char *envelope; /* a number of tokens, or "tight" */
    const char *only;
    const char *results; /* a file of them instead of a run, or NULL */
    const char *against;
    bool quick;
    bool json;
} request;

/** Cached tokens × query rows: what a CPU's time depends on. */
static double size_of(const bench_case *c)
{
    return bench_mean_len(c) * c->b * c->h * c->s_q;
}

static bool wanted(const request *q, const bench_case *c)
{
    char *name = bench_name(c->kind, c->format, c->b, c->s_q, c->h, bench_mean_len(c));
    bool named = q->only == NULL || strstr(name, q->only) != NULL;
    free(name);
    return named && (!q->quick || size_of(c) <= 1 << 22);
}

/** Rows that are asked for, and what the largest of them needs. */
static uint64_t count_rows(const bench *b, const request *q, const bench_suite *suite, uint64_t *storage)
{
    uint64_t rows = 0;
    for (uint64_t i = 0; i < suite->count; ++i) {
        const bench_case *c = &suite->cases[i];
        if (!wanted(q, c))
            continue;
        uint64_t bytes = bench_layer_bytes(c) * bench_layers(b, c);
        *storage = bytes > *storage ? bytes : *storage;
        ++rows;
    }
    return rows;
}

/** Measures and prints a suite's rows. @return how many had wrong results */
static uint64_t run_suite(bench *b, const request *q, const bench_suite *suite, bench_times *times)
{
    uint64_t wrong = 0, rows = 0;
    double logs = 0;
    for (uint64_t i = 0; i < suite->count; ++i) {
        const bench_case *c = &suite->cases[i];
        if (!wanted(q, c))
            continue;
        bench_result r = bench_measure(b, c);
        bench_print_row(b, suite->name, c, &r, q->json);
        bench_times_add(times, (bench_time){ .name = bench_name(c->kind, c->format, c->b, c->s_q, c->h, r.mean_len),
                                             .us = r.us,
                                             .steady_us = r.power.steady_us,
                                             .right = r.right });
        logs += log(r.bound_us / r.us);
        wrong += !r.right;
        ++rows;
    }
    if (!q->json && rows > 0)
        printf("%s: %llu rows, geometric mean of the fraction %.3f\n", suite->name, (unsigned long long)rows,
               exp(logs / (double)rows));
    return wrong;
}

static int run(bench *b, const request *q, const bench_suite *suites, bench_times *times)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint64_t storage = 0, rows = 0, wrong = 0;
    for (int i = 0; i < MAX_SUITES; ++i)
        rows += count_rows(b, q, &suites[i], &storage);
    if (rows == 0)
        die("no row of the suite is asked for");
    if (b->device.info.backend == HOPMLA_BACKEND_CUDA)
        b->nvml = nvml_open(b->device.info.device);
    must(hopmla_measure_ceilings(b->device.context, &b->ceilings, &error), &error, "hopmla_measure_ceilings");
    profile_open(&b->device, &b->ceilings);
    bench_print_ceilings(b, q->json);
    bench_prepare(b, storage);
    for (int i = 0; i < MAX_SUITES; ++i)
        wrong += run_suite(b, q, &suites[i], times);
    profile_close();
    bench_finish(b);
    nvml_close(b->nvml);
    if (wrong > 0)
        fprintf(stderr, "hopmla: %llu of %llu rows have wrong results\n", (unsigned long long)wrong,
                (unsigned long long)rows);
    return wrong > 0 ? COMMAND_FAILED : 0;
}

static void list_suites(bench_suite *suites, const request *q)
{
    static const struct {
        const char *name;
        void (*make)(bench_suite *suite);
    } known[MAX_SUITES] = { { "peers", bench_peers_suite },
                            { "heads", bench_heads_suite },
                            { "nope", bench_nope_suite } };
    bool found = strcmp(q->suite, "all") == 0;
    for (int i = 0; i < MAX_SUITES; ++i)
        found = found || strcmp(q->suite, known[i].name) == 0;
    if (!found)
        die_usage("bench", "--suite: '%s' is not one of peers, heads, nope, all", q->suite);
    if (q->file != NULL) {
        bench_read_suite(&suites[0], q->file);
        return;
    }
    for (int i = 0; i < MAX_SUITES; ++i) {
        if (strcmp(q->suite, "all") == 0 || strcmp(q->suite, known[i].name) == 0)
            known[i].make(&suites[i]);
    }
}

/** Runs, or reads the results of a run, and compares. */
static int bench_rows(bench *b, const request *q)
{
    bench_suite suites[MAX_SUITES] = { { 0 } };
    bench_times own = { 0 }, other = { 0 };
    int status = 0;
    b->envelope = strcmp(q->envelope, "tight") == 0 ? 0 : args_count("bench", "envelope", q->envelope, 1, MAX_ENVELOPE);
    list_suites(suites, q);
    if (q->results != NULL && q->against == NULL)
        die_usage("bench", "--results needs --against");
    /* Read first: nobody wants to hear of a wrong name after minutes. */
    if (q->against != NULL)
        bench_times_read(&other, q->against);
    if (q->results != NULL) {
        bench_times_read(&own, q->results);
    } else {
        device_open(&b->device, q->backend);
        status = run(b, q, suites, &own);
        device_close(&b->device);
    }
    if (q->against != NULL)
        bench_compare(&own, &other, q->against, q->json);
    bench_times_free(&own);
    bench_times_free(&other);
    for (int i = 0; i < MAX_SUITES; ++i)
        bench_suite_free(&suites[i]);
    return status;
}

int bench_main(int argc, char **argv)
{
    request q = { .backend = HOPMLA_BACKEND_AUTO, .suite = "all", .envelope = "131072" };
    bench b = { .max_layers = 61, .seconds = 0.3, .ceilings = HOPMLA_CEILINGS_INIT };
    bool pool = false;
    uint64_t pages = 1000000, context = 64;
    const option options[] = {
        { OPTION_BACKEND, "backend", "B", &q.backend, 0, 0,
          "cpu, cuda or auto (the default); --pool: cpu unless given" },
        { OPTION_TEXT, "suite", "NAME", &q.suite, 0, 0,
          "peers: the shapes at which FlashMLA and FlashAttention-3 were measured;\n"
          "heads: such shapes with 8, 20 and 96 heads; nope: some of them over caches\n"
          "without a rope part; all (the default)" },
        { OPTION_TEXT, "cases", "FILE", &q.file, 0, 0,
          "shapes to measure instead of a suite: JSON lines with\nkind, b, s_q, h, and lens: a number or b of them;\n"
          "format: bf16 (as without it) or bf16-nope" },
        { OPTION_TEXT, "only", "TEXT", &q.only, 0, 0, "rows whose name, like fixed-b1-q1-h16-l1024, contains TEXT" },
        { OPTION_FLAG, "quick", NULL, &q.quick, 0, 0, "only rows that are quick on a CPU too" },
        { OPTION_COUNT, "layers", "N", &b.max_layers, 1, 1024, "most layers of a graph (61)" },
        { OPTION_TEXT, "envelope", "N", &q.envelope, 0, 0,
          "tokens of a row that plans declare at least (131072); tight: no more than\nthe longest of the shape" },
        { OPTION_REAL, "seconds", "S", &b.seconds, 0, 3600, "of replays for each row (0.3)" },
        { OPTION_FLAG, "steady", NULL, &b.steady, 0, 0,
          "rows with 64 and more heads x query tokens also in the first 30 ms after a\n"
          "pause, and after two seconds of continuous replay, when power limits the\n"
          "clock: with clock and watts of that time where NVML is" },
        { OPTION_TEXT, "against", "FILE", &q.against, 0, 0,
          "compare row by row: FILE is what bench --json printed, or a table with\n"
          "tabs whose comment names the columns kind, b, s_q, h, mean_len and NAME_us,\n"
          "of which the least counts" },
        { OPTION_TEXT, "results", "FILE", &q.results, 0, 0, "compare what FILE holds, and measure nothing" },
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
                      "FLOPs (2 x 1088 for each query row and visible token; 2 x 1024 without a rope part) at the\n"
                      "measured ceilings in a burst.\n"
                      "A comparison's ratio is the other time over one's own: above 1 is faster than the other." };
    args_parse(&u, argc, argv);
    if (profile_asked() && (pool || q.results != NULL))
        die_usage("profile", "bench --pool and --results make no calls to profile");
    if (pool)
        return bench_pool(q.backend == HOPMLA_BACKEND_AUTO ? HOPMLA_BACKEND_CPU : q.backend, q.json, pages, context);
    return bench_rows(&b, &q);
}
