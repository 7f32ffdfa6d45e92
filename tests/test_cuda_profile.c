/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_cuda.h"
#include "tests/cpu_context.h"
#include "tests/observed.h"

/** @file
 * CUDA events as a profiler's clock, over a driver without a device: what is timed, when it can be read, and that no
 * failure of theirs reaches the caller's calls. */

static hopmla_context *cuda_context(void)
{
    hopmla_context *context = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    return context;
}

static int set_up(void **state)
{
    observed *o = calloc(1, sizeof(*o));
    fake_cuda_reset();
    assert_int_equal(fake_cuda_live(), 0);
    observed_create(o, cuda_context());
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    observed *o = *state;
    fake_cuda_fail(NULL, 0, 0);
    fake_cuda_lose(0, 0);
    observed_destroy(o);
    assert_int_equal(fake_cuda_live(), 0);
    assert_int_equal(fake_cuda_depth(), 0);
    free(o);
    return 0;
}

/* Nothing asked for: no event is made, and no time is told. */
static void test_analytic(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = observed_profiler(o->context, 0, 0);
    fake_cuda_fail("cuEventRecord", 1 << 30, 0);
    observed_update(o);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    hopmla_record records[3];
    assert_int_equal(observed_read(profiler, records, 3), 2);
    assert_int_equal(records[1].valid, HOPMLA_VALID_WORK);
    assert_int_equal(records[1].time_source, HOPMLA_SOURCE_NONE);
    assert_int_equal(records[1].device_ns, 0);
    assert_true(records[1].host_ns > 0);
    assert_int_equal(fake.events, 0);
    assert_int_equal(fake.calls, 0);
    const hopmla_profiler_info info = observed_info(profiler);
    assert_int_equal(info.time_source, HOPMLA_SOURCE_NONE);
    assert_int_equal(info.untimed, 0); /* no time was promised */
    const hopmla_totals totals = observed_totals(profiler, HOPMLA_CALL_DECODE, NULL);
    assert_int_equal(totals.records, 1);
    assert_int_equal(totals.timed, 0);
    assert_int_equal(totals.time_p99_ns, 0);
    hopmla_profiler_destroy(profiler);
}

static void test_events(void **state)
{
    observed *o = *state;
    fake.clocked = 1;
    hopmla_profiler *profiler = observed_profiler(o->context, HOPMLA_CLOCK_EVENTS, 64);
    const int events = fake.events;
    assert_int_equal(events, 2 * 64 + 2);
    observed_update(o);
    assert_int_equal(observed_append(o, 0), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(observed_gather(o, 5), HOPMLA_OK);
    hopmla_record records[8];
    assert_int_equal(observed_read(profiler, records, 8), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(records[i].valid, HOPMLA_VALID_WORK | HOPMLA_VALID_TIME);
        assert_int_equal(records[i].time_source, HOPMLA_SOURCE_EVENT);
        assert_true(records[i].device_ns <= records[i].host_ns + 1000);
        /* Tied to the host's clock by the anchor: within the call, but for what the anchor is wrong. */
        assert_true(records[i].device_begin_ns > records[i].host_begin_ns - 200000);
        assert_true(records[i].device_begin_ns + records[i].device_ns <
                    records[i].host_begin_ns + records[i].host_ns + 200000);
    }
    assert_int_equal(observed_info(profiler).time_source, HOPMLA_SOURCE_EVENT);
    assert_int_equal(fake.events, events); /* none is made on the way */
    hopmla_profiler_destroy(profiler);
    assert_int_equal(fake.events, 0);
}

/* What still runs stays for a later read, and holds back what comes after it. Nothing waits. */
static void test_what_still_runs(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = observed_profiler(o->context, HOPMLA_CLOCK_EVENTS, 64);
    observed_update(o);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    fake.slow = 1;
    hopmla_record records[8];
    assert_int_equal(observed_read(profiler, records, 8), 0);
    assert_int_equal(observed_info(profiler).waiting, 2);
    assert_int_equal(observed_totals(profiler, HOPMLA_CALL_DECODE, NULL).records, 0);
    assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 8), 0);
    fake.slow = 0;
    assert_int_equal(hopmla_profiler_finish(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_totals(profiler, HOPMLA_CALL_DECODE, NULL).time_ns, 1500000);
    assert_int_equal(observed_read(profiler, records, 8), 2);
    assert_int_equal(records[1].device_ns, 1500000);
    assert_true(records[1].flops_per_second == (double)records[1].flops / 1500000.0 * 1e9);
    hopmla_profiler_destroy(profiler);
}

/* Without an anchor the host's time stands in for the device's. */
static void test_no_anchor(void **state)
{
    observed *o = *state;
    fake.slow = 1;
    hopmla_profiler *profiler = observed_profiler(o->context, HOPMLA_CLOCK_EVENTS, 64);
    observed_update(o);
    fake_cuda_fail("cuEventRecord", 0, HM_CU_INVALID_HANDLE);
    fake.fail_for_good = 1;
    fake.slow = 0;
    hopmla_record record;
    assert_int_equal(observed_read(profiler, &record, 1), 1);
    assert_int_equal(record.device_begin_ns, record.host_begin_ns);
    assert_int_equal(record.device_ns, 1500000);
    hopmla_profiler_destroy(profiler);
}

