/* SPDX-License-Identifier: Apache-2.0 */
/* What append, gather and decode of a plan check, and what they hand to the backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/plan.h"
#include "tests/fake_backend.h"

enum {
    LAYERS = 2,
    HEADS = 3,
    MAX_KV = 500
};

typedef struct world {
    hm_device *device;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_seq seqs[2];
    hopmla_stream stream;
} world;

/* The fake reads a few bytes of what it is given; the rest of the checks look at addresses only. */
static _Alignas(64) char memory[1 << 12];

/* A batch of two rows, 110 and 60 tokens, 10 appended, one and two query tokens. */
static int make(void **state, int32_t format)
{
    world *w = calloc(1, sizeof(*w));
    w->context = fake_context(&w->device);
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = format;
    options.layers = LAYERS;
    options.pages = 8;
    assert_int_equal(hopmla_pool_create(w->context, &options, &w->pool, NULL), HOPMLA_OK);
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = 4;
    plan.max_q_tokens = 2;
    plan.heads = HEADS;
    plan.max_kv_tokens = MAX_KV;
    assert_int_equal(hopmla_plan_create(w->pool, &plan, &w->plan, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(w->pool, w->seqs, 2, NULL), HOPMLA_OK);
    const uint32_t lengths[] = { 100, 60 };
    const uint32_t n_append[] = { 10, 0 };
    const uint32_t q_lens[] = { 1, 2 };
    assert_int_equal(hopmla_seq_reserve(w->pool, w->seqs, lengths, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(w->pool, w->seqs, lengths, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(w->pool, w->seqs, n_append, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_create(w->context, &w->stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(w->plan, w->seqs, n_append, q_lens, 2, w->stream, NULL), HOPMLA_OK);
    w->device->deferred = 1; /* what is enqueued from here on is looked at, not run */
    *state = w;
    return 0;
}

static int set_up(void **state)
{
    return make(state, HOPMLA_KV_FP16);
}

static int set_up_nope(void **state)
{
    return make(state, HOPMLA_KV_FP16_NOPE);
}

static int tear_down(void **state)
{
    world *w = *state;
    hopmla_stream_destroy(w->context, w->stream);
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
    free(w);
    return 0;
}

/* Append. */

static hopmla_append_args append_args(void)
{
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    args.dtype = HOPMLA_DTYPE_FP16;
    args.tokens = 10;
    args.layer = 1;
    return args;
}

static void append_is(world *w, const hopmla_append_args *args, const void *latent, const void *rope,
                      hopmla_status status, const char *named)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const uint64_t before = w->device->appends;
    assert_int_equal(hopmla_append(w->plan, args, latent, rope, w->stream, &error), status);
    if (status) {
        assert_non_null(strstr(error.message, named));
        assert_int_equal(w->device->appends, before);
    }
}

static void test_append(void **state)
{
    world *w = *state;
    hopmla_append_args args = append_args();
    append_is(w, &args, memory, memory + 64, HOPMLA_OK, "");
    const hm_append *got = &w->device->append;
    assert_ptr_equal(got->latent, memory);
    assert_ptr_equal(got->rope, memory + 64);
    assert_int_equal(got->latent_stride, 512);
    assert_int_equal(got->rope_stride, 64);
    assert_int_equal(got->tokens, 10);
    assert_int_equal(got->layer, 1);
    assert_int_equal(got->dtype, HOPMLA_DTYPE_FP16);
    args.latent_stride = args.rope_stride = 580;
    args.dtype = HOPMLA_DTYPE_FP32;
    args.tokens = 1000;
    append_is(w, &args, memory, memory + 16, HOPMLA_OK, "");
    assert_int_equal(got->latent_stride, 580);
    assert_int_equal(got->rope_stride, 580);
    assert_int_equal(got->dtype, HOPMLA_DTYPE_FP32);
}

static void test_wrong_append(void **state)
{
    world *w = *state;
    hopmla_append_args args = append_args();
    assert_int_equal(hopmla_append(NULL, &args, memory, memory, w->stream, NULL), HOPMLA_ERROR_NULL);
    append_is(w, NULL, memory, memory, HOPMLA_ERROR_NULL, "args");
    append_is(w, &args, NULL, memory, HOPMLA_ERROR_NULL, "latent");
    append_is(w, &args, memory, NULL, HOPMLA_ERROR_NULL, "rope");
    append_is(w, &args, memory + 8, memory, HOPMLA_ERROR_ALIGNMENT, "latent");
    append_is(w, &args, memory, memory + 2, HOPMLA_ERROR_ALIGNMENT, "rope");
    args.layer = LAYERS;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_ARGUMENT, "layer");
    args = append_args();
    args.reserved = 1;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_ARGUMENT, "reserved");
    args = append_args();
    for (int32_t dtype = -1; dtype < 5; dtype++) {
        args.dtype = dtype;
        const int fits = dtype == HOPMLA_DTYPE_FP16 || dtype == HOPMLA_DTYPE_FP32;
        append_is(w, &args, memory, memory, fits ? HOPMLA_OK : HOPMLA_ERROR_DTYPE, "dtype");
    }
    args = append_args();
    args.latent_stride = 516;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_ALIGNMENT, "latent_stride");
    args.latent_stride = -512;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_ARGUMENT, "latent_stride");
    args.latent_stride = INT64_MAX - 7;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_ARGUMENT, "latent_stride");
    args.latent_stride = 0;
    args.rope_stride = INT64_C(1) << 44;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_ARGUMENT, "rope_stride");
    args = append_args();
    args.tokens = 9;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_RANGE, "tokens");
    args.tokens = 0;
    append_is(w, &args, NULL, NULL, HOPMLA_ERROR_RANGE, "tokens");
    args.tokens = UINT64_C(1) << 31;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_ARGUMENT, "tokens");
    args = append_args();
    args.struct_size = 4;
    append_is(w, &args, memory, memory, HOPMLA_ERROR_STRUCT_SIZE, "struct_size");
    args = append_args();
    assert_int_equal(hopmla_append(w->plan, &args, memory, memory, (hopmla_stream)(void *)memory, NULL),
                     HOPMLA_ERROR_MISMATCH);
    /* While captured the batch does not matter: replays will see others. */
    fake_capture(w->device, w->stream, 1);
    args.tokens = 9;
    append_is(w, &args, memory, memory, HOPMLA_OK, "");
    args.tokens = 0;
    const uint64_t before = w->device->appends;
    append_is(w, &args, NULL, NULL, HOPMLA_OK, "");
    assert_int_equal(w->device->appends, before); /* nothing to launch */
}

