/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include "bench_verify.h"
#include "meter.h"
#include "profile.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define MUST(call, ...) must(call(__VA_ARGS__, &error), &error, #call)

enum {
    SEED_BYTES = 64 << 20,   /* random values that fill the storage again and again */
    FLUSH_BYTES = 256 << 20, /* more than any cache */
    BURST = 16,              /* replays enqueued at one time */
    WATCHED = 3,             /* replays under `hopmla profile`, of which each layer's decode counts */
    POWER_ROWS = 64,         /* heads × query tokens from which on power may limit the clock */
    PAUSE_NS = 200000000     /* after which the clock is high again */
};

#define BURST_SECONDS 0.03
#define WARM_SECONDS 2.0
#define STEADY_SECONDS 0.5

static uint64_t pages_of(const bench_case *c)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < c->b; ++i)
        pages += (c->lens[i] + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS;
    return pages > 0 ? pages : 1;
}

uint64_t bench_layer_bytes(const bench_case *c)
{
    return pages_of(c) * format_page_bytes(c->format);
}

uint32_t bench_layers(const bench *b, const bench_case *c)
{
    double layer = (double)bench_layer_bytes(c), room = fmin(24e9, 0.6 * (double)b->device.info.memory_bytes);
    /* A CPU takes seconds where a GPU takes milliseconds: just enough layers there to leave its caches behind. */
    if (b->device.info.backend == HOPMLA_BACKEND_CPU)
        room = fmax(fmin(room, 256e6), layer);
    double layers = fmin(floor(room / layer), (double)b->max_layers);
    return layers > 1 ? (uint32_t)layers : 1;
}

void bench_prepare(bench *b, uint64_t storage_bytes)
{
    device *d = &b->device;
    uint64_t seed = storage_bytes < SEED_BYTES ? storage_bytes : SEED_BYTES;
    uint16_t *host = must_alloc(seed);
    random_state r;
    random_seed(&r, 1);
    random_fill(&r, HOPMLA_DTYPE_BF16, host, seed / 2);
    b->storage = device_alloc(d, storage_bytes);
    device_copy(d, b->storage.memory, host, seed);
    for (uint64_t done = seed; done < storage_bytes;) {
        uint64_t n = done < storage_bytes - done ? done : storage_bytes - done;
        device_copy(d, (char *)b->storage.memory + done, b->storage.memory, n);
        done += n;
    }
    b->flush = device_alloc(d, FLUSH_BYTES);
    device_fill(d, b->flush.memory, 0, FLUSH_BYTES);
    device_synchronize(d);
    free(host);
}

void bench_finish(bench *b)
{
    device_free(&b->device, &b->storage);
    device_free(&b->device, &b->flush);
}

/** Everything that one row's replays need. */
typedef struct row {
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_graph graph;
    hopmla_seq *seqs;
    uint32_t *q_lens;
    block q;
    block out;
    block lse;
    hopmla_event begin[BURST];
    hopmla_event end[BURST];
    uint32_t layers; /* of the graph */
    bool flush;
} row;

/** Leaves the pool's free pages in random order: takes them all one by one and gives them back shuffled. */
static void shuffle_pages(hopmla_pool *pool, uint64_t pages)
{
    enum {
        CHUNK = 1024
    };
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_seq *ids = must_alloc(pages * sizeof(*ids));
    uint32_t ones[CHUNK];
    random_state r;
    random_seed(&r, 2);
    for (uint32_t i = 0; i < CHUNK; ++i)
        ones[i] = 1;
    for (uint64_t i = 0; i < pages; i += CHUNK) {
        uint32_t n = (uint32_t)(pages - i < CHUNK ? pages - i : CHUNK);
        MUST(hopmla_seq_create, pool, ids + i, n);
        MUST(hopmla_seq_reserve, pool, ids + i, ones, n);
    }
    for (uint64_t i = pages; i > 1; --i) {
        uint64_t j = random_below(&r, i);
        hopmla_seq other = ids[i - 1];
        ids[i - 1] = ids[j];
        ids[j] = other;
    }
    for (uint64_t i = 0; i < pages; i += CHUNK)
        MUST(hopmla_seq_release, pool, ids + i, (uint32_t)(pages - i < CHUNK ? pages - i : CHUNK));
    free(ids);
}

