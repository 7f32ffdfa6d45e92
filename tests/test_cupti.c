/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_cuda.h"
#include "tests/cupti/fake_cupti.h"
#include "tests/failing_alloc.h"
#include "tests/observed.h"

/** @file
 * Kernel times and counters over a CUPTI without a device: what a record gets, and that whatever fails in CUPTI reaches
 * neither the caller's calls nor the records of others. */

enum {
    EVENTS = HOPMLA_CLOCK_EVENTS,
    ACTIVITY = HOPMLA_CLOCK_ACTIVITY,
    CALL_NS = 2 * FAKE_KERNEL_NS
};

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
    fake_cupti_reset();
    observed_create(o, cuda_context());
    observed_update(o);
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    observed *o = *state;
    fake_cuda_fail(NULL, 0, 0);
    observed_destroy(o);
    assert_int_equal(fake_cuda_live(), 0);
    assert_int_equal(fake_cuda_depth(), 0);
    assert_int_equal(fake_cupti_live(), 0);
    assert_int_equal(fake_cupti.externals_left, 0);
    free(o);
    return 0;
}

static hopmla_profiler *make(hopmla_context *context, uint32_t clocks, int32_t counters, uint32_t capacity)
{
    hopmla_profiler *profiler = NULL;
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.clocks = clocks;
    options.counters = counters;
    options.capacity = capacity;
    options.metrics = counters == HOPMLA_COUNTERS_CUSTOM ? "some__metric.sum, other__metric.avg" : NULL;
    assert_int_equal(hopmla_profiler_create(context, &options, &profiler, NULL), HOPMLA_OK);
    return profiler;
}

static hopmla_profiler *make_started(hopmla_context *context, uint32_t clocks, int32_t counters, uint32_t capacity)
{
    hopmla_profiler *profiler = make(context, clocks, counters, capacity);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    return profiler;
}

static void finish(hopmla_profiler *profiler)
{
    assert_int_equal(hopmla_profiler_finish(profiler, NULL), HOPMLA_OK);
}

static void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("\"%s\" lacks \"%s\"", text, part);
    }
}

/* What is measured. */

static void test_times(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_NONE, 64);
    assert_int_equal(observed_info(profiler).time_source, HOPMLA_SOURCE_ACTIVITY);
    assert_int_equal(observed_append(o, 0), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    hopmla_record records[4];
    /* The last call of a thread may have more launches to come in. */
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(observed_read(profiler, records + 1, 3), 0);
    finish(profiler);
    assert_int_equal(observed_read(profiler, records + 1, 3), 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(records[i].time_source, HOPMLA_SOURCE_ACTIVITY);
        assert_int_equal(records[i].device_ns, CALL_NS);
        assert_true(records[i].valid & HOPMLA_VALID_TIME);
        /* The double's clock is another one than the records'. */
        assert_in_range(records[i].device_begin_ns - records[i].host_begin_ns, 0, 1000000000);
        assert_true(records[i].flops_per_second > 0.0 || records[i].kind == HOPMLA_CALL_APPEND);
    }
    hopmla_profiler_destroy(profiler);
}

/* The last call of all is not waited for for ever: what is read at intervals would never be complete. */
static void test_last_time(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_NONE, 1);
    hopmla_record records[4];
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 4), 0);
    assert_int_equal(usleep(1100000), 0);
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(records[0].device_ns, CALL_NS);
    hopmla_profiler_destroy(profiler);
}

static void test_times_wait_for_kernels(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_NONE, 64);
    hopmla_record records[8];
    fake_cupti.kernels_run = 1;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    }
    assert_int_equal(observed_read(profiler, records, 8), 0);
    fake_cupti.kernels_run = 0;
    assert_int_equal(observed_read(profiler, records, 8), 3);
    assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 8), 1);
    assert_int_equal(observed_info(profiler).untimed, 0);
    hopmla_profiler_destroy(profiler);
}

/* More than all of CUPTI's buffers hold, in passing. */
static void test_many_times(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_NONE, 256);
    hopmla_record records[256];
    uint32_t read = 0;
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(observed_decode(o, i % OBSERVED_LAYERS), HOPMLA_OK);
        if (i % 100 == 0) {
            const uint32_t n = observed_read(profiler, records, 256);
            for (uint32_t j = 0; j < n; j++) {
                assert_int_equal(records[j].device_ns, CALL_NS);
                assert_int_equal(records[j].id, ++read);
            }
        }
    }
    finish(profiler);
    assert_int_equal(read + observed_read(profiler, records, 256), 20000);
    assert_int_equal(observed_info(profiler).dropped, 0);
    hopmla_profiler_destroy(profiler);
}

static void test_dropped_times(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, EVENTS | ACTIVITY, HOPMLA_COUNTERS_NONE, 64);
    hopmla_record records[8];
    fake_cupti.drops = 1;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    }
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 8), 4);
    for (int i = 0; i < 4; i++) { /* any of them may be without one of its kernels */
        assert_int_equal(records[i].valid & HOPMLA_VALID_TIME, 0);
    }
    assert_int_equal(observed_info(profiler).untimed, 4);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 8), 1);
    assert_int_equal(records[0].device_ns, CALL_NS);
    hopmla_profiler_destroy(profiler);
}

