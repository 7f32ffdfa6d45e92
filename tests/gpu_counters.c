/* SPDX-License-Identifier: Apache-2.0 */

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hopmla/hopmla.h"

/** @file
 * Kernel times and hardware counters on a device, against what shapes say:
 *
 *     gpu_counters                                   the test: 77 where the machine does not give counters
 *     gpu_counters decode B HEADS LENGTH FORMAT MODE  five decodes of a layer each in a row, five one at a time, and
 *                                                    five gathers of a sequence; one JSON object a record.
 *                                                    FORMAT: bf16 or fp16; MODE: none, events, activity, light, full …
 *     gpu_counters cost                              what each mode costs a call, and a graph of 61 layers
 *
 * The second is for holding against ncu, which sees the same kernels with MODE none. */

enum {
    LAYERS = 5,
    SKIPPED = 77
};

static hopmla_error error = HOPMLA_ERROR_INIT;

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != HOPMLA_OK) {                                                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, error.message);                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

typedef struct shape {
    uint32_t batch;
    uint32_t heads;
    uint32_t length;
    uint32_t layers;
    int32_t format;
} shape;

typedef struct world {
    shape shape;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_stream stream;
    hopmla_graph graph; /* all layers' decodes */
    char *q;
    char *out;
    char *lse;
    uint64_t q_bytes, out_bytes, lse_bytes;
} world;

static void decode(const world *w, uint32_t layer)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.layer = layer;
    args.rows = w->shape.batch;
    args.softmax_scale = 0.0721688f;
    MUST(hopmla_decode(w->plan, &args, w->q, NULL, w->out, w->lse, w->stream, &error));
}

/* The first sequence's rows go where q was. */
static void gather(const world *w, uint32_t layer)
{
    hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
    const uint64_t most = w->q_bytes / (HOPMLA_QK_DIM * 2);
    args.layer = layer;
    args.count = w->shape.length < most ? w->shape.length : most;
    MUST(hopmla_gather(w->plan, &args, w->q, w->stream, &error));
}

/* A batch of rows of one length, whose pages hold random bits of moderate numbers. */
static void fill_pool(const world *w)
{
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    MUST(hopmla_pool_describe(w->pool, &layout, &error));
    enum {
        CHUNK = 1 << 22
    };
    static uint16_t chunk[CHUNK / 2];
    uint64_t state = 1;
    for (uint32_t i = 0; i < CHUNK / 2; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        const int half = w->shape.format == HOPMLA_KV_FP16 || w->shape.format == HOPMLA_KV_FP16_NOPE;
        const uint16_t exponent = half ? 0x3400 : 0x3f00;
        chunk[i] = (uint16_t)((state >> 48 & 0x8000) | exponent | (state >> 40 & 0x7f));
    }
    const uint64_t bytes = layout.layer_stride * w->shape.layers;
    for (uint64_t at = 0; at < bytes; at += CHUNK) {
        const uint64_t n = bytes - at < CHUNK ? bytes - at : CHUNK;
        MUST(hopmla_memory_copy(w->context, (char *)(uintptr_t)layout.base + at, chunk, n, w->stream, &error));
    }
    MUST(hopmla_memory_copy(w->context, w->q, chunk, w->q_bytes < CHUNK ? w->q_bytes : CHUNK, w->stream, &error));
    MUST(hopmla_stream_synchronize(w->context, w->stream, &error));
}

static void begin_step(const world *w)
{
    const uint32_t batch = w->shape.batch;
    hopmla_seq *seqs = calloc(batch, sizeof(*seqs));
    uint32_t *lengths = calloc(batch, sizeof(*lengths)), *ones = calloc(batch, sizeof(*ones));
    for (uint32_t i = 0; i < batch; i++) {
        lengths[i] = w->shape.length;
        ones[i] = 1;
    }
    MUST(hopmla_seq_create(w->pool, seqs, batch, &error));
    MUST(hopmla_seq_reserve(w->pool, seqs, lengths, batch, &error));
    MUST(hopmla_plan_update(w->plan, seqs, lengths, ones, batch, w->stream, &error));
    free(seqs);
    free(lengths);
    free(ones);
}

