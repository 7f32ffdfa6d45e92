/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation behind the calls of pool, sequences and plans fails once, of every kind: the call says so, nothing has
 * changed, and nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"
#include "tests/failing_alloc.h"

enum {
    SEQS = 100, /* more than the first table of slots holds */
    LONG = 64 * 40
};

typedef struct world {
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_seq seqs[SEQS];
    uint32_t n_new[SEQS];
} world;

static hopmla_pool_stats stats_of(hopmla_pool *pool)
{
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_OK);
    return stats;
}

static hopmla_status create(failing_alloc *allocator, world *w)
{
    hopmla_context_options context = HOPMLA_CONTEXT_OPTIONS_INIT;
    context.backend = HOPMLA_BACKEND_CPU;
    context.cpu_threads = 1;
    failing_alloc_use(allocator, &context);
    hopmla_status status = hopmla_context_create(&context, &w->context, NULL);
    if (status) {
        assert_null(w->context);
        return status;
    }
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    pool.format = HOPMLA_KV_BF16;
    pool.layers = 1;
    pool.pages = 200;
    status = hopmla_pool_create(w->context, &pool, &w->pool, NULL);
    if (status) {
        assert_null(w->pool);
        return status;
    }
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = SEQS;
    plan.heads = 2;
    plan.max_kv_tokens = LONG + 64;
    status = hopmla_plan_create(w->pool, &plan, &w->plan, NULL);
    assert_true(status == HOPMLA_OK || !w->plan);
    return status;
}

/* Each call that fails is tried once more: by then there is memory, so it must do all that it had left undone. */
static hopmla_status use(world *w)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_status first = HOPMLA_OK;
    hopmla_status status = hopmla_seq_create(w->pool, w->seqs, SEQS, &error);
    if (status) {
        first = status;
        assert_int_equal(error.status, status);
        assert_int_equal(w->seqs[0], 0);
        assert_int_equal(stats_of(w->pool).sequences, 0);
        assert_int_equal(hopmla_seq_create(w->pool, w->seqs, SEQS, NULL), HOPMLA_OK);
    }
    for (uint32_t i = 0; i < SEQS; i++) {
        w->n_new[i] = 1;
    }
    w->n_new[3] = LONG;
    status = hopmla_seq_reserve(w->pool, w->seqs, w->n_new, SEQS, &error);
    if (status) {
        first = status;
        assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
        assert_non_null(strstr(error.message, "seqs["));
        assert_int_equal(stats_of(w->pool).pages_used, 0);
        assert_int_equal(stats_of(w->pool).tokens_reserved, 0);
        assert_int_equal(hopmla_seq_reserve(w->pool, w->seqs, w->n_new, SEQS, NULL), HOPMLA_OK);
    }
    assert_int_equal(hopmla_seq_commit(w->pool, w->seqs, w->n_new, SEQS, NULL), HOPMLA_OK);
    for (int i = 0; i < 40; i++) { /* into another table of slots */
        hopmla_seq child = 0;
        status = hopmla_seq_fork(w->pool, w->seqs[3], LONG - 3, &child, &error);
        if (status) {
            first = status;
            assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
            assert_int_equal(child, 0);
            assert_int_equal(stats_of(w->pool).sequences, SEQS + i);
            assert_int_equal(stats_of(w->pool).pages_used, SEQS - 1 + 40);
            assert_int_equal(hopmla_seq_fork(w->pool, w->seqs[3], LONG - 3, &child, NULL), HOPMLA_OK);
        }
        if (i == 0) {
            /* A larger list, and a copy that must be taken back when there is no memory for it. */
            const uint32_t n_new = 64 * 30;
            status = hopmla_seq_reserve(w->pool, &child, &n_new, 1, &error);
            if (status) {
                first = status;
                assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
                assert_int_equal(stats_of(w->pool).copies_owed, 0);
                assert_int_equal(stats_of(w->pool).pages_used, SEQS - 1 + 40);
                assert_int_equal(hopmla_seq_reserve(w->pool, &child, &n_new, 1, NULL), HOPMLA_OK);
            }
            const uint64_t length = 0;
            assert_int_equal(hopmla_seq_truncate(w->pool, &child, &length, 1, NULL), HOPMLA_OK);
        }
    }
    return first;
}

/* No call of a step allocates. */
static void step(failing_alloc *allocator, world *w)
{
    const uint64_t calls = allocator->calls;
    const uint32_t one = 1;
    assert_int_equal(hopmla_seq_reserve(w->pool, w->seqs, &one, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(w->plan, w->seqs, &one, NULL, 1, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(w->pool, w->seqs, &one, 1, NULL), HOPMLA_OK);
    const uint64_t length = 1;
    assert_int_equal(hopmla_seq_truncate(w->pool, w->seqs, &length, 1, NULL), HOPMLA_OK);
    assert_int_equal(allocator->calls, calls);
}

static hopmla_status scenario(failing_alloc *allocator, void *user)
{
    (void)user;
    world *w = calloc(1, sizeof(*w));
    hopmla_status status = create(allocator, w);
    if (status == HOPMLA_OK) {
        status = use(w);
        step(allocator, w);
    }
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
    hopmla_plan_destroy(w->plan);
    free(w);
    return status;
}

static void test_every_allocation(void **state)
{
    (void)state;
    assert_true(failing_alloc_sweep(scenario, NULL, FAILING_ALLOC_ALL) > SEQS);
}

static void test_each_kind(void **state)
{
    (void)state;
    for (int32_t kind = HOPMLA_MEMORY_HOST; kind <= HOPMLA_MEMORY_WORKSPACE; kind++) {
        assert_true(failing_alloc_sweep(scenario, NULL, FAILING_ALLOC_KIND(kind)) >= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_each_kind),
    };
    return cmocka_run_group_tests_name("allocation failures", tests, NULL, NULL) ? 1 : 0;
}
