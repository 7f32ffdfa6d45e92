/* SPDX-License-Identifier: Apache-2.0 */
/* Random calls on a pool, two plans and a twin pool without storage, held against a naive model after every call: page
 * ids, reference counts, the free ring, statistics, device tables, and what is in the rows of every sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/pool_world.h"

static uint32_t below(world *w, uint32_t n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 24) % n);
}

/* A random set of live sequences in random order. */
static uint32_t pick(world *w, int *seqs, uint32_t most)
{
    uint32_t n = 0;
    const uint32_t want = below(w, most + 1);
    const uint32_t from = below(w, MODEL_SEQS);
    for (uint32_t i = 0; i < MODEL_SEQS && n < want; i++) {
        const int s = (int)((from + i * 5) % MODEL_SEQS);
        if (w->m.seq[s].alive && below(w, 4)) {
            seqs[n++] = s;
        }
    }
    return n;
}

static void ids_of(const hopmla_seq *id, const int *seqs, uint32_t count, hopmla_seq *out)
{
    for (uint32_t i = 0; i < count; i++) {
        out[i] = id[seqs[i]];
    }
}

static void create(world *w)
{
    const int s = model_create(&w->m);
    if (s >= 0) {
        assert_int_equal(hopmla_seq_create(w->pool, &w->id[s], 1, NULL), HOPMLA_OK);
        if (w->twin) {
            assert_int_equal(hopmla_seq_create(w->twin, &w->twin_id[s], 1, NULL), HOPMLA_OK);
        }
        return;
    }
    hopmla_seq none;
    assert_int_equal(hopmla_seq_create(w->pool, &none, 1, NULL), HOPMLA_ERROR_TOO_MANY);
}

static void release(world *w)
{
    int seqs[MODEL_SEQS] = { 0 };
    hopmla_seq ids[MODEL_SEQS] = { 0 };
    const uint32_t n = pick(w, seqs, 3);
    ids_of(w->id, seqs, n, ids);
    assert_int_equal(hopmla_seq_release(w->pool, ids, n, NULL), HOPMLA_OK);
    if (n > 0) {
        w->dead = ids[0];
        assert_int_equal(hopmla_seq_release(w->pool, ids, n, NULL), HOPMLA_ERROR_STALE_ID);
    }
    if (w->twin) {
        ids_of(w->twin_id, seqs, n, ids);
        assert_int_equal(hopmla_seq_release(w->twin, ids, n, NULL), HOPMLA_OK);
    }
    for (uint32_t i = 0; i < n; i++) {
        model_release(&w->m, seqs[i]);
    }
}

static void fork_one(world *w)
{
    int parent;
    if (pick(w, &parent, 1) == 0) {
        return;
    }
    const uint32_t committed = w->m.seq[parent].committed;
    const uint64_t length = below(w, 3) ? HOPMLA_ALL_TOKENS : below(w, committed + 1);
    hopmla_seq child = 7;
    hopmla_seq twin_child = 7;
    const hopmla_status status = hopmla_seq_fork(w->pool, w->id[parent], length, &child, NULL);
    const hopmla_status twin_status =
        w->twin ? hopmla_seq_fork(w->twin, w->twin_id[parent], length, &twin_child, NULL) : status;
    const int c = model_fork(&w->m, parent, length == HOPMLA_ALL_TOKENS ? committed : (uint32_t)length);
    assert_int_equal(status, c == -1 ? HOPMLA_ERROR_TOO_MANY : c == -2 ? HOPMLA_ERROR_STATE : HOPMLA_OK);
    assert_int_equal(status, twin_status);
    if (status) {
        assert_int_equal(child, 7);
        return;
    }
    w->id[c] = child;
    w->twin_id[c] = twin_child;
    w->counts[4]++;
}

