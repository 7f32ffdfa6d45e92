/* SPDX-License-Identifier: Apache-2.0 */
/* Capture and graphs on the CPU backend. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"
#include "kernels/cpu/cpu.h"
#include "lib/context.h"
#include "tests/cpu_context.h"

static void test_a_graph_keeps_what_was_called(void **state)
{
    hopmla_context *context = *state;
    hopmla_stream stream = make_stream(context);
    hopmla_graph graph = NULL;
    char from = 1;
    char to[3] = { 0 };
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_copy(context, &to[0], &from, 1, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_fill(context, &to[1], 5, 1, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_copy(context, &to[2], &to[1], 1, stream, NULL), HOPMLA_OK);
    assert_int_equal(to[0] + to[1] + to[2], 0);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, NULL), HOPMLA_OK);
    assert_int_equal(to[0] + to[1] + to[2], 0);

    hopmla_stream streams[] = { NULL, stream };
    for (char turn = 2; turn < 6; turn++) {
        from = turn;
        memset(to, 0, sizeof(to));
        assert_int_equal(hopmla_graph_launch(context, graph, streams[turn % 2], NULL), HOPMLA_OK);
        assert_int_equal(to[0], turn);
        assert_int_equal(to[1], 5);
        assert_int_equal(to[2], 5);
    }
    /* The stream runs what it is given again. */
    assert_int_equal(hopmla_memory_fill(context, &to[0], 9, 1, stream, NULL), HOPMLA_OK);
    assert_int_equal(to[0], 9);
    hopmla_graph_destroy(context, graph);
    hopmla_graph_destroy(context, NULL);
    assert_fails(hopmla_graph_launch(context, graph, stream, &error), HOPMLA_ERROR_MISMATCH, "graph");
    assert_fails(hopmla_graph_launch(context, NULL, stream, &error), HOPMLA_ERROR_NULL, "graph");
}

static void test_the_order_of_capture(void **state)
{
    hopmla_context *context = *state;
    hopmla_stream stream = make_stream(context);
    hopmla_event event = NULL;
    hopmla_graph graph = NULL;
    assert_int_equal(hopmla_event_create(context, &event, NULL), HOPMLA_OK);
    assert_fails(hopmla_graph_begin(context, NULL, &error), HOPMLA_ERROR_ARGUMENT, "stream");
    assert_fails(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_ERROR_STATE, "stream");
    assert_fails(hopmla_graph_end(context, NULL, &graph, &error), HOPMLA_ERROR_STATE, "stream");
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    assert_fails(hopmla_graph_begin(context, stream, &error), HOPMLA_ERROR_CAPTURE, "stream");
    assert_fails(hopmla_stream_synchronize(context, stream, &error), HOPMLA_ERROR_CAPTURE, "stream");
    assert_fails(hopmla_event_record(context, event, stream, &error), HOPMLA_ERROR_CAPTURE, "stream");
    assert_int_equal(hopmla_stream_wait_event(context, stream, event, NULL), HOPMLA_OK);
    assert_fails(hopmla_graph_end(context, stream, NULL, &error), HOPMLA_ERROR_NULL, "graph");
    assert_null(graph);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, NULL), HOPMLA_OK); /* none of that broke it */
    assert_fails(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_ERROR_STATE, "stream");
    assert_int_equal(hopmla_graph_launch(context, graph, NULL, NULL), HOPMLA_OK);
}