/* Gather. */

static hopmla_gather_args gather_args(void)
{
    hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
    args.layer = 1;
    args.row = 1;
    args.first = 10;
    args.count = 50;
    return args;
}

static void gather_is(world *w, const hopmla_gather_args *args, void *destination, hopmla_status status,
                      const char *named)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const uint64_t before = w->device->gathers;
    assert_int_equal(hopmla_gather(w->plan, args, destination, w->stream, &error), status);
    if (status) {
        assert_non_null(strstr(error.message, named));
        assert_int_equal(w->device->gathers, before);
    }
}

static void test_gather(void **state)
{
    world *w = *state;
    hopmla_gather_args args = gather_args();
    const hm_gather *got = &w->device->gather;
    gather_is(w, &args, memory, HOPMLA_OK, "");
    assert_ptr_equal(got->destination, memory);
    assert_int_equal(got->stride, 576);
    assert_int_equal(got->first, 10);
    assert_int_equal(got->count, 50);
    assert_int_equal(got->layer, 1);
    assert_int_equal(got->row, 1);
    args.stride = 1024;
    args.row = 0;
    args.first = 0;
    args.count = 110; /* those of this step too */
    gather_is(w, &args, memory, HOPMLA_OK, "");
    assert_int_equal(got->stride, 1024);
    args.count = 0;
    gather_is(w, &args, NULL, HOPMLA_OK, "");
    assert_int_equal(w->device->gathers, 2);
}

static void test_wrong_gather(void **state)
{
    world *w = *state;
    hopmla_gather_args args = gather_args();
    assert_int_equal(hopmla_gather(NULL, &args, memory, w->stream, NULL), HOPMLA_ERROR_NULL);
    gather_is(w, NULL, memory, HOPMLA_ERROR_NULL, "args");
    gather_is(w, &args, NULL, HOPMLA_ERROR_NULL, "destination");
    gather_is(w, &args, memory + 4, HOPMLA_ERROR_ALIGNMENT, "destination");
    args.layer = LAYERS;
    gather_is(w, &args, memory, HOPMLA_ERROR_ARGUMENT, "layer");
    args = gather_args();
    args.reserved = 1;
    gather_is(w, &args, memory, HOPMLA_ERROR_ARGUMENT, "reserved");
    args = gather_args();
    args.stride = 568;
    gather_is(w, &args, memory, HOPMLA_ERROR_ARGUMENT, "stride");
    args.stride = 580;
    gather_is(w, &args, memory, HOPMLA_ERROR_ALIGNMENT, "stride");
    args.stride = INT64_MIN;
    gather_is(w, &args, memory, HOPMLA_ERROR_ARGUMENT, "stride");
    args = gather_args();
    args.count = 51;
    gather_is(w, &args, memory, HOPMLA_ERROR_RANGE, "row 1 has 60");
    args.count = UINT64_MAX;
    gather_is(w, &args, memory, HOPMLA_ERROR_RANGE, "count");
    args.count = 1;
    args.first = UINT64_MAX;
    gather_is(w, &args, memory, HOPMLA_ERROR_RANGE, "first");
    args = gather_args();
    args.row = 2;
    gather_is(w, &args, memory, HOPMLA_ERROR_RANGE, "row");
    args.row = 4;
    gather_is(w, &args, memory, HOPMLA_ERROR_ARGUMENT, "row");
    args = gather_args();
    args.struct_size = 0;
    gather_is(w, &args, memory, HOPMLA_ERROR_STRUCT_SIZE, "struct_size");
    args = gather_args();
    assert_int_equal(hopmla_gather(w->plan, &args, memory, (hopmla_stream)(void *)memory, NULL), HOPMLA_ERROR_MISMATCH);
    fake_capture(w->device, w->stream, 1);
    args.row = 3;
    args.first = 0;
    args.count = MAX_KV;
    gather_is(w, &args, memory, HOPMLA_OK, "");
    args.first = 1;
    gather_is(w, &args, memory, HOPMLA_ERROR_ARGUMENT, "max_kv_tokens");
    args.first = UINT64_MAX;
    gather_is(w, &args, memory, HOPMLA_ERROR_ARGUMENT, "max_kv_tokens");
}

