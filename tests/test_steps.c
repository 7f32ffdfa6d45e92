/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of several plans that run late and in any order that their fences allow, while sequences are forked, truncated
 * and released: every row that a step reads must hold what its sequence appended. Once with streams that the test runs
 * a few operations at a time, once with real threads. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/pool.h"
#include "tests/fake_backend.h"

enum {
    P = HOPMLA_PAGE_TOKENS,
    PAGES = 24,
    SEQS = 8,
    PLANS = 3,
    STREAMS = 4,
    BATCH = 4,
    MAX_KV = 384,
    CHUNK = 100
};

typedef struct track {
    hopmla_seq id; /* 0: none */
    uint32_t length;
    uint64_t tokens[MAX_KV];
} track;

/* One thread's part of the world: its sequences, and plans that nobody else uses. */
typedef struct engine {
    hm_device *device;
    hopmla_context *context;
    hopmla_pool *pool;
    int32_t n_plans;
    hopmla_plan *plan[PLANS];
    hopmla_plan_tables tables[PLANS];
    hopmla_stream of_plan[PLANS]; /* stream of the last step */
    int open[PLANS];
    hopmla_stream stream[STREAMS];
    track seq[SEQS];
    uint64_t random;
    uint64_t next_token;
    uint32_t wrong; /* rows that did not hold what they had to; atomic */
    uint32_t read;
    uint32_t busy;
    uint32_t updates;
    void (*release)(struct engine *e, hopmla_seq id);
} engine;

/* What a step appends and must find, until it has run. */
typedef struct expectation {
    engine *e;
    hopmla_plan_tables tables;
    const char *base;
    uint32_t count;
    uint32_t lengths[BATCH];
    uint64_t tokens[BATCH][MAX_KV];
    _Alignas(16) uint64_t latent[BATCH * CHUNK];
} expectation;

static uint32_t below(engine *e, uint32_t n)
{
    e->random ^= e->random << 13;
    e->random ^= e->random >> 7;
    e->random ^= e->random << 17;
    return (uint32_t)((e->random >> 24) % n);
}

/* In the step's place on its stream: what a decode would read. */
static void compare(void *user)
{
    expectation *x = user;
    const hopmla_plan_tables *t = &x->tables;
    uint32_t wrong = *t->count != (int32_t)x->count;
    uint32_t read = 0;
    for (uint32_t i = 0; i < x->count && !wrong; i++) {
        wrong += t->kv_lens[i] != (int32_t)x->lengths[i];
        for (uint32_t at = 0; at < x->lengths[i]; at++) {
            const int32_t page = t->block_table[i * t->table_stride + at / P];
            wrong += *fake_token(x->base, page, at % P) != x->tokens[i][at];
            read++;
        }
    }
    __atomic_fetch_add(&x->e->wrong, wrong, __ATOMIC_RELAXED);
    __atomic_fetch_add(&x->e->read, read, __ATOMIC_RELAXED);
    free(x);
}

static void launch(engine *e, int plan, hopmla_stream stream, expectation *x, uint64_t appended)
{
    _Alignas(16) static const uint64_t rope[2] = { 0 }; /* not read by the fake */
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    args.tokens = appended;
    assert_int_equal(hopmla_append(e->plan[plan], &args, x->latent, rope, stream, NULL), HOPMLA_OK);
    fake_call(e->device, stream, compare, x);
}

static void end_step(engine *e, int plan)
{
    if (e->open[plan]) {
        assert_int_equal(hopmla_plan_end(e->plan[plan], e->of_plan[plan], NULL), HOPMLA_OK);
        e->open[plan] = 0;
    }
}

