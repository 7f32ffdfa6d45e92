/* SPDX-License-Identifier: Apache-2.0 */
/* Launches of graphs between their begin and end: wrong orders, and profilers and plans that go in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/cpu_context.h"
#include "tests/fake_backend.h"
#include "tests/observed.h"

typedef struct world {
    observed o;
    hm_device *device;
} world;

static int set_up(void **state)
{
    world *w = calloc(1, sizeof(*w));
    hopmla_context *context = fake_context(&w->device);
    observed_create(&w->o, context);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    observed_destroy(&w->o);
    free(w);
    return 0;
}

static hopmla_launch_note note_of(uint32_t appends, uint32_t decodes)
{
    hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
    note.appends = appends;
    note.decodes = decodes;
    return note;
}

static void begin(observed *o)
{
    const hopmla_launch_note note = note_of(2, 2);
    assert_int_equal(hopmla_plan_launch_begin(o->plan, &note, o->stream, NULL), HOPMLA_OK);
}

static void end(observed *o)
{
    assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
}

static void begin_fails(observed *o, const hopmla_launch_note *note, hopmla_stream stream, hopmla_status status,
                        const char *words)
{
    assert_fails(hopmla_plan_launch_begin(o->plan, note, stream, &error), status, words);
    assert_fails(hopmla_plan_launch_end(o->plan, 1, o->stream, &error), HOPMLA_ERROR_STATE, "no launch");
}

/* The same whether somebody observes or not. */
static void check_misuse(world *w)
{
    observed *o = &w->o;
    hopmla_launch_note note = note_of(1, 1);
    observed_update(o);
    assert_fails(hopmla_plan_launch_begin(NULL, &note, o->stream, &error), HOPMLA_ERROR_NULL, "plan");
    assert_fails(hopmla_plan_launch_end(NULL, 1, o->stream, &error), HOPMLA_ERROR_NULL, "plan");
    begin_fails(o, NULL, o->stream, HOPMLA_ERROR_NULL, "note");
    note.struct_size = 4;
    begin_fails(o, &note, o->stream, HOPMLA_ERROR_STRUCT_SIZE, "note");
    struct {
        hopmla_launch_note note;
        uint32_t beyond;
    } newer = { note_of(1, 1), 1 };
    newer.note.struct_size = sizeof(newer);
    begin_fails(o, &newer.note, o->stream, HOPMLA_ERROR_STRUCT_TAIL, "note");
    note = note_of(0, 0);
    begin_fails(o, &note, o->stream, HOPMLA_ERROR_ARGUMENT, "note.appends");
    note = note_of(1 << 20, 1);
    begin_fails(o, &note, o->stream, HOPMLA_ERROR_ARGUMENT, "note.appends");
    note = note_of(UINT32_MAX, UINT32_MAX);
    begin_fails(o, &note, o->stream, HOPMLA_ERROR_ARGUMENT, "note.appends");
    note = note_of(1, 1);
    for (int32_t dtype = -1; dtype < 5; dtype++) {
        note.dtype = dtype;
        if (dtype != 0 && dtype != HOPMLA_DTYPE_BF16 && dtype != HOPMLA_DTYPE_FP32) {
            begin_fails(o, &note, o->stream, HOPMLA_ERROR_DTYPE, "note.dtype");
        }
    }
    note.dtype = HOPMLA_DTYPE_FP32;
    begin_fails(o, &note, (hopmla_stream)(void *)observed_memory, HOPMLA_ERROR_MISMATCH, "stream");
    begin_fails(o, &note, NULL, HOPMLA_ERROR_STATE, "stream");
    fake_capture(w->device, o->stream, 1);
    begin_fails(o, &note, o->stream, HOPMLA_ERROR_CAPTURE, "captured");
    fake_capture(w->device, o->stream, 0);
    assert_int_equal(hopmla_plan_launch_begin(o->plan, &note, o->stream, NULL), HOPMLA_OK);
    assert_fails(hopmla_plan_launch_begin(o->plan, &note, o->stream, &error), HOPMLA_ERROR_STATE, "not ended");
    assert_fails(hopmla_plan_launch_end(o->plan, 1, NULL, &error), HOPMLA_ERROR_STATE, "begun on");
    assert_fails(hopmla_plan_launch_end(o->plan, 2, o->stream, &error), HOPMLA_ERROR_ARGUMENT, "launched");
    assert_fails(hopmla_plan_launch_end(o->plan, -1, o->stream, &error), HOPMLA_ERROR_ARGUMENT, "launched");
    end(o);
    assert_fails(hopmla_plan_launch_end(o->plan, 1, o->stream, &error), HOPMLA_ERROR_STATE, "no launch");
    assert_int_equal(hopmla_plan_end(o->plan, o->stream, NULL), HOPMLA_OK);
    begin_fails(o, &note, o->stream, HOPMLA_ERROR_STATE, "ended");
}

