/* SPDX-License-Identifier: Apache-2.0 */
/* Which waits an update makes its stream do, when it is refused, and what is left when a call to the driver fails. The
 * streams of the fake backend stand still unless a test runs them. */
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

static hopmla_plan *make_plan(hopmla_pool *pool, uint32_t depth)
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

static int set_up(void **state)
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

static int tear_down(void **state)
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

static hopmla_seq make_seq(world *w)
{
    hopmla_seq seq;
    assert_int_equal(hopmla_seq_create(w->pool, &seq, 1, NULL), HOPMLA_OK);
    return seq;
}

static void reserve(world *w, hopmla_seq seq, uint32_t n)
{
    assert_int_equal(hopmla_seq_reserve(w->pool, &seq, &n, 1, NULL), HOPMLA_OK);
}

static void commit(world *w, hopmla_seq seq, uint32_t n)
{
    assert_int_equal(hopmla_seq_commit(w->pool, &seq, &n, 1, NULL), HOPMLA_OK);
}

static void release(world *w, hopmla_seq seq)
{
    assert_int_equal(hopmla_seq_release(w->pool, &seq, 1, NULL), HOPMLA_OK);
}

static void truncate_to(world *w, hopmla_seq seq, uint64_t length)
{
    assert_int_equal(hopmla_seq_truncate(w->pool, &seq, &length, 1, NULL), HOPMLA_OK);
}

static hopmla_seq fork_of(world *w, hopmla_seq parent)
{
    hopmla_seq child;
    assert_int_equal(hopmla_seq_fork(w->pool, parent, HOPMLA_ALL_TOKENS, &child, NULL), HOPMLA_OK);
    return child;
}

static hopmla_status update(world *w, int plan, hopmla_seq seq, uint32_t n)
{
    w->device->n_waits = 0;
    return hopmla_plan_update(w->plan[plan], &seq, &n, NULL, 1, w->stream[plan], NULL);
}

static void end(world *w, int plan)
{
    assert_int_equal(hopmla_plan_end(w->plan[plan], w->stream[plan], NULL), HOPMLA_OK);
}

/* A whole step that appends n tokens and stays on its stream. */
static void step(world *w, int plan, hopmla_seq seq, uint32_t n)
{
    reserve(w, seq, n);
    assert_int_equal(update(w, plan, seq, n), HOPMLA_OK);
    end(w, plan);
    commit(w, seq, n);
}

static void run(world *w, int plan)
{
    fake_run(w->device, w->stream[plan], UINT32_MAX);
}

static void assert_waits_for(const world *w, int waiting, int plan)
{
    assert_int_equal(w->device->n_waits, 1);
    assert_ptr_equal(w->device->waits[0].stream, w->stream[waiting]);
    assert_ptr_equal(w->device->waits[0].fence, w->plan[plan]->steps.fence);
    assert_int_equal(w->device->waits[0].value, w->plan[plan]->ticket);
}

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

static void test_streams(void **state)
{
    world *w = *state;
    const hopmla_seq seq = make_seq(w);
    int32_t done = -1;
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 1);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[0], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(update(w, 0, seq, 0), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, w->stream[1], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[1], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(update(w, 0, seq, 0), HOPMLA_OK); /* the same step */
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 1); /* it was not ended */
    end(w, 0);
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 0);
    assert_int_equal(hopmla_plan_update(w->plan[0], &seq, NULL, NULL, 1, w->stream[1], NULL), HOPMLA_ERROR_BUSY);
    run(w, 0);
    assert_int_equal(hopmla_plan_done(w->plan[0], &done, NULL), HOPMLA_OK);
    assert_int_equal(done, 1);
    assert_int_equal(hopmla_plan_update(w->plan[0], &seq, NULL, NULL, 1, w->stream[1], NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[0], NULL), HOPMLA_ERROR_STATE);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[1], NULL), HOPMLA_OK);
}

