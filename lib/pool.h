/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_POOL_H
#define HM_POOL_H

/** @file
 * The pool inside: storage, and the books of pages, sequences and pins under one mutex.
 *
 * Functions here that take a hopmla_pool expect the mutex to be held, unless they say otherwise. */

#include <pthread.h>
#include <stdatomic.h>

#include "hopmla/pool.h"
#include "lib/context.h"
#include "lib/error.h"
#include "lib/pages.h"
#include "lib/pins.h"
#include "lib/sequence.h"

struct hopmla_pool {
    atomic_uint references; /* the caller's handle and the plans */
    hopmla_context *context;
    hopmla_pool_layout layout;
    pthread_mutex_t mutex;
    uint64_t batch; /* serial of the last call with a batch of sequences */
    hm_pages pages;
    hm_sequences sequences;
    hm_pins pins;
    uint64_t tokens_committed;
    uint64_t tokens_reserved;
    uint64_t copies_owed;
    pthread_mutex_t marks_mutex; /* taken before `mutex` */
    uint64_t *marks;             /* a bit a page, for counting pinned ones */
};

/** Without the mutex. */
void hm_pool_retain(hopmla_pool *pool);
void hm_pool_release(hopmla_pool *pool);

/** Words of the bits in hopmla_pool.marks. */
uint64_t hm_pool_mark_words(uint32_t pages);

/** Checks options and computes sizes; base is left NULL and memory unchecked. Before there is a pool.
 * @param own  receives the options, `layout` the rest */
hopmla_status hm_pool_shape(hopmla_context *context, const hopmla_pool_options *options, hopmla_pool_options *own,
                            hopmla_pool_layout *layout, hopmla_error *error);

/** The sequence of seqs[i], checked to be live and not named before in this batch, whose serial is pool->batch. */
static inline hopmla_status hm_pool_find(hopmla_pool *pool, const hopmla_seq *seqs, uint32_t i, hm_sequence **found,
                                         hopmla_error *error)
{
    hm_sequence *seq = hm_sequences_find(&pool->sequences, seqs[i]);
    if (!seq) {
        return hm_sequences_explain(&pool->sequences, seqs[i], "seqs", i, error);
    }
    if (seq->batch == pool->batch) {
        return hm_fail_value(error, HOPMLA_ERROR_DUPLICATE_ID, i, "seqs[%u] = %#llx stands in the batch before", i,
                             (unsigned long long)seqs[i]);
    }
    seq->batch = pool->batch;
    *found = seq;
    return HOPMLA_OK;
}

/** Ends what is between a sequence and the source of its copy, whether the copy was made or not. */
void hm_pool_drop_copy(hopmla_pool *pool, hm_sequence *seq);

/** Cuts the list to n pages; the others leave. */
void hm_pool_cut(hopmla_pool *pool, hm_sequence *seq, uint32_t n);

#endif
