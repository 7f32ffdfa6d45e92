/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_PLAN_H
#define HM_PLAN_H

/** @file
 * The plan inside: its envelope, its tables on the device, what the device is known to have in them, and the ring of
 * pinned buffers that changes travel in.
 *
 * An update writes the next buffer, and the stream writes the update's number to the staging fence, a word before the
 * buffers, when it has read it. */

#include "hopmla/profile.h"
#include "lib/pool.h"

enum {
    HM_BUFFERS_AT = 256 /* in pinned memory */
};

/** Where everything of a plan is, in bytes. */
typedef struct hm_plan_sizes {
    uint64_t table_stride; /* entries */
    uint64_t count_at;     /* in the tables' memory */
    uint64_t kv_lens_at;
    uint64_t q_lens_at;
    uint64_t q_starts_at;
    uint64_t append_starts_at;
    uint64_t block_table_at;
    uint64_t tables;
    uint64_t workspace;
    uint64_t buffer; /* of one update */
    uint64_t pinned;
    uint64_t rows_at; /* in the plan's own memory */
    uint64_t copies_at;
    uint64_t tickets_at;
    uint64_t branches_at;
    uint64_t buckets_at;
    uint64_t host;
} hm_plan_sizes;

/** What one row of the block table holds on the device: the first `sent` pages of a sequence as its list was at
 * `stamp`. seq is 0 where that is not known. */
typedef struct hm_plan_row {
    hopmla_seq seq;
    uint32_t stamp;
    uint32_t sent;
    uint32_t length; /* tokens in this step, up to the batch's count */
    uint32_t q_len;  /* query tokens, likewise */
} hm_plan_row;

/** A copy in the update that is being enqueued. */
typedef struct hm_plan_copy {
    hopmla_seq seq;
    uint32_t stamp;
    uint32_t reserved;
} hm_plan_copy;

/** What the step works on, in one layer. */
typedef struct hm_plan_work {
    uint64_t step;          /* that this is of */
    uint64_t kv_tokens;     /* of the rows that decode */
    uint64_t unique_tokens; /* those that several of them share counted once */
    uint64_t pairs;         /* of a query token and a token that it sees */
} hm_plan_work;

/** Pages of a row that no row before it has, while those are counted that rows share; plan_shared.c. */
typedef struct hm_plan_branch {
    const int32_t *pages; /* the row's list */
    int32_t head;         /* first page that is its own, by which it is found */
    uint32_t n;           /* pages of the row, those before the head too */
    uint32_t tail;        /* tokens of the last one that it or a row since has */
    uint32_t guess;       /* pages that the last row to follow it had in common with it */
    uint32_t next;        /* row of the same bucket, counted from 1; or 0 */
} hm_plan_branch;

struct hopmla_plan {
    hopmla_pool *pool;
    uint64_t number; /* in the process, from 1 */
    uint32_t slot;   /* in the pool's pins */
    uint32_t depth;
    hm_envelope envelope;
    hm_plan_sizes sizes;
    hm_kv kv;
    hm_binding binding;
    hm_table_memory memory; /* the tables as `apply` sees them, and as the others do */
    hm_tables tables;
    void *workspace;
    int32_t owns_memory;
    char *pinned;
    uint64_t *staging_fence;  /* the first word of it */
    hm_plan_row *rows;        /* [max_batch] */
    hm_plan_copy *copies;     /* [max_batch] */
    hm_plan_branch *branches; /* [max_batch] */
    uint32_t *buckets;        /* [hm_plan_buckets(max_batch)] */
    hm_steps steps;
    uint64_t staged;    /* updates handed to the stream */
    uint64_t signalled; /* of these, those whose fence was enqueued */
    uint64_t waits;     /* plans that the stream has to wait for and does not yet: what is left when a call failed */
    uint64_t wait_for[HM_MAX_PLANS];
    hopmla_stream stream; /* of the last step */
    uint64_t ticket;
    uint32_t count; /* the batch */
    uint32_t q_tokens;
    uint32_t appended;
    uint64_t step; /* updates so far */
    hm_plan_work work;
    int32_t launching; /* between the begin and the end of a launch */
    hopmla_stream launch_stream;
    hm_observed_launch launch;
};

/** Reads and checks options. Works on a pool without storage too. */
hopmla_status hm_plan_shape(hopmla_pool *pool, const hopmla_plan_options *options, hopmla_plan_options *own,
                            hm_envelope *envelope, hm_plan_sizes *sizes, hopmla_error *error);

/** Enqueues what is due since before: waits for other plans, and the fence of an update whose own failed. */
hopmla_status hm_plan_wait(hopmla_plan *plan, hopmla_stream stream, hopmla_error *error);

/** Enqueues one update from the next staging buffer: tables, copies, schedule. */
hopmla_status hm_plan_send(hopmla_plan *plan, const hm_staging *staging, hopmla_stream stream, hopmla_error *error);

static inline hm_staging *hm_plan_buffer(const hopmla_plan *plan)
{
    return (hm_staging *)(void *)(plan->pinned + HM_BUFFERS_AT + plan->staged % plan->depth * plan->sizes.buffer);
}

/** Lays out an update of `count` rows; runs, copies and entries are 0. */
void hm_plan_staging_init(hm_staging *staging, uint32_t count);

/** MISMATCH when the stream is of another context, CAPTURE when it is being captured. */
hopmla_status hm_plan_check_stream(const hopmla_plan *plan, hopmla_stream stream, const char *function,
                                   hopmla_error *error);

/** OK where a launch may be made now: the stream is the open step's, or is being captured, or the batch is empty. Else
 * STATE, or MISMATCH. */
hopmla_status hm_plan_check_launch(const hopmla_plan *plan, hopmla_stream stream, int32_t *capturing,
                                   hopmla_error *error);

/** Of a table of `max_batch` branches. */
uint64_t hm_plan_buckets(uint32_t max_batch);

/** The tree of no row. */
void hm_plan_clear_tree(hopmla_plan *plan);

/** Lays row i of the batch into the tree of those before it. With the pool's mutex held.
 * @return tokens of it that they have, too */
uint64_t hm_plan_lay_row(hopmla_plan *plan, uint32_t i);

/** Counts what the step works on; with the pool's mutex held. plan_work.c. */
void hm_plan_count_work(hopmla_plan *plan);

/** Calls of the plan as observers see them. Figures of a step that nobody observed from its update on are counted then,
 * where no other thread holds the mutex at that moment; where one does, they are not known this time. */
hm_call hm_plan_describe_append(hopmla_plan *plan, uint32_t layer, int32_t dtype);
hm_call hm_plan_describe_gather(hopmla_plan *plan, uint32_t layer, uint64_t tokens);
hm_call hm_plan_describe_decode(hopmla_plan *plan, uint32_t layer, int has_lse);
hm_call hm_plan_describe_update(hopmla_plan *plan, const hm_staging *staging);
hm_call hm_plan_describe_launch(hopmla_plan *plan, const hopmla_launch_note *note);

#endif
