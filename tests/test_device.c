/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, streams, events and fences on the CPU backend. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"
#include "lib/context.h"
#include "tests/cpu_context.h"

static void test_memory(void **state)
{
    hopmla_context *context = *state;
    const int32_t kinds[] = { HOPMLA_MEMORY_WORKSPACE, HOPMLA_MEMORY_PINNED };
    for (int i = 0; i < 2; i++) {
        void *memory = NULL;
        assert_int_equal(hopmla_memory_alloc(context, 1, kinds[i], &memory, NULL), HOPMLA_OK);
        assert_int_equal((uintptr_t)memory % 256, 0);
        hopmla_memory_free(context, memory, 1, kinds[i]);
        hopmla_memory_free(context, NULL, 1, kinds[i]);
    }
    void *untouched = context;
    assert_fails(hopmla_memory_alloc(NULL, 1, kinds[0], &untouched, &error), HOPMLA_ERROR_NULL, "context");
    assert_fails(hopmla_memory_alloc(context, 1, kinds[0], NULL, &error), HOPMLA_ERROR_NULL, "memory");
    assert_fails(hopmla_memory_alloc(context, 0, kinds[0], &untouched, &error), HOPMLA_ERROR_ARGUMENT, "bytes is 0");
    assert_fails(hopmla_memory_alloc(context, (UINT64_C(1) << 47) + 1, kinds[0], &untouched, &error),
                 HOPMLA_ERROR_ARGUMENT, "bytes");
    for (int32_t kind = -1; kind <= 6; kind++) {
        if (kind != HOPMLA_MEMORY_WORKSPACE && kind != HOPMLA_MEMORY_PINNED) {
            assert_fails(hopmla_memory_alloc(context, 8, kind, &untouched, &error), HOPMLA_ERROR_ENUM, "kind");
        }
    }
    assert_ptr_equal(untouched, context);
    hopmla_memory_free(NULL, context, 1, kinds[0]);
}

static void test_copy_and_fill(void **state)
{
    hopmla_context *context = *state;
    hopmla_stream own = make_stream(context);
    hopmla_stream streams[] = { NULL, own };
    for (int i = 0; i < 2; i++) {
        char from[4] = "abc";
        char to[4] = "xyz";
        assert_int_equal(hopmla_memory_copy(context, to, from, 2, streams[i], NULL), HOPMLA_OK);
        assert_string_equal(to, "abz");
        assert_int_equal(hopmla_memory_fill(context, to, 'q', 1, streams[i], NULL), HOPMLA_OK);
        assert_string_equal(to, "qbz");
        assert_int_equal(hopmla_memory_copy(context, NULL, NULL, 0, streams[i], NULL), HOPMLA_OK);
        assert_int_equal(hopmla_memory_fill(context, NULL, 1, 0, streams[i], NULL), HOPMLA_OK);
        assert_fails(hopmla_memory_copy(context, NULL, from, 1, streams[i], &error), HOPMLA_ERROR_NULL, "destination");
        assert_fails(hopmla_memory_copy(context, to, NULL, 1, streams[i], &error), HOPMLA_ERROR_NULL, "source");
        assert_fails(hopmla_memory_fill(context, NULL, 0, 1, streams[i], &error), HOPMLA_ERROR_NULL, "destination");
        assert_fails(hopmla_memory_copy(context, to, from, UINT64_MAX, streams[i], &error), HOPMLA_ERROR_ARGUMENT,
                     "bytes");
        assert_fails(hopmla_memory_fill(context, to, 0, UINT64_MAX, streams[i], &error), HOPMLA_ERROR_ARGUMENT,
                     "bytes");
    }
    char byte = 0;
    assert_fails(hopmla_memory_copy(NULL, &byte, &byte, 1, NULL, &error), HOPMLA_ERROR_NULL, "context");
    assert_fails(hopmla_memory_fill(NULL, &byte, 0, 1, NULL, &error), HOPMLA_ERROR_NULL, "context");
    hopmla_stream_destroy(context, own);
}

/* A stream that is another context's, or none at all, is refused wherever a stream is taken. */
static void test_foreign_streams(void **state)
{
    hopmla_context *context = *state;
    hopmla_context *other = make_context();
    hopmla_event event = NULL;
    hopmla_graph graph = NULL;
    hopmla_stream own = make_stream(context);
    assert_int_equal(hopmla_event_create(context, &event, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, own, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_end(context, own, &graph, NULL), HOPMLA_OK);

    char word[8] = { 0 };
    hopmla_stream gone = make_stream(context);
    hopmla_stream_destroy(context, gone);
    const hopmla_stream foreign[] = { make_stream(other), gone, (hopmla_stream)(void *)word, (hopmla_stream)event };
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        hopmla_graph made = graph;
        const hopmla_stream stream = foreign[i];
        const hopmla_status bad = HOPMLA_ERROR_MISMATCH;
        assert_fails(hopmla_memory_copy(context, word, word, 1, stream, &error), bad, "stream");
        assert_fails(hopmla_memory_fill(context, word, 1, 1, stream, &error), bad, "stream");
        assert_fails(hopmla_memory_fill(context, word, 1, 0, stream, &error), bad, "stream");
        assert_fails(hopmla_stream_synchronize(context, stream, &error), bad, "stream");
        assert_fails(hopmla_stream_wait_event(context, stream, event, &error), bad, "stream");
        assert_fails(hopmla_event_record(context, event, stream, &error), bad, "stream");
        assert_fails(hopmla_graph_begin(context, stream, &error), bad, "stream");
        assert_fails(hopmla_graph_end(context, stream, &made, &error), bad, "stream");
        assert_fails(hopmla_graph_launch(context, graph, stream, &error), bad, "stream");
        assert_ptr_equal(made, graph);
        assert_int_equal(word[0], 0);
    }
    hopmla_stream_destroy(context, foreign[0]); /* not its own: nothing happens */
    assert_int_equal(hopmla_stream_synchronize(other, foreign[0], NULL), HOPMLA_OK);
    hopmla_context_destroy(other);
}

