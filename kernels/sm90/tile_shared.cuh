/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_SHARED_CUH
#define HM_SM90_TILE_SHARED_CUH

/** @file
 * Shared memory of a decode CTA with a tile of 64 rows, and its named barriers. README.md has the table of who arrives
 * and who waits. */

#include "tile_work.cuh"

constexpr int kSlots = 3;
constexpr int kTileRows = HM_SM90_TILE_ROWS;
constexpr int kQuerySteps = 31; /* of the 36 steps of 16 columns of Q, those that are kept in registers */

/** What the score warpgroup says of a page besides its probabilities. */
struct __align__(16) PageNotes
{
    int8_t rescale[kTileRows]; /* O is to be multiplied by 2^this before the page is added … */
    uint8_t rescaled[4];       /* … where the flag of the row's warp is set */
};

/** Walks the pages of a CTA's work ahead of their use. Touched by one thread. */
struct PageCursor {
    const Segment *segment; /* the one that `left` counts */
    const int32_t *entry;   /* next entry of the block table */
    int32_t left;           /* pages left in the segment */
    int32_t row;            /* where the tile starts */
    int32_t index;          /* of the segment in the group's list */
    int8_t lend_in; /* the slot of the page so many further on is lent to its segment's Q; 0: of none yet known */
    bool lent;      /* that of the page read last is */
    bool unasked;   /* the first Q of all does not ask for its slot */
    uint8_t turn;   /* which query_free said that the slot lent last is free */
};

/* Each half of a page's latent part has a barrier of its own, since the warpgroup that consumes it refills it. Once the
 * scores are computed the rope tile is dead: the page's probabilities overwrite it, and a segment's O passes
 * through it. Where there is no rope part it serves these alone, and rope_full, rope_free and query_rope are not used. */
struct __align__(1024) SharedMemory
{
    PageSlot pages[kSlots];
    unsigned char query_rope[kColumnTileBytes]; /* columns 512 … 575 of Q, rows of 128 bytes, 128-byte swizzle */
    unsigned char query_step[64 * 32];          /* columns 496 … 511 of Q, describe_blocks */
    uint64_t latent_full[2][kSlots];
    uint64_t rope_full[kSlots];
    uint64_t rope_free[kSlots];
    uint64_t notes_free[kSlots];
    uint64_t values_done;
    uint64_t sums_ready;
    uint64_t sums_free;
    uint64_t query_free[2]; /* in turns: one alone could complete two phases before the first is waited for */
    uint64_t query_sent;
    hm_sm90_group work;
    float row_sum[kTileRows]; /* of a segment; written with its last page */
    PageCursor cursors[2];
    PageNotes notes[kSlots];
};
static_assert(sizeof(SharedMemory) <= HM_SM90_DECODE_SHARED, "all that a CTA can have");

/** Named barriers; 0 is __syncthreads. A value warpgroup's own are + its half · kSlots + slot. */
enum NamedBarrier {
    kBarrierReady = 1,   /* + half · 3 + slot: the probabilities are published */
    kBarrierGate = 7,    /* + half · 3 + slot: the next page's scores are nearly computed */
    kBarrierValues = 13, /* + half: warps of a value warpgroup */
    kBarrierScores = 15  /* warps of the score warpgroup */
};

#endif