static void test_capture_and_foreign_streams(void **state)
{
    world *w = *state;
    const hopmla_stream foreign = (hopmla_stream)(void *)w;
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, foreign, NULL), HOPMLA_ERROR_MISMATCH);
    fake_capture(w->device, w->stream[0], 1);
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_ERROR_CAPTURE);
    fake_capture(w->device, w->stream[0], 0);
    assert_int_equal(hopmla_plan_update(w->plan[0], NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_OK);
    fake_capture(w->device, w->stream[0], 1);
    assert_int_equal(hopmla_plan_end(w->plan[0], w->stream[0], NULL), HOPMLA_ERROR_CAPTURE);
    fake_capture(w->device, w->stream[0], 0);
    assert_int_equal(hopmla_plan_end(w->plan[0], foreign, NULL), HOPMLA_ERROR_MISMATCH);
    end(w, 0);
}

static void test_staging_ring(void **state)
{
    world *w = *state;
    hopmla_plan *plan = make_plan(w->pool, 2);
    const hopmla_seq seq = make_seq(w);
    hopmla_stream stream;
    assert_int_equal(hopmla_stream_create(w->context, &stream, NULL), HOPMLA_OK);
    hopmla_error error = HOPMLA_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_end(plan, stream, NULL), HOPMLA_OK);
    }
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, &error), HOPMLA_ERROR_BUSY);
    assert_non_null(strstr(error.message, "staging"));
    fake_run(w->device, stream, 2); /* apply and schedule of the first update */
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_ERROR_BUSY);
    fake_run(w->device, stream, 1); /* its fence, not yet the step's */
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(plan, stream, NULL), HOPMLA_OK);
    assert_true(fake_run_all(w->device));
    for (int i = 0; i < 10; i++) { /* many steps on a ring of few */
        assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, stream, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_end(plan, stream, NULL), HOPMLA_OK);
        fake_run(w->device, stream, 4);
    }
    hopmla_plan_destroy(plan);
}

static void test_plan_slots(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_plan *plans[HM_MAX_PLANS];
    for (int i = 0; i < HM_MAX_PLANS - PLANS; i++) {
        plans[i] = make_plan(w->pool, 1);
    }
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = options.heads = 1;
    options.max_kv_tokens = 64;
    hopmla_plan *one_more = NULL;
    assert_int_equal(hopmla_plan_create(w->pool, &options, &one_more, NULL), HOPMLA_ERROR_TOO_MANY);
    assert_null(one_more);
    hopmla_plan_destroy(plans[7]);
    plans[7] = make_plan(w->pool, 1);
    for (int i = 0; i < HM_MAX_PLANS - PLANS; i++) {
        hopmla_plan_destroy(plans[i]);
    }
}

/* A plan that goes waits for its steps, and its slot's next owner is not taken for it. */
static void test_destroy(void **state)
{
    world *w = *state;
    const hopmla_seq seq = make_seq(w);
    step(w, 0, seq, 3);
    const uint64_t synchronizes = w->device->synchronizes;
    hopmla_plan_destroy(w->plan[0]); /* nobody runs the stream: in the end by the whole context */
    assert_int_equal(w->device->synchronizes, synchronizes + 1);
    w->device->deferred = 0;
    w->plan[0] = make_plan(w->pool, 4);
    w->device->deferred = 1;
    step(w, 1, seq, 1);
    assert_int_equal(w->device->n_waits, 0);
    const hopmla_seq other = make_seq(w);
    step(w, 0, other, 1);
    step(w, 1, other, 1);
    assert_waits_for(w, 1, 0);

    assert_int_equal(update(w, 2, seq, 0), HOPMLA_OK); /* never ended */
    hopmla_plan_destroy(w->plan[2]);
    assert_int_equal(w->device->synchronizes, synchronizes + 2);
    w->device->deferred = 0;
    w->plan[2] = make_plan(w->pool, 4);
    w->device->deferred = 1;
    step(w, 1, seq, 1);
    assert_int_equal(w->device->n_waits, 0);
}