/* A capture holds the calls alone: no event gets into it, reading does not break it, and its replays are records. */
static void test_capture(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = observed_profiler(o->context, HOPMLA_CLOCK_EVENTS, 64);
    observed_update(o);
    hopmla_record records[8];
    hopmla_graph graph;
    int nodes[2];
    for (int with = 0; with < 2; with++) {
        if (!with) {
            assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
        } else {
            assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
        }
        assert_int_equal(hopmla_graph_begin(o->context, o->stream, NULL), HOPMLA_OK);
        assert_int_equal(observed_append(o, 0), HOPMLA_OK);
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        assert_int_equal(observed_read(profiler, records, 8), with ? 0 : 1); /* the update */
        nodes[with] = ((struct CUstream_st *)o->stream)->nodes;
        assert_int_equal(hopmla_graph_end(o->context, o->stream, &graph, NULL), HOPMLA_OK);
        if (!with) {
            hopmla_graph_destroy(o->context, graph);
        }
    }
    assert_int_equal(nodes[0], nodes[1]);
    assert_true(nodes[0] >= 2);
    const hopmla_launch_note note = { sizeof(note), 1, 1, 0 };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hopmla_plan_launch_begin(o->plan, &note, o->stream, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_graph_launch(o->context, graph, o->stream, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
    }
    assert_int_equal(observed_read(profiler, records, 8), 3);
    assert_int_equal(records[2].kind, HOPMLA_CALL_LAUNCH);
    assert_int_equal(records[2].device_ns, 1500000);
    hopmla_graph_destroy(o->context, graph);
    hopmla_profiler_destroy(profiler);
}

/* The caller's calls succeed whatever happens to events; what has no time says so, and is counted. */
static void test_events_that_fail(void **state)
{
    observed *o = *state;
    const char *names[] = { "cuEventRecord", "cuEventRecord", "cuEventQuery", "cuEventElapsedTime",
                            "cuThreadExchangeStreamCaptureMode" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        hopmla_profiler *profiler = observed_profiler(o->context, HOPMLA_CLOCK_EVENTS, 64);
        observed_update(o);
        hopmla_record records[4];
        assert_int_equal(observed_read(profiler, records, 4), 1);
        fake_cuda_fail(names[i], i == 1 ? 1 : 0, 999);
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        assert_int_equal(observed_read(profiler, records, 4), 1);
        assert_true(fake.faults == 1);
        assert_int_equal(records[0].kind, HOPMLA_CALL_DECODE);
        assert_int_equal(records[0].valid, HOPMLA_VALID_WORK);
        assert_int_equal(observed_info(profiler).untimed, 1);
        assert_int_equal(observed_totals(profiler, HOPMLA_CALL_DECODE, NULL).timed, 0);
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        assert_int_equal(observed_read(profiler, records, 4), 1);
        assert_int_equal(records[0].valid, HOPMLA_VALID_WORK | HOPMLA_VALID_TIME);
        hopmla_profiler_destroy(profiler);
    }
}

/* More calls than there are pairs of events, and nobody reads. */
static void test_events_run_out(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = observed_profiler(o->context, HOPMLA_CLOCK_EVENTS, 1 << 14);
    assert_int_equal(fake.events, 2 * 8192 + 2);
    observed_update(o);
    for (int i = 1; i < 8192 + 10; i++) {
        assert_int_equal(observed_append(o, 0), HOPMLA_OK);
    }
    hopmla_profiler_info info = observed_info(profiler);
    assert_int_equal(info.dropped, 0);
    assert_int_equal(info.waiting, 8192 + 10);
    assert_int_equal(info.untimed, 10);
    assert_int_equal(observed_append(o, 0), HOPMLA_OK); /* they were taken in: pairs are free again */
    info = observed_info(profiler);
    assert_int_equal(info.untimed, 10);
    hopmla_profiler_destroy(profiler);
}

/* A lost context: the caller hears of it from its own calls, and records come to an end without times. */
static void test_lost_context(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = observed_profiler(o->context, HOPMLA_CLOCK_EVENTS, 64);
    observed_update(o);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    fake_cuda_lose(HM_CU_LAUNCH_FAILED, 0);
    assert_int_equal(observed_decode(o, 0), HOPMLA_ERROR_DRIVER_STICKY);
    hopmla_record records[4];
    assert_int_equal(observed_read(profiler, records, 4), 2);
    assert_int_equal(records[1].valid, HOPMLA_VALID_WORK);
    assert_int_equal(hopmla_profiler_finish(profiler, NULL), HOPMLA_ERROR_DRIVER_STICKY);
    fake_cuda_lose(0, 0);
    hopmla_profiler_destroy(profiler);
}

/* Every call of the driver on the way to a profiler fails once. */
static void test_creation_that_fails(void **state)
{
    observed *o = *state;
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.clocks = HOPMLA_CLOCK_EVENTS;
    options.capacity = 4;
    const int live = fake_cuda_live();
    int at = 0;
    for (;; at++) {
        hopmla_profiler *profiler = NULL;
        hopmla_error error = HOPMLA_ERROR_INIT;
        fake_cuda_fail(NULL, at, HM_CU_OUT_OF_MEMORY);
        const hopmla_status status = hopmla_profiler_create(o->context, &options, &profiler, &error);
        const int faults = fake.faults;
        fake_cuda_fail(NULL, 0, 0);
        assert_true((status == HOPMLA_OK) == (profiler != NULL));
        hopmla_profiler_destroy(profiler);
        assert_int_equal(fake_cuda_live(), live);
        if (!faults) {
            break;
        }
    }
    assert_true(at > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_analytic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_still_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_anchor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_capture, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_that_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_run_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_context, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_creation_that_fails, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("events as a clock", tests, NULL, NULL) ? 1 : 0;
}
