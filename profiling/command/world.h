/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_WORLD_H
#define COMMAND_WORLD_H

/** @file
 * A pool, a plan and a mirror on the host of what every sequence should hold: steps are taken the way an engine takes
 * them, and their outputs are held against the mirror. */

#include "tensors.h"

/** A sequence and the bank rows of its tokens. */
typedef struct mirror {
    hopmla_seq id;
    uint32_t *ids;
    uint32_t tokens;
    uint32_t capacity;
} mirror;

typedef struct world {
    check *check;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_graph graph; /* NULL: steps are taken call by call */
    uint32_t max_batch;
    uint32_t source_tokens; /* that one step can append */
    uint16_t *source_host;  /* [layers, source_tokens, 576] */
    void *source_device;
    tensors tensors;
    mirror seqs[CASE_ROWS];
    uint32_t count;
} world;

/** Makes pool, plan and tensors. The storage and the plan's memory are the case's own and start full of NaN.
 *
 * @param pages          of the pool
 * @param max_kv         of the plan
 * @param rows           of the tensors
 * @param source_tokens  that one step can append */
void world_make(world *w, check *c, uint64_t pages, uint64_t max_kv, uint32_t rows, uint32_t source_tokens);

/** Captures append and decode of every layer; later steps launch that. */
void world_capture(world *w);

/** An empty sequence; a fork of another's first tokens; the end of one. @return its index in seqs */
uint32_t world_add(world *w);
uint32_t world_fork(world *w, uint32_t parent, uint32_t tokens);
void world_truncate(world *w, uint32_t index, uint32_t tokens);
void world_release(world *w, uint32_t index); /* the last one takes its place */

/** One step. @param rows      [count] indices in seqs
 *  @param appended  [count] tokens with bank rows by chance, or NULL
 *  @param q_lens    [count], or NULL: nothing is decoded and nothing compared */
void world_step(world *w, const uint32_t *rows, const uint32_t *appended, const uint32_t *q_lens, uint32_t count);

/** Compares every token of a sequence, in every layer, with the mirror, bit by bit. */
void world_gather(world *w, uint32_t index);

/** The books must say that nothing is left once all sequences have gone. */
void world_end(world *w);

#endif