/* Decode; its arguments alone are checked elsewhere, with those of the raw entry. */

static void test_decode(void **state)
{
    world *w = *state;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    hopmla_error error = HOPMLA_ERROR_INIT;
    args.layer = 1;
    args.rows = 3;
    args.softmax_scale = 0.1f;
    assert_int_equal(hopmla_decode(w->plan, &args, memory, NULL, memory, memory, w->stream, NULL), HOPMLA_OK);
    assert_int_equal(w->device->decode.rows, 3);
    assert_int_equal(w->device->decode.layer, 1);
    assert_int_equal(w->device->decode.q_token_stride, HEADS * 576);
    assert_int_equal(w->device->decodes, 1);
    args.rows = 2;
    assert_int_equal(hopmla_decode(w->plan, &args, memory, NULL, memory, NULL, w->stream, &error), HOPMLA_ERROR_RANGE);
    assert_int_equal(error.value, 3);
    assert_non_null(strstr(error.message, "rows"));
    args.rows = 9;
    assert_int_equal(hopmla_decode(w->plan, &args, memory, NULL, memory, NULL, w->stream, NULL), HOPMLA_ERROR_ENVELOPE);
    args.rows = 8;
    args.layer = LAYERS;
    assert_int_equal(hopmla_decode(w->plan, &args, memory, NULL, memory, NULL, w->stream, NULL), HOPMLA_ERROR_ARGUMENT);
    args.layer = 0;
    assert_int_equal(hopmla_decode(NULL, &args, memory, NULL, memory, NULL, w->stream, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_decode(w->plan, NULL, memory, NULL, memory, NULL, w->stream, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_decode(w->plan, &args, memory, NULL, memory, NULL, (hopmla_stream)(void *)memory, NULL),
                     HOPMLA_ERROR_MISMATCH);
    assert_int_equal(w->device->decodes, 1);
    fake_capture(w->device, w->stream, 1);
    args.rows = 1;
    assert_int_equal(hopmla_decode(w->plan, &args, memory, NULL, memory, NULL, w->stream, NULL), HOPMLA_OK);
    args.rows = 0;
    assert_int_equal(hopmla_decode(w->plan, &args, NULL, NULL, NULL, NULL, w->stream, NULL), HOPMLA_OK);
    assert_int_equal(w->device->decodes, 2);
}

/* A pool without a rope part takes none, gives none, and is asked by none. */
static void test_no_rope(void **state)
{
    world *w = *state;
    hopmla_append_args append = append_args();
    append_is(w, &append, memory, NULL, HOPMLA_OK, "");
    assert_ptr_equal(w->device->append.latent, memory);
    assert_null(w->device->append.rope);
    assert_int_equal(w->device->append.latent_stride, 512);
    assert_int_equal(w->device->append.rope_stride, 0);
    append.latent_stride = 576;
    append.dtype = HOPMLA_DTYPE_FP32;
    append_is(w, &append, memory, NULL, HOPMLA_OK, "");
    assert_int_equal(w->device->append.latent_stride, 576);
    append_is(w, &append, memory, memory, HOPMLA_ERROR_ARGUMENT, "rope is set");
    append_is(w, &append, NULL, NULL, HOPMLA_ERROR_NULL, "latent");
    append.rope_stride = 64;
    append_is(w, &append, memory, NULL, HOPMLA_ERROR_ARGUMENT, "args.rope_stride is set");
    append.tokens = 0;
    append_is(w, &append, NULL, NULL, HOPMLA_ERROR_ARGUMENT, "args.rope_stride is set");
    append.rope_stride = 0;
    append_is(w, &append, NULL, memory, HOPMLA_ERROR_ARGUMENT, "rope is set");
    append = append_args();
    append.dtype = HOPMLA_DTYPE_BF16;
    append_is(w, &append, memory, NULL, HOPMLA_ERROR_DTYPE, "HOPMLA_DTYPE_FP16");

    hopmla_gather_args gather = gather_args();
    gather_is(w, &gather, memory, HOPMLA_OK, "");
    assert_int_equal(w->device->gather.stride, 512);
    gather.stride = 504;
    gather_is(w, &gather, memory, HOPMLA_ERROR_ARGUMENT, "at least 512");
    gather.stride = 520;
    gather_is(w, &gather, memory, HOPMLA_OK, "");

    hopmla_decode_args decode = HOPMLA_DECODE_ARGS_INIT;
    hopmla_error error = HOPMLA_ERROR_INIT;
    decode.rows = 3;
    decode.softmax_scale = 0.1f;
    assert_int_equal(hopmla_decode(w->plan, &decode, memory, NULL, memory, memory, w->stream, NULL), HOPMLA_OK);
    assert_int_equal(w->device->decode.q_token_stride, HEADS * 512);
    assert_null(w->device->decode.q_rope);
    assert_int_equal(hopmla_decode(w->plan, &decode, memory, memory, memory, memory, w->stream, &error),
                     HOPMLA_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "q_rope"));
    decode.qr_head_stride = 64;
    assert_int_equal(hopmla_decode(w->plan, &decode, memory, NULL, memory, memory, w->stream, &error),
                     HOPMLA_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "qr_head_stride"));
    assert_int_equal(w->device->decodes, 1);
}