static void step(engine *e)
{
    const int plan = (int)below(e, (uint32_t)e->n_plans);
    const hopmla_stream stream = e->open[plan] || below(e, 4) ? e->of_plan[plan] : e->stream[below(e, STREAMS)];
    track *members[BATCH] = { 0 };
    hopmla_seq ids[BATCH] = { 0 };
    uint32_t n[BATCH] = { 0 };
    uint32_t count = 0;
    const uint32_t from = below(e, SEQS);
    for (uint32_t i = 0; i < SEQS && count < BATCH; i++) {
        track *t = &e->seq[(from + i * 3) % SEQS];
        if (t->id && below(e, 2)) {
            const uint32_t want = below(e, 3) ? below(e, 4) : below(e, CHUNK);
            n[count] = t->length + want < MAX_KV ? want : MAX_KV - t->length;
            ids[count] = t->id;
            members[count++] = t;
        }
    }
    const hopmla_status reserved = hopmla_seq_reserve(e->pool, ids, n, count, NULL);
    if (reserved == HOPMLA_ERROR_OUT_OF_PAGES) { /* preempt one, try again next time */
        const uint32_t i = below(e, count);
        e->release(e, ids[i]);
        members[i]->id = 0;
        return;
    }
    assert_int_equal(reserved, HOPMLA_OK);
    const hopmla_status status = hopmla_plan_update(e->plan[plan], ids, n, NULL, count, stream, NULL);
    if (status == HOPMLA_ERROR_BUSY) {
        e->busy++;
        return;
    }
    assert_int_equal(status, HOPMLA_OK);
    e->updates++;
    e->open[plan] = 1;
    e->of_plan[plan] = stream;

    expectation *x = malloc(sizeof(*x));
    x->e = e;
    x->tables = e->tables[plan];
    x->base = e->pool->layout.base;
    x->count = count;
    uint64_t appended = 0;
    for (uint32_t i = 0; i < count; i++) {
        track *t = members[i];
        for (uint32_t k = 0; k < n[i]; k++) {
            t->tokens[t->length + k] = ++e->next_token;
            x->latent[appended++] = e->next_token;
        }
        x->lengths[i] = t->length + n[i];
        memcpy(x->tokens[i], t->tokens, sizeof(t->tokens));
    }
    launch(e, plan, stream, x, appended);
    if (count > 0 && below(e, 8) == 0) { /* in mid-step */
        count--;
        e->release(e, ids[count]);
        members[count]->id = 0;
    }
    if (below(e, 5)) {
        end_step(e, plan);
    }
    for (uint32_t i = 0; i < count; i++) {
        n[i] = below(e, 3) ? n[i] : below(e, n[i] + 1);
        members[i]->length += n[i];
    }
    assert_int_equal(hopmla_seq_commit(e->pool, ids, n, count, NULL), HOPMLA_OK);
}

static void disturb(engine *e)
{
    track *t = &e->seq[below(e, SEQS)];
    track *other = &e->seq[below(e, SEQS)];
    const uint32_t kind = below(e, 4);
    if (!t->id) {
        assert_int_equal(hopmla_seq_create(e->pool, &t->id, 1, NULL), HOPMLA_OK);
        t->length = 0;
    } else if (kind == 0) {
        e->release(e, t->id);
        t->id = 0;
    } else if (kind == 1) {
        const uint32_t few = below(e, 8);
        const uint64_t length = below(e, 2) ? below(e, t->length + 1) : t->length > few ? t->length - few : 0;
        assert_int_equal(hopmla_seq_truncate(e->pool, &t->id, &length, 1, NULL), HOPMLA_OK);
        t->length = (uint32_t)length;
    } else if (!other->id) {
        const uint32_t length = kind == 2 ? t->length : below(e, t->length + 1);
        assert_int_equal(hopmla_seq_fork(e->pool, t->id, length, &other->id, NULL), HOPMLA_OK);
        other->length = length;
        memcpy(other->tokens, t->tokens, sizeof(t->tokens));
    }
}

static void release_now(engine *e, hopmla_seq id)
{
    assert_int_equal(hopmla_seq_release(e->pool, &id, 1, NULL), HOPMLA_OK);
}

static hopmla_pool *make_pool(hopmla_context *context)
{
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 1;
    options.pages = PAGES;
    hopmla_pool *pool = NULL;
    assert_int_equal(hopmla_pool_create(context, &options, &pool, NULL), HOPMLA_OK);
    return pool;
}

