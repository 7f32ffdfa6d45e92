/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_WORKSPACE_H
#define HM_CPU_WORKSPACE_H

/** @file
 * What lies in a workspace: the error word, the lengths as schedule read them, how the work is cut into tasks, and a
 * ring of partial results.
 *
 * The cut. A row is one (query token, head). A request's rows are taken HM_BLOCK_ROWS at a time, its tokens in splits of
 * equal length; a task is one block over one split. The length of a split depends on the request's own lengths alone,
 * so neither the number of threads nor the rest of the batch can change a bit of the result. */

#include <stdatomic.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"

enum {
    HM_SPLIT_TOKENS = 512,   /* fewest in a split: enough work to hide the combining */
    HM_MAX_SPLIT_BLOCKS = 8, /* with this many blocks splits are no longer for the sake of more tasks */
    HM_MAX_SPLITS = 64
};

typedef struct hm_cpu_header {
    uint32_t error; /* HOPMLA_PAGED_BAD_*, first by contract */
    uint32_t count;
    uint64_t q_tokens;
    uint64_t tasks;
    uint64_t reserved[5];
} hm_cpu_header;

/** A place in the ring. Partial results are numbered through a decode; number p lives in slot p mod slots. */
typedef struct hm_slot {
    _Alignas(16) _Atomic uint64_t owner; /* the number that may use it now */
    _Atomic uint32_t arrived;            /* in the slot of a block's first split: splits that are done */
} hm_slot;

/** Pointers into a workspace. */
typedef struct hm_cpu_workspace {
    hm_cpu_header *header;
    int32_t *kv_lens;         /* [max_batch] */
    int32_t *q_lens;          /* [max_batch] */
    uint64_t *q_starts;       /* [max_batch + 1] first query token of a request */
    uint64_t *task_starts;    /* [max_batch + 1] */
    uint64_t *partial_starts; /* [max_batch + 1] first number of a request's partial results */
    hm_slot *slots;           /* [slot_count] */
    char *partials;           /* [slot_count] of partial_bytes: float o[rows][512], m[rows], l[rows] */
    uint64_t partial_bytes;
    uint32_t slot_count;
    uint32_t partial_rows;
    uint64_t bytes; /* of the whole */
} hm_cpu_workspace;

/** Finds everything's place. memory may be NULL when only sizes are asked for. */
hm_cpu_workspace hm_cpu_workspace_at(const hm_device *device, const hm_envelope *envelope, void *memory);

static inline uint32_t hm_blocks(uint32_t rows)
{
    return (rows + HM_BLOCK_ROWS - 1) / HM_BLOCK_ROWS;
}

/** Tokens of a split, whole tiles. The more blocks a request has, the longer: blocks are tasks enough. */
static inline uint32_t hm_split_tokens(uint32_t kv_len, uint32_t blocks)
{
    uint32_t least = HM_SPLIT_TOKENS * (blocks > HM_MAX_SPLIT_BLOCKS ? HM_MAX_SPLIT_BLOCKS : blocks > 1 ? blocks : 1);
    uint32_t even = (kv_len + HM_MAX_SPLITS - 1) / HM_MAX_SPLITS;
    even = (even + HM_TILE_TOKENS - 1) / HM_TILE_TOKENS * HM_TILE_TOKENS;
    return even > least ? even : least;
}

/** Splits of a request, at least 1: rows without tokens are written too. */
static inline uint32_t hm_splits(uint32_t kv_len, uint32_t blocks)
{
    uint32_t tokens = hm_split_tokens(kv_len, blocks);
    return kv_len ? (kv_len + tokens - 1) / tokens : 1;
}

#endif