static void test_misuse_unobserved(void **state)
{
    check_misuse(*state);
}

static void test_misuse_observed(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    check_misuse(w);
    assert_int_equal(observed_info(profiler).recorded, 2); /* the update and the launch that succeeded */
    hopmla_profiler_destroy(profiler);
}

/* Other calls may come in between, as when the launch is two graphs with something between them. */
static void test_calls_inside(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    observed_update(&w->o);
    begin(&w->o);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    hopmla_record records[4];
    assert_int_equal(observed_read(profiler, records, 4), 1); /* the decode comes after the launch, which still runs */
    assert_int_equal(hopmla_profiler_finish(profiler, NULL),
                     HOPMLA_OK); /* does not wait for what only the caller ends */
    assert_int_equal(observed_info(profiler).waiting, 2);
    assert_int_equal(observed_read(profiler, records, 4), 0);
    end(&w->o);
    assert_int_equal(observed_read(profiler, records, 4), 2);
    assert_int_equal(records[0].kind, HOPMLA_CALL_LAUNCH);
    assert_int_equal(records[0].calls, 4);
    assert_true(records[0].host_ns >= records[1].host_ns);
    assert_int_equal(records[1].kind, HOPMLA_CALL_DECODE);
    hopmla_profiler_destroy(profiler);
}

/* A launch that failed leaves no record, and what comes after it is not held back. */
static void test_failed_launch(void **state)
{
    world *w = *state;
    observed *o = &w->o;
    hopmla_profiler *profiler = observed_profiler(o->context, 0, 0);
    observed_update(o);
    begin(o);
    assert_int_equal(hopmla_plan_launch_end(o->plan, 0, o->stream, NULL), HOPMLA_OK);
    begin(o);
    end(o);
    hopmla_record records[4];
    assert_int_equal(observed_read(profiler, records, 4), 2);
    assert_int_equal(records[0].kind, HOPMLA_CALL_UPDATE);
    assert_int_equal(records[1].kind, HOPMLA_CALL_LAUNCH);
    assert_int_equal(records[1].id, 2);
    assert_int_equal(observed_info(profiler).recorded, 2);
    assert_int_equal(observed_totals(profiler, HOPMLA_CALL_LAUNCH, NULL).records, 1);
    hopmla_profiler_destroy(profiler);
}

/* A stop closes the launch without a record: what comes after it is not held back. */
static void test_stopped_inside(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    observed_update(&w->o);
    begin(&w->o);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    hopmla_record records[4];
    assert_int_equal(observed_read(profiler, records, 4), 2);
    assert_int_equal(records[1].kind, HOPMLA_CALL_DECODE);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    end(&w->o); /* of the session before */
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(records[0].kind, HOPMLA_CALL_DECODE);
    assert_int_equal(records[0].id, 3);
    hopmla_profiler_destroy(profiler);
}

static void test_destroyed_inside(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    observed_update(&w->o);
    begin(&w->o);
    hopmla_profiler_destroy(profiler);
    end(&w->o);
    begin(&w->o);
    profiler = observed_profiler(w->o.context, 0, 0); /* began unobserved */
    end(&w->o);
    begin(&w->o);
    hopmla_profiler_destroy(profiler);
    profiler = observed_profiler(w->o.context, 0, 0);
    end(&w->o);
    assert_int_equal(observed_info(profiler).recorded, 0);
    hopmla_profiler_destroy(profiler);
}

static void test_plan_destroyed_inside(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    observed_update(&w->o);
    begin(&w->o);
    hopmla_plan_destroy(w->o.plan);
    observed_plan(w->o.pool, &w->o.plan);
    observed_update(&w->o);
    hopmla_record records[4];
    assert_int_equal(observed_read(profiler, records, 4), 2);
    assert_int_equal(records[1].kind, HOPMLA_CALL_UPDATE);
    assert_int_not_equal(records[1].plan, records[0].plan);
    hopmla_profiler_destroy(profiler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_misuse_unobserved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_misuse_observed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_calls_inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_launch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped_inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_destroyed_inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_plan_destroyed_inside, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("launches of graphs", tests, NULL, NULL) ? 1 : 0;
}
