/* SPDX-License-Identifier: Apache-2.0 */
/* Forks one call at a time: who keeps a shared page, who owes a copy, and forks of forks. */
#include "tests/sequence_world.h"

/* A reserve that fails takes back the copies that it had begun. */
static void test_failed_reserve_of_forks(void **state)
{
    world *w = *state;
    const hopmla_seq parent = create(w);
    grow(w, parent, 10);
    const hopmla_seq family[] = { fork_of(w, parent, HOPMLA_ALL_TOKENS), parent, fork_of(w, parent, 5) };
    const uint32_t n_new[] = { 1, 64 * 20, 1 };
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(hopmla_seq_reserve(w->pool, family, n_new, 3, &error), HOPMLA_ERROR_OUT_OF_PAGES);
    /* A copy for the first and for the parent, twenty more for the parent; the last finds the page its own, but for
     * rows that the others' copies need: a copy too. */
    assert_int_equal(error.value, 1 + 1 + 20 + 1 - (PAGES - 1));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(describe(w, family[i]).copy_owed, 0);
        PAGES_ARE(family[i], 0);
    }
    assert_int_equal(w->pool->pages.page[0].owners, 3);
    assert_int_equal(w->pool->pages.page[0].sources, 0);
    assert_int_equal(w->pool->pages.page[0].rows, 0);
    assert_int_equal(w->pool->pages.shared, 1);
    assert_int_equal(hopmla_seq_release(w->pool, family, 3, NULL), HOPMLA_OK);
    assert_int_equal(free_pages(w), PAGES);
}

/* k forks of one sequence cost k copies: the last to append keeps the page. */
static void test_last_keeps_the_page(void **state)
{
    world *w = *state;
    const hopmla_seq parent = create(w);
    grow(w, parent, 70);
    const hopmla_seq family[] = { parent, fork_of(w, parent, 70), fork_of(w, parent, 70) };
    const uint32_t one[] = { 1, 1, 1 };
    assert_int_equal(describe(w, parent).pages_shared, 2);
    assert_int_equal(hopmla_seq_reserve(w->pool, family, one, 3, NULL), HOPMLA_OK);
    PAGES_ARE(family[0], 0, 2);
    PAGES_ARE(family[1], 0, 3);
    PAGES_ARE(family[2], 0, 1);
    assert_int_equal(describe(w, family[0]).copy_owed, 1);
    assert_int_equal(describe(w, family[1]).copy_owed, 1);
    assert_int_equal(describe(w, family[2]).copy_owed, 0);
    assert_int_equal(describe(w, family[2]).pages_shared, 1);
}

static void test_fork_lengths(void **state)
{
    world *w = *state;
    const hopmla_seq parent = create(w);
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_seq child = 0;
    assert_int_equal(describe(w, fork_of(w, parent, HOPMLA_ALL_TOKENS)).committed, 0);
    grow(w, parent, 100);
    assert_int_equal(reserve(w, parent, 50), HOPMLA_OK);
    /* What is reserved only cannot be shared. */
    assert_int_equal(hopmla_seq_fork(w->pool, parent, 101, &child, &error), HOPMLA_ERROR_RANGE);
    assert_int_equal(error.value, 100);
    assert_non_null(strstr(error.message, "length"));
    assert_int_equal(hopmla_seq_fork(w->pool, parent, UINT64_MAX - 1, &child, &error), HOPMLA_ERROR_RANGE);
    assert_int_equal(hopmla_seq_fork(w->pool, 0, 0, &child, &error), HOPMLA_ERROR_FOREIGN_ID);
    assert_non_null(strstr(error.message, "parent"));
    assert_int_equal(hopmla_seq_fork(w->pool, parent, 1, NULL, &error), HOPMLA_ERROR_NULL);
    assert_int_equal(child, 0);
    const hopmla_seq whole = fork_of(w, parent, HOPMLA_ALL_TOKENS);
    assert_int_equal(describe(w, whole).committed, 100);
    assert_int_equal(describe(w, whole).reserved, 0);
    const hopmla_seq page = fork_of(w, parent, 64);
    PAGES_ARE(page, 0);
    assert_int_equal(reserve(w, page, 1), HOPMLA_OK); /* after a full page nothing is copied */
    assert_int_equal(describe(w, page).copy_owed, 0);
    assert_int_equal(describe(w, fork_of(w, parent, 0)).pages, 0);
}

