/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <string.h>

#define EXPECT(call, ...) case_expect(w->check, call(__VA_ARGS__, &error), &error, #call)

void world_make(world *w, check *c, uint64_t pages, uint64_t max_kv, uint32_t rows, uint32_t source_tokens)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const shape *s = c->shape;
    hopmla_context *context = c->device->context;
    memset(w, 0, sizeof(*w));
    w->check = c;
    w->max_batch = s->batch + s->more_batch;
    w->source_tokens = source_tokens;

    hopmla_pool_options pool = device_pool_options(shape_format(s), s->layers, pages);
    hopmla_pool_layout size = HOPMLA_POOL_LAYOUT_INIT;
    EXPECT(hopmla_pool_query, context, &pool, &size);
    pool.storage = HOPMLA_STORAGE_CALLER;
    pool.memory_bytes = size.bytes;
    pool.memory = case_device(c, size.bytes);
    case_synchronize(c);
    w->pool = case_pool(c, &pool);

    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    uint64_t pinned = 0;
    plan.max_batch = w->max_batch;
    plan.heads = s->heads;
    plan.max_kv_tokens = max_kv;
    plan.max_units = s->max_units;
    plan.lse = s->lse;
    for (uint32_t i = 0; i < s->batch; ++i)
        plan.max_q_tokens = s->q[i] > plan.max_q_tokens ? s->q[i] : plan.max_q_tokens;
    EXPECT(hopmla_plan_query, w->pool, &plan, &plan.memory_bytes, &pinned);
    plan.memory = case_device(c, plan.memory_bytes);
    case_synchronize(c);
    w->plan = case_plan(c, w->pool, &plan);

    uint64_t source_bytes = (uint64_t)s->layers * source_tokens * HOPMLA_QK_DIM * 2;
    w->source_host = case_host(c, source_bytes);
    w->source_device = case_device(c, source_bytes);
    tensors_make(&w->tensors, c, rows, s->layers);
}

/** Enqueues, or captures, append and decode of every layer. */
static void launch(world *w, bool append, bool decode)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    check *c = w->check;
    hopmla_stream stream = c->device->stream;
    for (uint32_t layer = 0; layer < c->shape->layers; ++layer) {
        const char *latent = (const char *)w->source_device + (uint64_t)layer * w->source_tokens * HOPMLA_QK_DIM * 2;
        hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
        args.layer = layer;
        args.dtype = c->shape->dtype;
        args.tokens = w->source_tokens;
        args.latent_stride = HOPMLA_QK_DIM;
        args.rope_stride = c->shape->nope ? 0 : HOPMLA_QK_DIM;
        const char *rope = c->shape->nope ? NULL : latent + HOPMLA_LATENT_DIM * 2;
        if (append)
            EXPECT(hopmla_append, w->plan, &args, latent, rope, stream);
        hopmla_decode_args decode_args = tensors_args(&w->tensors, layer);
        if (decode)
            EXPECT(hopmla_decode, w->plan, &decode_args, w->tensors.q_device, w->tensors.qr_device,
                   tensors_out(&w->tensors, layer), tensors_lse(&w->tensors, layer), stream);
    }
}

void world_capture(world *w)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    check *c = w->check;
    EXPECT(hopmla_graph_begin, c->device->context, c->device->stream);
    c->capturing = true;
    launch(w, true, true);
    EXPECT(hopmla_graph_end, c->device->context, c->device->stream, &w->graph);
    c->capturing = false;
    case_keep_graph(c, w->graph);
}

static void mirror_room(world *w, mirror *m, uint32_t tokens)
{
    if (tokens <= m->capacity)
        return;
    uint32_t *ids = case_host(w->check, 2 * (uint64_t)tokens * sizeof(*ids));
    if (m->tokens > 0)
        memcpy(ids, m->ids, m->tokens * sizeof(*ids));
    m->ids = ids;
    m->capacity = 2 * tokens;
}

uint32_t world_add(world *w)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    mirror *m = &w->seqs[w->count];
    *m = (mirror){ 0 };
    EXPECT(hopmla_seq_create, w->pool, &m->id, 1);
    return w->count++;
}

uint32_t world_fork(world *w, uint32_t parent, uint32_t tokens)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    mirror *m = &w->seqs[w->count];
    *m = (mirror){ 0 };
    EXPECT(hopmla_seq_fork, w->pool, w->seqs[parent].id, tokens, &m->id);
    mirror_room(w, m, tokens + 1);
    if (tokens > 0)
        memcpy(m->ids, w->seqs[parent].ids, tokens * sizeof(*m->ids));
    m->tokens = tokens;
    return w->count++;
}

void world_truncate(world *w, uint32_t index, uint32_t tokens)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint64_t length = tokens;
    EXPECT(hopmla_seq_truncate, w->pool, &w->seqs[index].id, &length, 1);
    w->seqs[index].tokens = tokens;
}

void world_release(world *w, uint32_t index)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    EXPECT(hopmla_seq_release, w->pool, &w->seqs[index].id, 1);
    w->seqs[index] = w->seqs[--w->count];
}

