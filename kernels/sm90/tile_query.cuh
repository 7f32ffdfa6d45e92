/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_QUERY_CUH
#define HM_SM90_TILE_QUERY_CUH

/** @file
 * Brings a tile of Q from global memory, any strides, to where the score products read it: 31 of 36 steps of 16 columns
 * to registers, by way of a page slot that is free meanwhile, step 31 and the rope part to shared memory of their own.
 * Without a rope part there are 32 steps. Rows that do not exist are zeros. */

#include "ptx/copy.cuh"
#include "ptx/matrix.cuh"
#include "tile_shared.cuh"
#include "tile_work.cuh"

struct QueryTile {
    uint32_t steps[kQuerySteps * 4]; /* A operand of step k: words 4k … 4k + 3 */
};

/** The copies of a tile of Q. Loads to registers instead would have to be in the L1 cache all at once, which has 28 KB
 * beside this kernel's shared memory: they took 2 µs more. */
template <bool Rope> struct QueryCopy {
    const unsigned char *latent[4]; /* of rows thread / 8 + 16 i, from chunk thread % 8 of 16 bytes on */
    const unsigned char *rope[4];

    /** Finds the rows; reads nothing. */
    __device__ __forceinline__ QueryCopy(const Params &params, const Segment &segment, int first)
    {
        const int thread = group_thread(), byte = (thread & 7) * 16;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const QueryRow row(params, segment, first + i * 16 + thread / 8);
            latent[i] = query_row(params.q, params.q_token_stride, params.q_head_stride, row);
            rope[i] = Rope ? query_row(params.q_rope, params.qr_token_stride, params.qr_head_stride, row) : nullptr;
            latent[i] += row.valid ? byte : 0;
            rope[i] += row.valid ? byte : 0;
        }
    }

    __device__ __forceinline__ void start(SharedMemory &shared, PageSlot &slot) const
    {
        const int thread = group_thread();
        const uint32_t target = swizzled(thread / 8, thread & 7); /* 16 rows further on the swizzle is the same */
        const uint32_t step_target = thread / 64 * 256 + (thread & 1) * 128 + (thread / 8 & 7) * 16;
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int column = 0; column < 8; column++) {
                copy_async(shared_address(&slot) + column * kColumnTileBytes + i * 2048 + target,
                           latent[i] + column * 128, latent[i] != nullptr);
            }
            if constexpr (Rope) {
                copy_async(shared_address(shared.query_rope) + i * 2048 + target, rope[i], rope[i] != nullptr);
            }
            /* The last two chunks of a row are step 31. */
            copy_async(shared_address(shared.query_step) + i * 512 + step_target, latent[i] + 7 * 128,
                       latent[i] != nullptr, (thread & 7) >= 6);
        }
    }
};

/** Waits for the copies of all, and takes the tile to registers. The slot is free when all are through. */
__device__ __forceinline__ void read_query(QueryTile &query, const PageSlot &slot)
{
    copy_wait();
    fence_async_proxy();
    barrier_sync(kBarrierScores, kWarpgroup);
    /* Matrices of a load: rows + 0, + 8 of columns + 0, then of columns + 8. */
    const int lane = thread_index() & 31;
    const int row = group_warp() * 16 + (lane & 15), second = lane >> 4;
#pragma unroll
    for (int step = 0; step < kQuerySteps; step++) {
        load_matrices(&query.steps[step * 4],
                      shared_address(&slot) + step / 4 * kColumnTileBytes + swizzled(row, step % 4 * 2 + second));
    }
    fence_async_proxy();
    barrier_sync(kBarrierScores, kWarpgroup);
}

/** Brings the rows of a later segment to L2. */
template <bool Rope>
__device__ __forceinline__ void prefetch_query(const Params &params, const Segment &segment, int first)
{
    const int thread = group_thread();
    const QueryRow row(params, segment, first + thread / 2);
    const unsigned char *source = query_row(params.q, params.q_token_stride, params.q_head_stride, row);
    const unsigned char *rope =
        Rope ? query_row(params.q_rope, params.qr_token_stride, params.qr_head_stride, row) : nullptr;
    if (!row.valid) {
        return;
    }
#pragma unroll
    for (int line = 0; line < 4; line++) {
        prefetch_l2(source + ((thread & 1) * 4 + line) * 128);
    }
    if constexpr (Rope) {
        prefetch_l2(rope);
    }
}

#endif
