/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_OBSERVED_H
#define TESTS_OBSERVED_H

/** @file
 * A pool with two sequences and a plan, as a fixture for what observes calls. After cmocka.h. */

#include <stdlib.h>
#include <string.h>

#include "hopmla/hopmla.h"

enum {
    OBSERVED_LAYERS = 2,
    OBSERVED_HEADS = 3
};

/** A backend that looks at no tensor is given this. */
static _Alignas(64) char observed_memory[1 << 16];

typedef struct observed {
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_seq seqs[2];
    hopmla_stream stream;
} observed;

static inline void observed_plan(hopmla_pool *pool, hopmla_plan **plan)
{
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = 4;
    options.max_q_tokens = 2;
    options.heads = OBSERVED_HEADS;
    options.max_kv_tokens = 512;
    options.staging_depth = 64;
    assert_int_equal(hopmla_plan_create(pool, &options, plan, NULL), HOPMLA_OK);
}

/** Takes the context over. */
static inline void observed_create(observed *w, hopmla_context *context)
{
    const uint32_t lengths[] = { 100, 60 };
    memset(w, 0, sizeof(*w));
    w->context = context;
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = OBSERVED_LAYERS;
    options.pages = 32;
    assert_int_equal(hopmla_pool_create(context, &options, &w->pool, NULL), HOPMLA_OK);
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT; /* decodes read what nobody appended */
    assert_int_equal(hopmla_pool_describe(w->pool, &layout, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_fill(context, layout.base, 0, layout.bytes, NULL, NULL), HOPMLA_OK);
    observed_plan(w->pool, &w->plan);
    assert_int_equal(hopmla_stream_create(context, &w->stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_create(w->pool, w->seqs, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(w->pool, w->seqs, lengths, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(w->pool, w->seqs, lengths, 2, NULL), HOPMLA_OK);
}

static inline void observed_destroy(observed *w)
{
    hopmla_stream_destroy(w->context, w->stream);
    hopmla_plan_destroy(w->plan);
    hopmla_pool_destroy(w->pool);
    hopmla_context_destroy(w->context);
}

/** A step in which the sequences append 1 and 0 tokens and decode 1 and 2; it stays open. */
static inline void observed_update(observed *w)
{
    const uint32_t n_append[] = { 1, 0 };
    const uint32_t q_lens[] = { 1, 2 };
    assert_int_equal(hopmla_seq_reserve(w->pool, w->seqs, n_append, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_update(w->plan, w->seqs, n_append, q_lens, 2, w->stream, NULL), HOPMLA_OK);
}

static inline hopmla_status observed_append(observed *w, uint32_t layer)
{
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    args.layer = layer;
    args.tokens = 1;
    return hopmla_append(w->plan, &args, observed_memory, observed_memory + 2048, w->stream, NULL);
}

static inline hopmla_status observed_decode(observed *w, uint32_t layer)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.layer = layer;
    args.rows = 3;
    args.softmax_scale = 0.1f;
    return hopmla_decode(w->plan, &args, observed_memory, NULL, observed_memory + (1 << 15), NULL, w->stream, NULL);
}

static inline hopmla_status observed_gather(observed *w, uint64_t count)
{
    hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
    args.count = count;
    return hopmla_gather(w->plan, &args, observed_memory, w->stream, NULL);
}

/** A started profiler. */
static inline hopmla_profiler *observed_profiler(hopmla_context *context, uint32_t clocks, uint32_t capacity)
{
    hopmla_profiler *profiler = NULL;
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.clocks = clocks;
    options.capacity = capacity;
    assert_int_equal(hopmla_profiler_create(context, &options, &profiler, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    return profiler;
}

static inline hopmla_profiler_info observed_info(hopmla_profiler *profiler)
{
    hopmla_profiler_info info = HOPMLA_PROFILER_INFO_INIT;
    assert_int_equal(hopmla_profiler_describe(profiler, &info, NULL), HOPMLA_OK);
    return info;
}

/** Reads at most `capacity` records. @return how many there were */
static inline uint32_t observed_read(hopmla_profiler *profiler, hopmla_record *records, uint32_t capacity)
{
    uint32_t count = UINT32_MAX;
    assert_int_equal(hopmla_profiler_read(profiler, records, sizeof(*records), capacity, &count, NULL), HOPMLA_OK);
    return count;
}

static inline hopmla_totals observed_totals(hopmla_profiler *profiler, int32_t kind, hopmla_plan *plan)
{
    hopmla_totals totals = HOPMLA_TOTALS_INIT;
    assert_int_equal(hopmla_profiler_get_totals(profiler, kind, plan, &totals, NULL), HOPMLA_OK);
    return totals;
}

#endif
