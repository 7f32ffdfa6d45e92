/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SEQUENCE_H
#define HM_SEQUENCE_H

/** @file
 * Sequences: a table of slots, ids with generations, and each one's list of pages.
 *
 * A sequence has committed + reserved tokens and just the pages that these need. Its next token goes into page
 * committed / 64 of its list; where that page is partly filled it may be shared with forks, all pages after it are the
 * sequence's own. */

#include <stddef.h>

#include "hopmla/pool.h"
#include "lib/context.h"
#include "lib/pins.h"

enum {
    HM_MAX_SEQUENCE_TOKENS = 1 << 20,
    HM_SLOT_BITS = 24,
    HM_MAX_SLOTS = (1 << HM_SLOT_BITS) - 1,      /* an id holds slot + 1 */
    HM_MAX_GENERATION = (1 << HM_SLOT_BITS) - 1, /* of an id; a slot past it is not used again */
    HM_CHANGES = 4
};

/** What is due between a sequence and the page it got in place of a shared partial one. */
enum hm_copy_state {
    HM_COPY_NONE = 0,
    HM_COPY_BEGUN,   /* inside hopmla_seq_reserve only: counted, no page taken yet */
    HM_COPY_OWED,    /* the next plan update enqueues it */
    HM_COPY_ENQUEUED /* done for the device, and nothing committed since it was begun. The source is held on until then,
                        so that the page ids that follow do not depend on when, or whether, a plan was updated */
};

/** A slot. The first 64 bytes are what every step touches. */
typedef struct hm_sequence {
    _Alignas(64) hopmla_seq id; /* 0: the slot is free */
    uint64_t batch;             /* serial of the last call that named it */
    uint32_t committed;
    uint32_t reserved;
    uint32_t n_pages;
    uint32_t stamp; /* grows when entries of the list that were there change */
    hm_pin pin;     /* steps that may touch its pages */
    int32_t *pages;
    uint32_t capacity;
    uint8_t tail_is_own; /* nobody else needs rows of the partial page from `committed` on: no look at the books */
    uint8_t took;        /* `former` holds something */
    uint8_t copy;        /* hm_copy_state */
    uint8_t copy_rows;   /* rows of the copy */
    hm_pin former;       /* steps of former users of pages taken since the last plan update */
    int32_t copy_source; /* page that the copy is made from */
    uint32_t copy_at;    /* place in the list of the page that it goes to */
    uint32_t copy_undo;  /* of hm_pages_own_to_source, while the copy is HM_COPY_BEGUN */
    uint32_t generation;
    uint32_t next_free;
    uint32_t changed[HM_CHANGES]; /* [s % HM_CHANGES]: first entry that changed when the stamp became s */
} hm_sequence;

typedef struct hm_sequences {
    hm_sequence *slot;
    uint32_t used; /* slots that were given out at least once */
    uint32_t allocated;
    uint32_t live;
    uint32_t max_live;
    uint32_t first_free; /* last in, first out; HM_NO_SLOT ends it */
    uint32_t n_free;
    uint16_t tag;   /* of the pool, in all its ids; never 0 */
    uint8_t closed; /* the pool's handle is gone: every id is stale */
} hm_sequences;

#define HM_NO_SLOT UINT32_MAX

void hm_sequences_create(hm_sequences *all, uint32_t max_live);
void hm_sequences_destroy(hm_sequences *all, hopmla_context *context);

/** Makes sure that `count` sequences can be added without a failure. @return OK, TOO_MANY, OUT_OF_HOST_MEMORY */
hopmla_status hm_sequences_room(hm_sequences *all, hopmla_context *context, uint32_t count, hopmla_error *error);

/** A new empty sequence; there is room. Pointers to others stay valid. */
hm_sequence *hm_sequences_add(hm_sequences *all);

/** Frees the slot of a sequence that holds no page any more. */
void hm_sequences_remove(hm_sequences *all, hopmla_context *context, hm_sequence *seq);

/** Why an id is not that of a live sequence. @param name  of the argument, for the message; at index `index` when it is
 * an array. @return STALE_ID or FOREIGN_ID */
hopmla_status hm_sequences_explain(const hm_sequences *all, hopmla_seq id, const char *name, int64_t index,
                                   hopmla_error *error);

/** Makes the list hold at least n entries. @return 0 when there is no memory */
int hm_sequence_room(hm_sequence *seq, hopmla_context *context, uint32_t n);

static inline hm_sequence *hm_sequences_at(const hm_sequences *all, hopmla_seq id)
{
    return &all->slot[(id & HM_MAX_SLOTS) - 1];
}

/** The live sequence of an id, or NULL. */
static inline hm_sequence *hm_sequences_find(const hm_sequences *all, hopmla_seq id)
{
    const uint32_t slot = (uint32_t)(id & HM_MAX_SLOTS) - 1; /* far out of range for 0 */
    return slot < all->used && all->slot[slot].id == id ? &all->slot[slot] : NULL;
}

static inline uint32_t hm_pages_for(uint64_t tokens)
{
    return (uint32_t)((tokens + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS);
}

/** Notes that entries of the list from `from` on are no longer what they were. */
static inline void hm_sequence_changed(hm_sequence *seq, uint32_t from)
{
    seq->stamp++;
    seq->changed[seq->stamp % HM_CHANGES] = from;
}

/** Entries of the list, at most n, that are still what they were when the stamp was `stamp`. */
static inline uint32_t hm_sequence_unchanged(const hm_sequence *seq, uint32_t stamp, uint32_t n)
{
    if (seq->stamp - stamp > HM_CHANGES) {
        return 0;
    }
    for (uint32_t s = stamp; s != seq->stamp;) {
        s++;
        n = seq->changed[s % HM_CHANGES] < n ? seq->changed[s % HM_CHANGES] : n;
    }
    return n;
}

#endif