/* A fork of a sequence whose own page is not filled yet gets the page that it will be filled from. */
static void test_fork_of_a_debtor(void **state)
{
    world *w = *state;
    const hopmla_seq parent = create(w);
    grow(w, parent, 10);
    const hopmla_seq child = fork_of(w, parent, HOPMLA_ALL_TOKENS);
    assert_int_equal(reserve(w, child, 5), HOPMLA_OK);
    PAGES_ARE(child, 1);
    const hopmla_seq grandchild = fork_of(w, child, HOPMLA_ALL_TOKENS);
    PAGES_ARE(grandchild, 0);
    assert_int_equal(hopmla_seq_release(w->pool, &parent, 1, NULL), HOPMLA_OK);
    /* Alone with the page, and the copy needs no row that it writes. */
    assert_int_equal(reserve(w, grandchild, 1), HOPMLA_OK);
    PAGES_ARE(grandchild, 0);
    assert_int_equal(describe(w, grandchild).copy_owed, 0);
    assert_int_equal(truncate_to(w, grandchild, 5), HOPMLA_OK);
    assert_int_equal(reserve(w, grandchild, 1), HOPMLA_OK); /* now it would write such a row */
    PAGES_ARE(grandchild, 2);
    assert_int_equal(describe(w, grandchild).copy_owed, 1);
    update(w, child);
    assert_int_equal(describe(w, child).copy_owed, 0);
    PAGES_ARE(fork_of(w, child, 10), 0); /* the same before and after the update */
    assert_int_equal(commit(w, child, 5), HOPMLA_OK);
    PAGES_ARE(fork_of(w, child, 10), 1);
}

/* Forks of forks after truncation: each ends with rows of its own, and everything comes back. */
static void test_forks_of_forks(void **state)
{
    world *w = *state;
    hopmla_seq line[5];
    line[0] = create(w);
    grow(w, line[0], 150);
    for (int i = 1; i < 5; i++) {
        line[i] = fork_of(w, line[i - 1], HOPMLA_ALL_TOKENS);
        assert_int_equal(truncate_to(w, line[i], 150 - 20 * (uint64_t)i), HOPMLA_OK);
        assert_int_equal(reserve(w, line[i], 1), HOPMLA_OK);
    }
    PAGES_ARE(line[0], 0, 1, 2);
    PAGES_ARE(line[1], 0, 1, 3); /* 130 */
    PAGES_ARE(line[2], 0, 4);    /* 110 */
    PAGES_ARE(line[3], 0, 5);    /* 90 */
    PAGES_ARE(line[4], 0, 6);    /* 70 */
    assert_int_equal(w->pool->pages.page[0].owners, 5);
    assert_int_equal(hopmla_seq_release(w->pool, &line[1], 3, NULL), HOPMLA_OK);
    assert_int_equal(truncate_to(w, line[0], 128), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(w->pool, &line[0], 1, NULL), HOPMLA_OK);
    assert_int_equal(describe(w, line[4]).copy_owed, 1);
    assert_int_equal(free_pages(w), PAGES - 3); /* its two, and the source of its copy */
    update(w, line[4]);
    assert_int_equal(commit(w, line[4], 1), HOPMLA_OK);
    assert_int_equal(free_pages(w), PAGES - 2);
    assert_int_equal(hopmla_seq_release(w->pool, &line[4], 1, NULL), HOPMLA_OK);
    assert_int_equal(free_pages(w), PAGES);
}

