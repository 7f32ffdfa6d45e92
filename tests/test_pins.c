/* SPDX-License-Identifier: Apache-2.0 */
/* Which waits an update makes its stream do, and when it is refused for them. */
#include "tests/pins_world.h"

static void test_other_plan_waits(void **state)
{
    world *w = *state;
    const hopmla_seq seq = make_seq(w);
    step(w, 0, seq, 3);
    assert_int_equal(w->device->n_waits, 0);
    step(w, 0, seq, 3); /* the same plan follows on its stream */
    assert_int_equal(w->device->n_waits, 0);
    step(w, 1, seq, 1);
    assert_waits_for(w, 1, 0);
    step(w, 2, seq, 1); /* waits for plan 1, which waits for plan 0 */
    assert_waits_for(w, 2, 1);
    assert_true(fake_run_all(w->device));
    step(w, 0, seq, 1);
    assert_int_equal(w->device->n_waits, 0);
}

static void test_only_what_is_needed(void **state)
{
    world *w = *state;
    const hopmla_seq first = make_seq(w);
    const hopmla_seq second = make_seq(w);
    const hopmla_seq alone = make_seq(w);
    step(w, 0, first, 3);
    const uint64_t early = w->plan[0]->ticket;
    step(w, 0, second, 3);
    step(w, 1, alone, 3);
    assert_int_equal(w->device->n_waits, 0);
    assert_int_equal(update(w, 1, first, 0), HOPMLA_OK); /* not for the step of `second` */
    assert_int_equal(w->device->n_waits, 1);
    assert_int_equal(w->device->waits[0].value, early);
    end(w, 1);
    const hopmla_seq both[] = { first, second };
    w->device->n_waits = 0;
    assert_int_equal(hopmla_plan_update(w->plan[2], both, NULL, NULL, 2, w->stream[2], NULL), HOPMLA_OK);
    assert_int_equal(w->device->n_waits, 2); /* one a plan: `first` is plan 1's now, `second` plan 0's */
    end(w, 2);
}

static void test_reused_page(void **state)
{
    world *w = *state;
    hopmla_seq seqs[PAGES];
    for (int i = 0; i < PAGES; i++) {
        seqs[i] = make_seq(w);
        reserve(w, seqs[i], 1);
    }
    assert_int_equal(update(w, 0, seqs[3], 1), HOPMLA_OK);
    release(w, seqs[2]);
    release(w, seqs[3]);
    const hopmla_seq clean = make_seq(w);
    reserve(w, clean, 1); /* the page of seqs[2], which no step touched */
    assert_int_equal(update(w, 1, clean, 1), HOPMLA_OK);
    assert_int_equal(w->device->n_waits, 0);
    end(w, 1);
    const hopmla_seq next = make_seq(w);
    reserve(w, next, 1);
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_pinned, 2);
    assert_int_equal(update(w, 1, next, 1), HOPMLA_ERROR_BUSY); /* plan 0's step is open */
    end(w, 0);
    assert_int_equal(update(w, 1, next, 1), HOPMLA_OK);
    assert_waits_for(w, 1, 0);
    end(w, 1);
    assert_true(fake_run_all(w->device));
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_pinned, 0);
}

