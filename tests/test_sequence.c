/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences one call at a time: ids, room, commits, truncation, and what a wrong batch leaves. */
#include "tests/sequence_world.h"

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
        TEST(test_nulls),
        TEST(test_longest),
    };
    return cmocka_run_group_tests_name("sequence", tests, NULL, NULL) ? 1 : 0;
}