/* Storage stays while a plan is there, sequences do not. */
static void test_pool_goes_first(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_FP16;
    options.layers = 1;
    options.pages = 2;
    hopmla_pool *pool;
    hopmla_seq seq;
    assert_int_equal(hopmla_pool_create(w->context, &options, &pool, NULL), HOPMLA_OK);
    hopmla_plan *plan = make_plan(pool, 1);
    assert_int_equal(hopmla_seq_create(pool, &seq, 1, NULL), HOPMLA_OK);
    hopmla_pool_destroy(pool);
    assert_int_equal(hopmla_plan_update(plan, &seq, NULL, NULL, 1, w->stream[0], NULL), HOPMLA_ERROR_STALE_ID);
    assert_int_equal(hopmla_plan_update(plan, NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_end(plan, w->stream[0], NULL), HOPMLA_OK);
    hopmla_plan_destroy(plan);
}

static void fill_page(const world *w, int32_t page, uint64_t token)
{
    for (uint32_t t = 0; t < HOPMLA_PAGE_TOKENS; t++) {
        *fake_token(w->pool->layout.base, page, t) = token;
    }
}

static int32_t page_of(world *w, hopmla_seq seq, uint32_t at)
{
    int32_t pages[PAGES];
    uint32_t n;
    assert_int_equal(hopmla_seq_pages(w->pool, seq, pages, PAGES, &n, NULL), HOPMLA_OK);
    assert_true(at < n);
    return pages[at];
}

/* Whatever call of an update or of an end fails, the next try finishes the step: tables are whole, the copy is made,
 * and the stream waits for the other plan before it does anything. */
static void test_driver_failures(void **state)
{
    world *w = *state;
    for (int64_t fail = 0; fail < 6; fail++) {
        const hopmla_seq parent = make_seq(w);
        step(w, 0, parent, 70);
        fill_page(w, page_of(w, parent, 1), 77);
        const hopmla_seq child = fork_of(w, parent);
        reserve(w, child, 1);
        fill_page(w, page_of(w, child, 1), 0);
        const hopmla_seq batch[] = { child };
        const uint32_t n_append[] = { 1 };
        hopmla_error error = HOPMLA_ERROR_INIT;
        w->device->fail_in = fail;
        hopmla_status status = hopmla_plan_update(w->plan[1], batch, n_append, NULL, 1, w->stream[1], &error);
        if (fail < 4) { /* wait, apply, schedule, signal */
            assert_int_equal(status, HOPMLA_ERROR_DRIVER);
            assert_int_equal(error.native_code, 719);
            assert_int_equal(update(w, 2, child, 0), HOPMLA_ERROR_BUSY); /* the step is open: its pages are pinned */
            if (fail % 2) {
                status = hopmla_plan_update(w->plan[1], batch, n_append, NULL, 1, w->stream[1], NULL);
            } else { /* or it ends, having done nothing or half of it, and the next one does it */
                end(w, 1);
                status = hopmla_plan_update(w->plan[1], batch, n_append, NULL, 1, w->stream[1], NULL);
            }
        }
        assert_int_equal(status, HOPMLA_OK);
        if (fail == 4) {
            assert_int_equal(hopmla_plan_end(w->plan[1], w->stream[1], NULL), HOPMLA_ERROR_DRIVER);
        }
        w->device->fail_in = -1;
        end(w, 1);
        run(w, 1);
        assert_int_equal(*fake_token(w->pool->layout.base, page_of(w, child, 1), 0), 0); /* plan 0 has not run */
        assert_true(fake_run_all(w->device));
        assert_int_equal(*fake_token(w->pool->layout.base, page_of(w, child, 1), 5), 77);
        assert_int_equal(*fake_token(w->pool->layout.base, page_of(w, child, 1), 6), 0);
        hopmla_plan_tables tables = HOPMLA_PLAN_TABLES_INIT;
        assert_int_equal(hopmla_plan_get_tables(w->plan[1], &tables, NULL), HOPMLA_OK);
        assert_int_equal(tables.kv_lens[0], 71);
        assert_int_equal(tables.block_table[0], page_of(w, child, 0));
        assert_int_equal(tables.block_table[1], page_of(w, child, 1));
        hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
        assert_int_equal(hopmla_seq_describe(w->pool, child, &info, NULL), HOPMLA_OK);
        assert_int_equal(info.copy_owed, 0);
        release(w, child);
        release(w, parent);
    }
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_free, PAGES);
    assert_int_equal(stats.pages_pinned, 0);
    assert_int_equal(stats.copies_owed, 0);
}