static void start_engine(engine *e, hopmla_context *context, hm_device *device, hopmla_pool *pool, int32_t n_plans,
                         uint64_t seed)
{
    memset(e, 0, sizeof(*e));
    e->context = context;
    e->device = device;
    e->pool = pool;
    e->n_plans = n_plans;
    e->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    e->next_token = seed << 48;
    e->release = release_now;
    for (int i = 0; i < STREAMS; i++) {
        assert_int_equal(hopmla_stream_create(context, &e->stream[i], NULL), HOPMLA_OK);
    }
    for (int i = 0; i < n_plans; i++) {
        hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
        options.max_batch = BATCH;
        options.heads = 1;
        options.max_kv_tokens = MAX_KV;
        options.staging_depth = 1 + (uint32_t)i;
        assert_int_equal(hopmla_plan_create(pool, &options, &e->plan[i], NULL), HOPMLA_OK);
        e->tables[i] = (hopmla_plan_tables)HOPMLA_PLAN_TABLES_INIT;
        assert_int_equal(hopmla_plan_get_tables(e->plan[i], &e->tables[i], NULL), HOPMLA_OK);
        e->of_plan[i] = e->stream[i];
    }
}

static void finish_engine(engine *e)
{
    for (int i = 0; i < e->n_plans; i++) {
        end_step(e, i);
    }
    for (int i = 0; i < SEQS; i++) {
        if (e->seq[i].id) {
            release_now(e, e->seq[i].id);
        }
    }
}

static void destroy_plans(engine *e)
{
    for (int i = 0; i < e->n_plans; i++) {
        hopmla_plan_destroy(e->plan[i]);
    }
}

static void assert_pool_is_empty(hopmla_pool *pool)
{
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_OK);
    assert_int_equal(stats.pages_free, PAGES);
    assert_int_equal(stats.pages_pinned, 0);
    assert_int_equal(stats.copies_owed, 0);
    assert_int_equal(stats.sequences, 0);
    assert_int_equal(stats.tokens_committed, 0);
    assert_int_equal(stats.tokens_reserved, 0);
}

static void test_late_streams(void **state)
{
    (void)state;
    const int seeds = getenv("HOPMLA_TEST_QUICK") ? 4 : 40;
    uint64_t read = 0;
    uint64_t busy = 0;
    uint64_t updates = 0;
    uint64_t copies = 0;
    for (int seed = 1; seed <= seeds; seed++) {
        static engine e;
        hm_device *device;
        hopmla_context *context = fake_context(&device);
        hopmla_pool *pool = make_pool(context);
        start_engine(&e, context, device, pool, PLANS, (uint64_t)seed);
        device->deferred = 1;
        for (int i = 0; i < 5000; i++) {
            switch (below(&e, 8)) {
            case 0:
            case 1:
            case 2:
                step(&e);
                break;
            case 3:
                disturb(&e);
                break;
            case 4:
                end_step(&e, (int)below(&e, PLANS));
                break;
            default:
                fake_run(device, e.stream[below(&e, STREAMS)], 1 + below(&e, 12));
                break;
            }
        }
        finish_engine(&e);
        assert_true(fake_run_all(device));
        assert_int_equal(e.wrong, 0);
        assert_pool_is_empty(pool);
        read += e.read;
        busy += e.busy;
        updates += e.updates;
        copies += device->copies;
        destroy_plans(&e);
        hopmla_pool_destroy(pool);
        hopmla_context_destroy(context);
    }
    print_message("%llu updates, %llu busy, %llu copies, %llu rows read\n", (unsigned long long)updates,
                  (unsigned long long)busy, (unsigned long long)copies, (unsigned long long)read);
    assert_true(updates > 100 && busy > 10 && copies > 10);
}

/* Threads. */

