/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PINS_WORLD_H
#define PINS_WORLD_H

/** @file
 * Three plans over one small pool, each with a stream of its own. The streams of the fake backend stand still unless a
 * test runs them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/plan.h"
#include "tests/fake_backend.h"

enum {
    PAGES = 8,
    PLANS = 3
};

typedef struct world {
    hm_device *device;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan[PLANS];
    hopmla_stream stream[PLANS];
    uint64_t token;
} world;

static inline hopmla_plan *make_plan(hopmla_pool *pool, uint32_t depth)
{
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = 4;
    options.max_q_tokens = 2;
    options.heads = 1;
    options.max_kv_tokens = 512;
    options.staging_depth = depth;
    hopmla_plan *plan = NULL;
    assert_int_equal(hopmla_plan_create(pool, &options, &plan, NULL), HOPMLA_OK);
    return plan;
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
    for (int i = 0; i < PLANS; i++) {
        w->plan[i] = make_plan(w->pool, 4);
        assert_int_equal(hopmla_stream_create(w->context, &w->stream[i], NULL), HOPMLA_OK);
    }
    w->device->deferred = 1;
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    world *w = *state;
    assert_true(fake_run_all(w->device));
    for (int i = 0; i < PLANS; i++) {
        hopmla_plan_destroy(w->plan[i]);
    }
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
    free(w);
    return 0;
}

static inline hopmla_seq make_seq(world *w)
{
    hopmla_seq seq;
    assert_int_equal(hopmla_seq_create(w->pool, &seq, 1, NULL), HOPMLA_OK);
    return seq;
}

static inline void reserve(world *w, hopmla_seq seq, uint32_t n)
{
    assert_int_equal(hopmla_seq_reserve(w->pool, &seq, &n, 1, NULL), HOPMLA_OK);
}

static inline void commit(world *w, hopmla_seq seq, uint32_t n)
{
    assert_int_equal(hopmla_seq_commit(w->pool, &seq, &n, 1, NULL), HOPMLA_OK);
}

static inline void release(world *w, hopmla_seq seq)
{
    assert_int_equal(hopmla_seq_release(w->pool, &seq, 1, NULL), HOPMLA_OK);
}

static inline void truncate_to(world *w, hopmla_seq seq, uint64_t length)
{
    assert_int_equal(hopmla_seq_truncate(w->pool, &seq, &length, 1, NULL), HOPMLA_OK);
}

static inline hopmla_seq fork_of(world *w, hopmla_seq parent)
{
    hopmla_seq child;
    assert_int_equal(hopmla_seq_fork(w->pool, parent, HOPMLA_ALL_TOKENS, &child, NULL), HOPMLA_OK);
    return child;
}

static inline hopmla_status update(world *w, int plan, hopmla_seq seq, uint32_t n)
{
    w->device->n_waits = 0;
    return hopmla_plan_update(w->plan[plan], &seq, &n, NULL, 1, w->stream[plan], NULL);
}

static inline void end(world *w, int plan)
{
    assert_int_equal(hopmla_plan_end(w->plan[plan], w->stream[plan], NULL), HOPMLA_OK);
}

/* A whole step that appends n tokens and stays on its stream. */
static inline void step(world *w, int plan, hopmla_seq seq, uint32_t n)
{
    reserve(w, seq, n);
    assert_int_equal(update(w, plan, seq, n), HOPMLA_OK);
    end(w, plan);
    commit(w, seq, n);
}

static inline void run(world *w, int plan)
{
    fake_run(w->device, w->stream[plan], UINT32_MAX);
}

static inline void assert_waits_for(const world *w, int waiting, int plan)
{
    assert_int_equal(w->device->n_waits, 1);
    assert_ptr_equal(w->device->waits[0].stream, w->stream[waiting]);
    assert_ptr_equal(w->device->waits[0].fence, w->plan[plan]->steps.fence);
    assert_int_equal(w->device->waits[0].value, w->plan[plan]->ticket);
}

#endif
