/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan's tables hold after each update, and which batches it refuses. */
#include "tests/plan_world.h"

static void test_empty_tables(void **state)
{
    world *w = *state;
    const hopmla_plan_tables *t = &w->tables;
    assert_int_equal(t->max_batch, BATCH);
    assert_int_equal(t->table_stride, 8); /* five pages, rounded up to whole 16 bytes */
    const void *const arrays[] = { t->count, t->kv_lens, t->q_lens, t->q_starts, t->append_starts, t->block_table };
    for (int i = 0; i < 6; i++) {
        assert_int_equal((uintptr_t)arrays[i] % 256, 0);
    }
    assert_int_equal(*t->count, 0);
    for (uint32_t i = 0; i < BATCH; i++) {
        assert_int_equal(t->kv_lens[i], 0);
        assert_int_equal(t->q_lens[i], 0);
    }
    for (uint32_t i = 0; i <= BATCH; i++) {
        assert_int_equal(t->q_starts[i], 0);
        assert_int_equal(t->append_starts[i], 0);
    }
}

static void test_tables(void **state)
{
    world *w = *state;
    const hopmla_plan_tables *t = &w->tables;
    hopmla_seq seqs[3];
    make_seqs(w, seqs, 3, 100, 50);
    uint32_t n_append[] = { 30, 0, 50 };
    uint32_t q_lens[] = { 1, 3, 0 };
    hopmla_seq batch[3];
    memcpy(batch, seqs, sizeof(batch));
    w->device->deferred = 1;
    assert_int_equal(hopmla_plan_update(w->plan, batch, n_append, q_lens, 3, NULL, NULL), HOPMLA_OK);
    memset(batch, 0xff, sizeof(batch)); /* the arrays are the caller's again */
    memset(n_append, 0xff, sizeof(n_append));
    memset(q_lens, 0xff, sizeof(q_lens));
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
    assert_true(fake_run_all(w->device));
    w->device->deferred = 0;
    const int32_t kv_lens[] = { 130, 100, 150, 0 };
    const int32_t queries[] = { 1, 3, 0, 0 };
    const int32_t q_starts[] = { 0, 1, 4, 4, 4 };
    const int32_t append_starts[] = { 0, 30, 30, 80, 80 };
    assert_int_equal(*t->count, 3);
    assert_memory_equal(t->kv_lens, kv_lens, sizeof(kv_lens));
    assert_memory_equal(t->q_lens, queries, sizeof(queries));
    assert_memory_equal(t->q_starts, q_starts, sizeof(q_starts));
    assert_memory_equal(t->append_starts, append_starts, sizeof(append_starts));
    for (uint32_t i = 0; i < 3; i++) {
        assert_row(w, i, seqs[i]);
    }
    assert_int_equal(hopmla_plan_update(w->plan, &seqs[1], NULL, NULL, 1, NULL, NULL), HOPMLA_OK);
    assert_int_equal(*t->count, 1);
    assert_int_equal(t->kv_lens[0], 100);
    assert_int_equal(t->kv_lens[1], 0);
    assert_int_equal(t->q_starts[BATCH], 0);
    assert_row(w, 0, seqs[1]);
    assert_int_equal(hopmla_plan_update(w->plan, NULL, NULL, NULL, 0, NULL, NULL), HOPMLA_OK);
    assert_int_equal(*t->count, 0);
    assert_int_equal(t->kv_lens[0], 0);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
}

