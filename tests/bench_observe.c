/* SPDX-License-Identifier: Apache-2.0 */
/* What observing costs a call, in host time: a decode whose backend does nothing, unobserved and observed in each way,
 * and the load and branch that every call has by themselves. "added" is to what an unobserved call takes, "to read" what a
 * reader then spends on each record. Over a real driver "events" is what an engine pays; over the one without a device it
 * lacks the driver's part. "update" is of 256 sequences that share 128k tokens.
 *
 *     bench_observe [cpu|cuda]        the default is cpu */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/context.h"
#include "profiling/observe/observe.h"

enum {
    SHARERS = 256, /* sequences with a prompt in common */
    PROMPT = 128 << 10,
    UPDATES = 16,
    BATCH = 64,
    TOKENS = 1000,
    HEADS = 16,
    CALLS = 4096, /* between two readings; fewer than there are pairs of events */
    ROUNDS = 200
};

static void fail(const char *what, const hopmla_error *error)
{
    fprintf(stderr, "bench_observe: %s: %s\n", what, error->message);
    exit(1);
}

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        hopmla_error error = HOPMLA_ERROR_INIT;                                                                        \
        if ((call) != HOPMLA_OK) {                                                                                     \
            fail(#call, &error);                                                                                       \
        }                                                                                                              \
    } while (0)

static hopmla_status decode_nothing(hm_device *device, const hm_envelope *envelope, const hm_kv *kv,
                                    const hm_binding *binding, const hm_tables *tables, const hm_decode *decode,
                                    void *workspace, hopmla_stream stream, hopmla_error *error)
{
    (void)device, (void)envelope, (void)kv, (void)binding, (void)tables, (void)decode, (void)workspace;
    (void)stream, (void)error;
    return HOPMLA_OK;
}

typedef struct world {
    hopmla_context *context;
    hm_backend backend; /* the context's, but for decode */
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_stream stream;
    hopmla_seq seqs[BATCH];
    void *tensors;
} world;

static void create(world *w, int32_t backend)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = backend;
    options.cpu_threads = 1;
    TRY(hopmla_context_create(&options, &w->context, &error));
    w->backend = *w->context->backend;
    w->backend.decode = decode_nothing;
    w->context->backend = &w->backend;
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    pool.format = HOPMLA_KV_BF16;
    pool.layers = 1;
    pool.pages = BATCH * (TOKENS / 64 + 1);
    TRY(hopmla_pool_create(w->context, &pool, &w->pool, &error));
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = BATCH;
    plan.heads = HEADS;
    plan.max_kv_tokens = TOKENS;
    TRY(hopmla_plan_create(w->pool, &plan, &w->plan, &error));
    TRY(hopmla_stream_create(w->context, &w->stream, &error));
    TRY(hopmla_memory_alloc(w->context, 1 << 24, HOPMLA_MEMORY_WORKSPACE, &w->tensors, &error));
    uint32_t n[BATCH];
    uint32_t q_lens[BATCH];
    for (int i = 0; i < BATCH; i++) {
        n[i] = TOKENS;
        q_lens[i] = 1;
    }
    TRY(hopmla_seq_create(w->pool, w->seqs, BATCH, &error));
    TRY(hopmla_seq_reserve(w->pool, w->seqs, n, BATCH, &error));
    TRY(hopmla_seq_commit(w->pool, w->seqs, n, BATCH, &error));
    TRY(hopmla_plan_update(w->plan, w->seqs, NULL, q_lens, BATCH, w->stream, &error));
}

static void destroy(world *w)
{
    hopmla_memory_free(w->context, w->tensors, 1 << 24, HOPMLA_MEMORY_WORKSPACE);
    hopmla_stream_destroy(w->context, w->stream);
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
}

