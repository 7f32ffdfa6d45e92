/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SEQUENCE_WORLD_H
#define SEQUENCE_WORLD_H

/** @file
 * A small pool with a plan, and calls on one sequence. */

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

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    world *w = *state;
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
    free(w);
    return 0;
}

static inline hopmla_seq create(world *w)
{
    hopmla_seq seq = 0;
    assert_int_equal(hopmla_seq_create(w->pool, &seq, 1, NULL), HOPMLA_OK);
    return seq;
}

static inline hopmla_status reserve(world *w, hopmla_seq seq, uint32_t n)
{
    return hopmla_seq_reserve(w->pool, &seq, &n, 1, NULL);
}

static inline hopmla_status commit(world *w, hopmla_seq seq, uint32_t n)
{
    return hopmla_seq_commit(w->pool, &seq, &n, 1, NULL);
}

static inline hopmla_status truncate_to(world *w, hopmla_seq seq, uint64_t length)
{
    return hopmla_seq_truncate(w->pool, &seq, &length, 1, NULL);
}

static inline hopmla_seq fork_of(world *w, hopmla_seq parent, uint64_t length)
{
    hopmla_seq child = 0;
    assert_int_equal(hopmla_seq_fork(w->pool, parent, length, &child, NULL), HOPMLA_OK);
    return child;
}

static inline void grow(world *w, hopmla_seq seq, uint32_t n)
{
    assert_int_equal(reserve(w, seq, n), HOPMLA_OK);
    assert_int_equal(commit(w, seq, n), HOPMLA_OK);
}

static inline void update(world *w, hopmla_seq seq)
{
    assert_int_equal(hopmla_plan_update(w->plan, &seq, NULL, NULL, 1, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
}

static inline hopmla_seq_info describe(world *w, hopmla_seq seq)
{
    hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
    assert_int_equal(hopmla_seq_describe(w->pool, seq, &info, NULL), HOPMLA_OK);
    return info;
}

static inline uint64_t free_pages(world *w)
{
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    return stats.pages_free;
}

/* The list, as ids ended by −1. */
static inline void assert_pages(world *w, hopmla_seq seq, const int32_t *expected)
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

#endif