static void test_a_launch_inside_a_capture(void **state)
{
    hopmla_context *context = *state;
    hopmla_stream stream = make_stream(context);
    hopmla_graph empty = NULL;
    hopmla_graph inner = NULL;
    hopmla_graph outer = NULL;
    char to[2] = { 0 };
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_end(context, stream, &empty, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    hopmla_memory_fill(context, &to[0], 3, 1, stream, NULL);
    assert_int_equal(hopmla_graph_end(context, stream, &inner, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_launch(context, empty, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_launch(context, inner, stream, NULL), HOPMLA_OK);
    hopmla_memory_copy(context, &to[1], &to[0], 1, stream, NULL);
    assert_int_equal(hopmla_graph_end(context, stream, &outer, NULL), HOPMLA_OK);
    assert_int_equal(to[0], 0);
    hopmla_graph_destroy(context, inner);
    assert_int_equal(hopmla_graph_launch(context, outer, stream, NULL), HOPMLA_OK);
    assert_int_equal(to[0], 3);
    assert_int_equal(to[1], 3);
}

static void test_long_captures(void **state)
{
    enum {
        LENGTH = 1000
    };
    hopmla_context *context = *state;
    hopmla_stream stream = make_stream(context);
    hopmla_graph graph = NULL;
    unsigned char bytes[LENGTH + 1] = { 1 };
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    for (int i = 0; i < LENGTH; i++) {
        assert_int_equal(hopmla_memory_copy(context, &bytes[i + 1], &bytes[i], 1, stream, NULL), HOPMLA_OK);
    }
    assert_int_equal(hopmla_graph_end(context, stream, &graph, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_launch(context, graph, stream, NULL), HOPMLA_OK);
    for (int i = 0; i <= LENGTH; i++) {
        assert_int_equal(bytes[i], 1);
    }
}

static int grows_left;

static void *grow_while_allowed(void *memory, size_t bytes)
{
    return grows_left-- > 0 ? realloc(memory, bytes) : NULL;
}

static void test_a_capture_that_runs_out_of_memory_is_broken(void **state)
{
    hopmla_context *context = *state;
    hopmla_stream stream = make_stream(context);
    for (int allowed = 0; allowed < 4; allowed++) {
        hopmla_graph graph = NULL;
        char byte = 0;
        int kept = 0;
        hopmla_status status = hopmla_graph_begin(context, stream, NULL);
        assert_int_equal(status, HOPMLA_OK);
        grows_left = allowed;
        context->device->grow = grow_while_allowed;
        while (status == HOPMLA_OK) {
            status = hopmla_memory_fill(context, &byte, 1, 1, stream, NULL);
            kept += status == HOPMLA_OK;
        }
        context->device->grow = realloc;
        assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
        assert_int_equal(kept > 0, allowed > 0);
        assert_fails(hopmla_memory_fill(context, &byte, 1, 1, stream, &error), HOPMLA_ERROR_OUT_OF_HOST_MEMORY,
                     "broken");
        assert_fails(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_ERROR_STATE, "broken");
        assert_null(graph);
        assert_int_equal(byte, 0);
        assert_int_equal(hopmla_memory_fill(context, &byte, 1, 1, stream, NULL), HOPMLA_OK);
        assert_int_equal(byte, 1);
    }
}

/* A decode is kept by value: what described it may change before the graph runs, what it reads is read then. */

enum {
    HEADS = 2,
    ROWS = 2,
    PAGES = 3,
    Q_SIZE = ROWS * HEADS * HOPMLA_QK_DIM,
    OUT_SIZE = ROWS * HEADS * HOPMLA_LATENT_DIM
};

typedef struct raw_decode {
    _Alignas(64) uint16_t cache[PAGES * HOPMLA_PAGE_TOKENS * HOPMLA_QK_DIM];
    _Alignas(64) uint16_t q[Q_SIZE];
    _Alignas(64) uint16_t out[OUT_SIZE];
    _Alignas(64) float lse[ROWS * HEADS];
    int32_t kv_lens[ROWS];
    int32_t block_table[ROWS * 2];
    void *workspace;
    uint64_t workspace_bytes;
} raw_decode;

/* bfloat16 of 0.5 … 1 with either sign, told apart by seed. */
static void fill_values(uint16_t *values, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (uint16_t)(0x3f00 | (seed >> 24 & 0x7f) | (seed >> 16 & 0x8000));
    }
}

static hopmla_status enqueue(hopmla_context *context, raw_decode *raw, hopmla_stream stream)
{
    hopmla_paged_desc desc = HOPMLA_PAGED_DESC_INIT;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    desc.format = HOPMLA_KV_BF16;
    desc.batch = ROWS;
    desc.heads = HEADS;
    desc.max_kv_tokens = 128;
    desc.pages = PAGES;
    desc.table_stride = 2;
    args.rows = ROWS;
    args.softmax_scale = 0.01f;
    hopmla_status status = HOPMLA_OK;
    if (!raw->workspace) {
        status = hopmla_decode_paged_workspace(context, &desc, &raw->workspace_bytes, NULL);
        raw->workspace = status ? NULL : aligned_alloc(1024, (size_t)raw->workspace_bytes);
    }
    if (status == HOPMLA_OK) {
        status = hopmla_decode_paged_prepare(context, &desc, raw->kv_lens, NULL, raw->workspace, raw->workspace_bytes,
                                             stream, NULL);
    }
    if (status == HOPMLA_OK) {
        status = hopmla_decode_paged(context, &desc, &args, raw->cache, NULL, raw->block_table, raw->q, NULL, raw->out,
                                     raw->lse, raw->workspace, raw->workspace_bytes, stream, NULL);
    }
    memset(&desc, 0xff, sizeof(desc));
    memset(&args, 0xff, sizeof(args));
    return status;
}

static void test_a_captured_decode(void **state)
{
    static raw_decode raw;
    static uint16_t eager_out[OUT_SIZE];
    float eager_lse[ROWS * HEADS];
    hopmla_context *context = *state;
    hopmla_stream stream = make_stream(context);
    hopmla_graph graph = NULL;
    const int32_t table[ROWS * 2] = { 2, 0, 1, -1 };
    memcpy(raw.block_table, table, sizeof(table));
    fill_values(raw.cache, sizeof(raw.cache) / 2, 1);
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    assert_int_equal(enqueue(context, &raw, stream), HOPMLA_OK);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, NULL), HOPMLA_OK);

    const int32_t lengths[][ROWS] = { { 100, 3 }, { 0, 64 }, { 65, 0 } };
    for (uint32_t turn = 0; turn < 3; turn++) {
        memcpy(raw.kv_lens, lengths[turn], sizeof(raw.kv_lens));
        fill_values(raw.q, Q_SIZE, turn + 2);
        assert_int_equal(enqueue(context, &raw, NULL), HOPMLA_OK);
        memcpy(eager_out, raw.out, sizeof(eager_out));
        memcpy(eager_lse, raw.lse, sizeof(eager_lse));
        memset(raw.out, 0xff, sizeof(raw.out));
        memset(raw.lse, 0xff, sizeof(raw.lse));
        assert_int_equal(hopmla_graph_launch(context, graph, stream, NULL), HOPMLA_OK);
        assert_memory_equal(raw.out, eager_out, sizeof(eager_out));
        assert_memory_equal(raw.lse, eager_lse, sizeof(eager_lse));
    }
    free(raw.workspace);
    raw.workspace = NULL;
}

/* Everything that is not destroyed goes with the context; a leak checker sees the rest. */
static void test_a_context_takes_its_objects_along(void **state)
{
    (void)state;
    hopmla_context *context = make_context();
    hopmla_event event = NULL;
    hopmla_graph graph = NULL;
    char byte = 0;
    hopmla_stream stream = make_stream(context);
    hopmla_stream capturing = make_stream(context);
    hopmla_stream destroyed = make_stream(context);
    hopmla_event_create(context, &event, NULL);
    hopmla_graph_begin(context, stream, NULL);
    hopmla_memory_fill(context, &byte, 1, 1, stream, NULL);
    hopmla_graph_end(context, stream, &graph, NULL);
    hopmla_graph_begin(context, capturing, NULL);
    hopmla_memory_fill(context, &byte, 1, 1, capturing, NULL);
    hopmla_graph_begin(context, destroyed, NULL);
    hopmla_memory_fill(context, &byte, 1, 1, destroyed, NULL);
    hopmla_stream_destroy(context, destroyed);
    hopmla_stream_destroy(context, NULL);
    hopmla_context_destroy(context);
    assert_int_equal(byte, 0);
}

/* Distinct objects from several threads. */

enum {
    THREADS = 4,
    TURNS = 200
};

static void *capture_and_launch(void *context)
{
    uintptr_t wrong = 0;
    for (int i = 0; i < TURNS; i++) {
        hopmla_stream stream = NULL;
        hopmla_event event = NULL;
        hopmla_graph graph = NULL;
        int from = i;
        int to = -1;
        wrong += hopmla_stream_create(context, &stream, NULL) != HOPMLA_OK;
        wrong += hopmla_event_create(context, &event, NULL) != HOPMLA_OK;
        wrong += hopmla_graph_begin(context, stream, NULL) != HOPMLA_OK;
        wrong += hopmla_memory_copy(context, &to, &from, sizeof(to), stream, NULL) != HOPMLA_OK;
        wrong += hopmla_graph_end(context, stream, &graph, NULL) != HOPMLA_OK;
        wrong += to != -1;
        wrong += hopmla_graph_launch(context, graph, stream, NULL) != HOPMLA_OK;
        wrong += to != i;
        wrong += hopmla_event_record(context, event, stream, NULL) != HOPMLA_OK;
        hopmla_graph_destroy(context, graph);
        hopmla_event_destroy(context, event);
        hopmla_stream_destroy(context, stream);
    }
    return (void *)wrong;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, capture_and_launch, *state), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_graph_keeps_what_was_called, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_the_order_of_capture, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_a_launch_inside_a_capture, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_long_captures, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_a_capture_that_runs_out_of_memory_is_broken, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_a_captured_decode, open_context, close_context),
        cmocka_unit_test(test_a_context_takes_its_objects_along),
        cmocka_unit_test_setup_teardown(test_threads, open_context, close_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