static struct {
    pthread_mutex_t mutex;
    hopmla_seq ids[2 * SEQS];
    uint32_t n;
    int stop;
    hopmla_pool *pool;
} bin = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void release_elsewhere(engine *e, hopmla_seq id)
{
    pthread_mutex_lock(&bin.mutex);
    const int full = bin.n == 2 * SEQS;
    if (!full) {
        bin.ids[bin.n++] = id;
    }
    pthread_mutex_unlock(&bin.mutex);
    if (full) {
        release_now(e, id);
    }
}

static void *releaser(void *unused)
{
    int stop = 0;
    while (!stop) {
        hopmla_seq id = 0;
        pthread_mutex_lock(&bin.mutex);
        if (bin.n > 0) {
            id = bin.ids[--bin.n];
        }
        stop = bin.stop && !id;
        pthread_mutex_unlock(&bin.mutex);
        if (id) {
            assert_int_equal(hopmla_seq_release(bin.pool, &id, 1, NULL), HOPMLA_OK);
        } else {
            sched_yield();
        }
    }
    return unused;
}

static void *watcher(void *unused)
{
    int stop = 0;
    while (!stop) {
        hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
        assert_int_equal(hopmla_pool_get_stats(bin.pool, &stats, NULL), HOPMLA_OK);
        assert_int_equal(stats.pages_free + stats.pages_used, PAGES);
        pthread_mutex_lock(&bin.mutex);
        stop = bin.stop;
        pthread_mutex_unlock(&bin.mutex);
        sched_yield();
    }
    return unused;
}

static void *engine_thread(void *user)
{
    engine *e = user;
    const int steps = getenv("HOPMLA_TEST_QUICK") ? 300 : 5000;
    for (int i = 0; i < steps; i++) {
        const uint32_t busy = e->busy;
        step(e);
        if (e->busy > busy) {
            fake_run_all(e->device);
            sched_yield();
        }
        if (below(e, 3) == 0) {
            disturb(e);
        }
        end_step(e, (int)below(e, (uint32_t)e->n_plans));
        if (below(e, 50) == 0) { /* plans come and go too */
            end_step(e, 0);
            fake_run_all(e->device);
            hopmla_plan_destroy(e->plan[0]);
            hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
            options.max_batch = BATCH;
            options.heads = 1;
            options.max_kv_tokens = MAX_KV;
            assert_int_equal(hopmla_plan_create(e->pool, &options, &e->plan[0], NULL), HOPMLA_OK);
            assert_int_equal(hopmla_plan_get_tables(e->plan[0], &e->tables[0], NULL), HOPMLA_OK);
        }
    }
    finish_engine(e);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum {
        ENGINES = 2
    };
    static engine engines[ENGINES];
    pthread_t threads[ENGINES + 2];
    hm_device *device;
    hopmla_context *context = fake_context(&device);
    bin.pool = make_pool(context);
    for (int i = 0; i < ENGINES; i++) {
        start_engine(&engines[i], context, device, bin.pool, 2, (uint64_t)i + 1);
        engines[i].release = release_elsewhere;
    }
    for (int i = 0; i < ENGINES; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, engine_thread, &engines[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[ENGINES], NULL, releaser, NULL), 0);
    assert_int_equal(pthread_create(&threads[ENGINES + 1], NULL, watcher, NULL), 0);
    for (int i = 0; i < ENGINES; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_mutex_lock(&bin.mutex);
    bin.stop = 1;
    pthread_mutex_unlock(&bin.mutex);
    pthread_join(threads[ENGINES], NULL);
    pthread_join(threads[ENGINES + 1], NULL);
    assert_true(fake_run_all(device));
    assert_pool_is_empty(bin.pool);
    for (int i = 0; i < ENGINES; i++) {
        print_message("engine %d: %u updates, %u busy, %u rows read\n", i, engines[i].updates, engines[i].busy,
                      engines[i].read);
        assert_int_equal(engines[i].wrong, 0);
        destroy_plans(&engines[i]);
    }
    hopmla_pool_destroy(bin.pool);
    hopmla_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_streams),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("steps", tests, NULL, NULL) ? 1 : 0;
}
