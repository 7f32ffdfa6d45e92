/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/cupti/cupti_case.h"
#include "tests/failing_alloc.h"

/** @file
 * What CUPTI does not give, over one without a device: whatever fails in it reaches neither the caller's calls nor the
 * records of others, and there is a reason. */

static void assert_missing(observed *o, int32_t counters, const char *text)
{
    hopmla_profiler *profiler = make_started(o->context, EVENTS | ACTIVITY, counters, 64);
    hopmla_profiler_info info = observed_info(profiler);
    assert_int_equal(info.counters, HOPMLA_COUNTERS_NONE);
    assert_holds(info.counters_missing, text);
    hopmla_record records[4];
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_true(records[0].valid & HOPMLA_VALID_TIME);
    hopmla_profiler_destroy(profiler);
}

static void test_no_privilege(void **state)
{
    fake_cupti_fail("cuptiProfilerGetCounterAvailability", 0, 35);
    assert_missing(*state, HOPMLA_COUNTERS_LIGHT, "/proc/driver/nvidia/params");
    fake_cupti_fail("cuptiRangeProfilerStart", 0, 35);
    assert_missing(*state, HOPMLA_COUNTERS_LIGHT, "NVreg_RestrictProfilingToAdminUsers=0");
    fake_cupti_fail("cuptiRangeProfilerStart", 0, 26);
    assert_missing(*state, HOPMLA_COUNTERS_LIGHT, "another context, process or tool");
    fake_cupti_fail("cuptiProfilerInitialize", 0, 15);
    assert_missing(*state, HOPMLA_COUNTERS_LIGHT, "libnvperf_host.so");
    fake_cupti_fail("cuptiProfilerInitialize", 0, 999);
    assert_missing(*state, HOPMLA_COUNTERS_LIGHT, "cuptiProfilerInitialize: CUPTI_ERROR_UNKNOWN (999)");
}

static void test_impossible_metrics(void **state)
{
    fake_cupti.no_metric = "other__metric.avg";
    assert_missing(*state, HOPMLA_COUNTERS_CUSTOM, "no metric \"other__metric.avg\"");
    fake_cupti_reset();
    fake_cupti.passes = 2;
    assert_missing(*state, HOPMLA_COUNTERS_CUSTOM, "more than one pass");
}

static void test_metrics_are_checked(void **state)
{
    observed *o = *state;
    static const char *const bad[] = { "", ",", "a,", ",a", "a,,b", "a b", "a;b", "a,b,c,d,e,f,g,h,i" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
        hopmla_profiler *profiler = NULL;
        hopmla_error error = HOPMLA_ERROR_INIT;
        options.counters = HOPMLA_COUNTERS_CUSTOM;
        options.metrics = bad[i];
        assert_int_equal(hopmla_profiler_create(o->context, &options, &profiler, &error), HOPMLA_ERROR_ARGUMENT);
        assert_holds(error.message, "options.metrics");
        assert_null(profiler);
    }
}

/* Somebody who was there first keeps CUPTI; events take its place, where they were asked for. */
static void test_subscriber(void **state)
{
    observed *o = *state;
    for (int wants_events = 0; wants_events < 2; wants_events++) {
        fake_cupti.subscriber = "Nsight Compute";
        hopmla_profiler *profiler = make_started(o->context, ACTIVITY | (wants_events ? EVENTS : 0), 0, 64);
        hopmla_profiler_info info = observed_info(profiler);
        assert_holds(info.activity_missing, "\"Nsight Compute\"");
        assert_int_equal(info.time_source, wants_events ? HOPMLA_SOURCE_EVENT : HOPMLA_SOURCE_NONE);
        hopmla_record records[4];
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        finish(profiler);
        assert_int_equal(observed_read(profiler, records, 4), 1);
        assert_int_equal(records[0].time_source, info.time_source);
        assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
        fake_cupti.subscriber = NULL; /* it has gone */
        assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
        info = observed_info(profiler);
        assert_int_equal(info.time_source, HOPMLA_SOURCE_ACTIVITY);
        assert_string_equal(info.activity_missing, "");
        hopmla_profiler_destroy(profiler);
    }
}