static void truncate_some(world *w)
{
    int seqs[MODEL_SEQS] = { 0 };
    hopmla_seq ids[MODEL_SEQS] = { 0 };
    uint64_t lengths[MODEL_SEQS] = { 0 };
    const uint32_t n = pick(w, seqs, 3);
    for (uint32_t i = 0; i < n; i++) {
        const model_seq *q = &w->m.seq[seqs[i]];
        const uint32_t all = q->committed + q->reserved;
        const uint32_t near = below(w, 4) ? below(w, 8) : below(w, 150);
        lengths[i] = below(w, 3) ? (near < all ? all - near : 0) : q->committed;
    }
    ids_of(w->id, seqs, n, ids);
    assert_int_equal(hopmla_seq_truncate(w->pool, ids, lengths, n, NULL), HOPMLA_OK);
    if (w->twin) {
        ids_of(w->twin_id, seqs, n, ids);
        assert_int_equal(hopmla_seq_truncate(w->twin, ids, lengths, n, NULL), HOPMLA_OK);
    }
    for (uint32_t i = 0; i < n; i++) {
        model_truncate(&w->m, seqs[i], (uint32_t)lengths[i]);
    }
}

/* @return whether there were pages enough */
static int reserve(world *w, const int *seqs, const uint32_t *n_new, uint32_t n)
{
    hopmla_seq ids[MODEL_SEQS] = { 0 };
    hopmla_error error = HOPMLA_ERROR_INIT;
    ids_of(w->id, seqs, n, ids);
    const hopmla_status status = hopmla_seq_reserve(w->pool, ids, n_new, n, &error);
    const uint32_t missing = model_reserve(&w->m, seqs, n_new, n);
    assert_int_equal(status, missing ? HOPMLA_ERROR_OUT_OF_PAGES : HOPMLA_OK);
    assert_int_equal(error.value, missing);
    if (w->twin) {
        ids_of(w->twin_id, seqs, n, ids);
        assert_int_equal(hopmla_seq_reserve(w->twin, ids, n_new, n, NULL), status);
    }
    w->counts[missing ? 6 : 5]++;
    return !missing;
}

static uint32_t some_tokens(world *w, const model_seq *q)
{
    const uint32_t n = below(w, 3) ? below(w, 4) : below(w, 140);
    return q->committed + n < MAX_KV ? n : MAX_KV - q->committed;
}

static void reserve_some(world *w)
{
    int seqs[MODEL_SEQS] = { 0 };
    uint32_t n_new[MODEL_SEQS] = { 0 };
    const uint32_t n = pick(w, seqs, 5);
    for (uint32_t i = 0; i < n; i++) {
        n_new[i] = some_tokens(w, &w->m.seq[seqs[i]]);
    }
    reserve(w, seqs, n_new, n);
}

static void commit(world *w, const int *seqs, const uint32_t *n_tokens, uint32_t n)
{
    hopmla_seq ids[MODEL_SEQS] = { 0 };
    ids_of(w->id, seqs, n, ids);
    assert_int_equal(hopmla_seq_commit(w->pool, ids, n_tokens, n, NULL), HOPMLA_OK);
    if (w->twin) {
        ids_of(w->twin_id, seqs, n, ids);
        assert_int_equal(hopmla_seq_commit(w->twin, ids, n_tokens, n, NULL), HOPMLA_OK);
    }
    for (uint32_t i = 0; i < n; i++) {
        model_commit(&w->m, seqs[i], n_tokens[i]);
    }
}

/* Commits what was reserved, whether it was appended or not; sequences that owe a copy only where there is no twin. */
static void commit_some(world *w)
{
    int seqs[MODEL_SEQS] = { 0 };
    uint32_t n_tokens[MODEL_SEQS] = { 0 };
    const uint32_t n = pick(w, seqs, 4);
    for (uint32_t i = 0; i < n; i++) {
        const model_seq *q = &w->m.seq[seqs[i]];
        n_tokens[i] = w->twin && q->copy == MODEL_OWED ? 0 : below(w, q->reserved + 1);
    }
    commit(w, seqs, n_tokens, n);
}

static void append(world *w, int plan, const int *seqs, const uint32_t *n_append, uint32_t n)
{
    _Alignas(16) uint64_t latent[BATCH * 160];
    _Alignas(16) const uint64_t rope[2] = { 0 }; /* the fake takes only the first bytes of the latent rows */
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    for (uint32_t i = 0; i < n; i++) {
        model_seq *q = &w->m.seq[seqs[i]];
        for (uint32_t t = 0; t < n_append[i]; t++) {
            q->tokens[q->committed + t] = ++w->next_token;
            latent[args.tokens++] = w->next_token;
        }
    }
    assert_int_equal(hopmla_append(w->plan[plan], &args, latent, rope, w->stream[plan], NULL), HOPMLA_OK);
}

