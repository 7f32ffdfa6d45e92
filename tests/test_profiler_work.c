/* SPDX-License-Identifier: Apache-2.0 */
/* The analytic figures of records against a count that knows nothing of sharing: every token of every row by its page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pool.h"
#include "tests/fake_backend.h"
#include "tests/observed.h"

enum {
    PAGES = 200,
    SEQS = 12,
    HEADS = 5,
    LAYERS = 3,
    MAX_Q = 4,
    MAX_KV = 400
};

typedef struct world {
    hm_device *device;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_profiler *profiler;
    hopmla_seq seqs[SEQS];
    uint32_t random;
    uint64_t row;  /* bytes of a cached token, and of a row of q */
    uint64_t wide; /* the same in float32 */
    uint64_t pair; /* FLOPs of a query row and a token that it sees */
} world;

static uint32_t below(world *w, uint32_t n)
{
    w->random = w->random * 1664525 + 1013904223;
    return (w->random >> 8) % n;
}

static int set_up(void **state)
{
    const int32_t format = *(const int32_t *)*state;
    world *w = calloc(1, sizeof(*w));
    w->random = 7;
    w->row = format == HOPMLA_KV_FP16 ? 1152 : 1024;
    w->wide = 2 * w->row;
    w->pair = w->row + 1024;
    w->context = fake_context(&w->device);
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    pool.format = format;
    pool.layers = LAYERS;
    pool.pages = PAGES;
    assert_int_equal(hopmla_pool_create(w->context, &pool, &w->pool, NULL), HOPMLA_OK);
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = SEQS;
    plan.max_q_tokens = MAX_Q;
    plan.heads = HEADS;
    plan.max_kv_tokens = MAX_KV;
    assert_int_equal(hopmla_plan_create(w->pool, &plan, &w->plan, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(w->pool, w->seqs, SEQS, NULL), HOPMLA_OK);
    w->profiler = observed_profiler(w->context, 0, 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_profiler_destroy(w->profiler);
    hopmla_context_destroy(w->context);
    free(w);
    return 0;
}

static uint32_t length_of(world *w, hopmla_seq seq)
{
    hopmla_seq_info info = HOPMLA_SEQ_INFO_INIT;
    assert_int_equal(hopmla_seq_describe(w->pool, seq, &info, NULL), HOPMLA_OK);
    return (uint32_t)info.committed;
}

static void grow(world *w, hopmla_seq seq, uint32_t n)
{
    if (length_of(w, seq) + n > MAX_KV - MAX_Q) {
        return;
    }
    if (hopmla_seq_reserve(w->pool, &seq, &n, 1, NULL) == HOPMLA_OK) {
        const uint32_t none = 0; /* a copy that is owed has to be enqueued before tokens are committed behind it */
        assert_int_equal(hopmla_plan_update(w->plan, &seq, &n, &none, 1, NULL, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_seq_commit(w->pool, &seq, &n, 1, NULL), HOPMLA_OK);
    }
}

/* Replaces a sequence by a fork of another, or changes its length. */
static void shuffle(world *w)
{
    const uint32_t i = below(w, SEQS);
    const uint32_t parent = below(w, SEQS);
    const uint32_t kind = below(w, 6);
    if (kind < 3 && i != parent) {
        assert_int_equal(hopmla_seq_release(w->pool, &w->seqs[i], 1, NULL), HOPMLA_OK);
        const uint32_t most = length_of(w, w->seqs[parent]);
        const uint64_t length = most - below(w, most / 2 + 1);
        assert_int_equal(hopmla_seq_fork(w->pool, w->seqs[parent], length, &w->seqs[i], NULL), HOPMLA_OK);
    } else if (kind < 5) {
        grow(w, w->seqs[i], below(w, 150));
    } else {
        const uint64_t length = below(w, length_of(w, w->seqs[i]) + 1);
        assert_int_equal(hopmla_seq_truncate(w->pool, &w->seqs[i], &length, 1, NULL), HOPMLA_OK);
    }
}

typedef struct step {
    uint32_t count;
    hopmla_seq seqs[SEQS];
    uint32_t n_append[SEQS];
    uint32_t q_lens[SEQS];
    uint32_t queries;
    uint32_t appended;
    uint64_t kv_tokens;
    uint64_t unique_tokens;
    uint64_t flops;
} step;

/* Token by token. */
static void count_row(world *w, step *s, uint32_t i, char seen[PAGES][64])
{
    int32_t pages[MAX_KV / 64 + 1];
    uint32_t n_pages;
    const uint32_t length = length_of(w, s->seqs[i]) + s->n_append[i];
    assert_int_equal(hopmla_seq_pages(w->pool, s->seqs[i], pages, MAX_KV / 64 + 1, &n_pages, NULL), HOPMLA_OK);
    for (uint32_t t = 0; s->q_lens[i] && t < length; t++) {
        s->kv_tokens++;
        s->unique_tokens += !seen[pages[t / 64]][t % 64];
        seen[pages[t / 64]][t % 64] = 1;
        for (uint32_t j = 0; j < s->q_lens[i]; j++) {
            s->flops += t + (s->q_lens[i] - 1 - j) < length ? HEADS * w->pair : 0;
        }
    }
    s->queries += s->q_lens[i];
    s->appended += s->n_append[i];
}

static void start_step(world *w, step *s)
{
    static char seen[PAGES][64];
    memset(s, 0, sizeof(*s));
    memset(seen, 0, sizeof(seen));
    const uint32_t first = below(w, SEQS);
    const uint32_t count = below(w, SEQS + 1);
    for (uint32_t i = 0; i < count; i++) {
        const hopmla_seq seq = w->seqs[(first + i) % SEQS];
        const uint32_t n = below(w, MAX_Q);
        if (length_of(w, seq) + n > MAX_KV || hopmla_seq_reserve(w->pool, &seq, &n, 1, NULL)) {
            continue;
        }
        s->seqs[s->count] = seq;
        s->n_append[s->count] = n;
        s->q_lens[s->count++] = below(w, MAX_Q + 1);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        count_row(w, s, i, seen);
    }
    assert_int_equal(hopmla_plan_update(w->plan, s->seqs, s->n_append, s->q_lens, s->count, NULL, NULL), HOPMLA_OK);
}

static void decode(world *w, void *lse)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = SEQS * MAX_Q;
    args.softmax_scale = 1.0f;
    assert_int_equal(hopmla_decode(w->plan, &args, observed_memory, NULL, observed_memory, lse, NULL, NULL), HOPMLA_OK);
}

static void append(world *w, int32_t dtype)
{
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    args.tokens = SEQS * MAX_Q;
    args.dtype = dtype;
    assert_int_equal(hopmla_append(w->plan, &args, observed_memory, w->row > 1024 ? observed_memory : NULL, NULL, NULL),
                     HOPMLA_OK);
}

static void end_step(world *w, const step *s)
{
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(w->pool, s->seqs, s->n_append, s->count, NULL), HOPMLA_OK);
}

static hopmla_record last_record(world *w, int32_t kind)
{
    hopmla_record record;
    hopmla_record last = { 0 };
    while (observed_read(w->profiler, &record, 1)) {
        last = record.kind == kind ? record : last;
    }
    assert_int_equal(last.kind, kind);
    return last;
}

static void check_decode(const world *w, const hopmla_record *record, const step *s, int has_lse)
{
    const uint64_t queries = (uint64_t)s->queries * HEADS * (w->row + 1024 + (has_lse ? 4 : 0));
    assert_int_equal(record->batch, s->count);
    assert_int_equal(record->rows, s->queries);
    assert_int_equal(record->kv_tokens, s->kv_tokens);
    assert_int_equal(record->flops, s->flops);
    assert_int_equal(record->bytes, s->kv_tokens * w->row + queries);
    assert_int_equal(record->unique_bytes, s->unique_tokens * w->row + queries);
}

static void test_ragged_batches(void **state)
{
    world *w = *state;
    const int steps = getenv("HOPMLA_TEST_QUICK") ? 200 : 2000;
    int shared = 0;
    for (int i = 0; i < steps; i++) {
        step s;
        shuffle(w);
        shuffle(w);
        start_step(w, &s);
        append(w, i % 2 ? HOPMLA_DTYPE_FP32 : HOPMLA_DTYPE_FP16);
        hopmla_record record = last_record(w, HOPMLA_CALL_APPEND);
        assert_int_equal(record.rows, s.appended);
        assert_int_equal(record.bytes, s.appended * ((i % 2 ? w->wide : w->row) + w->row));
        decode(w, i % 3 ? observed_memory : NULL);
        record = last_record(w, HOPMLA_CALL_DECODE);
        check_decode(w, &record, &s, i % 3 != 0);
        assert_int_equal(record.page_bytes, 64 * w->row);
        shared += s.unique_tokens < s.kv_tokens;
        end_step(w, &s);
    }
    assert_true(shared > steps / 4);
}

/* Started in the middle of a step: the first call that it sees makes it count. */
static void test_started_in_mid_step(void **state)
{
    world *w = *state;
    for (int i = 0; i < 100; i++) {
        step s;
        shuffle(w);
        assert_int_equal(hopmla_profiler_stop(w->profiler, NULL), HOPMLA_OK);
        start_step(w, &s);
        decode(w, NULL);
        assert_int_equal(hopmla_profiler_start(w->profiler, NULL), HOPMLA_OK);
        decode(w, NULL);
        hopmla_record record = last_record(w, HOPMLA_CALL_DECODE);
        check_decode(w, &record, &s, 0);
        end_step(w, &s);
    }
}

/* A call does not wait for the pool's books because of a profiler: its figures are not known then, later ones' are. */
static void test_busy_books(void **state)
{
    world *w = *state;
    step s;
    for (int i = 0; i < 100; i++) {
        shuffle(w);
    }
    assert_int_equal(hopmla_profiler_stop(w->profiler, NULL), HOPMLA_OK);
    do {
        start_step(w, &s);
        if (s.kv_tokens && s.appended) {
            break;
        }
        end_step(w, &s);
    } while (1);
    hopmla_record records[4];
    while (observed_read(w->profiler, records, 4)) {
    }
    assert_int_equal(hopmla_profiler_start(w->profiler, NULL), HOPMLA_OK);
    alarm(20); /* or it would wait for ever */
    pthread_mutex_lock(&w->pool->mutex);
    decode(w, NULL);
    append(w, HOPMLA_DTYPE_FP16);
    hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
    note.decodes = 2;
    assert_int_equal(hopmla_plan_launch_begin(w->plan, &note, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_launch_end(w->plan, 1, NULL, NULL), HOPMLA_OK);
    pthread_mutex_unlock(&w->pool->mutex);
    alarm(0);
    assert_int_equal(observed_read(w->profiler, records, 4), 3);
    assert_int_equal(records[0].valid, HOPMLA_VALID_TIME);
    assert_int_equal(records[0].rows, s.queries);
    assert_int_equal(records[0].kv_tokens + records[0].flops + records[0].bytes + records[0].unique_bytes, 0);
    assert_int_equal(records[1].valid, HOPMLA_VALID_TIME | HOPMLA_VALID_WORK);
    assert_int_equal(records[1].bytes, s.appended * 2 * w->row);
    assert_int_equal(records[2].valid, HOPMLA_VALID_TIME);
    decode(w, NULL);
    hopmla_record record = last_record(w, HOPMLA_CALL_DECODE);
    assert_int_equal(record.valid, HOPMLA_VALID_TIME | HOPMLA_VALID_WORK);
    check_decode(w, &record, &s, 0);
    end_step(w, &s);
}

/* What others do to the sequences while the step is open does not change its figures. */
static void test_sequences_that_change_meanwhile(void **state)
{
    world *w = *state;
    const uint32_t n = 200;
    const uint32_t q_lens[] = { 1, 1 };
    grow(w, w->seqs[0], n);
    assert_int_equal(hopmla_seq_release(w->pool, &w->seqs[1], 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_fork(w->pool, w->seqs[0], 150, &w->seqs[1], NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(w->plan, w->seqs, NULL, q_lens, 2, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(w->pool, w->seqs, 2, NULL), HOPMLA_OK);
    decode(w, NULL);
    const hopmla_record record = last_record(w, HOPMLA_CALL_DECODE);
    assert_int_equal(record.kv_tokens, 350);
    assert_int_equal(record.bytes - record.unique_bytes, 150 * w->row);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
}

/* A fork's copy of a partial page is in the update, for all layers, read and written. */
static void test_copies(void **state)
{
    world *w = *state;
    const uint32_t n = 100;
    const uint32_t one = 1;
    grow(w, w->seqs[0], n);
    assert_int_equal(hopmla_seq_release(w->pool, &w->seqs[1], 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_fork(w->pool, w->seqs[0], 90, &w->seqs[1], NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(w->pool, &w->seqs[1], &one, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(w->plan, &w->seqs[1], &one, &one, 1, NULL, NULL), HOPMLA_OK);
    const hopmla_record record = last_record(w, HOPMLA_CALL_UPDATE);
    assert_int_equal(record.rows, 1);
    /* Lengths of a row, a run of two pages, and 26 rows of the second page. */
    assert_int_equal(record.bytes, (4 + 2 + 2) * 4 + 16 + 26 * 2 * w->row * LAYERS);
    assert_int_equal(hopmla_plan_end(w->plan, NULL, NULL), HOPMLA_OK);
}

/* The raw entry says shapes alone. */
static void test_raw_calls(void **state)
{
    world *w = *state;
    static _Alignas(1024) char workspace[1 << 14];
    static int32_t lens[4];
    hopmla_paged_desc desc = HOPMLA_PAGED_DESC_INIT;
    desc.format = HOPMLA_KV_BF16;
    desc.batch = 4;
    desc.max_kv_tokens = 100;
    desc.heads = 7;
    desc.pages = 3;
    desc.table_stride = 2;
    assert_int_equal(
        hopmla_decode_paged_prepare(w->context, &desc, lens, NULL, workspace, sizeof(workspace), NULL, NULL),
        HOPMLA_OK);
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = 3;
    args.softmax_scale = 1.0f;
    assert_int_equal(hopmla_decode_paged(w->context, &desc, &args, observed_memory, NULL, lens, observed_memory, NULL,
                                         observed_memory, NULL, workspace, sizeof(workspace), NULL, NULL),
                     HOPMLA_OK);
    hopmla_record records[3];
    assert_int_equal(observed_read(w->profiler, records, 3), 2);
    assert_int_equal(records[0].kind, HOPMLA_CALL_UPDATE);
    assert_int_equal(records[0].rows, 4);
    assert_int_equal(records[1].kind, HOPMLA_CALL_DECODE);
    assert_int_equal(records[1].rows, 3);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(records[i].flags, HOPMLA_RECORD_RAW);
        assert_int_equal(records[i].valid, HOPMLA_VALID_TIME);
        assert_int_equal(records[i].plan, 0);
        assert_int_equal(records[i].batch, 4);
        assert_int_equal(records[i].heads, 7);
        assert_int_equal(records[i].flops + records[i].bytes, 0);
        assert_int_equal(records[i].page_bytes, 64 * 1152);
    }
    desc.format = HOPMLA_KV_BF16_NOPE;
    assert_int_equal(
        hopmla_decode_paged_prepare(w->context, &desc, lens, NULL, workspace, sizeof(workspace), NULL, NULL),
        HOPMLA_OK);
    assert_int_equal(observed_read(w->profiler, records, 3), 1);
    assert_int_equal(records[0].format, HOPMLA_KV_BF16_NOPE);
    assert_int_equal(records[0].page_bytes, 64 * 1024);
    assert_int_equal(observed_totals(w->profiler, HOPMLA_CALL_DECODE, NULL).records, 1);
}

/* Launches of graphs. */

static hopmla_record launch(world *w, uint32_t appends, uint32_t decodes, int32_t dtype, int32_t kind)
{
    hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
    note.appends = appends;
    note.decodes = decodes;
    note.dtype = dtype;
    assert_int_equal(hopmla_plan_launch_begin(w->plan, &note, NULL, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_launch_end(w->plan, 1, NULL, NULL), HOPMLA_OK);
    return last_record(w, kind);
}

static void test_launches(void **state)
{
    world *w = *state;
    step s;
    for (int i = 0; i < 100; i++) {
        shuffle(w);
    }
    do {
        start_step(w, &s);
        if (s.appended && s.kv_tokens) {
            break;
        }
        end_step(w, &s);
    } while (1);
    decode(w, observed_memory);
    const hopmla_record one = last_record(w, HOPMLA_CALL_DECODE);
    hopmla_record record = launch(w, 0, 3, 0, HOPMLA_CALL_DECODE);
    assert_int_equal(record.flags, HOPMLA_RECORD_GRAPH);
    assert_int_equal(record.calls, 3);
    assert_int_equal(record.rows, s.queries);
    assert_int_equal(record.kv_tokens, s.kv_tokens);
    assert_int_equal(record.flops, 3 * one.flops);
    assert_int_equal(record.bytes, 3 * one.bytes);
    assert_int_equal(record.unique_bytes, 3 * one.unique_bytes);
    record = launch(w, 2, 0, HOPMLA_DTYPE_FP32, HOPMLA_CALL_APPEND);
    assert_int_equal(record.calls, 2);
    assert_int_equal(record.rows, s.appended);
    assert_int_equal(record.kv_tokens + record.flops, 0);
    assert_int_equal(record.bytes, 2 * s.appended * (w->wide + w->row));
    record = launch(w, 3, 3, 0, HOPMLA_CALL_LAUNCH);
    assert_int_equal(record.calls, 6);
    assert_int_equal(record.rows, s.queries);
    assert_int_equal(record.flops, 3 * one.flops);
    assert_int_equal(record.bytes, 3 * (one.bytes + s.appended * 2 * w->row));
    end_step(w, &s);
}

int main(void)
{
    static int32_t formats[] = { HOPMLA_KV_FP16, HOPMLA_KV_FP16_NOPE };
#define TEST(name, format) cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, &formats[format])
    const struct CMUnitTest tests[] = {
        TEST(test_ragged_batches, 0),
        TEST(test_started_in_mid_step, 0),
        TEST(test_busy_books, 0),
        TEST(test_sequences_that_change_meanwhile, 0),
        TEST(test_copies, 0),
        TEST(test_raw_calls, 0),
        TEST(test_launches, 0),
        TEST(test_ragged_batches, 1),
        TEST(test_sequences_that_change_meanwhile, 1),
        TEST(test_copies, 1),
        TEST(test_launches, 1),
    };
    return cmocka_run_group_tests_name("profiler's figures", tests, NULL, NULL) ? 1 : 0;
}
