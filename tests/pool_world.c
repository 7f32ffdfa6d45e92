/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/pool_world.h"

static void check_books(const world *w)
{
    const hm_pages *pages = &w->pool->pages;
    uint32_t used = 0;
    uint32_t shared = 0;
    assert_int_equal(pages->free, w->m.n_free);
    for (uint32_t i = 0; i < pages->free; i++) {
        assert_int_equal(pages->ring[(pages->first + i) % pages->total], w->m.queue[i]);
    }
    for (int32_t p = 0; p < MODEL_PAGES; p++) {
        const uint32_t owners = model_owners(&w->m, p);
        const uint32_t sources = model_sources(&w->m, p);
        assert_int_equal(pages->page[p].owners, owners);
        assert_int_equal(pages->page[p].sources, sources);
        assert_int_equal(pages->page[p].rows, w->m.page[p].guard);
        used += owners + sources > 0;
        shared += owners > 1;
    }
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_total, MODEL_PAGES);
    assert_int_equal(stats.pages_free + used, MODEL_PAGES);
    assert_int_equal(stats.pages_used, used);
    assert_int_equal(stats.pages_shared, shared);
    assert_int_equal(stats.pages_high_water, w->m.high_water);
    assert_int_equal(stats.pages_pinned, model_pinned(&w->m));
    uint64_t live = 0;
    uint64_t committed = 0;
    uint64_t reserved = 0;
    uint64_t owed = 0;
    for (int s = 0; s < MODEL_SEQS; s++) {
        const model_seq *q = &w->m.seq[s];
        live += q->alive != 0;
        committed += q->alive ? q->committed : 0;
        reserved += q->alive ? q->reserved : 0;
        owed += q->alive && q->copy == MODEL_OWED;
    }
    assert_int_equal(stats.sequences, live);
    assert_int_equal(stats.tokens_committed, committed);
    assert_int_equal(stats.tokens_reserved, reserved);
    assert_int_equal(stats.copies_owed, owed);
}

static void check_sequence(const world *w, int s)
{
    const model_seq *q = &w->m.seq[s];
    hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
    int32_t pages[MODEL_LIST];
    uint32_t n = 0;
    assert_int_equal(hopmla_seq_describe(w->pool, w->id[s], &info, NULL), HOPMLA_OK);
    assert_int_equal(info.committed, q->committed);
    assert_int_equal(info.reserved, q->reserved);
    assert_int_equal(info.pages, q->n);
    assert_int_equal(info.copy_owed, q->copy == MODEL_OWED);
    assert_int_equal(hopmla_seq_pages(w->pool, w->id[s], pages, MODEL_LIST, &n, NULL), HOPMLA_OK);
    assert_int_equal(n, q->n);
    uint32_t shared = 0;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(pages[i], q->pages[i]);
        shared += model_owners(&w->m, pages[i]) > 1;
    }
    assert_int_equal(info.pages_shared, shared);
    if (w->twin) {
        assert_int_equal(hopmla_seq_pages(w->twin, w->twin_id[s], pages, MODEL_LIST, &n, NULL), HOPMLA_OK);
        assert_int_equal(n, q->n);
        assert_memory_equal(pages, q->pages, n * sizeof(*pages));
    }
    for (uint32_t t = 0; t < q->committed + q->reserved; t++) {
        if (q->tokens[t]) {
            assert_int_equal(*fake_token(w->base, model_where(q, t), t % P), q->tokens[t]);
        }
    }
}

void check_world(const world *w)
{
    check_books(w);
    for (int s = 0; s < MODEL_SEQS; s++) {
        if (w->m.seq[s].alive) {
            check_sequence(w, s);
        }
    }
}

void check_tables(const world *w, int plan, const int *seqs, const uint32_t *n_append, const uint32_t *q_lens,
                  uint32_t count)
{
    const hopmla_plan_tables *t = &w->tables[plan];
    int32_t queries = 0;
    int32_t appended = 0;
    assert_int_equal(*t->count, count);
    for (uint32_t i = 0; i < t->max_batch; i++) {
        const model_seq *q = i < count ? &w->m.seq[seqs[i]] : NULL;
        const uint32_t length = q ? q->committed + n_append[i] : 0;
        assert_int_equal(t->kv_lens[i], length);
        assert_int_equal(t->q_lens[i], q ? q_lens[i] : 0);
        assert_int_equal(t->q_starts[i], queries);
        assert_int_equal(t->append_starts[i], appended);
        queries += q ? (int32_t)q_lens[i] : 0;
        appended += q ? (int32_t)n_append[i] : 0;
        for (uint32_t p = 0; p * P < length; p++) {
            assert_int_equal(t->block_table[i * t->table_stride + p], q->pages[p]);
        }
    }
    assert_int_equal(t->q_starts[t->max_batch], queries);
    assert_int_equal(t->append_starts[t->max_batch], appended);
}
