/* SPDX-License-Identifier: Apache-2.0 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "profiling/observe/profiler.h"
#include "tests/cupti/cupti_case.h"

/** @file
 * Kernel times and counters over a CUPTI without a device: what a record gets, in which order, and from which thread. */

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
                for (int metric = 2; metric < HOPMLA_CUSTOM_METRICS; metric++) { /* not asked for */
                    assert_true(isnan(r->custom[metric]));
                }
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

/* Threads tell of their calls in any order: one that tells late must not make a window look overdue. */
static void test_late_teller(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = make_started(o->context, 0, HOPMLA_COUNTERS_LIGHT, 64);
    hm_meter *meter = profiler->recorder.meter;
    const hm_call call = { .kind = HOPMLA_CALL_DECODE, .calls = 1 };
    hm_meter_begin(meter, 5, &call);
    hm_meter_begin(meter, 4, &call); /* while the other is counted */
    hm_meter_end(meter, 4);
    hm_meter_end(meter, 5);
    assert_int_equal(fake_cupti.pushes, 1);
    hm_meter_collect(meter);
    assert_int_equal(fake_cupti.windows, 1);
    hm_meter_begin(meter, 5 + 32, &call);
    hm_meter_end(meter, 5 + 32);
    hm_meter_collect(meter);
    assert_int_equal(fake_cupti.windows, 2); /* due by now */
    hopmla_profiler_destroy(profiler);
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
    assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
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
    assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 4), 0);
    launch_begin(o);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
    finish(profiler);
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(records[0].device_ns, CALL_NS);
    assert_true(records[0].valid & HOPMLA_VALID_DRAM);
    launch_begin(o);
    hopmla_profiler_destroy(profiler);
    assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
    fake_cupti.externals_left = 0; /* the id of the first launch, which nobody could pop any more */
}

static void *end_launch(void *user)
{
    observed *o = user;
    return hopmla_plan_launch_end(o->plan, 1, o->stream, NULL) == HOPMLA_OK ? NULL : user;
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

int main(void)
{
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
        TEST(test_late_teller),
        TEST(test_lost_ranges),
        TEST(test_launch),
        TEST(test_stop_in_launch),
        TEST(test_launch_ends_elsewhere),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