/* Only page ids that the device does not have travel. */
static void test_only_changes_travel(void **state)
{
    world *w = *state;
    hopmla_seq seqs[2];
    const uint64_t cut = 120;
    make_seqs(w, seqs, 2, 190, 30); /* four pages, three in use */
    assert_int_equal(update(w, seqs, 2), HOPMLA_OK);
    assert_int_equal(w->device->entries, 6);
    assert_int_equal(update(w, seqs, 2), HOPMLA_OK);
    assert_int_equal(w->device->entries, 0);
    const uint32_t some[] = { 10, 1 };
    assert_int_equal(hopmla_seq_commit(w->pool, seqs, some, 2, NULL), HOPMLA_OK);
    assert_int_equal(update(w, seqs, 2), HOPMLA_OK);
    assert_int_equal(w->device->entries, 1); /* the first has grown into its next page */
    assert_int_equal(hopmla_seq_truncate(w->pool, seqs, &cut, 1, NULL), HOPMLA_OK);
    assert_int_equal(update(w, seqs, 2), HOPMLA_OK);
    assert_int_equal(w->device->entries, 0); /* shorter: nothing to send */
    const uint32_t more[] = { 100, 0 };
    assert_int_equal(hopmla_seq_reserve(w->pool, seqs, more, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(w->pool, seqs, more, 2, NULL), HOPMLA_OK);
    assert_int_equal(update(w, seqs, 2), HOPMLA_OK);
    assert_int_equal(w->device->entries, 2); /* the tail is new, what comes before it is not */
    assert_row(w, 0, seqs[0]);
    const hopmla_seq swapped[] = { seqs[1], seqs[0] };
    assert_int_equal(update(w, swapped, 2), HOPMLA_OK);
    assert_int_equal(w->device->entries, 3 + 4);
    assert_row(w, 0, seqs[1]);
    assert_row(w, 1, seqs[0]);
    assert_int_equal(update(w, swapped, 1), HOPMLA_OK);
    assert_int_equal(update(w, swapped, 2), HOPMLA_OK);
    assert_int_equal(w->device->entries, 0); /* a row that was left out is still there */
    /* The slot's next sequence is another one. */
    assert_int_equal(hopmla_seq_release(w->pool, &seqs[1], 1, NULL), HOPMLA_OK);
    make_seqs(w, &seqs[1], 1, 60, 0);
    assert_int_equal(update(w, &seqs[1], 1), HOPMLA_OK);
    assert_int_equal(w->device->entries, 1);
    assert_row(w, 0, seqs[1]);
}

/* A plan that missed many changes of a list trusts none of it. */
static void test_many_changes(void **state)
{
    world *w = *state;
    for (uint32_t changes = 1; changes < 8; changes++) {
        hopmla_seq seq;
        make_seqs(w, &seq, 1, 260, 0);
        assert_int_equal(update(w, &seq, 1), HOPMLA_OK);
        const uint64_t first = 60;
        assert_int_equal(hopmla_seq_truncate(w->pool, &seq, &first, 1, NULL), HOPMLA_OK); /* down to one page */
        const uint32_t again = 200;
        assert_int_equal(hopmla_seq_reserve(w->pool, &seq, &again, 1, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_seq_commit(w->pool, &seq, &again, 1, NULL), HOPMLA_OK);
        for (uint32_t i = 1; i < changes; i++) { /* then only the last page */
            const uint64_t length = 256;
            const uint32_t n = 4;
            assert_int_equal(hopmla_seq_truncate(w->pool, &seq, &length, 1, NULL), HOPMLA_OK);
            assert_int_equal(hopmla_seq_reserve(w->pool, &seq, &n, 1, NULL), HOPMLA_OK);
            assert_int_equal(hopmla_seq_commit(w->pool, &seq, &n, 1, NULL), HOPMLA_OK);
        }
        assert_int_equal(update(w, &seq, 1), HOPMLA_OK);
        assert_int_equal(w->device->entries, changes <= HM_CHANGES ? 4 : 5);
        assert_row(w, 0, seq);
        assert_int_equal(hopmla_seq_release(w->pool, &seq, 1, NULL), HOPMLA_OK);
    }
}

static void test_two_plans(void **state)
{
    world *w = *state;
    const hopmla_plan_options options = small();
    hopmla_plan *other;
    hopmla_plan_tables tables = HOPMLA_PLAN_TABLES_INIT;
    hopmla_seq seqs[2];
    assert_int_equal(hopmla_plan_create(w->pool, &options, &other, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_get_tables(other, &tables, NULL), HOPMLA_OK);
    make_seqs(w, seqs, 2, 100, 100);
    const uint32_t n = 10;
    assert_int_equal(hopmla_plan_update(w->plan, &seqs[0], &n, NULL, 1, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(other, &seqs[0], NULL, NULL, 1, NULL, NULL), HOPMLA_ERROR_BUSY);
    assert_int_equal(*tables.count, 0);
    assert_int_equal(hopmla_plan_update(other, &seqs[1], NULL, NULL, 1, NULL, NULL), HOPMLA_OK);
    assert_int_equal(w->tables.kv_lens[0], 110);
    assert_int_equal(tables.kv_lens[0], 100);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(other, seqs, NULL, NULL, 2, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(other, NULL, NULL), HOPMLA_OK);
    int32_t pages[PAGES];
    uint32_t n_pages;
    assert_int_equal(hopmla_seq_pages(w->pool, seqs[1], pages, PAGES, &n_pages, NULL), HOPMLA_OK);
    assert_memory_equal(&tables.block_table[tables.table_stride], pages, 2 * sizeof(*pages));
    hopmla_plan_destroy(other);
}

/* Refusals leave the tables, the books and the step as they were. */
static void test_refused_batches(void **state)
{
    world *w = *state;
    hopmla_seq seqs[BATCH + 1];
    hopmla_error error = HOPMLA_ERROR_INIT;
    make_seqs(w, seqs, BATCH + 1, 100, 250);
    const hopmla_seq good[] = { seqs[4] };
    assert_int_equal(update(w, good, 1), HOPMLA_OK);
    const hopmla_seq stale = seqs[3];
    assert_int_equal(hopmla_seq_release(w->pool, &seqs[3], 1, NULL), HOPMLA_OK);
    const struct {
        hopmla_seq third;
        uint32_t n_append;
        uint32_t q_len;
        uint32_t count;
        hopmla_status status;
        const char *named;
    } wrong[] = {
        { stale, 0, 0, 3, HOPMLA_ERROR_STALE_ID, "seqs[2]" },
        { 1, 0, 0, 3, HOPMLA_ERROR_FOREIGN_ID, "seqs[2]" },
        { seqs[0], 0, 0, 3, HOPMLA_ERROR_DUPLICATE_ID, "seqs[2]" },
        { seqs[2], 251, 0, 3, HOPMLA_ERROR_RANGE, "n_append[2]" },
        { seqs[2], UINT32_MAX, 0, 3, HOPMLA_ERROR_RANGE, "n_append[2]" },
        { seqs[2], 201, 0, 3, HOPMLA_ERROR_ENVELOPE, "seqs[2]" },
        { seqs[2], 0, MAX_Q + 1, 3, HOPMLA_ERROR_ENVELOPE, "q_lens[2]" },
        { seqs[2], 0, UINT32_MAX, 3, HOPMLA_ERROR_ENVELOPE, "q_lens[2]" },
        { seqs[2], 0, 0, BATCH + 1, HOPMLA_ERROR_ENVELOPE, "count" },
        { seqs[2], 0, 0, UINT32_MAX, HOPMLA_ERROR_ENVELOPE, "count" },
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const hopmla_seq batch[] = { seqs[0], seqs[1], wrong[i].third };
        const uint32_t n_append[] = { 1, 1, wrong[i].n_append };
        const uint32_t q_lens[] = { 1, 1, wrong[i].q_len };
        memset(error.message, 0, sizeof(error.message));
        assert_int_equal(hopmla_plan_update(w->plan, batch, n_append, q_lens, wrong[i].count, NULL, &error),
                         wrong[i].status);
        assert_non_null(strstr(error.message, wrong[i].named));
        assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_ERROR_STATE);
        assert_int_equal(*w->tables.count, 1);
        assert_int_equal(w->tables.kv_lens[0], 100);
        assert_row(w, 0, seqs[4]);
    }
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_pinned, 0);
    const uint32_t most = 200; /* to the edge of the envelope */
    assert_int_equal(hopmla_plan_update(w->plan, seqs, &most, NULL, 1, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
    assert_int_equal(w->tables.kv_lens[0], MAX_KV);
    assert_row(w, 0, seqs[0]);
}

/* A copy is enqueued by the first update with the sequence, whatever it is updated for. */
static void test_copies(void **state)
{
    world *w = *state;
    hopmla_seq family[3];
    make_seqs(w, family, 1, 70, 0);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(hopmla_seq_fork(w->pool, family[0], HOPMLA_ALL_TOKENS, &family[i], NULL), HOPMLA_OK);
    }
    const uint32_t n_new[] = { 1, 2, 3 };
    assert_int_equal(hopmla_seq_reserve(w->pool, family, n_new, 3, NULL), HOPMLA_OK);
    assert_int_equal(update(w, &family[1], 1), HOPMLA_OK);
    assert_int_equal(w->device->copies, 1);
    assert_int_equal(update(w, family, 3), HOPMLA_OK);
    assert_int_equal(w->device->copies, 2);
    assert_int_equal(update(w, family, 3), HOPMLA_OK);
    assert_int_equal(w->device->copies, 2);
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.copies_owed, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_row(w, i, family[i]);
    }
}

/* What adds up to more than an int32 is refused. The room is only claimed: there is none for two billion tokens. */
static void test_append_total(void **state)
{
    world *w = *state;
    enum {
        ROWS = 2048
    };
    hopmla_plan_options options = small();
    options.max_batch = ROWS;
    options.max_kv_tokens = 1 << 20;
    options.staging_depth = 1;
    hopmla_plan *plan;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_seq seqs[ROWS];
    uint32_t all[ROWS];
    assert_int_equal(hopmla_plan_create(w->pool, &options, &plan, &error), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(w->pool, seqs, ROWS, NULL), HOPMLA_OK);
    for (int i = 0; i < ROWS; i++) {
        all[i] = 1 << 20;
        hm_sequences_at(&w->pool->sequences, seqs[i])->reserved = all[i];
    }
    assert_int_equal(hopmla_plan_update(plan, seqs, all, NULL, ROWS, NULL, &error), HOPMLA_ERROR_ENVELOPE);
    assert_non_null(strstr(error.message, "n_append"));
    for (int i = 0; i < ROWS; i++) {
        hm_sequences_at(&w->pool->sequences, seqs[i])->reserved = 0;
    }
    hopmla_plan_destroy(plan);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_empty_tables), TEST(test_tables),       TEST(test_only_changes_travel),
        TEST(test_many_changes), TEST(test_two_plans),    TEST(test_refused_batches),
        TEST(test_copies),       TEST(test_append_total),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL) ? 1 : 0;
}