static void test_truncated_debts(void **state)
{
    world *w = *state;
    const hopmla_seq parent = create(w);
    grow(w, parent, 74);
    const hopmla_seq child = fork_of(w, parent, HOPMLA_ALL_TOKENS);
    assert_int_equal(reserve(w, child, 1), HOPMLA_OK);
    assert_int_equal(truncate_to(w, child, 74), HOPMLA_OK); /* rejected: the page stays, and the debt */
    assert_int_equal(describe(w, child).copy_owed, 1);
    assert_int_equal(truncate_to(w, child, 70), HOPMLA_OK);
    assert_int_equal(describe(w, child).copy_owed, 1);
    assert_int_equal(truncate_to(w, child, 64), HOPMLA_OK); /* the page goes, and the debt */
    assert_int_equal(describe(w, child).copy_owed, 0);
    assert_int_equal(free_pages(w), PAGES - 2);
    assert_int_equal(reserve(w, child, 1), HOPMLA_OK);
    assert_int_equal(describe(w, child).copy_owed, 0);
    assert_int_equal(w->pool->pages.page[1].sources, 0);
}

/* Tokens committed without an update: the debt stays, and what lies behind it is not shared. */
static void test_committed_before_the_copy(void **state)
{
    world *w = *state;
    const hopmla_seq parent = create(w);
    grow(w, parent, 10);
    const hopmla_seq child = fork_of(w, parent, HOPMLA_ALL_TOKENS);
    assert_int_equal(reserve(w, child, 1), HOPMLA_OK);
    assert_int_equal(truncate_to(w, child, 6), HOPMLA_OK); /* six rows are owed now */
    grow(w, child, 2);
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_seq grandchild = 0;
    assert_int_equal(hopmla_seq_fork(w->pool, child, 7, &grandchild, &error), HOPMLA_ERROR_STATE);
    assert_int_equal(grandchild, 0);
    PAGES_ARE(fork_of(w, child, 6), 0);
    for (uint32_t t = 0; t < 64; t++) {
        *fake_token(w->pool->layout.base, 0, t) = 100 + t;
        *fake_token(w->pool->layout.base, 1, t) = 200 + t;
    }
    update(w, child);
    assert_int_equal(*fake_token(w->pool->layout.base, 1, 5), 105);
    assert_int_equal(*fake_token(w->pool->layout.base, 1, 6), 206);
    assert_int_equal(w->pool->pages.page[0].sources, 0); /* committed before: nothing to wait for */
    PAGES_ARE(fork_of(w, child, 7), 1);
}

/* What was appended and not committed is not lost to a fork and a larger reserve in between. */
static void test_reserved_rows_survive_a_fork(void **state)
{
    world *w = *state;
    const hopmla_seq seq = create(w);
    grow(w, seq, 10);
    assert_int_equal(reserve(w, seq, 3), HOPMLA_OK);
    const hopmla_seq child = fork_of(w, seq, HOPMLA_ALL_TOKENS);
    assert_int_equal(reserve(w, seq, 4), HOPMLA_OK);
    PAGES_ARE(seq, 0);
    assert_int_equal(reserve(w, child, 1), HOPMLA_OK);
    PAGES_ARE(child, 1);
    assert_int_equal(commit(w, seq, 4), HOPMLA_OK);
    assert_int_equal(reserve(w, seq, 1), HOPMLA_OK); /* alone with it again */
    PAGES_ARE(seq, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_failed_reserve_of_forks),
        TEST(test_last_keeps_the_page),
        TEST(test_fork_lengths),
        TEST(test_fork_of_a_debtor),
        TEST(test_forks_of_forks),
        TEST(test_truncated_debts),
        TEST(test_committed_before_the_copy),
        TEST(test_reserved_rows_survive_a_fork),
    };
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL) ? 1 : 0;
}