static void make_pool(bench *b, const bench_case *c, row *r, uint32_t layers)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint64_t pages = pages_of(c);
    hopmla_pool_options options = device_pool_options(c->format, layers, pages);
    options.storage = HOPMLA_STORAGE_CALLER;
    options.memory = b->storage.memory;
    options.memory_bytes = layers * bench_layer_bytes(c);
    options.max_sequences = (uint32_t)pages + c->b;
    MUST(hopmla_pool_create, b->device.context, &options, &r->pool);
    shuffle_pages(r->pool, pages);
    /* The storage holds random values already, so the tokens only have to be booked. */
    MUST(hopmla_seq_create, r->pool, r->seqs, c->b);
    MUST(hopmla_seq_reserve, r->pool, r->seqs, c->lens, c->b);
    MUST(hopmla_seq_commit, r->pool, r->seqs, c->lens, c->b);
}

static void make_plan(bench *b, const bench_case *c, row *r)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = c->b;
    options.max_q_tokens = c->s_q;
    options.heads = c->h;
    options.max_kv_tokens = b->envelope > 0 ? b->envelope : 1;
    for (uint32_t i = 0; i < c->b; ++i)
        options.max_kv_tokens = c->lens[i] > options.max_kv_tokens ? c->lens[i] : options.max_kv_tokens;
    MUST(hopmla_plan_create, r->pool, &options, &r->plan);
}

static void make_tensors(bench *b, const bench_case *c, row *r)
{
    device *d = &b->device;
    uint64_t rows = (uint64_t)c->b * c->s_q * c->h, count = rows * format_values(c->format);
    uint16_t *host = must_alloc(count * 2);
    random_state random;
    random_seed(&random, 3);
    random_fill(&random, HOPMLA_DTYPE_BF16, host, count);
    r->q = device_alloc(d, count * 2);
    r->out = device_alloc(d, rows * HOPMLA_LATENT_DIM * 2);
    r->lse = device_alloc(d, rows * 4);
    device_copy(d, r->q.memory, host, count * 2);
    device_synchronize(d);
    free(host);
}

static void capture(bench *b, const bench_case *c, row *r, uint32_t layers)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    device *d = &b->device;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = c->b * c->s_q;
    args.softmax_scale = 1.0f / sqrtf((float)format_values(c->format));
    MUST(hopmla_graph_begin, d->context, d->stream);
    for (args.layer = 0; args.layer < layers; ++args.layer)
        MUST(hopmla_decode, r->plan, &args, r->q.memory, NULL, r->out.memory, r->lse.memory, d->stream);
    MUST(hopmla_graph_end, d->context, d->stream, &r->graph);
}

/** Replays `count` times, at most BURST, and writes the microseconds of each. */
static void replay(bench *b, row *r, uint32_t count, double *us)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    device *d = &b->device;
    for (uint32_t i = 0; i < count; ++i) {
        if (r->flush)
            device_fill(d, b->flush.memory, (uint8_t)i, FLUSH_BYTES);
        MUST(hopmla_event_record, d->context, r->begin[i], d->stream);
        profile_launch(d, r->plan, r->graph, 0, r->layers);
        MUST(hopmla_event_record, d->context, r->end[i], d->stream);
    }
    device_synchronize(d);
    for (uint32_t i = 0; i < count; ++i)
        MUST(hopmla_event_elapsed, d->context, r->begin[i], r->end[i], &us[i]);
}

/** Median microseconds of a replay, over about `seconds` of them and at least three. */
static double measure(bench *b, row *r, double seconds)
{
    double one[BURST];
    replay(b, r, 1, one);
    uint32_t burst = one[0] * BURST < 1e6 * seconds ? BURST : 1;
    uint64_t count = 0, capacity = 0;
    double *us = NULL;
    for (double start = seconds_now(); count < 3 || seconds_now() - start < seconds;) {
        replay(b, r, burst, one);
        for (uint32_t i = 0; i < burst; ++i) {
            us = must_grow(us, count, &capacity, sizeof(*us));
            us[count++] = one[i];
        }
    }
    double median = median_of(us, count);
    free(us);
    return median;
}