static void test_two_contexts(void **state)
{
    observed *o = *state;
    observed other = { 0 };
    hopmla_error error = HOPMLA_ERROR_INIT;
    observed_create(&other, cuda_context());
    observed_update(&other);
    hopmla_profiler *first = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_LIGHT, 64);
    hopmla_profiler *second = make(other.context, EVENTS | ACTIVITY, HOPMLA_COUNTERS_LIGHT, 64);
    assert_int_equal(hopmla_profiler_start(second, &error), HOPMLA_ERROR_BUSY);
    assert_holds(error.message, "another profiler");
    hopmla_profiler *third = make_started(other.context, EVENTS | ACTIVITY, HOPMLA_COUNTERS_NONE, 64);
    assert_holds(observed_info(third).activity_missing, "another profiler");
    hopmla_record records[4];
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(observed_decode(&other, 0), HOPMLA_OK);
    finish(first);
    finish(third);
    assert_int_equal(observed_read(first, records, 4), 1);
    assert_int_equal(records[0].time_source, HOPMLA_SOURCE_ACTIVITY);
    assert_int_equal(observed_read(third, records, 4), 1);
    assert_int_equal(records[0].time_source, HOPMLA_SOURCE_EVENT);
    hopmla_profiler_destroy(third);
    assert_int_equal(hopmla_profiler_stop(first, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_start(second, NULL), HOPMLA_OK);
    assert_int_equal(observed_info(second).time_source, HOPMLA_SOURCE_ACTIVITY);
    hopmla_profiler_destroy(second);
    hopmla_profiler_destroy(first);
    observed_destroy(&other);
}

/* A capture that the driver tells of: 906, which is what the default stream gets then. */
static void test_capture(void **state)
{
    observed *o = *state;
    hopmla_record records[4];
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_profiler *profiler = make(o->context, ACTIVITY, HOPMLA_COUNTERS_LIGHT, 64);
    fake_cuda_fail("cuStreamIsCapturing", 0, HM_CU_STREAM_CAPTURE_IMPLICIT);
    assert_int_equal(hopmla_profiler_start(profiler, &error), HOPMLA_ERROR_CAPTURE);
    assert_int_equal(fake_cupti.windows, 0);
    fake_cuda_fail(NULL, 0, 0);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    fake_cuda_fail("cuStreamIsCapturing", 0, HM_CU_STREAM_CAPTURE_IMPLICIT);
    finish(profiler); /* the window is not touched: it can be read later */
    assert_int_equal(observed_read(profiler, records, 4), 0);
    assert_int_equal(fake_cupti.windows, 1);
    fake_cuda_fail("cuStreamIsCapturing", 0, HM_CU_STREAM_CAPTURE_IMPLICIT);
    assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    assert_int_equal(fake_cupti.live[2], 1); /* still open: closing it would have broken the capture */
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(records[0].valid & HOPMLA_VALID_DRAM, 0);
    fake_cuda_fail(NULL, 0, 0);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    fake_cuda_fail("cuStreamIsCapturing", 0, HM_CU_STREAM_CAPTURE_IMPLICIT);
    assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    hopmla_profiler_destroy(profiler);
}

