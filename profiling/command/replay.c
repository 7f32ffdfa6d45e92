/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include "args.h"
#include "dashboard.h"
#include "format.h"
#include "metrics.h"
#include "profile.h"
#include "pages_once.h"

#include <stdio.h>
#include <stdlib.h>

#define MUST(call, ...) must(call(__VA_ARGS__, &error), &error, #call)

typedef struct request {
    int32_t backend;
    uint64_t pages, layers, heads, limit, verify, max_batch, chunk, step_ms, seed;
    bool burst, no_ceilings, json;
    const char *format_name;
    int32_t format;      /* of that name */
    const char *metrics; /* where to serve them, or NULL */
} request;

/** Pages that a request of so many tokens may need: one more for the source of a copy that a fork owes. */
static uint64_t pages_for(uint64_t tokens)
{
    return (tokens + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS + 1;
}

static uint64_t choose_pages(const request *q, const device *d, const trace *t)
{
    uint64_t least = pages_for(t->longest), page_bytes = format_page_bytes(q->format) * q->layers;
    uint64_t pages = q->pages;
    if (pages == 0 && d->info.backend == HOPMLA_BACKEND_CUDA)
        pages = d->info.memory_bytes * 6 / 10 / page_bytes;
    else if (pages == 0)
        pages = 2 * least > 1024 ? 2 * least : 1024;
    if (pages < least)
        die("%s:%llu: this request needs %llu pages, the pool has %llu", t->path, (unsigned long long)t->longest_line,
            (unsigned long long)least, (unsigned long long)pages);
    return pages;
}

static void count_step(counters *c, pages_once *once, const engine *e, const scheduler *s,
                       const hopmla_ceilings *ceilings, double us, double seconds)
{
    const batch *b = &s->batch;
    work layer = { 0 };
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < b->count; ++i) {
        if (b->q_lens[i] > 0) {
            work_add(&layer, e->format, e->heads, 1, b->first[i] + b->n_append[i]);
            tokens += b->first[i] + b->n_append[i];
        }
    }
    double shared = (double)(tokens - pages_once_tokens(once, b)) * format_row_bytes(e->format);
    c->bytes_once += (layer.bytes - shared) * e->layers;
    c->step_us = must_grow(c->step_us, c->steps, &c->capacity, sizeof(*c->step_us));
    c->step_us[c->steps++] = 1e6 * seconds;
    c->decode_us += us;
    c->work.bytes += layer.bytes * e->layers;
    c->work.flops += layer.flops * e->layers;
    if (ceilings->flops_burst > 0)
        c->bound_us += 1e6 * e->layers * work_bound(layer, ceilings->read_bytes_per_second, peak_flops(ceilings));
}

static void serve(engine *e, scheduler *s, const request *q, uint64_t pages, const hopmla_ceilings *ceilings,
                  counters *c)
{
    dashboard shown = dashboard_start();
    random_state r;
    random_seed(&r, q->seed);
    pages_once once;
    pages_once_make(&once, e->pool, pages);
    uint64_t now = q->burst ? UINT64_MAX : 0;
    while (!scheduler_done(s)) {
        double start = seconds_now();
        if (scheduler_idle(s) && now < s->trace->requests[s->arrived].timestamp)
            now = s->trace->requests[s->arrived].timestamp;
        scheduler_admit(s, now);
        scheduler_plan(s);
        double us = engine_step(e, &s->batch);
        count_step(c, &once, e, s, ceilings, us, seconds_now() - start);
        profile_drain();
        replay_verify(e, &s->batch, (uint32_t)q->verify, &r, c);
        scheduler_commit(s);
        now += q->burst ? 0 : q->step_ms;
        dashboard_show(&shown, e, s, c);
    }
    c->seconds = seconds_now() - shown.started;
    pages_once_free(&once);
    dashboard_clear(&shown);
}

/** Everything has been released: whatever the books still show is lost. */
static void look_for_leaks(const engine *e, counters *c)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    MUST(hopmla_pool_get_stats, e->pool, &stats);
    c->pages = stats.pages_total;
    c->high_water = stats.pages_high_water;
    c->leaked = stats.pages_total - stats.pages_free;
}

