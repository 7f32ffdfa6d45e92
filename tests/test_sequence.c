/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences one call at a time: ids, room, commits, truncation, forks of forks, and what a wrong batch leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/pool.h"
#include "tests/fake_backend.h"

enum {
    PAGES = 12,
    MOST = 20
};

typedef struct world {
    hm_device *device;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
} world;

static int set_up(void **state)
{
    world *w = calloc(1, sizeof(*w));
    w->context = fake_context(&w->device);
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 1;
    options.pages = PAGES;
    options.max_sequences = 200;
    assert_int_equal(hopmla_pool_create(w->context, &options, &w->pool, NULL), HOPMLA_OK);
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = 8;
    plan.heads = 1;
    plan.max_kv_tokens = 1024;
    assert_int_equal(hopmla_plan_create(w->pool, &plan, &w->plan, NULL), HOPMLA_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
    free(w);
    return 0;
}

static hopmla_seq create(world *w)
{
    hopmla_seq seq = 0;
    assert_int_equal(hopmla_seq_create(w->pool, &seq, 1, NULL), HOPMLA_OK);
    return seq;
}

static hopmla_status reserve(world *w, hopmla_seq seq, uint32_t n)
{
    return hopmla_seq_reserve(w->pool, &seq, &n, 1, NULL);
}

static hopmla_status commit(world *w, hopmla_seq seq, uint32_t n)
{
    return hopmla_seq_commit(w->pool, &seq, &n, 1, NULL);
}

static hopmla_status truncate_to(world *w, hopmla_seq seq, uint64_t length)
{
    return hopmla_seq_truncate(w->pool, &seq, &length, 1, NULL);
}

static hopmla_seq fork_of(world *w, hopmla_seq parent, uint64_t length)
{
    hopmla_seq child = 0;
    assert_int_equal(hopmla_seq_fork(w->pool, parent, length, &child, NULL), HOPMLA_OK);
    return child;
}

static void grow(world *w, hopmla_seq seq, uint32_t n)
{
    assert_int_equal(reserve(w, seq, n), HOPMLA_OK);
    assert_int_equal(commit(w, seq, n), HOPMLA_OK);
}

static void update(world *w, hopmla_seq seq)
{
    assert_int_equal(hopmla_plan_update(w->plan, &seq, NULL, NULL, 1, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
}

static hopmla_seq_info describe(world *w, hopmla_seq seq)
{
    hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
    assert_int_equal(hopmla_seq_describe(w->pool, seq, &info, NULL), HOPMLA_OK);
    return info;
}

static uint64_t free_pages(world *w)
{
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    return stats.pages_free;
}

/* The list, as ids ended by −1. */
static void assert_pages(world *w, hopmla_seq seq, const int32_t *expected)
{
    int32_t pages[MOST];
    uint32_t n = 0;
    assert_int_equal(hopmla_seq_pages(w->pool, seq, pages, MOST, &n, NULL), HOPMLA_OK);
    uint32_t i = 0;
    for (; expected[i] >= 0; i++) {
        assert_true(i < n);
        assert_int_equal(pages[i], expected[i]);
    }
    assert_int_equal(n, i);
}

#define PAGES_ARE(seq, ...) assert_pages(w, seq, (const int32_t[]){ __VA_ARGS__, -1 })

static void test_growth(void **state)
{
    world *w = *state;
    const hopmla_seq seq = create(w);
    assert_int_equal(describe(w, seq).pages, 0);
    assert_int_equal(reserve(w, seq, 0), HOPMLA_OK);
    assert_int_equal(describe(w, seq).pages, 0);
    assert_int_equal(reserve(w, seq, 100), HOPMLA_OK);
    PAGES_ARE(seq, 0, 1);
    assert_int_equal(reserve(w, seq, 30), HOPMLA_OK); /* less: nothing changes */
    assert_int_equal(describe(w, seq).reserved, 100);
    assert_int_equal(reserve(w, seq, 129), HOPMLA_OK); /* more: replaces, does not add */
    assert_int_equal(describe(w, seq).reserved, 129);
    PAGES_ARE(seq, 0, 1, 2);
    assert_int_equal(commit(w, seq, 64), HOPMLA_OK);
    assert_int_equal(describe(w, seq).committed, 64);
    assert_int_equal(describe(w, seq).reserved, 65);
    assert_int_equal(commit(w, seq, 66), HOPMLA_ERROR_RANGE);
    assert_int_equal(commit(w, seq, 65), HOPMLA_OK);
    assert_int_equal(truncate_to(w, seq, 130), HOPMLA_ERROR_RANGE);
    assert_int_equal(reserve(w, seq, 10), HOPMLA_OK);
    assert_int_equal(truncate_to(w, seq, 135), HOPMLA_OK); /* six reserved ones stay */
    assert_int_equal(describe(w, seq).reserved, 6);
    assert_int_equal(truncate_to(w, seq, 64), HOPMLA_OK);
    assert_int_equal(describe(w, seq).reserved, 0);
    PAGES_ARE(seq, 0);
    assert_int_equal(truncate_to(w, seq, 0), HOPMLA_OK);
    assert_int_equal(free_pages(w), PAGES);
    assert_int_equal(reserve(w, seq, 1), HOPMLA_OK); /* first in, first out */
    PAGES_ARE(seq, 3);
}

static void test_pages_into_small_array(void **state)
{
    world *w = *state;
    const hopmla_seq seq = create(w);
    int32_t pages[3] = { -7, -7, -7 };
    uint32_t n = 99;
    assert_int_equal(reserve(w, seq, 200), HOPMLA_OK);
    assert_int_equal(hopmla_seq_pages(w->pool, seq, pages, 2, &n, NULL), HOPMLA_OK);
    assert_int_equal(n, 4);
    assert_int_equal(pages[1], 1);
    assert_int_equal(pages[2], -7);
    assert_int_equal(hopmla_seq_pages(w->pool, seq, NULL, 0, &n, NULL), HOPMLA_OK);
    assert_int_equal(n, 4);
    assert_int_equal(hopmla_seq_pages(w->pool, seq, NULL, 1, &n, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_pages(w->pool, seq, pages, 1, NULL, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_pages(w->pool, seq + 1, pages, 1, &n, NULL), HOPMLA_ERROR_FOREIGN_ID);
}

static void test_ids(void **state)
{
    world *w = *state;
    hopmla_seq ids[3];
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(hopmla_seq_create(w->pool, ids, 3, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(w->pool, &ids[1], 1, NULL), HOPMLA_OK);
    hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
    assert_int_equal(hopmla_seq_describe(w->pool, ids[1], &info, &error), HOPMLA_ERROR_STALE_ID);
    assert_non_null(strstr(error.message, "seq = "));
    const hopmla_seq again = create(w); /* the same slot, another generation */
    assert_int_equal(again & HM_MAX_SLOTS, ids[1] & HM_MAX_SLOTS);
    assert_int_not_equal(again, ids[1]);
    assert_int_equal(hopmla_seq_describe(w->pool, ids[1], &info, NULL), HOPMLA_ERROR_STALE_ID);

    const hopmla_seq next_generation = again + (UINT64_C(1) << HM_SLOT_BITS);
    assert_int_equal(hopmla_seq_describe(w->pool, next_generation, &info, NULL), HOPMLA_ERROR_FOREIGN_ID);
    assert_int_equal(hopmla_seq_describe(w->pool, 0, &info, NULL), HOPMLA_ERROR_FOREIGN_ID);
    assert_int_equal(hopmla_seq_describe(w->pool, ids[2] + 1, &info, NULL), HOPMLA_ERROR_FOREIGN_ID);
    assert_int_equal(hopmla_seq_describe(w->pool, UINT64_MAX, &info, NULL), HOPMLA_ERROR_FOREIGN_ID);

    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.storage = HOPMLA_STORAGE_NONE;
    options.layers = options.max_sequences = 1;
    options.pages = 1;
    hopmla_pool *other;
    hopmla_seq foreign;
    assert_int_equal(hopmla_pool_create(w->context, &options, &other, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(other, &foreign, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_describe(w->pool, foreign, &info, NULL), HOPMLA_ERROR_FOREIGN_ID);
    assert_int_equal(hopmla_seq_describe(other, ids[0], &info, NULL), HOPMLA_ERROR_FOREIGN_ID);
    assert_int_equal(hopmla_plan_update(w->plan, &foreign, NULL, NULL, 1, NULL, NULL), HOPMLA_ERROR_FOREIGN_ID);
    hopmla_pool_destroy(other);
}

static void test_too_many(void **state)
{
    world *w = *state;
    hopmla_seq ids[201] = { 0 };
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(hopmla_seq_create(w->pool, ids, 201, &error), HOPMLA_ERROR_TOO_MANY);
    assert_int_equal(ids[0], 0);
    assert_int_equal(hopmla_seq_create(w->pool, NULL, 0, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(w->pool, NULL, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_create(w->pool, ids, 150, NULL), HOPMLA_OK); /* the table grows on the way */
    assert_int_equal(hopmla_seq_create(w->pool, &ids[150], 50, NULL), HOPMLA_OK);
    hopmla_seq child = 0;
    assert_int_equal(hopmla_seq_create(w->pool, &child, 1, NULL), HOPMLA_ERROR_TOO_MANY);
    assert_int_equal(hopmla_seq_fork(w->pool, ids[0], 0, &child, NULL), HOPMLA_ERROR_TOO_MANY);
    assert_int_equal(child, 0);
    assert_int_equal(hopmla_seq_release(w->pool, &ids[10], 3, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(w->pool, &ids[10], 3, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(w->pool, &child, UINT32_MAX, NULL), HOPMLA_ERROR_TOO_MANY);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(describe(w, ids[i]).committed, 0);
        for (int j = 0; j < i; j++) {
            assert_int_not_equal(ids[i], ids[j]);
        }
    }
}

/* A slot whose generations are used up is not given out again, and its last id stays stale. */
static void test_generations_run_out(void **state)
{
    world *w = *state;
    hopmla_seq seq = create(w);
    w->pool->sequences.slot[0].generation = HM_MAX_GENERATION - 1;
    assert_int_equal(hopmla_seq_release(w->pool, &seq, 1, NULL), HOPMLA_OK);
    const hopmla_seq last = create(w);
    assert_int_equal(last >> HM_SLOT_BITS & HM_MAX_GENERATION, HM_MAX_GENERATION);
    grow(w, last, 1);
    assert_int_equal(hopmla_seq_release(w->pool, &last, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(w->pool, &last, 1, NULL), HOPMLA_ERROR_STALE_ID);
    hopmla_seq ids[200];
    assert_int_equal(hopmla_seq_create(w->pool, ids, 200, NULL), HOPMLA_OK); /* the limit is on live ones */
    assert_int_equal(ids[0] & HM_MAX_SLOTS, 2);
    assert_int_equal(hopmla_seq_release(w->pool, &last, 1, NULL), HOPMLA_ERROR_STALE_ID);
}

/* Nothing of a batch happens when one of it cannot be, and the message says which. */
static void test_all_or_nothing(void **state)
{
    world *w = *state;
    hopmla_seq ids[4];
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(hopmla_seq_create(w->pool, ids, 4, NULL), HOPMLA_OK);
    for (int i = 0; i < 4; i++) {
        grow(w, ids[i], 65); /* two pages each */
    }
    const hopmla_seq stale = create(w);
    assert_int_equal(hopmla_seq_release(w->pool, &stale, 1, NULL), HOPMLA_OK);

    const uint32_t n_new[] = { 1, 64, 64 * 3, 64 };
    assert_int_equal(hopmla_seq_reserve(w->pool, ids, n_new, 4, &error), HOPMLA_ERROR_OUT_OF_PAGES);
    assert_int_equal(error.value, 1); /* five are needed, four free */
    assert_non_null(strstr(error.message, "1 are missing"));
    const struct {
        hopmla_seq batch[3];
        hopmla_status status;
    } wrong[] = {
        { { ids[0], ids[1], stale }, HOPMLA_ERROR_STALE_ID },
        { { ids[0], ids[1], 0 }, HOPMLA_ERROR_FOREIGN_ID },
        { { ids[0], ids[1], ids[0] }, HOPMLA_ERROR_DUPLICATE_ID },
    };
    const uint64_t lengths[] = { 0, 0, 0 };
    const uint32_t none[] = { 0, 0, 0 };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hopmla_seq_reserve(w->pool, wrong[i].batch, n_new, 3, &error), wrong[i].status);
        assert_int_equal(error.value, 2);
        assert_non_null(strstr(error.message, "seqs[2]"));
        assert_int_equal(hopmla_seq_commit(w->pool, wrong[i].batch, none, 3, &error), wrong[i].status);
        assert_non_null(strstr(error.message, "seqs[2]"));
        assert_int_equal(hopmla_seq_truncate(w->pool, wrong[i].batch, lengths, 3, &error), wrong[i].status);
        assert_non_null(strstr(error.message, "seqs[2]"));
        assert_int_equal(hopmla_seq_release(w->pool, wrong[i].batch, 3, &error), wrong[i].status);
        assert_non_null(strstr(error.message, "seqs[2]"));
    }
    const uint32_t too_long[] = { 1, 64, (1 << 20) - 64 };
    assert_int_equal(hopmla_seq_reserve(w->pool, ids, too_long, 3, &error), HOPMLA_ERROR_RANGE);
    assert_non_null(strstr(error.message, "n_new[2]"));
    const uint32_t beyond[] = { 0, 0, 1 };
    assert_int_equal(hopmla_seq_commit(w->pool, ids, beyond, 3, &error), HOPMLA_ERROR_RANGE);
    assert_non_null(strstr(error.message, "n_tokens[2]"));
    const uint64_t longer[] = { 0, 0, 66 };
    assert_int_equal(hopmla_seq_truncate(w->pool, ids, longer, 3, &error), HOPMLA_ERROR_RANGE);
    assert_non_null(strstr(error.message, "lengths[2]"));
    for (int i = 0; i < 4; i++) {
        const hopmla_seq_info info = describe(w, ids[i]);
        assert_int_equal(info.pages, 2);
        assert_int_equal(info.committed, 65);
        assert_int_equal(info.reserved, 0);
    }
    assert_int_equal(free_pages(w), PAGES - 8);
    const uint32_t exactly[] = { 1, 64, 64 * 2, 64 };
    assert_int_equal(hopmla_seq_reserve(w->pool, ids, exactly, 4, &error), HOPMLA_OK);
    assert_int_equal(free_pages(w), 0);
}

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

static void test_nulls(void **state)
{
    world *w = *state;
    hopmla_seq seq = create(w);
    const uint32_t n = 0;
    const uint64_t length = 0;
    hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
    assert_int_equal(hopmla_seq_create(NULL, &seq, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_reserve(NULL, &seq, &n, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_reserve(w->pool, NULL, &n, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_reserve(w->pool, &seq, NULL, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_reserve(w->pool, NULL, NULL, 0, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(w->pool, NULL, &n, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_commit(w->pool, &seq, NULL, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_commit(w->pool, NULL, NULL, 0, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_truncate(w->pool, NULL, &length, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_truncate(w->pool, &seq, NULL, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_truncate(w->pool, NULL, NULL, 0, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(w->pool, NULL, 1, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_release(w->pool, NULL, 0, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_fork(NULL, seq, 0, &seq, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_seq_describe(w->pool, seq, NULL, NULL), HOPMLA_ERROR_NULL);
    info.struct_size = 4;
    assert_int_equal(hopmla_seq_describe(w->pool, seq, &info, NULL), HOPMLA_ERROR_STRUCT_SIZE);
}

/* The longest sequence, in a pool that only books. */
static void test_longest(void **state)
{
    world *w = *state;
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.storage = HOPMLA_STORAGE_NONE;
    options.layers = 61;
    options.pages = 20000;
    hopmla_pool *pool;
    hopmla_seq seq;
    const uint32_t all = 1 << 20;
    const uint32_t one = 1;
    uint32_t n;
    assert_int_equal(hopmla_pool_create(w->context, &options, &pool, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(pool, &seq, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(pool, &seq, &all, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(pool, &seq, &all, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_pages(pool, seq, NULL, 0, &n, NULL), HOPMLA_OK);
    assert_int_equal(n, 16384);
    assert_int_equal(hopmla_seq_reserve(pool, &seq, &one, 1, NULL), HOPMLA_ERROR_RANGE);
    hopmla_seq child;
    assert_int_equal(hopmla_seq_fork(pool, seq, HOPMLA_ALL_TOKENS, &child, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(pool, &seq, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(pool, &seq, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(pool, &seq, &one, 1, NULL), HOPMLA_OK);
    hopmla_pool_destroy(pool);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_growth),
        TEST(test_pages_into_small_array),
        TEST(test_ids),
        TEST(test_too_many),
        TEST(test_generations_run_out),
        TEST(test_all_or_nothing),
        TEST(test_failed_reserve_of_forks),
        TEST(test_last_keeps_the_page),
        TEST(test_fork_lengths),
        TEST(test_fork_of_a_debtor),
        TEST(test_forks_of_forks),
        TEST(test_truncated_debts),
        TEST(test_committed_before_the_copy),
        TEST(test_reserved_rows_survive_a_fork),
        TEST(test_nulls),
        TEST(test_longest),
    };
    return cmocka_run_group_tests_name("sequence", tests, NULL, NULL) ? 1 : 0;
}