typedef struct meanwhile {
    world *w;
    hopmla_seq seq;
    int kind;
} meanwhile;

static void change_sequence(void *user)
{
    const meanwhile *m = user;
    if (m->kind == 0) {
        release(m->w, m->seq);
    } else {
        truncate_to(m->w, m->seq, 60); /* the page that the copy goes to is gone, the one before it is shared */
        reserve(m->w, m->seq, 1);
    }
}

/* Between the books and the stream an update lets go of the mutex: another thread may end or change a sequence there
 * whose copy is on its way. */
static void test_changed_in_mid_update(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    for (int kind = 0; kind < 2; kind++) {
        const hopmla_seq parent = make_seq(w);
        step(w, 0, parent, 70);
        meanwhile m = { .w = w, .seq = fork_of(w, parent), .kind = kind };
        reserve(w, m.seq, 1);
        w->device->on_apply = change_sequence;
        w->device->on_apply_user = &m;
        assert_int_equal(update(w, 1, m.seq, 1), HOPMLA_OK);
        hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
        assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
        assert_int_equal(stats.copies_owed, kind); /* not the copy that was made, but the new one */
        const hopmla_seq next = make_seq(w);
        reserve(w, next, 64 * (uint32_t)stats.pages_free); /* the page that the copy went to among them */
        assert_int_equal(update(w, 2, next, 1), HOPMLA_ERROR_BUSY);
        end(w, 1);
        assert_int_equal(update(w, 2, next, 1), HOPMLA_OK);
        end(w, 2);
        if (kind == 1) {
            assert_int_equal(update(w, 0, m.seq, 1), HOPMLA_OK);
            end(w, 0);
            release(w, m.seq);
        }
        release(w, next);
        release(w, parent);
        assert_int_equal(hopmla_pool_get_stats(w->pool, &stats, NULL), HOPMLA_OK);
        assert_int_equal(stats.pages_free, PAGES);
        assert_int_equal(stats.copies_owed, 0);
    }
}

/* With one staging buffer a lost fence would block the plan for ever. */
static void test_lost_staging_fence(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_plan *plan = make_plan(w->pool, 1);
    for (int64_t fail = 0; fail < 3; fail++) {
        w->device->fail_in = fail;
        assert_int_equal(hopmla_plan_update(plan, NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_ERROR_DRIVER);
        assert_int_equal(hopmla_plan_update(plan, NULL, NULL, NULL, 0, w->stream[0], NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_end(plan, w->stream[0], NULL), HOPMLA_OK);
    }
    hopmla_plan_destroy(plan);
}

static void test_creation_failures(void **state)
{
    world *w = *state;
    w->device->deferred = 0;
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = options.heads = 1;
    options.max_kv_tokens = 64;
    for (int64_t fail = 0; fail < 5; fail++) { /* bind, fill, apply, schedule, signal */
        hopmla_plan *plan = NULL;
        w->device->fail_in = fail;
        assert_int_equal(hopmla_plan_create(w->pool, &options, &plan, NULL), HOPMLA_ERROR_DRIVER);
        assert_null(plan);
    }
    w->device->fail_in = -1;
    assert_int_equal(w->pool->pins.plans, (1 << PLANS) - 1);
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
        TEST(test_streams),
        TEST(test_capture_and_foreign_streams),
        TEST(test_staging_ring),
        TEST(test_plan_slots),
        TEST(test_destroy),
        TEST(test_pool_goes_first),
        TEST(test_driver_failures),
        TEST(test_changed_in_mid_update),
        TEST(test_lost_staging_fence),
        TEST(test_creation_failures),
    };
    return cmocka_run_group_tests_name("pins", tests, NULL, NULL) ? 1 : 0;
}
