/* SPDX-License-Identifier: Apache-2.0 */
/* What is left when a call of the driver fails in an update, and when another thread comes between. */
#include "tests/pins_world.h"

static void fill_page(const world *w, int32_t page, uint64_t token)
{
    for (uint32_t t = 0; t < HOPMLA_PAGE_TOKENS; t++) {
        *fake_token(w->pool->layout.base, page, t) = token;
    }
}

static int32_t page_of(world *w, hopmla_seq seq, uint32_t at)
{
    int32_t pages[PAGES];
    uint32_t n;
    assert_int_equal(hopmla_seq_pages(w->pool, seq, pages, PAGES, &n, NULL), HOPMLA_OK);
    assert_true(at < n);
    return pages[at];
}

/* Whatever call of an update or of an end fails, the next try finishes the step: tables are whole, the copy is made,
 * and the stream waits for the other plan before it does anything. */
static void test_driver_failures(void **state)
{
    world *w = *state;
    for (int64_t fail = 0; fail < 6; fail++) {
        const hopmla_seq parent = make_seq(w);
        step(w, 0, parent, 70);
        fill_page(w, page_of(w, parent, 1), 77);
        const hopmla_seq child = fork_of(w, parent);
        reserve(w, child, 1);
        fill_page(w, page_of(w, child, 1), 0);
        const hopmla_seq batch[] = { child };
        const uint32_t n_append[] = { 1 };
        hopmla_error error = HOPMLA_ERROR_INIT;
        w->device->fail_in = fail;
        hopmla_status status = hopmla_plan_update(w->plan[1], batch, n_append, NULL, 1, w->stream[1], &error);
        if (fail < 4) { /* wait, apply, schedule, signal */
            assert_int_equal(status, HOPMLA_ERROR_DRIVER);
            assert_int_equal(error.native_code, 719);
            assert_int_equal(update(w, 2, child, 0), HOPMLA_ERROR_BUSY); /* the step is open: its pages are pinned */
            if (fail % 2) {
                status = hopmla_plan_update(w->plan[1], batch, n_append, NULL, 1, w->stream[1], NULL);
            } else { /* or it ends, having done nothing or half of it, and the next one does it */
                end(w, 1);
                status = hopmla_plan_update(w->plan[1], batch, n_append, NULL, 1, w->stream[1], NULL);
            }
        }
        assert_int_equal(status, HOPMLA_OK);
        if (fail == 4) {
            assert_int_equal(hopmla_plan_end(w->plan[1], w->stream[1], NULL), HOPMLA_ERROR_DRIVER);
        }
        w->device->fail_in = -1;
        end(w, 1);
        run(w, 1);
        assert_int_equal(*fake_token(w->pool->layout.base, page_of(w, child, 1), 0), 0); /* plan 0 has not run */
        assert_true(fake_run_all(w->device));
        assert_int_equal(*fake_token(w->pool->layout.base, page_of(w, child, 1), 5), 77);
        assert_int_equal(*fake_token(w->pool->layout.base, page_of(w, child, 1), 6), 0);
        hopmla_plan_tables tables = HOPMLA_PLAN_TABLES_INIT;
        assert_int_equal(hopmla_plan_get_tables(w->plan[1], &tables, NULL), HOPMLA_OK);
        assert_int_equal(tables.kv_lens[0], 71);
        assert_int_equal(tables.block_table[0], page_of(w, child, 0));
        assert_int_equal(tables.block_table[1], page_of(w, child, 1));
        hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
        assert_int_equal(hopmla_seq_describe(w->pool, child, &info, NULL), HOPMLA_OK);
        assert_int_equal(info.copy_owed, 0);
        release(w, child);
        release(w, parent);
    }
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_free, PAGES);
    assert_int_equal(stats.pages_pinned, 0);
    assert_int_equal(stats.copies_owed, 0);
}

typedef struct meanwhile {
    world *w;
    hopmla_seq seq;
    int kind;
} meanwhile;

static void change_sequence(void *user)
{
    const meanwhile *m = user;
    if (m->kind == 0) {
        release(m->w, m->seq);
    } else {
        truncate_to(m->w, m->seq, 60); /* the page that the copy goes to is gone, the one before it is shared */
        reserve(m->w, m->seq, 1);
    }
}

/* Between the books and the stream an update lets go of the mutex: another thread may end or change a sequence there
 * whose copy is on its way. */
static void test_changed_in_mid_update(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    for (int kind = 0; kind < 2; kind++) {
        const hopmla_seq parent = make_seq(w);
        step(w, 0, parent, 70);
        meanwhile m = { .w = w, .seq = fork_of(w, parent), .kind = kind };
        reserve(w, m.seq, 1);
        w->device->on_apply = change_sequence;
        w->device->on_apply_user = &m;
        assert_int_equal(update(w, 1, m.seq, 1), HOPMLA_OK);
        hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
        assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
        assert_int_equal(stats.copies_owed, kind); /* not the copy that was made, but the new one */
        const hopmla_seq next = make_seq(w);
        reserve(w, next, 64 * (uint32_t)stats.pages_free); /* the page that the copy went to among them */
        assert_int_equal(update(w, 2, next, 1), HOPMLA_ERROR_BUSY);
        end(w, 1);
        assert_int_equal(update(w, 2, next, 1), HOPMLA_OK);
        end(w, 2);
        if (kind == 1) {
            assert_int_equal(update(w, 0, m.seq, 1), HOPMLA_OK);
            end(w, 0);
            release(w, m.seq);
        }
        release(w, next);
        release(w, parent);
        assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
        assert_int_equal(stats.pages_free, PAGES);
        assert_int_equal(stats.copies_owed, 0);
    }
}

/* With one staging buffer a lost fence would block the plan for ever. */
static void test_lost_staging_fence(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_plan *plan = make_plan(w->pool, 1);
    for (int64_t fail = 0; fail < 3; fail++) {
        w->device->fail_in = fail;
        assert_int_equal(hopmla_plan_update(plan, NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_ERROR_DRIVER);
        assert_int_equal(hopmla_plan_update(plan, NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_end(plan, w->stream[0], NULL), HOPMLA_OK);
    }
    hopmla_plan_destroy(plan);
}

static void test_creation_failures(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = options.heads = 1;
    options.max_kv_tokens = 64;
    for (int64_t fail = 0; fail < 5; fail++) { /* bind, fill, apply, schedule, signal */
        hopmla_plan *plan = NULL;
        w->device->fail_in = fail;
        assert_int_equal(hopmla_plan_create(w->pool, &options, &plan, NULL), HOPMLA_ERROR_DRIVER);
        assert_null(plan);
    }
    w->device->fail_in = -1;
    assert_int_equal(w->pool->pins.plans, (1 << PLANS) - 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_driver_failures),
        TEST(test_changed_in_mid_update),
        TEST(test_lost_staging_fence),
        TEST(test_creation_failures),
    };
    return cmocka_run_group_tests_name("plan failure", tests, NULL, NULL) ? 1 : 0;
}
