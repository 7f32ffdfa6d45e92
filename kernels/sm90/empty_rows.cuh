/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_EMPTY_ROWS_CUH
#define HM_SM90_EMPTY_ROWS_CUH

/** @file
 * Rows that nothing is computed for. */

#include "tile_work.cuh"

/** O = 0 and the LSE of nothing for one head of a query token. A warp. */
__device__ __forceinline__ void write_empty(const Params &params, int token, int head)
{
    const int lane = threadIdx.x & 31;
    if (token >= params.rows) {
        return;
    }
    uint4 *out = reinterpret_cast<uint4 *>(caller_out(params, token, head));
    out[lane] = make_uint4(0, 0, 0, 0);
    out[lane + 32] = make_uint4(0, 0, 0, 0);
    if (lane == 0) {
        store_caller_lse(params, token, head, -INFINITY);
    }
}

/** All heads of query tokens first, first + step … before `end`. The first `Warps` warps of a CTA. */
template <int Warps>
__device__ __forceinline__ void write_empty_tokens(const Params &params, int first, int end, int step)
{
#pragma unroll 1
    for (int token = first; token < end; token += step) {
#pragma unroll 1
        for (int head = threadIdx.x / 32; head < params.shape.heads; head += Warps) {
            write_empty(params, token, head);
        }
    }
}

#endif