static world make_world(hopmla_context *context, shape shape)
{
    world w = { .shape = shape, .context = context };
    MUST(hopmla_stream_create(context, &w.stream, &error));
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    pool.format = shape.format;
    pool.layers = shape.layers;
    pool.pages = (uint64_t)shape.batch * ((shape.length + 63) / 64) + 1;
    MUST(hopmla_pool_create(context, &pool, &w.pool, &error));
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = shape.batch;
    plan.heads = shape.heads;
    plan.max_kv_tokens = 131072;
    MUST(hopmla_plan_create(w.pool, &plan, &w.plan, &error));
    const uint64_t rows = (uint64_t)shape.batch * shape.heads;
    w.q_bytes = rows * HOPMLA_QK_DIM * 2, w.out_bytes = rows * HOPMLA_LATENT_DIM * 2, w.lse_bytes = rows * 4;
    MUST(hopmla_memory_alloc(context, w.q_bytes, HOPMLA_MEMORY_WORKSPACE, (void **)&w.q, &error));
    MUST(hopmla_memory_alloc(context, w.out_bytes, HOPMLA_MEMORY_WORKSPACE, (void **)&w.out, &error));
    MUST(hopmla_memory_alloc(context, w.lse_bytes, HOPMLA_MEMORY_WORKSPACE, (void **)&w.lse, &error));
    MUST(hopmla_memory_fill(context, w.q, 0x3c, w.q_bytes, w.stream, &error));
    fill_pool(&w);
    begin_step(&w);
    MUST(hopmla_graph_begin(context, w.stream, &error));
    for (uint32_t layer = 0; layer < shape.layers; layer++) {
        decode(&w, layer);
    }
    MUST(hopmla_graph_end(context, w.stream, &w.graph, &error));
    for (uint32_t layer = 0; layer < shape.layers; layer++) {
        decode(&w, layer);
    }
    MUST(hopmla_stream_synchronize(context, w.stream, &error));
    return w;
}

