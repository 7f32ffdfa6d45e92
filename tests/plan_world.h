/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAN_WORLD_H
#define PLAN_WORLD_H

/** @file
 * A plan over a small pool, and its tables. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/plan.h"
#include "tests/fake_backend.h"

enum {
    PAGES = 40,
    BATCH = 4,
    MAX_Q = 3,
    MAX_KV = 300
};

typedef struct world {
    hm_device *device;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_plan_tables tables;
} world;

static inline hopmla_plan_options small(void)
{
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = BATCH;
    options.max_q_tokens = MAX_Q;
    options.heads = 16;
    options.max_kv_tokens = MAX_KV;
    return options;
}

static inline int set_up(void **state)
{
    world *w = calloc(1, sizeof(*w));
    w->context = fake_context(&w->device);
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 1;
    options.pages = PAGES;
    assert_int_equal(hopmla_pool_create(w->context, &options, &w->pool, NULL), HOPMLA_OK);
    const hopmla_plan_options plan = small();
    assert_int_equal(hopmla_plan_create(w->pool, &plan, &w->plan, NULL), HOPMLA_OK);
    w->tables = (hopmla_plan_tables)HOPMLA_PLAN_TABLES_INIT;
    assert_int_equal(hopmla_plan_get_tables(w->plan, &w->tables, NULL), HOPMLA_OK);
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    world *w = *state;
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
    free(w);
    return 0;
}

static inline void make_seqs(world *w, hopmla_seq *seqs, uint32_t count, uint32_t committed, uint32_t reserved)
{
    assert_int_equal(hopmla_seq_create(w->pool, seqs, count, NULL), HOPMLA_OK);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(hopmla_seq_reserve(w->pool, &seqs[i], &committed, 1, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_seq_commit(w->pool, &seqs[i], &committed, 1, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_seq_reserve(w->pool, &seqs[i], &reserved, 1, NULL), HOPMLA_OK);
    }
}

static inline hopmla_status update(world *w, const hopmla_seq *seqs, uint32_t count)
{
    w->device->entries = 0;
    const hopmla_status status = hopmla_plan_update(w->plan, seqs, NULL, NULL, count, NULL, NULL);
    if (status == HOPMLA_OK) {
        assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
    }
    return status;
}

/* A row of the block table is the sequence's list. */
static inline void assert_row(world *w, uint32_t row, hopmla_seq seq)
{
    int32_t pages[PAGES];
    uint32_t n;
    assert_int_equal(hopmla_seq_pages(w->pool, seq, pages, PAGES, &n, NULL), HOPMLA_OK);
    for (uint32_t i = 0; i < n && (int32_t)(i * 64) < w->tables.kv_lens[row]; i++) {
        assert_int_equal(w->tables.block_table[row * w->tables.table_stride + i], pages[i]);
    }
}

#endif
