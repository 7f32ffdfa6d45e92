/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POOL_WORLD_H
#define POOL_WORLD_H

/** @file
 * A pool, two plans and a twin pool without storage beside their model, and what must hold of them after every call. */

#include "lib/pool.h"
#include "tests/fake_backend.h"
#include "tests/pool_model.h"

enum {
    P = HOPMLA_PAGE_TOKENS,
    MAX_KV = 512,
    MAX_Q = 4,
    BATCH = 6
};

typedef struct world {
    hm_device *device;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_pool *twin; /* books only, gets the same calls; NULL where plan updates are left out on purpose */
    hopmla_plan *plan[MODEL_PLANS];
    hopmla_stream stream[MODEL_PLANS];
    hopmla_plan_tables tables[MODEL_PLANS];
    char *base;
    hopmla_seq id[MODEL_SEQS];
    hopmla_seq twin_id[MODEL_SEQS];
    hopmla_seq dead; /* an id that was released */
    model m;
    uint64_t random;
    uint64_t next_token;
    uint64_t counts[16];
} world;

/** Page ids, reference counts, the free ring, statistics, and what is in the rows of every sequence. */
void check_world(const world *w);

/** The plan's device tables after an update with this batch, sequences by their slots. */
void check_tables(const world *w, int plan, const int *seqs, const uint32_t *n_append, const uint32_t *q_lens,
                  uint32_t count);

#endif
