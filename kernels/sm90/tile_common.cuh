/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_COMMON_CUH
#define HM_SM90_TILE_COMMON_CUH

/** @file
 * What the decode kernels' tiles share: a page in shared memory, the ring of page slots, a thread's place. */

#include "params.h"
#include "ptx/barrier.cuh"
#include "ptx/mbarrier.cuh"
#include "ptx/tma.cuh"

constexpr int kWarpgroup = 128;
constexpr int kPageTokens = HM_SM90_PAGE_TOKENS;
constexpr int kColumnTileBytes = 64 * 128; /* 64 rows of 64 values */
constexpr int kHalfBytes = 4 * kColumnTileBytes;
constexpr float kNoReference = -1e30f;
constexpr float kLazyBits = 8; /* O is rescaled when a row's maximum has grown by more than this, in log2 */

struct CacheMaps {
    TensorMap latent; /* {64 columns, 64 rows, 8 column tiles, pages}, box of 4 column tiles */
    TensorMap rope;   /* the same with 1 column tile */
};

/** A page of 64 tokens: nine tiles of 64 columns, rows of 128 bytes, 128-byte swizzle. */
struct PageSlot {
    unsigned char latent[2][kHalfBytes];
    unsigned char rope[kColumnTileBytes];
};
static_assert(sizeof(PageSlot) == 73728, "64 tokens of 1152 bytes, a multiple of 1024");

/** Position in the ring. Every role walks it in the same order. */
template <int Slots> struct Ring {
    int slot = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance()
    {
        if (++slot == Slots) {
            slot = 0;
            parity ^= 1;
        }
    }
    __device__ __forceinline__ int before() const { return slot == 0 ? Slots - 1 : slot - 1; }
    __device__ __forceinline__ int after() const { return slot == Slots - 1 ? 0 : slot + 1; }
};

/** threadIdx.x, read anew: what is computed from it does not stay in registers across the page loop. Without it nvcc
 * 13.0 keeps swizzled addresses alive and spills. */
__device__ __forceinline__ int thread_index()
{
    int index;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
    return index;
}
/** A value that is the same in all lanes, told to the compiler: what is computed from it goes to uniform registers.
 * Descriptors of products have to be there; from others each is brought by two instructions and their latency. */
__device__ __forceinline__ int uniform(int value)
{
    return __shfl_sync(~0u, value, 0);
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