static void step(world *w)
{
    int seqs[MODEL_SEQS] = { 0 };
    hopmla_seq ids[MODEL_SEQS] = { 0 };
    uint32_t n_append[MODEL_SEQS] = { 0 };
    uint32_t q_lens[MODEL_SEQS] = { 0 };
    const int plan = (int)below(w, MODEL_PLANS);
    const uint32_t n = pick(w, seqs, BATCH);
    for (uint32_t i = 0; i < n; i++) {
        n_append[i] = some_tokens(w, &w->m.seq[seqs[i]]);
        q_lens[i] = below(w, MAX_Q + 1);
    }
    if (!reserve(w, seqs, n_append, n)) {
        return;
    }
    int busy = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_append[i] = below(w, 3) ? n_append[i] : below(w, n_append[i] + 1);
        busy |= model_is_busy(&w->m, plan, seqs[i]);
    }
    ids_of(w->id, seqs, n, ids);
    const hopmla_status status = hopmla_plan_update(w->plan[plan], ids, n_append, q_lens, n, w->stream[plan], NULL);
    assert_int_equal(status, busy ? HOPMLA_ERROR_BUSY : HOPMLA_OK);
    if (busy) {
        w->counts[8]++;
        return;
    }
    w->counts[7]++;
    check_tables(w, plan, seqs, n_append, q_lens, n);
    w->m.open |= 1u << plan;
    for (uint32_t i = 0; i < n; i++) {
        model_update(&w->m, plan, seqs[i]);
    }
    append(w, plan, seqs, n_append, n);
    if (below(w, 4)) {
        assert_int_equal(hopmla_plan_end(w->plan[plan], w->stream[plan], NULL), HOPMLA_OK);
        model_end(&w->m, plan);
    }
    if (below(w, 4)) {
        for (uint32_t i = 0; i < n; i++) {
            n_append[i] = below(w, 3) ? n_append[i] : below(w, n_append[i] + 1);
        }
        commit(w, seqs, n_append, n);
    }
}

static void end_step(world *w)
{
    const int plan = (int)below(w, MODEL_PLANS);
    const int open = (int)(w->m.open >> plan & 1);
    assert_int_equal(hopmla_plan_end(w->plan[plan], w->stream[plan], NULL), open ? HOPMLA_OK : HOPMLA_ERROR_STATE);
    model_end(&w->m, plan);
}

/* Batches with one bad element change nothing. */
static void wrong(world *w)
{
    int seqs[MODEL_SEQS] = { 0 };
    hopmla_seq ids[MODEL_SEQS + 1];
    uint32_t n_new[MODEL_SEQS + 1];
    uint64_t lengths[MODEL_SEQS + 1];
    const uint32_t n = pick(w, seqs, 4);
    const uint32_t at = below(w, n + 1);
    const hopmla_seq bad[] = { w->dead, 0, n ? w->id[seqs[0]] : 0 };
    const uint32_t kind = below(w, 3);
    const hopmla_status expected = kind == 0   ? (w->dead ? HOPMLA_ERROR_STALE_ID : HOPMLA_ERROR_FOREIGN_ID)
                                   : kind == 1 ? HOPMLA_ERROR_FOREIGN_ID
                                   : n         ? HOPMLA_ERROR_DUPLICATE_ID
                                               : HOPMLA_ERROR_FOREIGN_ID;
    for (uint32_t i = 0, j = 0; i <= n; i++) {
        ids[i] = i == at ? bad[kind] : w->id[seqs[j++]];
        n_new[i] = i == at ? 0 : below(w, 100);
        lengths[i] = 0;
    }
    assert_int_equal(hopmla_seq_reserve(w->pool, ids, n_new, n + 1, NULL), expected);
    assert_int_equal(hopmla_seq_truncate(w->pool, ids, lengths, n + 1, NULL), expected);
    assert_int_equal(hopmla_seq_release(w->pool, ids, n + 1, NULL), expected);
    memset(n_new, 0, sizeof(n_new));
    assert_int_equal(hopmla_seq_commit(w->pool, ids, n_new, n + 1, NULL), expected);
    const int plan = (int)below(w, MODEL_PLANS);
    int busy = 0;
    for (uint32_t i = 0; i < n; i++) {
        busy |= model_is_busy(&w->m, plan, seqs[i]);
    }
    const hopmla_status status = hopmla_plan_update(w->plan[plan], ids, NULL, NULL, n + 1, w->stream[plan], NULL);
    assert_true(status == expected || (busy && status == HOPMLA_ERROR_BUSY));
}