/* Nanoseconds a call of one round. */
static double run_calls(world *w)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = BATCH;
    args.softmax_scale = 1.0f;
    char *out = (char *)w->tensors + (1 << 23);
    const int64_t begin = hm_now();
    for (int i = 0; i < CALLS; i++) {
        hopmla_decode(w->plan, &args, w->tensors, NULL, out, NULL, w->stream, NULL);
    }
    return (double)(hm_now() - begin) / CALLS;
}

/* The two calls around a launch of a graph, with nothing launched. */
static double run_launches(world *w)
{
    const hopmla_launch_note note = { sizeof(note), 61, 61, 0 };
    const int64_t begin = hm_now();
    for (int i = 0; i < CALLS; i++) {
        hopmla_plan_launch_begin(w->plan, &note, w->stream, NULL);
        hopmla_plan_launch_end(w->plan, 1, w->stream, NULL);
    }
    return (double)(hm_now() - begin) / CALLS;
}

/* The load and the branch that every call has. */
static double run_loads(world *w)
{
    uint64_t seen = 0;
    const int64_t begin = hm_now();
    for (int i = 0; i < CALLS; i++) {
        const hm_observation observation = hm_observe(&w->context->observers);
        seen += observation.bits;
        __asm__ volatile("" : "+r"(seen) : : "memory");
    }
    return (double)(hm_now() - begin) / CALLS;
}