static int run(const request *q, const char *path)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    trace t = trace_read(path, q->limit);
    device d;
    engine e;
    scheduler s;
    counters c = { 0 };
    device_open(&d, q->backend);
    uint64_t pages = choose_pages(q, &d, &t);
    if (!q->no_ceilings)
        MUST(hopmla_load_ceilings, d.context, NULL, &ceilings);
    if (q->metrics != NULL || dashboard_wanted())
        profile_ask_totals();
    profile_open(&d, &ceilings);
    engine_make(&e, &d, &t, q->format, (uint32_t)q->layers, (uint32_t)q->heads, pages, (uint32_t)q->max_batch,
                (uint32_t)q->chunk, t.longest);
    scheduler_make(&s, &t, e.pool, (uint32_t)q->max_batch, (uint32_t)q->chunk);
    metrics *m = q->metrics != NULL ? metrics_start(q->metrics, &d, e.pool, q->no_ceilings ? NULL : &ceilings) : NULL;
    profile_start();
    serve(&e, &s, q, pages, &ceilings, &c);
    metrics_stop(m);
    profile_close();
    scheduler_clear(&s);
    look_for_leaks(&e, &c);
    replay_report(&e, &s, &c, q->json);
    scheduler_free(&s);
    engine_free(&e);
    device_close(&d);
    trace_free(&t);
    free(c.step_us);
    if (c.wrong > 0)
        fprintf(stderr, "hopmla: %llu of %llu verified rows are wrong\n", (unsigned long long)c.wrong,
                (unsigned long long)c.verified);
    if (c.leaked > 0)
        fprintf(stderr, "hopmla: %llu pages were not given back\n", (unsigned long long)c.leaked);
    return c.wrong > 0 || c.leaked > 0 ? COMMAND_FAILED : 0;
}

int replay_main(int argc, char **argv)
{
    request q = { .backend = HOPMLA_BACKEND_AUTO,
                  .layers = 2,
                  .heads = 16,
                  .format_name = "bf16",
                  .limit = UINT64_MAX,
                  .max_batch = 128,
                  .chunk = 8192,
                  .step_ms = 50,
                  .seed = 1 };
    const option options[] = {
        { OPTION_BACKEND, "backend", "B", &q.backend, 0, 0, "cpu, cuda or auto (the default)" },
        { OPTION_COUNT, "pages", "N", &q.pages, 1, INT32_MAX,
          "of the pool (CUDA: 60% of the device's memory; CPU: 1024, or twice\nwhat the longest request needs)" },
        { OPTION_COUNT, "layers", "N", &q.layers, 1, 1024, "of the pool and the graphs (2)" },
        { OPTION_COUNT, "heads", "H", &q.heads, 1, 256, "query heads (16)" },
        { OPTION_TEXT, "format", "NAME", &q.format_name, 0, 0,
          "of the cache: bf16 (the default), or bf16-nope: without a rope part" },
        { OPTION_COUNT, "limit", "N", &q.limit, 1, UINT64_MAX, "requests of the trace to serve (all)" },
        { OPTION_COUNT, "verify", "K", &q.verify, 0, 4096, "rows a step to hold against the reference (0)" },
        { OPTION_COUNT, "max-batch", "N", &q.max_batch, 1, 4096, "requests that run at one time (128)" },
        { OPTION_COUNT, "chunk", "N", &q.chunk, 1, 1 << 20, "prompt tokens that a step appends at most (8192)" },
        { OPTION_COUNT, "step-ms", "MS", &q.step_ms, 1, 1000000, "what a step takes on the trace's clock (50)" },
        { OPTION_FLAG, "burst", NULL, &q.burst, 0, 0, "all requests arrive at once" },
        { OPTION_COUNT, "seed", "S", &q.seed, 0, UINT64_MAX, "of the choice of rows to verify (1)" },
        { OPTION_FLAG, "no-ceilings", NULL, &q.no_ceilings, 0, 0,
          "do not measure the device the first time (its ceilings are kept in\n~/.cache/hopmla); no fraction then" },
        { OPTION_TEXT, "metrics", "ADDR:PORT", &q.metrics, 0, 0,
          "serve OpenMetrics at http://ADDR:PORT/metrics meanwhile; ADDR may be\nleft out for 127.0.0.1, port 0 is any" },
        { OPTION_FLAG, "json", NULL, &q.json, 0, 0, "one JSON object instead of the table" },
    };
    const usage u = {
        "replay",
        "TRACE",
        "Serves a request trace from a paged pool: arrivals, shared prefixes, prompts appended in chunks, a continuous\n"
        "batch, one decode per layer and step through graphs captured once, preemption when the pool is full.",
        options,
        sizeof(options) / sizeof(options[0]),
        "TRACE is JSON lines with timestamp (ms), input_length, output_length and hash_ids, one for each 512 tokens\n"
        "of input. Cached rows and queries are functions of hash or request and position, so that every output can\n"
        "be checked. Exit status 0 only if every verified row is right and no page is lost."
    };
    const char *path = args_parse(&u, argc, argv);
    if (!format_named(q.format_name, &q.format) || format_dtype(q.format) != HOPMLA_DTYPE_BF16)
        die_usage("replay", "--format: '%s' is not one of bf16, bf16-nope", q.format_name);
    return run(&q, path);
}