/** Gives the sequence new bank rows and puts them into the sources as rows first, first + 1, … */
static void add_tokens(world *w, mirror *m, uint32_t n, uint32_t first)
{
    mirror_room(w, m, m->tokens + n + 1);
    for (uint32_t i = 0; i < n; ++i) {
        uint32_t id = (uint32_t)random_below(&w->check->random, BANK_ROWS);
        /* A token that should match a query overwhelmingly was put there by the case. */
        if (w->check->shape->outlier && m->ids[m->tokens + i] >= BANK_ROWS)
            id = m->ids[m->tokens + i];
        m->ids[m->tokens + i] = id;
        for (uint32_t layer = 0; layer < w->check->shape->layers; ++layer)
            memcpy(w->source_host + ((uint64_t)layer * w->source_tokens + first + i) * HOPMLA_QK_DIM,
                   w->check->bank->bits + (uint64_t)bank_row(id, layer) * HOPMLA_QK_DIM, HOPMLA_QK_DIM * 2);
    }
    m->tokens += n;
}

static void verify(world *w, const uint32_t *rows, const uint32_t *q_lens, uint32_t count)
{
    query *queries = case_host(w->check, w->tensors.rows * sizeof(*queries));
    uint32_t next = 0;
    for (uint32_t i = 0; i < count; ++i) {
        const mirror *m = &w->seqs[rows[i]];
        for (uint32_t j = 0; j < q_lens[i]; ++j) {
            uint32_t hidden = q_lens[i] - 1 - j;
            queries[next++] = (query){ m->ids, m->tokens > hidden ? m->tokens - hidden : 0 };
        }
    }
    tensors_fetch(&w->tensors);
    tensors_verify(&w->tensors, queries);
}

void world_step(world *w, const uint32_t *rows, const uint32_t *appended, const uint32_t *q_lens, uint32_t count)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    device *d = w->check->device;
    hopmla_seq ids[CASE_ROWS];
    uint32_t n_append[CASE_ROWS] = { 0 }, total = 0;
    for (uint32_t i = 0; i < count; ++i) {
        ids[i] = w->seqs[rows[i]].id;
        n_append[i] = appended != NULL ? appended[i] : 0;
        add_tokens(w, &w->seqs[rows[i]], n_append[i], total);
        total += n_append[i];
    }
    for (uint32_t layer = 0; layer < w->check->shape->layers; ++layer) {
        uint64_t offset = (uint64_t)layer * w->source_tokens * HOPMLA_QK_DIM * 2;
        case_copy(w->check, (char *)w->source_device + offset, (char *)w->source_host + offset,
                  (uint64_t)total * HOPMLA_QK_DIM * 2);
    }
    EXPECT(hopmla_seq_reserve, w->pool, ids, n_append, count);
    EXPECT(hopmla_plan_update, w->plan, ids, n_append, q_lens, count, d->stream);
    /* Host arrays are consumed: what happens to them now must not matter. */
    for (uint32_t i = 0; i < count; ++i)
        ids[i] = ~ids[i];
    tensors_reset(&w->tensors);
    if (w->graph != NULL)
        EXPECT(hopmla_graph_launch, d->context, w->graph, d->stream);
    else
        launch(w, total > 0, q_lens != NULL);
    EXPECT(hopmla_plan_end, w->plan, d->stream);
    for (uint32_t i = 0; i < count; ++i)
        ids[i] = ~ids[i];
    EXPECT(hopmla_seq_commit, w->pool, ids, n_append, count);
    if (q_lens != NULL)
        verify(w, rows, q_lens, count);
    else
        case_synchronize(w->check);
}

void world_gather(world *w, uint32_t index)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    check *c = w->check;
    mirror *m = &w->seqs[index];
    uint32_t none = 0;
    EXPECT(hopmla_plan_update, w->plan, &m->id, &none, NULL, 1, c->device->stream);
    uint64_t row_bytes = shape_values(c->shape) * 2, bytes = m->tokens * row_bytes;
    char *host = case_host(c, bytes), *memory = case_device(c, bytes);
    for (uint32_t layer = 0; layer < c->shape->layers && m->tokens > 0; ++layer) {
        hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
        args.layer = layer;
        args.count = m->tokens;
        EXPECT(hopmla_gather, w->plan, &args, memory, c->device->stream);
        case_copy(c, host, memory, bytes);
        for (uint32_t t = 0; t < m->tokens; ++t) {
            const uint16_t *row = c->bank->bits + (uint64_t)bank_row(m->ids[t], layer) * HOPMLA_QK_DIM;
            if (memcmp(host + t * row_bytes, row, row_bytes) != 0)
                case_fail(c, "layer %u, token %u of %u: the cached row is not the one that was appended",
                          (unsigned)layer, (unsigned)t, (unsigned)m->tokens);
        }
    }
    EXPECT(hopmla_plan_end, w->plan, c->device->stream);
}

void world_end(world *w)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    while (w->count > 0)
        world_release(w, w->count - 1);
    case_synchronize(w->check);
    EXPECT(hopmla_pool_get_stats, w->pool, &stats);
    if (stats.sequences != 0 || stats.pages_used != 0 || stats.pages_pinned != 0 ||
        stats.pages_free != stats.pages_total || stats.tokens_committed != 0 || stats.tokens_reserved != 0)
        case_fail(w->check, "after the last release %llu of %llu pages are used, %llu pinned, %llu free",
                  (unsigned long long)stats.pages_used, (unsigned long long)stats.pages_total,
                  (unsigned long long)stats.pages_pinned, (unsigned long long)stats.pages_free);
}