static double run_clock(world *w)
{
    (void)w;
    int64_t last = 0;
    const int64_t begin = hm_now();
    for (int i = 0; i < CALLS; i++) {
        last += hm_now();
        __asm__ volatile("" : "+r"(last));
    }
    return (double)(hm_now() - begin) / CALLS;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct rounds {
    double call[ROUNDS];
    double read[ROUNDS];
} rounds;

static void print_rounds(const char *name, rounds *r, int has_reads, double beside)
{
    qsort(r->call, ROUNDS, sizeof(double), ascending);
    qsort(r->read, ROUNDS, sizeof(double), ascending);
    printf("%-22s %8.1f %8.1f %9.1f", name, r->call[ROUNDS / 2], r->call[ROUNDS / 10], r->call[ROUNDS / 2] - beside);
    if (has_reads) {
        printf(" %9.1f", r->read[ROUNDS / 2]);
    }
    printf("\n");
}

static double measure(world *w, const char *name, double (*run)(world *w), double beside)
{
    static rounds r;
    for (int i = 0; i < ROUNDS; i++) {
        r.call[i] = run(w);
    }
    print_rounds(name, &r, 0, beside);
    return r.call[ROUNDS / 2];
}

static void measure_profiler(world *w, const char *name, uint32_t clocks, double (*run)(world *w), double beside)
{
    static rounds r;
    static hopmla_record records[256];
    hopmla_profiler *profiler;
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.clocks = clocks;
    TRY(hopmla_profiler_create(w->context, &options, &profiler, &error));
    TRY(hopmla_profiler_start(profiler, &error));
    for (int i = 0; i < ROUNDS; i++) {
        r.call[i] = run(w);
        TRY(hopmla_stream_synchronize(w->context, w->stream, &error));
        const int64_t begin = hm_now();
        uint32_t n;
        do {
            TRY(hopmla_profiler_read(profiler, records, sizeof(records[0]), 256, &n, &error));
        } while (n > 0);
        r.read[i] = (double)(hm_now() - begin) / CALLS;
    }
    hopmla_profiler_info info = HOPMLA_PROFILER_INFO_INIT;
    TRY(hopmla_profiler_describe(profiler, &info, &error));
    print_rounds(name, &r, 1, beside);
    if (info.dropped || info.untimed) {
        printf("  of %llu records %llu were dropped and %llu not timed\n", (unsigned long long)info.recorded,
               (unsigned long long)info.dropped, (unsigned long long)info.untimed);
    }
    hopmla_profiler_destroy(profiler);
}

/* Updates of a batch whose sequences share a long prompt, once observed: what is counted of each step. */

typedef struct sharers {
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_seq seqs[SHARERS];
    uint32_t q_lens[SHARERS];
} sharers;

static void create_sharers(world *w, sharers *s)
{
    const uint32_t prompt = PROMPT;
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    pool.format = HOPMLA_KV_BF16;
    pool.layers = 1;
    pool.pages = PROMPT / 64 + SHARERS;
    TRY(hopmla_pool_create(w->context, &pool, &s->pool, &error));
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = SHARERS;
    plan.heads = HEADS;
    plan.max_kv_tokens = PROMPT + 64;
    TRY(hopmla_plan_create(s->pool, &plan, &s->plan, &error));
    TRY(hopmla_seq_create(s->pool, s->seqs, 1, &error));
    TRY(hopmla_seq_reserve(s->pool, s->seqs, &prompt, 1, &error));
    TRY(hopmla_seq_commit(s->pool, s->seqs, &prompt, 1, &error));
    for (int i = 0; i < SHARERS; i++) {
        const uint32_t one = 1;
        s->q_lens[i] = 1;
        if (i > 0) {
            TRY(hopmla_seq_fork(s->pool, s->seqs[0], PROMPT, &s->seqs[i], &error));
            TRY(hopmla_seq_reserve(s->pool, &s->seqs[i], &one, 1, &error));
            TRY(hopmla_seq_commit(s->pool, &s->seqs[i], &one, 1, &error));
        }
    }
}

static double run_updates(world *w, sharers *s)
{
    int64_t ns = 0;
    for (int i = 0; i < UPDATES; i++) {
        const int64_t begin = hm_now();
        TRY(hopmla_plan_update(s->plan, s->seqs, NULL, s->q_lens, SHARERS, w->stream, &error));
        ns += hm_now() - begin;
        TRY(hopmla_plan_end(s->plan, w->stream, &error));
        TRY(hopmla_stream_synchronize(w->context, w->stream, &error));
    }
    return (double)ns / UPDATES;
}

static void measure_updates(world *w)
{
    static sharers s;
    static rounds r;
    hopmla_profiler *profiler;
    create_sharers(w, &s);
    double off = 0.0;
    TRY(hopmla_profiler_create(w->context, NULL, &profiler, &error));
    for (int observed = 0; observed < 2; observed++) {
        for (int i = 0; i < ROUNDS; i++) {
            uint32_t none;
            r.call[i] = run_updates(w, &s);
            TRY(hopmla_profiler_read(profiler, NULL, sizeof(hopmla_record), 0, &none, &error));
        }
        print_rounds(observed ? "update: analytic" : "update: off", &r, 0, off);
        off = r.call[ROUNDS / 2];
        if (!observed) {
            TRY(hopmla_profiler_start(profiler, &error));
        }
    }
    hopmla_profiler_destroy(profiler);
    hopmla_plan_destroy(s.plan);
    hopmla_pool_destroy(s.pool);
}

int main(int argc, char **argv)
{
    const int cuda = argc > 1 && strcmp(argv[1], "cuda") == 0;
    static world w;
    create(&w, cuda ? HOPMLA_BACKEND_CUDA : HOPMLA_BACKEND_CPU);
    printf("ns a call              %8s %8s %9s %9s\n", "median", "p10", "added", "to read");
    measure(&w, "a look at the clock", run_clock, 0.0);
    measure(&w, "the load alone", run_loads, 0.0);
    const double off = measure(&w, "off", run_calls, 0.0);
    measure_profiler(&w, cuda ? "analytic" : "analytic, host clock", 0, run_calls, off);
    if (cuda) {
        measure_profiler(&w, "events", HOPMLA_CLOCK_EVENTS, run_calls, off);
    }
    measure(&w, "off again", run_calls, off);
    const double launch = measure(&w, "launch: off", run_launches, 0.0);
    measure_profiler(&w, "launch: analytic", 0, run_launches, launch);
    if (cuda) {
        measure_profiler(&w, "launch: events", HOPMLA_CLOCK_EVENTS, run_launches, launch);
    }
    measure_updates(&w);
    destroy(&w);
    return 0;
}