/* A launch made now is the open step's, on its stream; a captured one is for steps to come. */
static void test_step_is_open(void **state)
{
    world *w = *state;
    const hopmla_append_args append = append_args();
    hopmla_gather_args gather = HOPMLA_GATHER_ARGS_INIT;
    gather.count = 1;
    hopmla_decode_args decode = HOPMLA_DECODE_ARGS_INIT;
    decode.rows = 3;
    decode.softmax_scale = 1;
    hopmla_stream other;
    assert_int_equal(hopmla_stream_create(w->context, &other, NULL), HOPMLA_OK);
    for (int ended = 0; ended < 2; ended++) {
        const hopmla_stream stream = ended ? w->stream : other;
        assert_int_equal(hopmla_append(w->plan, &append, memory, memory, stream, NULL), HOPMLA_ERROR_STATE);
        assert_int_equal(hopmla_gather(w->plan, &gather, memory, stream, NULL), HOPMLA_ERROR_STATE);
        assert_int_equal(hopmla_decode(w->plan, &decode, memory, NULL, memory, NULL, stream, NULL), HOPMLA_ERROR_STATE);
        assert_int_equal(hopmla_plan_end(w->plan, w->stream, NULL), ended ? HOPMLA_ERROR_STATE : HOPMLA_OK);
    }
    fake_capture(w->device, other, 1);
    assert_int_equal(hopmla_append(w->plan, &append, memory, memory, other, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_gather(w->plan, &gather, memory, other, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_decode(w->plan, &decode, memory, NULL, memory, NULL, other, NULL), HOPMLA_OK);
    fake_capture(w->device, other, 0);
    hopmla_stream_destroy(w->context, other);
}

static void test_inits(void **state)
{
    (void)state;
    hopmla_append_args append;
    hopmla_gather_args gather;
    const hopmla_append_args append_defaults = HOPMLA_APPEND_ARGS_INIT;
    const hopmla_gather_args gather_defaults = HOPMLA_GATHER_ARGS_INIT;
    assert_int_equal(hopmla_append_args_init(&append, sizeof(append)), HOPMLA_OK);
    assert_memory_equal(&append, &append_defaults, sizeof(append));
    assert_int_equal(hopmla_gather_args_init(&gather, sizeof(gather)), HOPMLA_OK);
    assert_memory_equal(&gather, &gather_defaults, sizeof(gather));
    assert_int_equal(hopmla_append_args_init(NULL, sizeof(append)), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_append_args_init(&append, 4), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(hopmla_gather_args_init(NULL, sizeof(gather)), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_gather_args_init(&gather, 4), HOPMLA_ERROR_STRUCT_SIZE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_append), TEST(test_wrong_append),
        TEST(test_gather), TEST(test_wrong_gather),
        TEST(test_decode), TEST(test_step_is_open),
        TEST(test_inits),  cmocka_unit_test_setup_teardown(test_no_rope, set_up_nope, tear_down),
    };
    return cmocka_run_group_tests_name("layer", tests, NULL, NULL) ? 1 : 0;
}
