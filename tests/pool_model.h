/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POOL_MODEL_H
#define POOL_MODEL_H

/** @file
 * A pool and two plans, modelled in the plainest way: arrays, and a scan of everything for every question. What a step
 * does to the device is known at once, so a step's pages are pinned exactly while it is open. */

#include <stdint.h>

#include "hopmla/hopmla.h"

enum {
    MODEL_PAGES = 48,
    MODEL_SEQS = 14,
    MODEL_LIST = 12,
    MODEL_TOKENS = MODEL_LIST * HOPMLA_PAGE_TOKENS,
    MODEL_PLANS = 2
};

enum model_copy {
    MODEL_NO_COPY,
    MODEL_OWED,
    MODEL_COPIED /* the source is held until the next commit */
};

typedef struct model_seq {
    int alive;
    uint32_t committed;
    uint32_t reserved;
    uint32_t n;
    int32_t pages[MODEL_LIST];
    int may_write; /* found the rows from `committed` on its own */
    enum model_copy copy;
    int32_t source;
    uint32_t copy_at;
    uint32_t copy_rows;
    uint32_t plans;                /* bits: open steps that may touch its pages */
    uint32_t former;               /* bits: those of former users of pages it took */
    uint64_t tokens[MODEL_TOKENS]; /* 0: unknown */
} model_seq;

typedef struct model_page {
    uint32_t guard; /* most rows that a copy from it was begun with, since there was none */
    uint32_t plans; /* bits: open steps that may touch it, of sequences that left it */
} model_page;

typedef struct model {
    int no_storage;
    model_seq seq[MODEL_SEQS];
    model_page page[MODEL_PAGES];
    int32_t queue[MODEL_PAGES];
    uint32_t n_free;
    uint32_t high_water;
    uint32_t open; /* bits: plans with an open step */
} model;

void model_init(model *m, int no_storage);

uint32_t model_owners(const model *m, int32_t page);
uint32_t model_sources(const model *m, int32_t page);

/** @return pages missing; then nothing has changed */
uint32_t model_reserve(model *m, const int *seqs, const uint32_t *n_new, uint32_t count);
void model_commit(model *m, int seq, uint32_t n);
void model_truncate(model *m, int seq, uint32_t length);
void model_release(model *m, int seq);

/** @return the child's slot, -1 when all are taken, -2 when the parent's copy is in the way */
int model_fork(model *m, int parent, uint32_t length);
int model_create(model *m);

/** Whether the plan can take the sequence up now. */
int model_is_busy(const model *m, int plan, int seq);

/** The plan's step takes the sequence up, and the device makes the copy that it owes. */
void model_update(model *m, int plan, int seq);
void model_end(model *m, int plan);

uint32_t model_pinned(const model *m);

/** Where a token is. */
int32_t model_where(const model_seq *s, uint32_t token);

#endif