/* The double's counter i of the record at position p is 1000 (p + 1) + i. */
static void test_counters(void **state)
{
    observed *o = *state;
    static const int32_t sets[] = { HOPMLA_COUNTERS_LIGHT, HOPMLA_COUNTERS_FULL, HOPMLA_COUNTERS_CUSTOM };
    static const uint32_t valid[] = { HOPMLA_VALID_DRAM, HOPMLA_VALID_DRAM | HOPMLA_VALID_TENSOR, HOPMLA_VALID_CUSTOM };
    for (int set = 0; set < 3; set++) {
        hopmla_profiler *profiler = make_started(o->context, ACTIVITY, sets[set], 64);
        assert_int_equal(observed_info(profiler).counters, sets[set]);
        assert_int_equal(observed_append(o, 0), HOPMLA_OK);
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        hopmla_record records[4];
        assert_int_equal(observed_read(profiler, records, 4), 0); /* the window is open */
        finish(profiler);
        assert_int_equal(observed_read(profiler, records, 4), 2);
        for (int i = 0; i < 2; i++) {
            const hopmla_record *r = &records[i];
            const uint64_t base = 1000 * r->id;
            assert_int_equal(r->valid, HOPMLA_VALID_WORK | HOPMLA_VALID_TIME | valid[set]);
            if (valid[set] & HOPMLA_VALID_DRAM) {
                assert_int_equal(r->dram_read_bytes, base);
                assert_int_equal(r->dram_write_bytes, base + 1);
                assert_int_equal(r->l2_bytes, 32 * (base + 2));
                assert_int_equal(r->elapsed_cycles, base + 3);
            }
            if (valid[set] & HOPMLA_VALID_TENSOR) {
                assert_int_equal(r->active_cycles, base + 4);
                assert_int_equal(4 * r->tensor_cycles, base + 5);
                assert_int_equal(r->tensor_flops, 2 * base + 6 + 7);
            }
            if (valid[set] & HOPMLA_VALID_CUSTOM) {
                assert_int_equal(r->custom[0], base);
                assert_int_equal(r->custom[1], base + 1);
                assert_int_equal(r->custom[2], 0);
            }
        }
        hopmla_profiler_destroy(profiler);
    }
}

static void test_sampling(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = NULL;
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.counters = HOPMLA_COUNTERS_LIGHT;
    options.sample_period = 3;
    assert_int_equal(hopmla_profiler_create(o->context, &options, &profiler, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        assert_int_equal(i % 2 ? HOPMLA_OK : observed_append(o, 0), HOPMLA_OK);
    }
    finish(profiler);
    hopmla_record records[16];
    assert_int_equal(observed_read(profiler, records, 16), 11);
    int of_kind[HOPMLA_CALL_LAUNCH + 1] = { 0 };
    for (int i = 0; i < 11; i++) {
        const int counted = of_kind[records[i].kind]++ % 3 == 0;
        assert_int_equal(records[i].valid & HOPMLA_VALID_DRAM, counted ? HOPMLA_VALID_DRAM : 0);
    }
    assert_int_equal(fake_cupti.pushes, 3 + 2);
    hopmla_profiler_destroy(profiler);
}

/* Full windows are emptied by whoever reads; calls that find one full are not counted, and not held up. */
static void test_windows(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, 0, HOPMLA_COUNTERS_FULL, 1024);
    static hopmla_record records[1024];
    uint32_t read = 0, counted = 0;
    for (int i = 0; i < 600; i++) {
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
        read += i % 50 ? 0 : observed_read(profiler, records + read, 1024 - read);
    }
    assert_true(read > 400);
    assert_true(fake_cupti.windows > 3);
    finish(profiler);
    read += observed_read(profiler, records + read, 1024 - read);
    assert_int_equal(read, 600);
    for (int i = 0; i < 600; i++) {
        if (records[i].valid & HOPMLA_VALID_DRAM) {
            assert_int_equal(records[i].dram_read_bytes, 1000 * records[i].id);
            counted++;
        }
    }
    assert_int_equal(counted, fake_cupti.pushes);
    assert_true(counted >= 512);
    hopmla_profiler_destroy(profiler);
}

/* A small ring must not be stopped by its first record's counters. */
static void test_small_ring(void **state)
{
    observed *o = *state;
    for (uint32_t capacity = 1; capacity <= 8; capacity *= 2) {
        hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_LIGHT, capacity);
        hopmla_record records[8];
        uint32_t read = 0;
        for (int i = 0; i < 32; i++) {
            assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
            read += observed_read(profiler, records, 8);
            if (capacity == 1) { /* which call is the thread's last is not known before there is another */
                finish(profiler);
            }
        }
        assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
        read += observed_read(profiler, records, 8);
        assert_int_equal(read + observed_info(profiler).dropped, 32);
        assert_true(read >= (capacity == 1 ? 15 : 31 - capacity));
        hopmla_profiler_destroy(profiler);
    }
}

