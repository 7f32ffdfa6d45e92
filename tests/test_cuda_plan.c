/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake_cuda.h"
#include "kernels/backend.h"

/** @file
 * Engine steps on the CUDA backend over a driver without a device: which launches they make, and what happens when any
 * call of the driver fails. */

enum {
    BATCH = 3,
    HEADS = 16,
    STEP_ROWS = 2 * BATCH
};

/* What a scenario has made so far. */
typedef struct engine {
    hopmla_context *context;
    hopmla_stream stream;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_graph graph;
    hopmla_event events[2];
    void *tensors; /* large enough for any of them */
    void *workspace;
    uint64_t workspace_bytes;
    hopmla_seq seqs[BATCH];
} engine;

#define TENSOR_BYTES (STEP_ROWS * HEADS * 576 * 4ull)

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        hopmla_status tried = (call);                                                                                  \
        if (tried != HOPMLA_OK) {                                                                                      \
            return tried;                                                                                              \
        }                                                                                                              \
    } while (0)

static hopmla_status start_with(engine *e, int32_t format)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;

    memset(e, 0, sizeof(*e));
    options.backend = HOPMLA_BACKEND_CUDA;
    TRY(hopmla_context_create(&options, &e->context, NULL));
    TRY(hopmla_stream_create(e->context, &e->stream, NULL));
    TRY(hopmla_memory_alloc(e->context, TENSOR_BYTES, HOPMLA_MEMORY_WORKSPACE, &e->tensors, NULL));
    pool.format = format;
    pool.layers = 2;
    pool.pages = 16;
    pool.max_sequences = 8;
    TRY(hopmla_pool_create(e->context, &pool, &e->pool, NULL));
    plan.max_batch = BATCH;
    plan.max_q_tokens = 2;
    plan.heads = HEADS;
    plan.max_kv_tokens = 4096; /* so that combine follows; the raw call has clusters */
    return hopmla_plan_create(e->pool, &plan, &e->plan, NULL);
}

static hopmla_status start(engine *e)
{
    return start_with(e, HOPMLA_KV_BF16);
}

static void stop(engine *e)
{
    hopmla_graph_destroy(e->context, e->graph);
    hopmla_event_destroy(e->context, e->events[0]);
    hopmla_event_destroy(e->context, e->events[1]);
    hopmla_plan_destroy(e->plan);
    hopmla_pool_destroy(e->pool);
    hopmla_memory_free(e->context, e->tensors, TENSOR_BYTES, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(e->context, e->workspace, e->workspace_bytes, HOPMLA_MEMORY_WORKSPACE);
    hopmla_stream_destroy(e->context, e->stream);
    hopmla_context_destroy(e->context);
}

static hopmla_status append(engine *e, uint32_t layer, int32_t dtype, uint64_t tokens)
{
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    args.layer = layer;
    args.dtype = dtype;
    args.tokens = tokens;
    return hopmla_append(e->plan, &args, e->tensors, e->tensors, e->stream, NULL);
}

static hopmla_status decode(engine *e, uint32_t layer)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.layer = layer;
    args.rows = STEP_ROWS;
    args.softmax_scale = 0.1f;
    return hopmla_decode(e->plan, &args, e->tensors, NULL, e->tensors, NULL, e->stream, NULL);
}

static hopmla_status capture(engine *e)
{
    TRY(hopmla_graph_begin(e->context, e->stream, NULL));
    hopmla_status status = append(e, 0, HOPMLA_DTYPE_BF16, STEP_ROWS);
    if (status == HOPMLA_OK) {
        status = decode(e, 0);
    }
    hopmla_status ended = hopmla_graph_end(e->context, e->stream, &e->graph, NULL);
    return status != HOPMLA_OK ? status : ended;
}

static hopmla_status helpers(engine *e)
{
    double microseconds;
    char pageable[64];

    TRY(hopmla_event_create(e->context, &e->events[0], NULL));
    TRY(hopmla_event_create(e->context, &e->events[1], NULL));
    TRY(hopmla_event_record(e->context, e->events[0], e->stream, NULL));
    TRY(hopmla_memory_fill(e->context, e->tensors, 1, TENSOR_BYTES, e->stream, NULL));
    TRY(hopmla_memory_copy(e->context, e->tensors, e->tensors, 64, e->stream, NULL));
    TRY(hopmla_memory_copy(e->context, pageable, e->tensors, sizeof(pageable), e->stream, NULL));
    TRY(hopmla_event_record(e->context, e->events[1], e->stream, NULL));
    TRY(hopmla_stream_wait_event(e->context, NULL, e->events[1], NULL));
    TRY(hopmla_event_synchronize(e->context, e->events[1], NULL));
    return hopmla_event_elapsed(e->context, e->events[0], e->events[1], &microseconds, NULL);
}