/* One that the library was asked to begin; and one that is seen by the calls in it. */
static void test_own_capture(void **state)
{
    observed *o = *state;
    hopmla_record records[4];
    hopmla_graph graph = NULL;
    hopmla_profiler *profiler = make(o->context, ACTIVITY, HOPMLA_COUNTERS_FULL, 64);
    assert_int_equal(hopmla_graph_begin(o->context, o->stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_ERROR_CAPTURE);
    assert_int_equal(hopmla_graph_end(o->context, o->stream, &graph, NULL), HOPMLA_OK);
    hopmla_graph_destroy(o->context, graph);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(fake_cupti.pushes, 1);
    hopmla_stream other = NULL;
    assert_int_equal(hopmla_stream_create(o->context, &other, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(o->context, other, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK); /* not counted: that would break the capture */
    assert_int_equal(fake_cupti.pushes, 1);
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = 3, args.softmax_scale = 0.1f;
    assert_int_equal(hopmla_decode(o->plan, &args, observed_memory, NULL, observed_memory, NULL, other, NULL),
                     HOPMLA_OK);
    assert_int_equal(hopmla_graph_end(o->context, other, &graph, NULL), HOPMLA_OK);
    for (int i = 0; i < 40; i++) { /* more than half of what the ring holds: the window is due */
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    }
    /* Another layer may follow in a capture of the engine's own. */
    assert_int_equal(observed_read(profiler, records, 4), 0);
    assert_int_equal(fake_cupti.windows, 1);
    assert_int_equal(usleep(600000), 0);
    assert_int_equal(observed_read(profiler, records, 4), 4);
    assert_int_equal(fake_cupti.windows, 2);
    assert_true(records[0].valid & HOPMLA_VALID_TENSOR);
    assert_false(records[1].valid & HOPMLA_VALID_TENSOR);
    assert_true(records[2].valid & HOPMLA_VALID_TENSOR);
    hopmla_graph_destroy(o->context, graph);
    hopmla_stream_destroy(o->context, other);
    hopmla_profiler_destroy(profiler);
}

/* A range that cannot be pushed or popped ends the counting, and there is a reason; another start tries again. */
static void test_ranges_that_fail(void **state)
{
    observed *o = *state;
    static const char *const names[] = { "cuptiRangeProfilerPushRange", "cuptiRangeProfilerPopRange" };
    hopmla_profiler *profiler = make(o->context, EVENTS, HOPMLA_COUNTERS_LIGHT, 64);
    hopmla_record records[4];
    for (int i = 0; i < 4; i++) {
        const char *name = names[i / 2];
        const int is_read = i % 2; /* else the stop has to find it */
        assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
        assert_string_equal(observed_info(profiler).counters_missing, "");
        assert_int_equal(observed_info(profiler).counters, HOPMLA_COUNTERS_LIGHT);
        fake_cupti_fail(name, 0, 999);
        const int pushes = fake_cupti.pushes;
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        assert_int_equal(fake_cupti.pushes - pushes, i / 2); /* none behind the failure */
        if (is_read) {
            assert_int_equal(observed_read(profiler, records, 4), 2);
            assert_holds(observed_info(profiler).counters_missing, name);
            assert_int_equal(observed_info(profiler).counters, HOPMLA_COUNTERS_NONE);
        }
        assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
        assert_holds(observed_info(profiler).counters_missing, name);
        assert_int_equal(observed_read(profiler, records, 4), is_read ? 0 : 2);
        fake_cupti_fail(NULL, 0, 0);
    }
    hopmla_profiler_destroy(profiler);
}

/* Any call of CUPTI fails, once or from then on. */

static void use_all(observed *o, int32_t counters)
{
    hopmla_profiler *profiler = make(o->context, EVENTS | ACTIVITY, counters, 64);
    hopmla_record records[16];
    uint32_t read = 0;
    for (int session = 0; session < 2; session++) {
        assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(observed_append(o, 0), HOPMLA_OK);
            assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        }
        finish(profiler);
        read += observed_read(profiler, records, 16);
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    }
    read += observed_read(profiler, records, 16);
    assert_int_equal(read, 14);
    hopmla_profiler_destroy(profiler);
}

static void test_any_failure(void **state)
{
    observed *o = *state;
    for (int for_good = 0; for_good < 2; for_good++) {
        int failed = 1;
        for (int at = 0; failed; at++) {
            fake_cupti_reset();
            fake_cupti.fail_for_good = for_good;
            fake_cupti_fail(NULL, at, 999);
            use_all(o, at % 2 ? HOPMLA_COUNTERS_LIGHT : HOPMLA_COUNTERS_FULL);
            failed = fake_cupti.faults;
            fake_cupti_fail(NULL, 0, 0);
            fake_cupti.externals_left = 0; /* a pop failed */
            assert_int_equal(fake_cupti_live(), 0);
        }
    }
}

/* Allocations fail: a profiler that cannot be made is refused, one that cannot be started fully says so. */
static void test_no_memory(void **state)
{
    (void)state;
    failing_alloc allocator;
    int failed = 1;
    for (int64_t at = 0; failed; at++) {
        observed o = { 0 };
        hopmla_context *context = NULL;
        hopmla_profiler *profiler = NULL;
        hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
        hopmla_profiler_options wanted = HOPMLA_PROFILER_OPTIONS_INIT;
        failing_alloc_init(&allocator);
        failing_alloc_use(&allocator, &options);
        options.backend = HOPMLA_BACKEND_CUDA;
        assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
        observed_create(&o, context);
        observed_update(&o);
        wanted.clocks = ACTIVITY;
        wanted.counters = HOPMLA_COUNTERS_FULL;
        wanted.capacity = 64;
        allocator.kinds = FAILING_ALLOC_KIND(HOPMLA_MEMORY_HOST);
        allocator.counted = 0;
        allocator.fail_at = at;
        const hopmla_status status = hopmla_profiler_create(context, &wanted, &profiler, NULL);
        if (status == HOPMLA_OK) {
            assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
            const hopmla_profiler_info info = observed_info(profiler);
            assert_int_equal(info.counters, info.counters_missing[0] ? 0 : HOPMLA_COUNTERS_FULL);
            assert_int_equal(observed_decode(&o, 0), HOPMLA_OK);
            finish(profiler);
            hopmla_record record;
            assert_int_equal(observed_read(profiler, &record, 1), 1);
            hopmla_profiler_destroy(profiler);
        } else {
            assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
            assert_null(profiler);
        }
        failed = allocator.failed;
        allocator.fail_at = -1;
        assert_true(failed || status == HOPMLA_OK);
        observed_destroy(&o);
        assert_int_equal(allocator.live_blocks, 0);
        assert_int_equal(allocator.bad_frees, 0);
        failing_alloc_finish(&allocator);
        assert_int_equal(fake_cupti_live(), 0);
        assert_true(at < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_privilege), TEST(test_impossible_metrics), TEST(test_metrics_are_checked),
        TEST(test_subscriber),   TEST(test_two_contexts),       TEST(test_capture),
        TEST(test_own_capture),  TEST(test_ranges_that_fail),   TEST(test_any_failure),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
