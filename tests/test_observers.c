/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are inside a recorder while profilers of their context come and go, step by step. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/context.h"
#include "profiling/observe/profiler.h"
#include "tests/cpu_context.h"
#include "tests/observed.h"

/* Begins a call, which stays inside a recorder where one may be entered. */
static hm_observation enter(hopmla_context *context)
{
    const hm_call call = { .kind = HOPMLA_CALL_DECODE, .calls = 1 };
    hm_observation seen = { .bits = HM_OBSERVE_RECORD, .came = hm_now() };
    hm_observe_begin(&seen, &context->observers, &call, NULL, 0);
    return seen;
}

static void leave(hm_observation *seen)
{
    hm_observe_end(seen, NULL, HOPMLA_OK);
}

static hopmla_profiler *stopped_profiler(hopmla_context *context)
{
    hopmla_profiler *profiler = NULL;
    assert_int_equal(hopmla_profiler_create(context, NULL, &profiler, NULL), HOPMLA_OK);
    return profiler;
}

/* A stop on another thread. */
typedef struct stopping {
    hopmla_profiler *profiler;
    atomic_int done;
    pthread_t thread;
} stopping;

static void *stop(void *user)
{
    stopping *s = user;
    hopmla_profiler_stop(s->profiler, NULL);
    s->done = 1;
    return NULL;
}

static void begin_stop(stopping *s, hopmla_profiler *profiler)
{
    s->profiler = profiler;
    s->done = 0;
    assert_int_equal(pthread_create(&s->thread, NULL, stop, s), 0);
    while (atomic_load(&profiler->context->observers.bits) & HM_OBSERVE_RECORD) {
        sched_yield();
    }
}

static int is_done_within(stopping *s, int64_t ns)
{
    const int64_t end = hm_now() + ns;
    while (!s->done && hm_now() < end) {
        sched_yield();
    }
    return s->done;
}

static hopmla_status try_start(hopmla_profiler *profiler, int64_t ns)
{
    const int64_t end = hm_now() + ns;
    hopmla_status status;
    do {
        status = hopmla_profiler_start(profiler, NULL);
    } while (status && hm_now() < end);
    return status;
}

/* The first profiler's stop waits for the first's calls, whatever the second one records meanwhile. */
static void test_stop_waits_for_its_own_calls(void **state)
{
    (void)state;
    hopmla_context *context = make_context();
    hopmla_profiler *first = stopped_profiler(context);
    hopmla_profiler *second = stopped_profiler(context);
    assert_int_equal(hopmla_profiler_start(first, NULL), HOPMLA_OK);
    hm_observation old = enter(context);
    assert_ptr_equal(old.recorder, &first->recorder);
    stopping s;
    begin_stop(&s, first);
    const int early = try_start(second, 20000000) == HOPMLA_OK; /* it may, or has to wait for the other's stop */
    hm_observation young = enter(context);
    assert_ptr_equal(young.recorder, early ? &second->recorder : NULL);
    assert_int_equal(s.done, 0);
    leave(&old);
    const int done = is_done_within(&s, INT64_C(10000000000));
    leave(&young);
    pthread_join(s.thread, NULL);
    assert_true(done);
    assert_int_equal(early ? HOPMLA_OK : hopmla_profiler_start(second, NULL), HOPMLA_OK);
    hm_observation last = enter(context);
    assert_ptr_equal(last.recorder, &second->recorder);
    leave(&last);
    assert_int_equal(observed_info(first).waiting, 1);
    assert_int_equal(observed_info(second).waiting, 1 + early);
    hopmla_profiler_destroy(first);
    hopmla_profiler_destroy(second);
    hopmla_context_destroy(context);
}

/* Calls that came for a session before knock in vain, and no stop waits for them. */
static void test_knocks_are_not_counted(void **state)
{
    (void)state;
    hopmla_context *context = make_context();
    hopmla_profiler *profiler = stopped_profiler(context);
    for (int i = 0; i < 3; i++) {
        hm_observation late = enter(context);
        assert_null(late.recorder);
        leave(&late);
        assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
        hm_observation seen = enter(context);
        assert_non_null(seen.recorder);
        leave(&seen);
        assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    }
    assert_int_equal(observed_info(profiler).recorded, 3);
    hopmla_profiler_destroy(profiler);
    hopmla_context_destroy(context);
}

/* While a profiler starts, which opens sessions and chooses clocks, no call is inside. */
static void test_nobody_enters_before_it_is_open(void **state)
{
    (void)state;
    hopmla_context *context = make_context();
    hopmla_profiler *profiler = stopped_profiler(context);
    hopmla_profiler *other = stopped_profiler(context);
    assert_true(hm_observers_claim(&context->observers, &profiler->recorder));
    hm_observation early = enter(context);
    assert_null(early.recorder);
    leave(&early);
    assert_fails(hopmla_profiler_start(other, &error), HOPMLA_ERROR_STATE, "another profiler");
    hm_observers_release(&context->observers);
    assert_int_equal(hopmla_profiler_start(other, NULL), HOPMLA_OK);
    hopmla_profiler_destroy(profiler); /* never started: the other one's calls are let alone */
    hm_observation seen = enter(context);
    assert_ptr_equal(seen.recorder, &other->recorder);
    leave(&seen);
    hopmla_profiler_destroy(other);
    hopmla_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_waits_for_its_own_calls),
        cmocka_unit_test(test_knocks_are_not_counted),
        cmocka_unit_test(test_nobody_enters_before_it_is_open),
    };
    return cmocka_run_group_tests_name("calls inside recorders", tests, NULL, NULL) ? 1 : 0;
}