static hopmla_status raw_decode(engine *e)
{
    hopmla_paged_desc desc = HOPMLA_PAGED_DESC_INIT;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    uint32_t word;

    desc.format = HOPMLA_KV_BF16;
    desc.batch = BATCH;
    desc.max_kv_tokens = 64;
    desc.heads = HEADS;
    desc.pages = 1;
    desc.table_stride = 1;
    args.rows = BATCH;
    args.softmax_scale = 0.1f;
    TRY(hopmla_decode_paged_workspace(e->context, &desc, &e->workspace_bytes, NULL));
    TRY(hopmla_memory_alloc(e->context, e->workspace_bytes, HOPMLA_MEMORY_WORKSPACE, &e->workspace, NULL));
    TRY(hopmla_decode_paged_prepare(e->context, &desc, e->tensors, NULL, e->workspace, e->workspace_bytes, e->stream,
                                    NULL));
    TRY(hopmla_decode_paged(e->context, &desc, &args, e->tensors, NULL, e->tensors, e->tensors, NULL, e->tensors, NULL,
                            e->workspace, e->workspace_bytes, e->stream, NULL));
    return hopmla_decode_paged_errors(e->context, e->workspace, &word, e->stream, NULL);
}

/* One sequence of 10 tokens, and two that fork from it and go on with a token each. */
static hopmla_status two_steps(engine *e)
{
    uint32_t ten = 10, ones[BATCH] = { 1, 1, 1 };
    hopmla_gather_args gather = HOPMLA_GATHER_ARGS_INIT;

    TRY(hopmla_seq_create(e->pool, e->seqs, 1, NULL));
    TRY(hopmla_seq_reserve(e->pool, e->seqs, &ten, 1, NULL));
    TRY(hopmla_plan_update(e->plan, e->seqs, &ten, ones, 1, e->stream, NULL));
    TRY(append(e, 0, HOPMLA_DTYPE_FP32, 10));
    TRY(append(e, 1, HOPMLA_DTYPE_BF16, 10));
    TRY(decode(e, 1));
    TRY(hopmla_plan_end(e->plan, e->stream, NULL));
    TRY(hopmla_seq_commit(e->pool, e->seqs, &ten, 1, NULL));

    TRY(hopmla_seq_fork(e->pool, e->seqs[0], HOPMLA_ALL_TOKENS, &e->seqs[1], NULL));
    TRY(hopmla_seq_fork(e->pool, e->seqs[1], HOPMLA_ALL_TOKENS, &e->seqs[2], NULL));
    TRY(hopmla_seq_reserve(e->pool, e->seqs, ones, BATCH, NULL));
    TRY(hopmla_plan_update(e->plan, e->seqs, ones, ones, BATCH, e->stream, NULL));
    TRY(hopmla_graph_launch(e->context, e->graph, e->stream, NULL));
    gather.count = 11;
    TRY(hopmla_gather(e->plan, &gather, e->tensors, e->stream, NULL));
    TRY(hopmla_plan_end(e->plan, e->stream, NULL));
    TRY(hopmla_seq_commit(e->pool, e->seqs, ones, BATCH, NULL));
    TRY(helpers(e));
    TRY(raw_decode(e));
    TRY(hopmla_stream_synchronize(e->context, e->stream, NULL));
    return hopmla_seq_release(e->pool, e->seqs, BATCH, NULL);
}

static hopmla_status serve(engine *e)
{
    hopmla_status status = start(e);
    if (status == HOPMLA_OK) {
        status = capture(e);
    }
    return status == HOPMLA_OK ? two_steps(e) : status;
}

static const fake_launch *find_launch(int from, const char *kernel)
{
    for (int i = from; i < fake.launches; i++) {
        if (strcmp(fake.history[i % FAKE_HISTORY].kernel, kernel) == 0) {
            return &fake.history[i % FAKE_HISTORY];
        }
    }
    fail_msg("no launch of %s", kernel);
    return NULL;
}