static void one_call(world *w)
{
    static void (*const calls[])(world *) = {
        step,     step,     step,   step,   step,        reserve_some, release,  truncate_some,
        fork_one, fork_one, create, create, commit_some, commit_some,  end_step, wrong,
    };
    calls[below(w, sizeof(calls) / sizeof(calls[0]))](w);
}

static void set_up(world *w, int with_twin, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    w->context = fake_context(&w->device);
    model_init(&w->m, 0);
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 1;
    options.pages = MODEL_PAGES;
    options.max_sequences = MODEL_SEQS;
    assert_int_equal(hopmla_pool_create(w->context, &options, &w->pool, NULL), HOPMLA_OK);
    if (with_twin) {
        options.storage = HOPMLA_STORAGE_NONE;
        options.layers = 61;
        assert_int_equal(hopmla_pool_create(w->context, &options, &w->twin, NULL), HOPMLA_OK);
    }
    w->base = w->pool->layout.base;
    for (int i = 0; i < MODEL_PLANS; i++) {
        hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
        plan.max_batch = BATCH + 1;
        plan.max_q_tokens = MAX_Q;
        plan.heads = 2;
        plan.max_kv_tokens = MAX_KV;
        plan.staging_depth = 1 + (uint32_t)i;
        w->tables[i] = (hopmla_plan_tables)HOPMLA_PLAN_TABLES_INIT;
        assert_int_equal(hopmla_plan_create(w->pool, &plan, &w->plan[i], NULL), HOPMLA_OK);
        assert_int_equal(hopmla_stream_create(w->context, &w->stream[i], NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_get_tables(w->plan[i], &w->tables[i], NULL), HOPMLA_OK);
    }
}

static void tear_down(world *w)
{
    for (int i = 0; i < MODEL_PLANS; i++) {
        hopmla_plan_destroy(w->plan[i]);
        hopmla_stream_destroy(w->context, w->stream[i]);
    }
    hopmla_pool_destroy(w->pool);
    hopmla_pool_destroy(w->twin);
    hopmla_context_destroy(w->context);
}

static void run(int with_twin)
{
    const char *quick = getenv("HOPMLA_TEST_QUICK");
    const int seeds = 10;
    const int calls = quick ? 500 : 10000;
    static world w;
    uint64_t totals[16] = { 0 };
    for (int seed = 0; seed < seeds; seed++) {
        set_up(&w, with_twin, (uint64_t)seed * 2 + (uint64_t)with_twin + 1);
        for (int i = 0; i < calls; i++) {
            one_call(&w);
            check_world(&w);
        }
        totals[0] += w.device->copies;
        totals[1] += w.device->entries;
        for (int i = 4; i < 16; i++) {
            totals[i] += w.counts[i];
        }
        tear_down(&w);
    }
    print_message("%d calls: %llu forks, %llu reserves, %llu refused, %llu updates, %llu busy, %llu copies, %llu table "
                  "entries sent\n",
                  seeds * calls, (unsigned long long)totals[4], (unsigned long long)totals[5],
                  (unsigned long long)totals[6], (unsigned long long)totals[7], (unsigned long long)totals[8],
                  (unsigned long long)totals[0], (unsigned long long)totals[1]);
    assert_true(totals[0] > 0 && totals[6] > 0 && totals[8] > 0); /* the interesting cases were met */
}

/* Every rank of an engine, and a scheduler that only books, get the same pages. */
static void test_protocol_with_twin(void **state)
{
    (void)state;
    run(1);
}

/* Tokens are committed whether a plan was updated or not. */
static void test_without_protocol(void **state)
{
    (void)state;
    run(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocol_with_twin),
        cmocka_unit_test(test_without_protocol),
    };
    return cmocka_run_group_tests_name("pool model", tests, NULL, NULL) ? 1 : 0;
}
