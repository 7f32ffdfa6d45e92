/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_QUERY_CUH
#define HM_SM90_TILE_QUERY_CUH

/** @file
 * Brings a tile of Q from global memory, any strides, to where the score products read it: 31 of 36 steps of 16 columns
 * to registers, step 31 and the rope part to shared memory. Rows that do not exist are zeros. */

#include "ptx/copy.cuh"
#include "ptx/matrix.cuh"
#include "tile_shared.cuh"
#include "tile_work.cuh"

struct QueryTile {
    uint32_t steps[kQuerySteps * 4]; /* A operand of step k: words 4k … 4k + 3 */
};

__device__ __forceinline__ uint4 load_or_zero(const unsigned char *row, int byte)
{
    return row ? *reinterpret_cast<const uint4 *>(row + byte) : make_uint4(0, 0, 0, 0);
}

/** A tile of Q on its way, all loads at once, since a segment cannot start before the last is there. Lane c of a
 * quad reads bytes 16 c … of every 64 of its rows; a transpose in the quad makes them the operands of two steps. */
struct QueryLoad {
    uint2 surplus[2]; /* of the last 64 bytes of the latent part, the half that step 31 needs */

    /** The products of the segment before must be over. */
    __device__ __forceinline__ void start(QueryTile &query, SharedMemory &shared, const Params &params,
                                          const Segment &segment, int tile)
    {
        const int byte = (thread_index() & 3) * 16;
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
            const unsigned char *source = query_row(params.q, params.q_token_stride, params.q_head_stride,
                                                    QueryRow(params, segment, tile, accumulator_row() + upper * 8));
#pragma unroll
            for (int pair = 0; pair < 16; pair++) {
                const uint4 words = load_or_zero(source, pair * 64 + byte);
                uint32_t *even = &query.steps[pair * 8 + upper];
                even[0] = words.x;
                even[2] = words.y;
                if (pair < 15) {
                    even[4] = words.z;
                    even[6] = words.w;
                } else {
                    surplus[upper] = make_uint2(words.z, words.w);
                }
            }
        }
        start_shared(shared, params, segment, tile);
    }

    /** Ends with a barrier of the warpgroup. */
    __device__ __forceinline__ void finish(QueryTile &query, SharedMemory &shared)
    {
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
            /* nvcc 13.0 moves the transposes of these up to the loads, and waits for them there. */
            asm volatile("" : "+r"(surplus[upper].x), "+r"(surplus[upper].y));
        }
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
#pragma unroll
            for (int pair = 0; pair < 15; pair++) {
                uint32_t *even = &query.steps[pair * 8 + upper];
                transpose_quad(even[0], even[2], even[4], even[6]);
            }
            uint32_t *even = &query.steps[15 * 8 + upper];
            transpose_quad(even[0], even[2], surplus[upper].x, surplus[upper].y);
        }
        copy_wait();
        fence_async_proxy();
        barrier_sync(kBarrierScores, kWarpgroup);
    }

  private:
    __device__ __forceinline__ void start_shared(SharedMemory &shared, const Params &params, const Segment &segment,
                                                 int tile)
    {
        const int thread = group_thread();
        {
            const int row = thread / 2, half = thread & 1;
            const unsigned char *source =
                query_row(params.q, params.q_token_stride, params.q_head_stride, QueryRow(params, segment, tile, row));
            copy_async(shared_address(shared.query_step) + (row / 8) * 256 + half * 128 + (row & 7) * 16,
                       source + kQuerySteps * 32 + half * 16, source != nullptr);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = i * 16 + thread / 8, chunk = thread & 7;
            const unsigned char *source = query_row(params.q_rope, params.qr_token_stride, params.qr_head_stride,
                                                    QueryRow(params, segment, tile, row));
            copy_async(shared_address(shared.query_rope) + swizzled(row, chunk), source + chunk * 16,
                       source != nullptr);
        }
    }
};

/** Brings the rows of a later segment to L2. */
__device__ __forceinline__ void prefetch_query(const Params &params, const Segment &segment, int tile)
{
    const int thread = group_thread();
    const QueryRow row(params, segment, tile, thread / 2);
    const unsigned char *source = query_row(params.q, params.q_token_stride, params.q_head_stride, row);
    const unsigned char *rope = query_row(params.q_rope, params.qr_token_stride, params.qr_head_stride, row);
    if (!row.valid) {
        return;
    }
#pragma unroll
    for (int line = 0; line < 4; line++) {
        prefetch_l2(source + ((thread & 1) * 4 + line) * 128);
    }
    prefetch_l2(rope);
}

#endif