static void launches_of_a_step(void **state)
{
    (void)state;
    engine e;
    uint32_t ten = 10;
    hopmla_seq seq;

    assert_int_equal(start(&e), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(e.pool, &seq, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(e.pool, &seq, &ten, 1, NULL), HOPMLA_OK);
    int from = fake.launches;
    assert_int_equal(hopmla_plan_update(e.plan, &seq, &ten, NULL, 1, e.stream, NULL), HOPMLA_OK);
    const fake_launch *apply = find_launch(from, "hm_apply");
    assert_int_equal(apply->programmatic, 0); /* it writes what kernels before it read */
    assert_int_equal(apply->grid[0], 2);      /* one for rows, one for runs */

    from = fake.launches;
    assert_int_equal(append(&e, 0, HOPMLA_DTYPE_BF16, 20), HOPMLA_OK);
    assert_int_equal(find_launch(from, "hm_append_copy")->grid[0], 3); /* 20 rows, 8 to a CTA */
    assert_int_equal(find_launch(from, "hm_append_copy")->programmatic, 1);
    assert_int_equal(append(&e, 0, HOPMLA_DTYPE_FP32, 1u << 20), HOPMLA_OK);
    assert_int_equal(find_launch(from, "hm_append_fp32_to_bf16")->grid[0], 4 * 132);
    assert_ptr_equal(find_launch(from, "hm_append_fp32_to_bf16")->stream, e.stream);
    assert_int_equal(hopmla_plan_end(e.plan, e.stream, NULL), HOPMLA_OK);
    stop(&e);
}

/* A plan of `options` on a pool of its own, and the launches of one row's decode from *from on. */
static hopmla_plan *capture_decode(engine *e, int32_t format, const hopmla_plan_options *options, int *from)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    hopmla_plan *plan = NULL;
    args.rows = 1;
    args.softmax_scale = 0.1f;
    assert_int_equal(start_with(e, format), HOPMLA_OK);
    assert_int_equal(hopmla_plan_create(e->pool, options, &plan, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(e->context, e->stream, NULL), HOPMLA_OK);
    *from = fake.launches;
    assert_int_equal(hopmla_decode(plan, &args, e->tensors, NULL, e->tensors, NULL, e->stream, NULL), HOPMLA_OK);
    return plan;
}

static void end_capture(engine *e, hopmla_plan *plan)
{
    assert_int_equal(hopmla_graph_end(e->context, e->stream, &e->graph, NULL), HOPMLA_OK);
    hopmla_plan_destroy(plan);
    stop(e);
}

/* A pool without a rope part has kernels of its own for its decodes, and one map. */
static void launches_without_a_rope_part(void **state)
{
    (void)state;
    static const struct {
        int32_t format;
        uint32_t heads;
        const char *kernel;
    } cases[] = {
        { HOPMLA_KV_BF16, 8, "hm_decode_few16_bf16" },      { HOPMLA_KV_BF16_NOPE, 8, "hm_decode_nope_few16_bf16" },
        { HOPMLA_KV_FP16, 16, "hm_decode_few32_fp16" },     { HOPMLA_KV_FP16_NOPE, 16, "hm_decode_nope_few32_fp16" },
        { HOPMLA_KV_FP16, 64, "hm_decode_fp16" },           { HOPMLA_KV_FP16_NOPE, 64, "hm_decode_nope_fp16" },
        { HOPMLA_KV_BF16_NOPE, 64, "hm_decode_nope_bf16" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine e;
        hopmla_append_args append = HOPMLA_APPEND_ARGS_INIT;
        hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
        int from;
        const int nope = cases[i].format >= HOPMLA_KV_BF16_NOPE;
        options.max_batch = BATCH;
        options.max_q_tokens = 2;
        options.heads = cases[i].heads;
        options.max_kv_tokens = 1 << 20; /* so that the smallest tile that holds all rows is taken */
        hopmla_plan *plan = capture_decode(&e, cases[i].format, &options, &from);
        append.dtype = HOPMLA_DTYPE_FP32;
        append.tokens = 1;
        assert_int_equal(hopmla_append(plan, &append, e.tensors, nope ? NULL : e.tensors, e.stream, NULL), HOPMLA_OK);
        const int half = cases[i].format == HOPMLA_KV_FP16 || cases[i].format == HOPMLA_KV_FP16_NOPE;
        find_launch(from, half ? "hm_append_fp32_to_fp16" : "hm_append_fp32_to_bf16");
        find_launch(from, cases[i].kernel);
        find_launch(from, half ? "hm_combine_fp16" : "hm_combine_bf16");
        end_capture(&e, plan);
        fake_cuda_fail("cuTensorMapEncodeTiled", 1, 999); /* the second one of a plan */
        assert_int_equal(start_with(&e, cases[i].format), nope ? HOPMLA_OK : HOPMLA_ERROR_DRIVER);
        stop(&e);
        fake_cuda_fail(NULL, 0, 0);
    }
}

/* CTAs of decode and combine: what a plan leaves alone neither of them takes. Of the 132 processors of the device. */
static void grids_keep_to_the_units(void **state)
{
    (void)state;
    static const struct {
        uint32_t heads;
        uint32_t max_units;
        const char *kernel;
        unsigned decode;
        unsigned combine;
    } cases[] = {
        { 16, 0, "hm_decode_few16_bf16", 132, 132 }, { 16, 66, "hm_decode_few16_bf16", 66, 66 },
        { 64, 0, "hm_decode_bf16", 132, 264 },       { 64, 66, "hm_decode_bf16", 66, 66 },
        { 128, 0, "hm_decode_bf16", 132, 264 },      { 128, 131, "hm_decode_bf16", 130, 130 },
        { 128, 1, "hm_decode_bf16", 1, 1 },          { 128, 500, "hm_decode_bf16", 132, 264 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine e;
        hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
        int from;
        options.max_batch = BATCH;
        options.heads = cases[i].heads;
        options.max_kv_tokens = 1 << 20;
        options.max_units = cases[i].max_units;
        hopmla_plan *plan = capture_decode(&e, HOPMLA_KV_BF16, &options, &from);
        const unsigned *grid = find_launch(from, cases[i].kernel)->grid;
        assert_int_equal(grid[0], cases[i].heads == 128 && cases[i].max_units != 1 ? 2 : 1); /* tiles side by side */
        assert_int_equal(grid[0] * grid[1], cases[i].decode);
        assert_int_equal(find_launch(from, "hm_combine_bf16")->grid[0], cases[i].combine);
        end_capture(&e, plan);
    }
}

/* Envelopes that clusters can have at one time: a CTA for each page, or for two. Of the fake device, which holds 66, 30, 15
 * and 7 clusters of 2, 4, 8 and 16. Then nothing is left to be combined. */
static void short_plans_have_clusters(void **state)
{
    (void)state;
    static const struct {
        uint32_t max_batch, heads, max_q, max_kv, max_units;
        const char *kernel; /* NULL: no clusters */
        unsigned tiles, parts;
    } cases[] = {
        { 1, 16, 1, 1, 0, "hm_decode_cluster1_bf16", 1, 2 },
        { 1, 16, 1, 128, 0, "hm_decode_cluster1_bf16", 1, 2 },
        { 1, 17, 1, 129, 0, "hm_decode_cluster1_bf16", 2, 4 },
        { 4, 16, 1, 1024, 0, "hm_decode_cluster1_bf16", 1, 16 },
        { 5, 16, 1, 1024, 0, "hm_decode_cluster2_bf16", 1, 8 },
        { 15, 16, 1, 1024, 0, "hm_decode_cluster2_bf16", 1, 8 },
        { 16, 16, 1, 1024, 0, NULL, 0, 0 },
        { 10, 16, 1, 512, 0, "hm_decode_cluster1_bf16", 1, 8 },
        { 11, 16, 1, 512, 0, "hm_decode_cluster2_bf16", 1, 4 },
        { 1, 128, 1, 1024, 0, "hm_decode_cluster2_bf16", 8, 8 },
        { 7, 8, 2, 2048, 0, "hm_decode_cluster2_bf16", 1, 16 },
        { 7, 8, 2, 2049, 0, NULL, 0, 0 },
        { 8, 8, 2, 2048, 0, NULL, 0, 0 },
        { 66, 16, 1, 128, 0, "hm_decode_cluster1_bf16", 1, 2 },
        { 67, 16, 1, 128, 0, NULL, 0, 0 },
        { 44, 16, 1, 64, 0, "hm_decode_cluster1_bf16", 1, 2 },
        { 45, 16, 1, 64, 0, NULL, 0, 0 },
        { 2, 16, 1, 1024, 32, "hm_decode_cluster1_bf16", 1, 16 },
        { 2, 16, 1, 1024, 31, "hm_decode_cluster2_bf16", 1, 8 },
        { 2, 16, 1, 1024, 15, NULL, 0, 0 },
        { 1, 256, 1024, 64, 0, NULL, 0, 0 },
        { 65535, 256, 1, 1, 0, NULL, 0, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine e;
        hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
        int from;
        options.max_batch = cases[i].max_batch;
        options.heads = cases[i].heads;
        options.max_q_tokens = cases[i].max_q;
        options.max_kv_tokens = cases[i].max_kv;
        options.max_units = cases[i].max_units;
        hopmla_plan *plan = capture_decode(&e, HOPMLA_KV_BF16, &options, &from);
        if (cases[i].kernel) {
            const fake_launch *launch = find_launch(from, cases[i].kernel);
            assert_int_equal(fake.launches - from, 1);
            assert_int_equal(launch->grid[0], cases[i].tiles);
            assert_int_equal(launch->grid[1], cases[i].max_batch * cases[i].parts);
            assert_int_equal(launch->cluster[0] * launch->cluster[1], cases[i].parts);
            assert_int_equal(launch->cluster[1], cases[i].parts);
            assert_int_equal(launch->programmatic, 1);
        } else {
            find_launch(from, "hm_combine_bf16");
            assert_int_equal(fake.launches - from, 2);
        }
        end_capture(&e, plan);
    }
}

/* A device that cannot tell how many clusters it holds has none. */
static void without_clusters(void **state)
{
    (void)state;
    engine e;
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    int from;
    options.max_batch = 1;
    options.heads = 16;
    options.max_kv_tokens = 64;
    fake_cuda_fail("cuOccupancyMaxActiveClusters", 0, HM_CU_INVALID_VALUE);
    fake.fail_for_good = 1;
    hopmla_plan *plan = capture_decode(&e, HOPMLA_KV_BF16, &options, &from);
    find_launch(from, "hm_decode_few16_bf16");
    find_launch(from, "hm_combine_bf16");
    end_capture(&e, plan);
    fake_cuda_fail(NULL, 0, 0);
}

/* Copies that read or overwrite what an earlier one in the list wrote or read must not run beside it. */
static void copies_keep_their_order(void **state)
{
    (void)state;
    static const struct {
        hm_copy copies[4];
        uint32_t count;
        int launches;
    } cases[] = {
        { { { 1, 2, 64, 0 } }, 1, 1 },
        { { { 1, 2, 64, 0 }, { 1, 3, 64, 0 }, { 1, 4, 5, 0 } }, 3, 1 },
        { { { 1, 2, 64, 0 }, { 2, 3, 64, 0 } }, 2, 2 },
        { { { 1, 2, 64, 0 }, { 3, 1, 64, 0 } }, 2, 2 },
        { { { 1, 2, 64, 0 }, { 3, 2, 64, 0 } }, 2, 2 },
        { { { 1, 2, 64, 0 }, { 2, 3, 64, 0 }, { 1, 4, 64, 0 }, { 4, 5, 64, 0 } }, 4, 3 },
    };
    struct {
        hm_staging header;
        int32_t rows[4];
        hm_copy copies[4];
    } staging;
    hm_open_options options = { 0 };
    hm_device *device = NULL;
    hm_table_memory memory = { .max_batch = 1 };
    hm_kv kv = { .layers = 61, .pages = 8, .format = HOPMLA_KV_BF16 };

    assert_int_equal(hm_sm90_backend.open(&options, &device, NULL), HOPMLA_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&staging, 0, sizeof(staging));
        staging.header.rows_at = sizeof(staging.header);
        staging.header.copies = cases[i].count;
        staging.header.copies_at = offsetof(__typeof__(staging), copies);
        memcpy(staging.copies, cases[i].copies, sizeof(staging.copies));
        int before = fake.launches;
        assert_int_equal(hm_sm90_backend.apply(device, &kv, &memory, &staging.header, NULL, NULL), HOPMLA_OK);
        assert_int_equal(fake.launches - before, 1 + cases[i].launches);
    }
    hm_sm90_backend.close(device);
}

static void serving_works(void **state)
{
    (void)state;
    engine e;
    assert_int_equal(serve(&e), HOPMLA_OK);
    stop(&e);
}

/* Serves with the first call of an entry point failing, then with the second, and so on until none is left to fail.
 * That every call returns what its function documents, tests/documented.py sees to. */
static void fail_each_call(const char *name, int code, int for_good)
{
    for (int at = 0;; at++) {
        engine e;
        fake_cuda_fail(name, at, code);
        fake.fail_for_good = for_good;
        hopmla_status status = serve(&e);
        stop(&e);
        int faults = fake.faults;
        fake_cuda_reset();
        if (code != HM_CU_OUT_OF_MEMORY &&
            (status == HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY || status == HOPMLA_ERROR_OUT_OF_HOST_MEMORY)) {
            fail_msg("%s call %d with code %d: status %s", name, at, code, hopmla_status_name(status));
        }
        /* Without a current context nothing can be given back: the context, and all that is in it, is lost. */
        int is_push = strcmp(name, "cuCtxPushCurrent") == 0;
        if (fake_cuda_depth() != 0 || fake.bad_frees != 0 || (!is_push && fake_cuda_live() != 0)) {
            fail_msg("%s call %d with code %d: depth %d, live %d, bad frees %d", name, at, code, fake_cuda_depth(),
                     fake_cuda_live(), fake.bad_frees);
        }
        if (faults == 0) {
            assert_int_equal(status, HOPMLA_OK);
            return;
        }
    }
}

static void every_call_fails_once(void **state)
{
    (void)state;
#define FAIL(name, version, required, arguments)                                                                       \
    if (strcmp(#name, "cuGetErrorName") != 0 && strcmp(#name, "cuCtxPushCurrent") != 0) {                              \
        fail_each_call(#name, 999, 0);                                                                                 \
        fail_each_call(#name, HM_CU_OUT_OF_MEMORY, 0);                                                                 \
        fail_each_call(#name, HM_CU_LAUNCH_FAILED, 0);                                                                 \
        fail_each_call(#name, HM_CU_STREAM_CAPTURE_IMPLICIT, 0);                                                       \
    }
    HM_CU_FUNCTIONS(FAIL)
#undef FAIL
}

/* After a sticky error every launch and every wait fails. */
static void context_is_lost(void **state)
{
    (void)state;
    fail_each_call("cuLaunchKernelEx", HM_CU_ILLEGAL_ADDRESS, 1);
    fail_each_call("cuStreamWriteValue64", HM_CU_ILLEGAL_ADDRESS, 1);
    fail_each_call("cuStreamSynchronize", HM_CU_LAUNCH_FAILED, 1);
    fail_each_call("cuMemAlloc", HM_CU_ILLEGAL_ADDRESS, 1);
    fail_each_call("cuMemHostAlloc", HM_CU_ILLEGAL_ADDRESS, 1);
}

/* Last: what a lost context holds stays live. */
static void context_cannot_be_entered(void **state)
{
    (void)state;
    fail_each_call("cuCtxPushCurrent", HM_CU_CONTEXT_IS_DESTROYED, 0);
}

static int setup(void **state)
{
    (void)state;
    fake_cuda_reset();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return fake_cuda_live() || fake_cuda_depth() || fake.bad_frees;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(serving_works, setup, teardown),
        cmocka_unit_test_setup_teardown(launches_of_a_step, setup, teardown),
        cmocka_unit_test_setup_teardown(launches_without_a_rope_part, setup, teardown),
        cmocka_unit_test_setup_teardown(grids_keep_to_the_units, setup, teardown),
        cmocka_unit_test_setup_teardown(short_plans_have_clusters, setup, teardown),
        cmocka_unit_test_setup_teardown(without_clusters, setup, teardown),
        cmocka_unit_test_setup_teardown(copies_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(every_call_fails_once, setup, teardown),
        cmocka_unit_test_setup_teardown(context_is_lost, setup, teardown),
        cmocka_unit_test_setup(context_cannot_be_entered, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
