/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_ENGINE_H
#define COMMAND_ENGINE_H

/** @file
 * What an engine's model runner does with a batch: stages rows and queries, updates the plan, launches two graphs that
 * were captured before any sequence existed (appends of all layers, decodes of all layers), and ends the step. */

#include "contents.h"
#include "device.h"
#include "scheduler.h"

typedef struct engine {
    device *device;
    const trace *trace;
    contents contents;
    uint32_t layers;
    uint32_t heads;
    int32_t format; /* HOPMLA_KV_BF16 or _BF16_NOPE */
    uint32_t max_batch;
    uint32_t max_append; /* tokens of a step */
    float scale;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_graph append;
    hopmla_graph decode;
    hopmla_event begin;
    hopmla_event end;
    uint16_t *rows_host; /* pinned [max_append, width] */
    uint16_t *q_host;    /* pinned [max_batch, heads, width] */
    block rows;
    block q;
    block out; /* [layers, max_batch, heads, 512] */
    block lse; /* [layers, max_batch, heads] */
} engine;

/** @param max_kv  tokens of the longest row */
void engine_make(engine *e, device *d, const trace *t, int32_t format, uint32_t layers, uint32_t heads, uint64_t pages,
                 uint32_t max_batch, uint32_t chunk, uint64_t max_kv);
void engine_free(engine *e);

/** Runs one step and waits for it. The caller commits. @return microseconds of the decodes of all layers */
double engine_step(engine *e, const batch *b);

#endif
