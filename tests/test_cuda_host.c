/* SPDX-License-Identifier: Apache-2.0 */

#include "cuda_host.h"

/** @file
 * Streams, events and graphs on the CUDA backend over a driver without a device: statuses as documented, nothing leaks. */

static void foreign_streams(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_stream foreign = fake_cuda_foreign_stream();
    hopmla_event event = NULL;
    hopmla_graph graph = NULL;
    char byte = 0;

    assert_int_equal(hopmla_event_create(context, &event, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_synchronize(context, foreign, NULL), HOPMLA_ERROR_MISMATCH);
    assert_int_equal(hopmla_stream_wait_event(context, foreign, event, NULL), HOPMLA_ERROR_MISMATCH);
    assert_int_equal(hopmla_event_record(context, event, foreign, NULL), HOPMLA_ERROR_MISMATCH);
    assert_int_equal(hopmla_memory_copy(context, &byte, &byte, 1, foreign, NULL), HOPMLA_ERROR_MISMATCH);
    assert_int_equal(hopmla_memory_fill(context, &byte, 0, 1, foreign, NULL), HOPMLA_ERROR_MISMATCH);
    assert_int_equal(hopmla_graph_begin(context, foreign, NULL), HOPMLA_ERROR_MISMATCH);
    assert_int_equal(hopmla_graph_end(context, foreign, &graph, NULL), HOPMLA_ERROR_MISMATCH);
    hopmla_event_destroy(context, event);
    hopmla_context_destroy(context);
}

static void assert_mismatch(hopmla_status status, const hopmla_error *error, const char *argument)
{
    assert_int_equal(status, HOPMLA_ERROR_MISMATCH);
    assert_int_equal(error->status, HOPMLA_ERROR_MISMATCH);
    if (strncmp(error->message, argument, strlen(argument)) != 0) {
        fail_msg("\"%s\" does not begin with \"%s\"", error->message, argument);
    }
}

static void foreign_events(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_event foreign = fake_cuda_foreign_event(), own = NULL;
    double microseconds = -1.0;

    assert_int_equal(hopmla_event_create(context, &own, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_elapsed(context, foreign, own, &microseconds, &error), HOPMLA_ERROR_STATE);
    assert_int_equal(hopmla_event_elapsed(context, own, foreign, &microseconds, &error), HOPMLA_ERROR_STATE);
    assert_int_equal(hopmla_event_record(context, own, NULL, NULL), HOPMLA_OK);
    assert_mismatch(hopmla_event_elapsed(context, foreign, own, &microseconds, &error), &error, "begin or end");
    assert_mismatch(hopmla_event_elapsed(context, own, foreign, &microseconds, &error), &error, "begin or end");
    assert_mismatch(hopmla_event_record(context, foreign, NULL, &error), &error, "event");
    assert_int_equal(hopmla_event_synchronize(context, foreign, &error),
                     HOPMLA_OK); /* the driver waits for any event */
    assert_int_equal(hopmla_stream_wait_event(context, NULL, foreign, &error), HOPMLA_OK);

    fake_cuda_lose(0, HM_CU_CONTEXT_IS_DESTROYED);
    assert_mismatch(hopmla_event_elapsed(context, own, foreign, &microseconds, &error), &error, "begin or end");
    assert_mismatch(hopmla_event_record(context, foreign, NULL, &error), &error, "event");
    assert_mismatch(hopmla_event_synchronize(context, foreign, &error), &error, "event");
    assert_mismatch(hopmla_stream_wait_event(context, NULL, foreign, &error), &error, "event");
    assert_mismatch(hopmla_stream_synchronize(context, fake_cuda_foreign_stream(), &error), &error, "stream");
    fake_cuda_lose(0, 0);
    assert_true(microseconds < 0.0);
    hopmla_event_destroy(context, own);
    hopmla_context_destroy(context);
}

/* Whatever a handle is refused with, its argument is named; but not when the context itself is lost. */
static void refused_handles(void **state)
{
    (void)state;
    static const int codes[] = { HM_CU_INVALID_HANDLE, HM_CU_INVALID_CONTEXT, HM_CU_CONTEXT_IS_DESTROYED };
    hopmla_context *context = must_create();
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_stream stream = NULL;
    hopmla_event event = NULL;
    hopmla_graph graph = NULL;
    double microseconds = 0.0;

    assert_int_equal(hopmla_stream_create(context, &stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_create(context, &event, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_record(context, event, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, NULL), HOPMLA_OK);
    for (int i = 0; i < 3; i++) {
        fake_cuda_fail("cuGraphLaunch", 0, codes[i]);
        assert_mismatch(hopmla_graph_launch(context, graph, stream, &error), &error, "graph");
        fake_cuda_fail("cuEventRecord", 0, codes[i]);
        assert_mismatch(hopmla_event_record(context, event, stream, &error), &error, "event");
        fake_cuda_fail("cuEventSynchronize", 0, codes[i]);
        assert_mismatch(hopmla_event_synchronize(context, event, &error), &error, "event");
        fake_cuda_fail("cuStreamWaitEvent", 0, codes[i]);
        assert_mismatch(hopmla_stream_wait_event(context, stream, event, &error), &error, "event");
        fake_cuda_fail("cuEventElapsedTime", 0, codes[i]);
        assert_mismatch(hopmla_event_elapsed(context, event, event, &microseconds, &error), &error, "begin or end");
        fake_cuda_fail("cuStreamGetCtx", 0, codes[i]);
        assert_mismatch(hopmla_stream_synchronize(context, stream, &error), &error, "stream");
    }
    fake_cuda_fail("cuGraphLaunch", 0, 999);
    assert_int_equal(hopmla_graph_launch(context, graph, stream, &error), HOPMLA_ERROR_DRIVER);
    fake_cuda_fail(NULL, 0, 0);
    for (int i = 0; i < REASONS; i++) {
        fake_cuda_lose(reasons[i].code, 0);
        assert_reason(&error, hopmla_graph_launch(context, graph, stream, &error), i);
        assert_reason(&error, hopmla_event_record(context, event, stream, &error), i);
        assert_reason(&error, hopmla_event_synchronize(context, event, &error), i);
        assert_reason(&error, hopmla_stream_wait_event(context, stream, event, &error), i);
        assert_reason(&error, hopmla_event_elapsed(context, event, event, &microseconds, &error), i);
        assert_reason(&error, hopmla_stream_synchronize(context, stream, &error), i);
    }
    fake_cuda_lose(0, 0);
    hopmla_graph_destroy(context, graph);
    hopmla_event_destroy(context, event);
    hopmla_stream_destroy(context, stream);
    hopmla_context_destroy(context);
}

static void events(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_event begin = NULL, end = NULL;
    hopmla_stream stream = NULL;
    hopmla_graph graph = NULL;
    double microseconds = -1.0;

    assert_int_equal(hopmla_event_create(context, &begin, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_create(context, &end, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_create(context, &stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_elapsed(context, begin, end, &microseconds, NULL), HOPMLA_ERROR_STATE);
    assert_true(microseconds < 0.0);
    assert_int_equal(hopmla_event_record(context, begin, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_record(context, end, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_synchronize(context, end, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_elapsed(context, begin, end, &microseconds, NULL), HOPMLA_OK);
    assert_true(microseconds == 1500.0);
    fake_cuda_fail("cuEventElapsedTime", 0, HM_CU_NOT_READY);
    assert_int_equal(hopmla_event_elapsed(context, begin, end, &microseconds, NULL), HOPMLA_ERROR_STATE);
    fake_cuda_fail(NULL, 0, 0);

    assert_int_equal(hopmla_stream_wait_event(context, stream, begin, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_wait_event(context, stream, begin, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_event_record(context, begin, stream, NULL), HOPMLA_ERROR_CAPTURE);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, NULL), HOPMLA_OK);
    hopmla_graph_destroy(context, graph);
    hopmla_event_destroy(context, begin);
    hopmla_event_destroy(context, end);
    hopmla_stream_destroy(context, stream);
    hopmla_context_destroy(context);
}

static void graphs(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_stream stream = NULL;
    hopmla_graph graph = NULL;

    assert_int_equal(hopmla_stream_create(context, &stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, NULL, &error), HOPMLA_ERROR_ARGUMENT);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_ERROR_STATE);
    assert_int_equal(hopmla_graph_begin(context, stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, stream, &error), HOPMLA_ERROR_CAPTURE);
    assert_int_equal(hopmla_stream_synchronize(context, stream, &error), HOPMLA_ERROR_CAPTURE);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_OK);
    assert_int_equal(fake.graphs, 1);
    int before = fake.graph_launches;
    assert_int_equal(hopmla_graph_launch(context, graph, stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_graph_launch(context, graph, NULL, &error), HOPMLA_OK);
    assert_int_equal(fake.graph_launches - before, 2);
    hopmla_graph_destroy(context, graph);
    hopmla_graph_destroy(context, NULL);

    graph = NULL;
    assert_int_equal(hopmla_graph_begin(context, stream, &error), HOPMLA_OK);
    stream->capture = 2; /* somebody else's call broke it */
    assert_int_equal(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_ERROR_STATE);
    assert_null(graph);
    fake_cuda_fail("cuGraphInstantiateWithFlags", 0, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(hopmla_graph_begin(context, stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_int_equal(fake.graphs, 0);
    hopmla_stream_destroy(context, stream);
    hopmla_context_destroy(context);
}

static void statuses_of_driver_codes(void **state)
{
    (void)state;
    static const struct {
        int code;
        hopmla_status status;
        int32_t native_code;
    } cases[] = {
        { 700, HOPMLA_ERROR_DRIVER_STICKY, 700 },
        { 710, HOPMLA_ERROR_DRIVER_STICKY, 710 },
        { 715, HOPMLA_ERROR_DRIVER_STICKY, 715 },
        { 716, HOPMLA_ERROR_DRIVER_STICKY, 716 },
        { 719, HOPMLA_ERROR_DRIVER_STICKY, 719 },
        { 709, HOPMLA_ERROR_DRIVER_STICKY, 709 },
        { 214, HOPMLA_ERROR_DRIVER_STICKY, 214 },
        { 2, HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY, 0 },
        { 1, HOPMLA_ERROR_DRIVER, 1 },
        { 701, HOPMLA_ERROR_DRIVER, 701 },
        { 900, HOPMLA_ERROR_CAPTURE, 0 },
        { 999, HOPMLA_ERROR_DRIVER, 999 },
    };
    hopmla_context *context = must_create();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        fake_cuda_fail("cuStreamSynchronize", 0, cases[i].code);
        assert_int_equal(hopmla_stream_synchronize(context, NULL, &error), cases[i].status);
        assert_int_equal(error.status, cases[i].status);
        assert_int_equal(error.native_code, cases[i].native_code);
        assert_non_null(strstr(error.message, "cuStreamSynchronize"));
    }
    hopmla_context_destroy(context);
}

static void ceilings(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_ceilings measured = HOPMLA_CEILINGS_INIT;
    int live = fake_cuda_live();
    assert_int_equal(hopmla_measure_ceilings(context, &measured, NULL), HOPMLA_OK);
    assert_true(measured.read_bytes_per_second > 0.0);
    assert_true(measured.flops_burst > 0.0);
    assert_true(measured.flops_sustained > 0.0);
    assert_int_equal(fake_cuda_live(), live);
    fake_cuda_fail("cuMemAlloc", 0, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(hopmla_measure_ceilings(context, &measured, NULL), HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
    fake_cuda_fail("cuLaunchKernelEx", 3, HM_CU_LAUNCH_FAILED);
    assert_int_equal(hopmla_measure_ceilings(context, &measured, NULL), HOPMLA_ERROR_DRIVER_STICKY);
    assert_int_equal(fake_cuda_live(), live);
    hopmla_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(foreign_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_events, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_handles, setup, teardown),
        cmocka_unit_test_setup_teardown(events, setup, teardown),
        cmocka_unit_test_setup_teardown(graphs, setup, teardown),
        cmocka_unit_test_setup_teardown(statuses_of_driver_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(ceilings, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
