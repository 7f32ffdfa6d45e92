/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include "format.h"
#include "profile.h"

#include <math.h>
#include <string.h>

#define MUST(call, ...) must(call(__VA_ARGS__, &error), &error, #call)

static void make_pool(engine *e, uint64_t pages)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_pool_options options = device_pool_options(e->format, e->layers, pages);
    uint64_t sequences = e->trace->count + e->max_batch + 1;
    options.max_sequences = sequences < (1 << 24) ? (uint32_t)sequences : (1 << 24) - 1;
    MUST(hopmla_pool_create, e->device->context, &options, &e->pool);
}

static void make_plan(engine *e, uint64_t max_kv)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = e->max_batch;
    options.heads = e->heads;
    options.max_kv_tokens = max_kv;
    MUST(hopmla_plan_create, e->pool, &options, &e->plan);
}

static void make_tensors(engine *e)
{
    uint64_t width = e->contents.width, rows = e->max_append * width * 2, outputs = (uint64_t)e->max_batch * e->heads;
    e->rows_host = device_alloc_pinned(e->device, rows);
    e->q_host = device_alloc_pinned(e->device, outputs * width * 2);
    e->rows = device_alloc(e->device, rows);
    e->q = device_alloc(e->device, outputs * width * 2);
    e->out = device_alloc(e->device, e->layers * outputs * HOPMLA_LATENT_DIM * 2);
    e->lse = device_alloc(e->device, e->layers * outputs * 4);
}

/** Layers read the same staged windows, each CONTENTS_LAYER_STEP values further on: hence the strides. */
static void capture(engine *e)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    device *d = e->device;
    int64_t width = e->contents.width;
    hopmla_append_args append = HOPMLA_APPEND_ARGS_INIT;
    append.tokens = e->max_append;
    append.latent_stride = width;
    append.rope_stride = format_is_nope(e->format) ? 0 : width;
    hopmla_decode_args decode = HOPMLA_DECODE_ARGS_INIT;
    decode.rows = e->max_batch;
    decode.softmax_scale = e->scale;
    decode.q_head_stride = width;
    decode.q_token_stride = width * e->heads;

    MUST(hopmla_graph_begin, d->context, d->stream);
    for (append.layer = 0; append.layer < e->layers; ++append.layer) {
        const uint16_t *rows = (uint16_t *)e->rows.memory + append.layer * CONTENTS_LAYER_STEP;
        const uint16_t *rope = format_is_nope(e->format) ? NULL : rows + HOPMLA_LATENT_DIM;
        MUST(hopmla_append, e->plan, &append, rows, rope, d->stream);
    }
    MUST(hopmla_graph_end, d->context, d->stream, &e->append);

    MUST(hopmla_graph_begin, d->context, d->stream);
    for (decode.layer = 0; decode.layer < e->layers; ++decode.layer) {
        uint64_t first = (uint64_t)decode.layer * e->max_batch * e->heads;
        const uint16_t *q = (uint16_t *)e->q.memory + decode.layer * CONTENTS_LAYER_STEP;
        MUST(hopmla_decode, e->plan, &decode, q, NULL, (uint16_t *)e->out.memory + first * HOPMLA_LATENT_DIM,
             (float *)e->lse.memory + first, d->stream);
    }
    MUST(hopmla_graph_end, d->context, d->stream, &e->decode);
}

void engine_make(engine *e, device *d, const trace *t, int32_t format, uint32_t layers, uint32_t heads, uint64_t pages,
                 uint32_t max_batch, uint32_t chunk, uint64_t max_kv)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    *e = (engine){ .device = d,
                   .trace = t,
                   .contents = contents_make(layers),
                   .layers = layers,
                   .heads = heads,
                   .format = format,
                   .max_batch = max_batch,
                   .max_append = chunk + max_batch,
                   .scale = 1.0f / sqrtf(HOPMLA_QK_DIM) };
    make_pool(e, pages);
    make_plan(e, max_kv);
    make_tensors(e);
    MUST(hopmla_event_create, d->context, &e->begin);
    MUST(hopmla_event_create, d->context, &e->end);
    capture(e);
}

void engine_free(engine *e)
{
    device *d = e->device;
    uint64_t width = e->contents.width;
    device_synchronize(d);
    hopmla_graph_destroy(d->context, e->append);
    hopmla_graph_destroy(d->context, e->decode);
    hopmla_event_destroy(d->context, e->begin);
    hopmla_event_destroy(d->context, e->end);
    hopmla_plan_destroy(e->plan);
    hopmla_pool_destroy(e->pool);
    device_free_pinned(d, e->rows_host, e->max_append * width * 2);
    device_free_pinned(d, e->q_host, (uint64_t)e->max_batch * e->heads * width * 2);
    device_free(d, &e->rows);
    device_free(d, &e->q);
    device_free(d, &e->out);
    device_free(d, &e->lse);
    contents_free(&e->contents);
}

static void stage(engine *e, const batch *b)
{
    const contents *c = &e->contents;
    uint64_t bytes = (uint64_t)c->width * 2;
    uint16_t *row = e->rows_host, *q = e->q_host;
    for (uint32_t i = 0; i < b->count; ++i) {
        for (uint32_t j = 0; j < b->n_append[i]; ++j, row += c->width)
            memcpy(row, c->bits + contents_token(e->trace, b->request[i], b->first[i] + j), bytes);
        uint32_t last = b->first[i] + b->n_append[i] - 1;
        for (uint32_t h = 0; h < e->heads && b->q_lens[i] > 0; ++h, q += c->width)
            memcpy(q, c->bits + contents_query(b->request[i], last, h), bytes);
    }
    device_copy(e->device, e->rows.memory, e->rows_host, (uint64_t)b->appended * bytes);
    device_copy(e->device, e->q.memory, e->q_host, (uint64_t)b->queries * e->heads * bytes);
}

double engine_step(engine *e, const batch *b)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    device *d = e->device;
    double us = 0.0;
    stage(e, b);
    MUST(hopmla_plan_update, e->plan, b->seqs, b->n_append, b->q_lens, b->count, d->stream);
    profile_launch(d, e->plan, e->append, e->layers, 0);
    if (b->queries > 0) {
        MUST(hopmla_event_record, d->context, e->begin, d->stream);
        profile_launch(d, e->plan, e->decode, 0, e->layers);
        MUST(hopmla_event_record, d->context, e->end, d->stream);
    }
    MUST(hopmla_plan_end, e->plan, d->stream);
    device_synchronize(d);
    if (b->queries > 0)
        MUST(hopmla_event_elapsed, d->context, e->begin, e->end, &us);
    return us;
}