/** How fast a layer is before and after power limits the clock. */
static bench_power measure_power(bench *b, row *r, uint32_t layers)
{
    bench_power p = { .burst_us = 0 };
    nanosleep(&(struct timespec){ 0, PAUSE_NS }, NULL);
    p.burst_us = measure(b, r, BURST_SECONDS) / layers;
    measure(b, r, WARM_SECONDS);
    meter *m = meter_start(b->nvml);
    p.steady_us = measure(b, r, STEADY_SECONDS) / layers;
    meter_stop(m, &p.reading);
    return p;
}

/** Replays under the profiler, apart from those that were timed. */
static hopmla_totals watch(bench *b, row *r)
{
    double us[WATCHED];
    hopmla_totals before = profile_totals(HOPMLA_CALL_DECODE);
    profile_start();
    replay(b, r, WATCHED, us);
    profile_stop();
    hopmla_totals since = profile_since(&before);
    profile_drain();
    return since;
}

static void give_back(bench *b, row *r)
{
    for (int i = 0; i < BURST; ++i) {
        hopmla_event_destroy(b->device.context, r->begin[i]);
        hopmla_event_destroy(b->device.context, r->end[i]);
    }
    hopmla_graph_destroy(b->device.context, r->graph);
    hopmla_plan_destroy(r->plan);
    hopmla_pool_destroy(r->pool);
    device_free(&b->device, &r->q);
    device_free(&b->device, &r->out);
    device_free(&b->device, &r->lse);
    free(r->seqs);
    free(r->q_lens);
}

bench_result bench_measure(bench *b, const bench_case *c)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    device *d = &b->device;
    bench_result result = { .layers = bench_layers(b, c), .mean_len = bench_mean_len(c) };
    row r = { .seqs = must_alloc(c->b * sizeof(hopmla_seq)),
              .q_lens = must_alloc(c->b * sizeof(uint32_t)),
              .layers = result.layers };
    for (uint32_t i = 0; i < c->b; ++i) {
        r.q_lens[i] = c->s_q;
        work_add(&result.work, c->format, c->h, c->s_q, c->lens[i]);
    }
    result.read_bytes = result.work.bytes - 2.0 * c->b * c->s_q * c->h * HOPMLA_LATENT_DIM; /* less the outputs */
    result.bound_us = 1e6 * work_bound(result.work, b->ceilings.read_bytes_per_second, peak_flops(&b->ceilings));
    make_pool(b, c, &r, result.layers);
    make_plan(b, c, &r);
    make_tensors(b, c, &r);
    for (int i = 0; i < BURST; ++i) {
        MUST(hopmla_event_create, d->context, &r.begin[i]);
        MUST(hopmla_event_create, d->context, &r.end[i]);
    }
    capture(b, c, &r, result.layers);

    uint64_t cache = d->info.l2_bytes > 0 ? d->info.l2_bytes : 64 << 20;
    r.flush = result.layers * bench_layer_bytes(c) < 4 * cache;
    MUST(hopmla_plan_update, r.plan, r.seqs, NULL, r.q_lens, c->b, d->stream);
    double warm[2];
    replay(b, &r, 2, warm);
    result.us = measure(b, &r, b->seconds) / result.layers;
    if (b->steady && (uint64_t)c->h * c->s_q >= POWER_ROWS)
        result.power = measure_power(b, &r, result.layers);
    if (profile_asked())
        result.watched = watch(b, &r);
    const bench_sample sample = { d, r.plan, c, result.layers - 1, r.q.memory, r.out.memory };
    result.right = bench_verify(&sample, &result.error);
    MUST(hopmla_plan_end, r.plan, d->stream);
    device_synchronize(d);
    give_back(b, &r);
    return result;
}