/* Larger than what is counted in one piece. Nothing runs, so the storage may be anywhere. */
static void test_pinned_pages_of_a_large_pool(void **state)
{
    world *w = *state;
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.storage = HOPMLA_STORAGE_CALLER;
    options.layers = 1;
    options.pages = 20000;
    options.memory = (void *)((uintptr_t)1 << 40);
    options.memory_bytes = UINT64_MAX;
    hopmla_pool *pool;
    assert_int_equal(hopmla_pool_create(w->context, &options, &pool, NULL), HOPMLA_OK);
    hopmla_plan_options plan_options = HOPMLA_PLAN_OPTIONS_INIT;
    plan_options.max_batch = 4;
    plan_options.heads = 1;
    plan_options.max_kv_tokens = 1 << 20;
    hopmla_plan *plan;
    w->device->deferred = 0;
    assert_int_equal(hopmla_plan_create(pool, &plan_options, &plan, NULL), HOPMLA_OK);
    hopmla_seq seqs[3];
    const uint32_t n_new[] = { 64 * 5000, 64 * 5000, 64 * 5000 };
    assert_int_equal(hopmla_seq_create(pool, seqs, 3, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(pool, seqs, n_new, 3, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(pool, seqs, n_new, 3, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(plan, seqs, NULL, NULL, 2, w->stream[0], NULL), HOPMLA_OK);
    hopmla_seq child; /* shares pages, owes a copy from one of them, and has one of its own */
    const uint32_t one = 1;
    assert_int_equal(hopmla_seq_fork(pool, seqs[0], 64 * 4500 + 5, &child, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(pool, &child, &one, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(pool, seqs, 1, NULL), HOPMLA_OK);
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_used, 4501 + 1 + 5000 + 5000);
    assert_int_equal(stats.pages_pinned, 10000 + 1);
    assert_int_equal(hopmla_plan_end(plan, w->stream[0], NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_pinned, 0);
    hopmla_plan_destroy(plan);
    hopmla_pool_destroy(pool);
}

static void test_truncated_and_written_again(void **state)
{
    world *w = *state;
    const hopmla_seq seq = make_seq(w);
    const hopmla_seq other = make_seq(w);
    step(w, 0, seq, 200);
    truncate_to(w, seq, 10);
    step(w, 1, seq, 5);
    assert_waits_for(w, 1, 0);
    step(w, 2, other, 4 * 64); /* pages that never were in a step */
    assert_int_equal(w->device->n_waits, 0);
    step(w, 2, other, 64); /* one that plan 0 wrote */
    assert_waits_for(w, 2, 0);
    step(w, 2, other, 1);
    assert_waits_for(w, 2, 0);
}

static void test_forks(void **state)
{
    world *w = *state;
    const hopmla_seq parent = make_seq(w);
    step(w, 0, parent, 10);
    const hopmla_seq child = fork_of(w, parent);
    assert_int_equal(update(w, 1, child, 0), HOPMLA_OK); /* reads what plan 0 writes */
    assert_waits_for(w, 1, 0);
    end(w, 1);
    reserve(w, child, 1); /* leaves the shared page to the parent */
    reserve(w, parent, 1);
    assert_int_equal(update(w, 0, parent, 1), HOPMLA_OK); /* writes where plan 1 reads */
    assert_waits_for(w, 0, 1);
    end(w, 0);
    assert_int_equal(update(w, 2, child, 1), HOPMLA_OK); /* copies what plan 0 wrote, after plan 1 waited for that */
    assert_waits_for(w, 2, 1);
    end(w, 2);
    hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
    assert_int_equal(hopmla_seq_describe(w->pool, child, &info, NULL), HOPMLA_OK);
    assert_int_equal(info.copy_owed, 0);
    /* The parent goes back and overwrites rows that the copy reads: it gets a page of its own instead, for the source
     * is held until the child's commit. */
    commit(w, parent, 1);
    truncate_to(w, parent, 5);
    reserve(w, parent, 1);
    assert_int_equal(hopmla_seq_describe(w->pool, parent, &info, NULL), HOPMLA_OK);
    assert_int_equal(info.copy_owed, 1);
    commit(w, child, 1);
    assert_int_equal(update(w, 0, parent, 1), HOPMLA_OK); /* its new page is fresh, the source is only read */
    assert_int_equal(w->device->n_waits, 0);
    end(w, 0);
    commit(w, parent, 1);
}

static void test_overwritten_source(void **state)
{
    world *w = *state;
    const hopmla_seq parent = make_seq(w);
    step(w, 0, parent, 10);
    const hopmla_seq child = fork_of(w, parent);
    reserve(w, child, 1);
    assert_int_equal(update(w, 1, child, 1), HOPMLA_OK); /* copies from the parent's page */
    end(w, 1);
    commit(w, child, 1);
    assert_int_equal(w->device->n_waits, 1);
    truncate_to(w, parent, 5);
    reserve(w, parent, 1);
    assert_int_equal(update(w, 0, parent, 1), HOPMLA_OK); /* in place: after the copy */
    assert_waits_for(w, 0, 1);
    end(w, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_other_plan_waits),
        TEST(test_only_what_is_needed),
        TEST(test_reused_page),
        TEST(test_pinned_pages_of_a_large_pool),
        TEST(test_truncated_and_written_again),
        TEST(test_forks),
        TEST(test_overwritten_source),
    };
    return cmocka_run_group_tests_name("pins", tests, NULL, NULL) ? 1 : 0;
}