static void test_lost_ranges(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, 0, HOPMLA_COUNTERS_LIGHT, 64);
    hopmla_record records[8];
    fake_cupti.most_ranges = 2;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    }
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 8), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(records[i].valid, HOPMLA_VALID_WORK | (i < 2 ? HOPMLA_VALID_DRAM : 0));
    }
    fake_cupti.most_ranges = 0;
    fake_cupti.not_a_number = 1;
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 8), 1);
    assert_int_equal(records[0].valid, HOPMLA_VALID_WORK);
    hopmla_profiler_destroy(profiler);
}

/* Launches. */

static void launch_begin(observed *o)
{
    hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
    note.decodes = 1;
    assert_int_equal(hopmla_plan_launch_begin(o->plan, &note, o->stream, NULL), HOPMLA_OK);
}

static void test_launch(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_LIGHT, 64);
    hopmla_record records[4];
    launch_begin(o);
    assert_int_equal(hopmla_plan_launch_end(o->plan, o->stream, NULL), HOPMLA_OK);
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(records[0].flags & HOPMLA_RECORD_GRAPH, HOPMLA_RECORD_GRAPH);
    assert_int_equal(records[0].device_ns, CALL_NS);
    assert_true(records[0].valid & HOPMLA_VALID_DRAM);
    hopmla_profiler_destroy(profiler);
}

/* Between its begin and its end everything may stop, and start. */
static void test_stop_in_launch(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_LIGHT, 64);
    hopmla_record records[4];
    launch_begin(o);
    assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_launch_end(o->plan, o->stream, NULL), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 4), 0);
    launch_begin(o);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(hopmla_plan_launch_end(o->plan, o->stream, NULL), HOPMLA_OK);
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(records[0].device_ns, CALL_NS);
    assert_true(records[0].valid & HOPMLA_VALID_DRAM);
    launch_begin(o);
    hopmla_profiler_destroy(profiler);
    assert_int_equal(hopmla_plan_launch_end(o->plan, o->stream, NULL), HOPMLA_OK);
    fake_cupti.externals_left = 0; /* the id of the first launch, which nobody could pop any more */
}

static void *end_launch(void *user)
{
    observed *o = user;
    return hopmla_plan_launch_end(o->plan, o->stream, NULL) == HOPMLA_OK ? NULL : user;
}

static void test_launch_ends_elsewhere(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_LIGHT, 64);
    hopmla_record records[4];
    for (int i = 0; i < 40; i++) { /* more than a thread's stack of ids has room for */
        pthread_t thread;
        void *failed = o;
        launch_begin(o);
        assert_int_equal(pthread_create(&thread, NULL, end_launch, o), 0);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(fake_cupti.externals_left, 0);
    finish(profiler);
    while (observed_read(profiler, records, 1) == 1) {
    }
    assert_int_equal(records[0].device_ns, CALL_NS);
    hopmla_profiler_destroy(profiler);
}

/* Threads. */

static void *decode_often(void *user)
{
    for (int i = 0; i < 200; i++) {
        if (observed_decode(user, 0) != HOPMLA_OK) {
            return user;
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    enum {
        THREADS = 4
    };
    observed *o = *state;
    pthread_t threads[THREADS];
    hopmla_profiler *profiler = make_started(o->context, ACTIVITY, HOPMLA_COUNTERS_LIGHT, 1024);
    static hopmla_record records[1024];
    uint32_t read = 0, counted = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, decode_often, o), 0);
    }
    for (int i = 0; i < 20; i++) {
        read += observed_read(profiler, records + read, 1024 - read);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed = o;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    finish(profiler);
    read += observed_read(profiler, records + read, 1024 - read);
    assert_int_equal(read, 200 * THREADS);
    for (uint32_t i = 0; i < read; i++) {
        assert_int_equal(records[i].device_ns, CALL_NS);
        counted += (records[i].valid & HOPMLA_VALID_DRAM) != 0;
        assert_true(!(records[i].valid & HOPMLA_VALID_DRAM) || records[i].dram_read_bytes == 1000 * records[i].id);
    }
    assert_int_equal(counted, fake_cupti.pushes);
    assert_int_equal(fake_cupti.externals_left, 0);
    hopmla_profiler_destroy(profiler);
}

/* What is missing. */

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
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_times),
        TEST(test_last_time),
        TEST(test_times_wait_for_kernels),
        TEST(test_many_times),
        TEST(test_dropped_times),
        TEST(test_counters),
        TEST(test_sampling),
        TEST(test_windows),
        TEST(test_small_ring),
        TEST(test_lost_ranges),
        TEST(test_launch),
        TEST(test_stop_in_launch),
        TEST(test_launch_ends_elsewhere),
        TEST(test_threads),
        TEST(test_no_privilege),
        TEST(test_impossible_metrics),
        TEST(test_metrics_are_checked),
        TEST(test_subscriber),
        TEST(test_two_contexts),
        TEST(test_capture),
        TEST(test_own_capture),
        TEST(test_any_failure),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
