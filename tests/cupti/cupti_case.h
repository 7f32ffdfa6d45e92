/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CUPTI_CASE_H
#define TESTS_CUPTI_CASE_H

/** @file
 * A fixture with a profiler over a CUDA driver and a CUPTI without a device. After cmocka.h. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/cupti/fake_cupti.h"
#include "tests/fake_cuda.h"
#include "tests/observed.h"

enum {
    EVENTS = HOPMLA_CLOCK_EVENTS,
    ACTIVITY = HOPMLA_CLOCK_ACTIVITY,
    CALL_NS = 2 * FAKE_KERNEL_NS
};

static inline hopmla_context *cuda_context(void)
{
    hopmla_context *context = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    return context;
}

static inline int set_up(void **state)
{
    observed *o = calloc(1, sizeof(*o));
    fake_cuda_reset();
    fake_cupti_reset();
    observed_create(o, cuda_context());
    observed_update(o);
    *state = o;
    return 0;
}

static inline int tear_down(void **state)
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

static inline hopmla_profiler *make(hopmla_context *context, uint32_t clocks, int32_t counters, uint32_t capacity)
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

static inline hopmla_profiler *make_started(hopmla_context *context, uint32_t clocks, int32_t counters,
                                            uint32_t capacity)
{
    hopmla_profiler *profiler = make(context, clocks, counters, capacity);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    return profiler;
}

static inline void finish(hopmla_profiler *profiler)
{
    assert_int_equal(hopmla_profiler_finish(profiler, NULL), HOPMLA_OK);
}

static inline void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("\"%s\" lacks \"%s\"", text, part);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
