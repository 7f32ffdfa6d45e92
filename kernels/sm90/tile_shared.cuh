/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_SHARED_CUH
#define HM_SM90_TILE_SHARED_CUH

/** @file
 * Shared memory of a decode CTA, its named barriers, and the ring of page slots. README.md has the table of who
 * arrives and who waits. */

#include "params.h"
#include "ptx/barrier.cuh"
#include "ptx/mbarrier.cuh"
#include "ptx/tma.cuh"

constexpr int kSlots = 3;
constexpr int kWarpgroup = 128;
constexpr int kTileRows = HM_SM90_TILE_ROWS;
constexpr int kPageTokens = HM_SM90_PAGE_TOKENS;
constexpr int kColumnTileBytes = 64 * 128; /* 64 rows of 64 values */
constexpr int kHalfBytes = 4 * kColumnTileBytes;
constexpr int kQuerySteps = 31; /* of the 36 steps of 16 columns of Q, those that are kept in registers */

/** A page of 64 tokens: nine tiles of 64 columns, rows of 128 bytes, 128-byte swizzle. Each half of the latent part has
 * a barrier of its own, since the warpgroup that consumes it refills it. Once the scores are computed the rope tile is
 * dead: the page's probabilities overwrite it. */
struct PageSlot {
    unsigned char latent[2][kHalfBytes];
    unsigned char rope[kColumnTileBytes];
};

/** What the score warpgroup says of a page besides its probabilities. Free again with the slot. */
struct PageNotes {
    int8_t rescale[kTileRows]; /* O is to be multiplied by 2^this before the page is added … */
    uint8_t rescaled[4];       /* … where the flag of the row's warp is set */
};

/** Walks the pages of a CTA's work ahead of their use. Touched by one thread. */
struct PageCursor {
    const int32_t *entry; /* next entry of the block table */
    int32_t left;         /* pages left in the segment */
    int32_t tile;
    int32_t index; /* of the segment in the group's list */
    int32_t reserved;
};

struct __align__(1024) SharedMemory
{
    PageSlot pages[kSlots];
    unsigned char query_rope[kColumnTileBytes]; /* columns 512 … 575 of Q, rows of 128 bytes, 128-byte swizzle */
    unsigned char query_step[64 * 32];          /* columns 496 … 511 of Q, describe_blocks */
    uint64_t latent_full[2][kSlots];
    uint64_t rope_full[kSlots];
    uint64_t rope_free[kSlots];
    uint64_t sums_free;
    hm_sm90_group work;
    float row_sum[kTileRows]; /* of a segment; written with its last page */
    PageCursor cursors[2];
    PageNotes notes[kSlots];
};
static_assert(sizeof(PageSlot) == 73728, "64 tokens of 1152 bytes, a multiple of 1024");
static_assert(sizeof(SharedMemory) <= HM_SM90_DECODE_SHARED, "all that a CTA can have");

/** Named barriers; 0 is __syncthreads. A value warpgroup's own are + its half · kSlots + slot. */
enum NamedBarrier {
    kBarrierReady = 1,   /* + half · 3 + slot: the probabilities are published */
    kBarrierGate = 7,    /* + half · 3 + slot: the next page's scores are nearly computed */
    kBarrierValues = 13, /* + half: warps of a value warpgroup */
    kBarrierScores = 15  /* warps of the score warpgroup */
};

/** Position in the ring. Every role walks it in the same order. */
struct Ring {
    int slot = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance()
    {
        if (++slot == kSlots) {
            slot = 0;
            parity ^= 1;
        }
    }
    __device__ __forceinline__ int before() const { return slot == 0 ? kSlots - 1 : slot - 1; }
};

/** threadIdx.x, read anew: what is computed from it does not stay in registers across the page loop. Without it nvcc
 * 13.0 keeps swizzled addresses alive and spills. */
__device__ __forceinline__ int thread_index()
{
    int index;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
    return index;
}
/** The thread's place in its warpgroup. */
__device__ __forceinline__ int group_thread()
{
    return thread_index() & (kWarpgroup - 1);
}
__device__ __forceinline__ int group_warp()
{
    return (thread_index() >> 5) & 3;
}
/** Rows of the tile in a thread's accumulators: this and this + 8. */
__device__ __forceinline__ int accumulator_row()
{
    return group_warp() * 16 + (thread_index() & 31) / 4;
}

/** Byte offset of 16-byte chunk `chunk` of row `row` in a tile of rows of 128 bytes with the 128-byte swizzle. */
__device__ __forceinline__ uint32_t swizzled(int row, int chunk)
{
    return row * 128 + ((chunk ^ (row & 7)) << 4);
}

#endif