static void test_events(void **state)
{
    hopmla_context *context = *state;
    hopmla_event begin = NULL;
    hopmla_event end = NULL;
    hopmla_stream stream = make_stream(context);
    double microseconds = -7;
    assert_int_equal(hopmla_event_create(context, &begin, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_create(context, &end, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_synchronize(context, begin, NULL), HOPMLA_OK);
    assert_fails(hopmla_event_elapsed(context, begin, end, &microseconds, &error), HOPMLA_ERROR_STATE, "begin");
    assert_int_equal(hopmla_event_record(context, begin, stream, NULL), HOPMLA_OK);
    assert_fails(hopmla_event_elapsed(context, begin, end, &microseconds, &error), HOPMLA_ERROR_STATE, "end");
    assert_true(microseconds == -7);
    assert_int_equal(hopmla_event_record(context, end, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_wait_event(context, NULL, end, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_wait_event(context, stream, end, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_elapsed(context, begin, end, &microseconds, NULL), HOPMLA_OK);
    assert_true(microseconds >= 0 && microseconds < 60e6);

    assert_fails(hopmla_event_elapsed(context, begin, end, NULL, &error), HOPMLA_ERROR_NULL, "microseconds");
    assert_fails(hopmla_event_elapsed(context, NULL, end, &microseconds, &error), HOPMLA_ERROR_NULL, "begin");
    assert_fails(hopmla_event_elapsed(context, begin, NULL, &microseconds, &error), HOPMLA_ERROR_NULL, "end");
    assert_fails(hopmla_event_record(context, NULL, stream, &error), HOPMLA_ERROR_NULL, "event");
    assert_fails(hopmla_event_synchronize(context, NULL, &error), HOPMLA_ERROR_NULL, "event");
    assert_fails(hopmla_stream_wait_event(context, stream, NULL, &error), HOPMLA_ERROR_NULL, "event");
    assert_fails(hopmla_event_create(context, NULL, &error), HOPMLA_ERROR_NULL, "event");

    hopmla_event_destroy(context, end);
    hopmla_event_destroy(context, end); /* gone already: nothing happens */
    const hopmla_status bad = HOPMLA_ERROR_MISMATCH;
    assert_fails(hopmla_event_record(context, end, stream, &error), bad, "event");
    assert_fails(hopmla_event_synchronize(context, end, &error), bad, "event");
    assert_fails(hopmla_stream_wait_event(context, stream, end, &error), bad, "event");
    assert_fails(hopmla_event_elapsed(context, begin, end, &microseconds, &error), bad, "end");
    hopmla_event_destroy(context, NULL);
}

static void test_null_context(void **state)
{
    (void)state;
    char word = 0;
    hopmla_stream stream = (hopmla_stream)(void *)&word;
    hopmla_event event = (hopmla_event)(void *)&word;
    hopmla_graph graph = (hopmla_graph)(void *)&word;
    double microseconds;
    const hopmla_status bad = HOPMLA_ERROR_NULL;
    assert_fails(hopmla_stream_create(NULL, &stream, &error), bad, "context");
    assert_fails(hopmla_stream_synchronize(NULL, stream, &error), bad, "context");
    assert_fails(hopmla_stream_wait_event(NULL, stream, event, &error), bad, "context");
    assert_fails(hopmla_event_create(NULL, &event, &error), bad, "context");
    assert_fails(hopmla_event_record(NULL, event, stream, &error), bad, "context");
    assert_fails(hopmla_event_synchronize(NULL, event, &error), bad, "context");
    assert_fails(hopmla_event_elapsed(NULL, event, event, &microseconds, &error), bad, "context");
    assert_fails(hopmla_graph_begin(NULL, stream, &error), bad, "context");
    assert_fails(hopmla_graph_end(NULL, stream, &graph, &error), bad, "context");
    assert_fails(hopmla_graph_launch(NULL, graph, stream, &error), bad, "context");
    hopmla_stream_destroy(NULL, stream);
    hopmla_event_destroy(NULL, event);
    hopmla_graph_destroy(NULL, graph);
}

/* A fence as the pool uses it: what came before the signal is seen by whoever waited. */

static struct {
    hopmla_context *context;
    int payload;
    uint64_t fence;
} handover;

static void *signal_fence(void *unused)
{
    (void)unused;
    const hm_backend *backend = handover.context->backend;
    handover.payload = 42;
    backend->fence_signal(handover.context->device, NULL, &handover.fence, 3, NULL);
    return NULL;
}

static void test_fences(void **state)
{
    pthread_t thread;
    handover.context = *state;
    handover.payload = 0;
    handover.fence = 0;
    const hm_backend *backend = handover.context->backend;
    assert_int_equal(pthread_create(&thread, NULL, signal_fence, NULL), 0);
    assert_int_equal(backend->fence_wait(handover.context->device, NULL, &handover.fence, 2, NULL), HOPMLA_OK);
    assert_int_equal(handover.payload, 42);
    pthread_join(thread, NULL);
    assert_int_equal(handover.fence, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_copy_and_fill, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_foreign_streams, open_context, close_context),
        cmocka_unit_test_setup_teardown(test_events, open_context, close_context),
        cmocka_unit_test(test_null_context),
        cmocka_unit_test_setup_teardown(test_fences, open_context, close_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