static void drop_world(world *w)
{
    MUST(hopmla_plan_end(w->plan, w->stream, &error));
    MUST(hopmla_stream_synchronize(w->context, w->stream, &error));
    hopmla_graph_destroy(w->context, w->graph);
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_memory_free(w->context, w->q, w->q_bytes, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(w->context, w->out, w->out_bytes, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(w->context, w->lse, w->lse_bytes, HOPMLA_MEMORY_WORKSPACE);
    hopmla_stream_destroy(w->context, w->stream);
}

static void launch(const world *w)
{
    hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
    note.decodes = w->shape.layers;
    MUST(hopmla_plan_launch_begin(w->plan, &note, w->stream, &error));
    MUST(hopmla_graph_launch(w->context, w->graph, w->stream, &error));
    MUST(hopmla_plan_launch_end(w->plan, 1, w->stream, &error));
}

/* Profilers. */

static const char *const modes[] = { "none",  "analytic",  "events", "activity",
                                     "light", "light/100", "full",   "light+events" };

enum {
    NONE,
    ANALYTIC,
    EVENTS,
    ACTIVITY,
    LIGHT,
    SAMPLED,
    FULL,
    LIGHT_EVENTS,
    MODES
};

static hopmla_profiler *make_profiler(hopmla_context *context, int mode)
{
    if (mode == NONE) {
        return NULL;
    }
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    const int is_light = mode == LIGHT || mode == SAMPLED || mode == LIGHT_EVENTS;
    const int with_events = mode == EVENTS || mode == LIGHT_EVENTS;
    options.clocks = with_events ? HOPMLA_CLOCK_EVENTS : mode >= ACTIVITY ? HOPMLA_CLOCK_ACTIVITY : 0;
    options.counters = mode == FULL ? HOPMLA_COUNTERS_FULL : is_light ? HOPMLA_COUNTERS_LIGHT : HOPMLA_COUNTERS_NONE;
    options.sample_period = mode == SAMPLED ? 100 : 1;
    hopmla_profiler *profiler = NULL;
    MUST(hopmla_profiler_create(context, &options, &profiler, &error));
    return profiler;
}

/* @return 0 when something that was asked for is missing */
static int start(hopmla_profiler *profiler)
{
    MUST(hopmla_profiler_start(profiler, &error));
    hopmla_profiler_info info = HOPMLA_PROFILER_INFO_INIT;
    MUST(hopmla_profiler_describe(profiler, &info, &error));
    if (info.activity_missing[0] || info.counters_missing[0]) {
        printf("missing: %s %s\n", info.activity_missing, info.counters_missing);
        return 0;
    }
    return 1;
}

static uint32_t read_all(hopmla_profiler *profiler, hopmla_record *records, uint32_t capacity)
{
    uint32_t n = 0;
    MUST(hopmla_profiler_finish(profiler, &error));
    MUST(hopmla_profiler_read(profiler, records, sizeof(*records), capacity, &n, &error));
    return n;
}

/* Of a cached token. */
static uint64_t row_bytes(const hopmla_record *r)
{
    return r->page_bytes / HOPMLA_PAGE_TOKENS;
}

static void print_record(const hopmla_record *r)
{
    printf(
        "{\"kind\": %d, \"id\": %llu, \"valid\": %u, \"source\": %d, \"us\": %.3f, \"kv_bytes\": %llu, \"bytes\": %llu, "
        "\"dram_read\": %llu, \"dram_write\": %llu, \"l2\": %llu, \"elapsed\": %llu, \"flops\": %llu, "
        "\"tensor_flops\": %llu, \"active\": %.0f, \"tensor_cycles\": %.0f}\n",
        (int)r->kind, (unsigned long long)r->id, r->valid, (int)r->time_source, (double)r->device_ns / 1e3,
        (unsigned long long)(r->kv_tokens * row_bytes(r)), (unsigned long long)r->bytes,
        (unsigned long long)r->dram_read_bytes, (unsigned long long)r->dram_write_bytes,
        (unsigned long long)r->l2_bytes, (unsigned long long)r->elapsed_cycles, (unsigned long long)r->flops,
        (unsigned long long)r->tensor_flops, r->active_cycles, r->tensor_cycles);
}

/* The test. */

static int failures;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                     \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

static int is_near(double value, double wanted, double low, double high)
{
    return value >= wanted * low && value <= wanted * high;
}

static void check_shape(hopmla_context *context, shape shape)
{
    hopmla_record records[LAYERS + 1];
    world w = make_world(context, shape);
    for (int mode = ACTIVITY; mode <= FULL; mode++) {
        hopmla_profiler *profiler = make_profiler(context, mode);
        if (!start(profiler)) {
            exit(SKIPPED);
        }
        for (uint32_t layer = 0; layer < shape.layers; layer++) {
            decode(&w, layer);
        }
        launch(&w);
        const uint32_t n = read_all(profiler, records, LAYERS + 1);
        CHECK(n == LAYERS + 1, "%s: %u records", modes[mode], n);
        for (uint32_t i = 0; i < n; i++) {
            const hopmla_record *r = &records[i];
            const int counted = mode == LIGHT || mode == FULL || (mode == SAMPLED && i == 0);
            const double kv = (double)(r->kv_tokens * row_bytes(r) * r->calls);
            print_record(r);
            CHECK(r->time_source == HOPMLA_SOURCE_ACTIVITY && r->device_ns > 1000, "%lld ns", (long long)r->device_ns);
            CHECK(r->device_begin_ns > r->host_begin_ns - 200000 && r->device_begin_ns < r->host_begin_ns + 1000000000,
                  "%lld ns after its call", (long long)(r->device_begin_ns - r->host_begin_ns));
            CHECK(!(r->valid & HOPMLA_VALID_DRAM) == !counted, "%s, record %u", modes[mode], i);
            if (counted) { /* the first one finds q in DRAM too */
                const double most = i == 0 ? (double)r->bytes : kv;
                CHECK(is_near((double)r->dram_read_bytes, kv, 1.0, 1.05 * most / kv), "%.4f of %.0f bytes",
                      (double)r->dram_read_bytes / kv, kv);
            }
            if (mode == FULL) {
                CHECK(r->valid & HOPMLA_VALID_TENSOR, "record %u", i);
                CHECK(is_near((double)r->tensor_flops, (double)r->flops, 0.99, shape.heads < 64 ? 64.0 : 1.01),
                      "%.4f of %llu", (double)r->tensor_flops / (double)r->flops, (unsigned long long)r->flops);
            }
        }
        hopmla_profiler_destroy(profiler);
    }
    drop_world(&w);
}

/* Times that were read early are those that a look at everything gives. */
static void check_early(hopmla_context *context)
{
    enum {
        CALLS = 4000
    };
    static hopmla_record records[CALLS];
    world w = make_world(context, (shape){ 1, 16, 512, LAYERS, HOPMLA_KV_BF16 });
    hopmla_profiler *profiler = make_profiler(context, ACTIVITY);
    uint32_t early = 0, untimed = 0;
    if (!start(profiler)) {
        exit(SKIPPED);
    }
    for (uint32_t i = 0; i < CALLS; i++) {
        uint32_t n = 0;
        decode(&w, i % LAYERS);
        if (i % 50 == 0) {
            MUST(hopmla_profiler_read(profiler, records + early, sizeof(records[0]), CALLS - early, &n, &error));
            early += n;
        }
    }
    const uint32_t all = early + read_all(profiler, records + early, CALLS - early);
    double least = 1e9, most = 0;
    for (uint32_t i = 0; i < all; i++) {
        untimed += !(records[i].valid & HOPMLA_VALID_TIME);
        least = fmin(least, (double)records[i].device_ns / 1e3);
        most = fmax(most, (double)records[i].device_ns / 1e3);
    }
    printf("early: %u of %u before the end, %u without a time, %.2f to %.2f us\n", early, all, untimed, least, most);
    CHECK(all == CALLS && untimed == 0 && early > 0, "%u records", all);
    /* The host may be held up between a call's two launches. */
    CHECK(least > 5 && most < 5000, "a call's kernels were taken for another's, or some are missing");
    hopmla_profiler_destroy(profiler);
    drop_world(&w);
}

/* An engine's graph may be launched through the CUDA runtime, of which this program knows nothing but one function. */
static void check_runtime_launch(hopmla_context *context)
{
    void *runtime = dlopen("libcudart.so.13", RTLD_NOW);
    int (*launch_graph)(hopmla_graph, hopmla_stream) = NULL;
    void *symbol = runtime ? dlsym(runtime, "cudaGraphLaunch") : NULL;
    memcpy(&launch_graph, &symbol, sizeof(symbol));
    if (!launch_graph) {
        printf("no CUDA runtime to launch through\n");
        return;
    }
    world w = make_world(context, (shape){ 4, 16, 4096, LAYERS, HOPMLA_KV_BF16 });
    hopmla_profiler *profiler = make_profiler(context, LIGHT);
    if (!start(profiler)) {
        exit(SKIPPED);
    }
    hopmla_record records[4];
    for (int i = 0; i < 4; i++) {
        hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
        note.decodes = w.shape.layers;
        MUST(hopmla_plan_launch_begin(w.plan, &note, w.stream, &error));
        CHECK(launch_graph(w.graph, w.stream) == 0, "cudaGraphLaunch");
        MUST(hopmla_plan_launch_end(w.plan, 1, w.stream, &error));
    }
    const uint32_t n = read_all(profiler, records, 4);
    CHECK(n == 4, "%u records", n);
    for (uint32_t i = 0; i < n; i++) {
        print_record(&records[i]);
        CHECK(records[i].time_source == HOPMLA_SOURCE_ACTIVITY && records[i].device_ns > LAYERS * 5000, "%lld ns",
              (long long)records[i].device_ns);
        CHECK(records[i].valid & HOPMLA_VALID_DRAM, "record %u", i);
    }
    hopmla_profiler_destroy(profiler);
    drop_world(&w);
}

static void check_busy(hopmla_context *context)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    hopmla_context *other = NULL;
    MUST(hopmla_context_create(&options, &other, &error));
    hopmla_profiler *first = make_profiler(context, LIGHT), *second = make_profiler(other, LIGHT);
    MUST(hopmla_profiler_start(first, &error));
    CHECK(hopmla_profiler_start(second, &error) == HOPMLA_ERROR_BUSY, "%s", error.message);
    MUST(hopmla_profiler_stop(first, &error));
    MUST(hopmla_profiler_start(second, &error));
    hopmla_profiler_destroy(second);
    hopmla_profiler_destroy(first);
    hopmla_context_destroy(other);
}

/* Costs. */

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void print_cost(hopmla_context *context, int mode, const world *small, const world *deep)
{
    enum {
        CALLS = 100,
        REPEATS = 5,
        LAUNCHES = 5
    };
    hopmla_profiler *profiler = make_profiler(context, mode);
    double begun = now_us(), host = 1e9, all = 1e9, step_host = 1e9, step = 1e9, finish = 1e9;
    if (profiler) {
        start(profiler);
    }
    const double opened = now_us() - begun;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        begun = now_us();
        for (int i = 0; i < CALLS; i++) {
            decode(small, 0);
        }
        host = fmin(host, (now_us() - begun) / CALLS);
        MUST(hopmla_stream_synchronize(context, small->stream, &error));
        all = fmin(all, (now_us() - begun) / CALLS);
        begun = now_us();
        for (int i = 0; i < LAUNCHES; i++) {
            launch(deep);
        }
        step_host = fmin(step_host, (now_us() - begun) / LAUNCHES);
        MUST(hopmla_stream_synchronize(context, deep->stream, &error));
        step = fmin(step, (now_us() - begun) / LAUNCHES);
        if (profiler) {
            begun = now_us();
            MUST(hopmla_profiler_finish(profiler, &error));
            finish = fmin(finish, now_us() - begun);
        }
    }
    printf(
        "%-12s start %7.0f us, decode: host %7.2f us, all %7.2f us; graph of %u layers: host %8.2f us, all %7.1f us; "
        "finish of %d calls %6.0f us\n",
        modes[mode], opened, host, all, deep->shape.layers, step_host, step, CALLS + LAUNCHES, profiler ? finish : 0);
    hopmla_profiler_destroy(profiler);
}

