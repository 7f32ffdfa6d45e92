/* SPDX-License-Identifier: Apache-2.0 */
/* A plan and its stream, its ring of staging buffers, and the order in which plans and pools go. */
#include "tests/pins_world.h"

static void test_streams(void **state)
{
    world *w = *state;
    const hopmla_seq seq = make_seq(w);
    int32_t done = -1;
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 1);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[0], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(update(w, 0, seq, 0), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, w->stream[1], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[1], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(update(w, 0, seq, 0), HOPMLA_OK); /* the same step */
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 1); /* it was not ended */
    end(w, 0);
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 0);
    assert_int_equal(hopmla_plan_update(w->plan[0], &seq, NULL, NULL, 1, w->stream[1], NULL), HOPMLA_ERROR_BUSY);
    run(w, 0);
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 1);
    assert_int_equal(hopmla_plan_update(w->plan[0], &seq, NULL, NULL, 1, w->stream[1], NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[0], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[1], NULL), HOPMLA_OK);
}

static void test_capture_and_foreign_streams(void **state)
{
    world *w = *state;
    const hopmla_stream foreign = (hopmla_stream)(void *)w;
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, foreign, NULL), HOPMLA_ERROR_MISMATCH);
    fake_capture(w->device, w->stream[0], 1);
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_ERROR_CAPTURE);
    fake_capture(w->device, w->stream[0], 0);
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_OK);
    fake_capture(w->device, w->stream[0], 1);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[0], NULL), HOPMLA_ERROR_CAPTURE);
    fake_capture(w->device, w->stream[0], 0);
    assert_int_equal(hopmla_plan_end(w->plan[0], foreign, NULL), HOPMLA_ERROR_MISMATCH);
    end(w, 0);
}

static void test_staging_ring(void **state)
{
    world *w = *state;
    hopmla_plan *plan = make_plan(w->pool, 2);
    const hopmla_seq seq = make_seq(w);
    hopmla_stream stream;
    assert_int_equal(hopmla_stream_create(w->context, &stream, NULL), HOPMLA_OK);
    hopmla_error error = HOPMLA_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_end(plan, stream, NULL), HOPMLA_OK);
    }
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, &error), HOPMLA_ERROR_BUSY);
    assert_non_null(strstr(error.message, "staging"));
    fake_run(w->device, stream, 2); /* apply and schedule of the first update */
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_ERROR_BUSY);
    fake_run(w->device, stream, 1); /* its fence, not yet the step's */
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(plan, stream, NULL), HOPMLA_OK);
    assert_true(fake_run_all(w->device));
    for (int i = 0; i < 10; i++) { /* many steps on a ring of few */
        assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_end(plan, stream, NULL), HOPMLA_OK);
        fake_run(w->device, stream, 4);
    }
    hopmla_plan_destroy(plan);
}

static void test_plan_slots(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_plan *plans[HM_MAX_PLANS];
    for (int i = 0; i < HM_MAX_PLANS - PLANS; i++) {
        plans[i] = make_plan(w->pool, 1);
    }
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = options.heads = 1;
    options.max_kv_tokens = 64;
    hopmla_plan *one_more = NULL;
    assert_int_equal(hopmla_plan_create(w->pool, &options, &one_more, NULL), HOPMLA_ERROR_TOO_MANY);
    assert_null(one_more);
    hopmla_plan_destroy(plans[7]);
    plans[7] = make_plan(w->pool, 1);
    for (int i = 0; i < HM_MAX_PLANS - PLANS; i++) {
        hopmla_plan_destroy(plans[i]);
    }
}

/* A plan that goes waits for its steps, and its slot's next owner is not taken for it. */
static void test_destroy(void **state)
{
    world *w = *state;
    const hopmla_seq seq = make_seq(w);
    step(w, 0, seq, 3);
    const uint64_t synchronizes = w->device->synchronizes;
    hopmla_plan_destroy(w->plan[0]); /* nobody runs the stream: in the end by the whole context */
    assert_int_equal(w->device->synchronizes, synchronizes + 1);
    w->device->deferred = 0;
    w->plan[0] = make_plan(w->pool, 4);
    w->device->deferred = 1;
    step(w, 1, seq, 1);
    assert_int_equal(w->device->n_waits, 0);
    const hopmla_seq other = make_seq(w);
    step(w, 0, other, 1);
    step(w, 1, other, 1);
    assert_waits_for(w, 1, 0);

    assert_int_equal(update(w, 2, seq, 0), HOPMLA_OK); /* never ended */
    hopmla_plan_destroy(w->plan[2]);
    assert_int_equal(w->device->synchronizes, synchronizes + 2);
    w->device->deferred = 0;
    w->plan[2] = make_plan(w->pool, 4);
    w->device->deferred = 1;
    step(w, 1, seq, 1);
    assert_int_equal(w->device->n_waits, 0);
}

/* Storage stays while a plan is there, sequences do not. */
static void test_pool_goes_first(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_FP16;
    options.layers = 1;
    options.pages = 2;
    hopmla_pool *pool;
    hopmla_seq seq;
    assert_int_equal(hopmla_pool_create(w->context, &options, &pool, NULL), HOPMLA_OK);
    hopmla_plan *plan = make_plan(pool, 1);
    assert_int_equal(hopmla_seq_create(pool, &seq, 1, NULL), HOPMLA_OK);
    hopmla_pool_destroy(pool);
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, w->stream[0], NULL), HOPMLA_ERROR_STALE_ID);
    assert_int_equal(hopmla_plan_update(plan, NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(plan, w->stream[0], NULL), HOPMLA_OK);
    hopmla_plan_destroy(plan);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_streams),      TEST(test_capture_and_foreign_streams),
        TEST(test_staging_ring), TEST(test_plan_slots),
        TEST(test_destroy),      TEST(test_pool_goes_first),
    };
    return cmocka_run_group_tests_name("plan order", tests, NULL, NULL) ? 1 : 0;
}