static int print_costs(hopmla_context *context)
{
    world small = make_world(context, (shape){ 1, 16, 1024, LAYERS, HOPMLA_KV_BF16 });
    world deep = make_world(context, (shape){ 32, 128, 2048, 61, HOPMLA_KV_BF16 });
    print_cost(context, NONE, &small, &deep);
    for (int mode = ANALYTIC; mode < MODES; mode++) {
        print_cost(context, mode, &small, &deep);
    }
    print_cost(context, NONE, &small, &deep); /* what CUPTI leaves behind */
    drop_world(&deep);
    drop_world(&small);
    return 0;
}

static int print_decodes(hopmla_context *context, char **arguments)
{
    const shape shape = { .batch = (uint32_t)atoi(arguments[0]),
                          .heads = (uint32_t)atoi(arguments[1]),
                          .length = (uint32_t)atoi(arguments[2]),
                          .layers = LAYERS,
                          .format = strcmp(arguments[3], "fp16") == 0 ? HOPMLA_KV_FP16 : HOPMLA_KV_BF16 };
    int mode = NONE;
    while (mode < MODES && strcmp(modes[mode], arguments[4]) != 0) {
        mode++;
    }
    world w = make_world(context, shape);
    hopmla_profiler *profiler = mode < MODES ? make_profiler(context, mode) : NULL;
    if (profiler) {
        start(profiler);
    }
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        decode(&w, layer);
    }
    MUST(hopmla_stream_synchronize(context, w.stream, &error));
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        decode(&w, layer);
        MUST(hopmla_stream_synchronize(context, w.stream, &error));
    }
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        gather(&w, layer);
        MUST(hopmla_stream_synchronize(context, w.stream, &error));
    }
    if (profiler) {
        hopmla_record records[3 * LAYERS];
        const uint32_t n = read_all(profiler, records, 3 * LAYERS);
        for (uint32_t i = 0; i < n; i++) {
            print_record(&records[i]);
        }
        hopmla_profiler_destroy(profiler);
    }
    drop_world(&w);
    return 0;
}

int main(int argc, char **argv)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    hopmla_context *context = NULL;
    if (hopmla_context_create(&options, &context, &error) != HOPMLA_OK) {
        printf("no device: %s\n", error.message);
        return SKIPPED;
    }
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    MUST(hopmla_context_describe(context, &info, &error));
    printf("%s\n", info.name);
    if (argc == 7 && strcmp(argv[1], "decode") == 0) {
        print_decodes(context, argv + 2);
    } else if (argc == 2 && strcmp(argv[1], "cost") == 0) {
        print_costs(context);
    } else {
        check_shape(context, (shape){ 128, 128, 4096, LAYERS, HOPMLA_KV_BF16 });
        check_shape(context, (shape){ 128, 128, 4096, LAYERS, HOPMLA_KV_FP16 });
        check_shape(context, (shape){ 128, 16, 4096, LAYERS, HOPMLA_KV_BF16 });
        check_shape(context, (shape){ 128, 128, 4096, LAYERS, HOPMLA_KV_BF16_NOPE });
        check_early(context);
        check_runtime_launch(context);
        check_busy(context);
    }
    hopmla_context_destroy(context);
    printf("%d failures\n", failures);
    return failures > 0;
}
