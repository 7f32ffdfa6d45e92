/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_WORK_CUH
#define HM_SM90_TILE_WORK_CUH

/** @file
 * What a CTA works on: the one place of the decode kernel that knows how the schedule is laid out. */

#include "tile_shared.cuh"

using Params = hm_sm90_decode_params;
using Workspace = hm_sm90_workspace;
using Segment = hm_sm90_segment;

__device__ __forceinline__ int page_count(const Segment &segment)
{
    return segment.page_end - segment.page_begin;
}

/** The segments of a CTA, once for each of its tiles, less those that have no rows in the tile. */
struct WorkIterator {
    int tile;
    int index = -1;

    __device__ __forceinline__ explicit WorkIterator(const Params &params) : tile(blockIdx.x % params.shape.tile_stride)
    {
    }
    __device__ __forceinline__ WorkIterator(int tile, int index) : tile(tile), index(index) {}

    /** Goes to the next one; false at the end. */
    __device__ __forceinline__ bool next(const SharedMemory &shared, const Params &params)
    {
        for (;;) {
            if (++index >= shared.work.count) {
                index = 0;
                tile += params.shape.tile_stride;
                if (tile >= params.shape.tiles || shared.work.count == 0) {
                    return false;
                }
            }
            if (tile * kTileRows < segment(shared, params).q_len * params.shape.heads) {
                return true;
            }
        }
    }

    /** The current one. Read its fields where they are needed: kept in registers they would be spilled. */
    __device__ __forceinline__ const Segment &segment(const SharedMemory &shared, const Params &params) const
    {
        return index < HM_SM90_INLINE_SEGMENTS ? shared.work.head[index]
                                               : params.workspace.segments[shared.work.first + index];
    }
};

/** A row of a tile: which query token and head it is, and whether there is one. */
struct QueryRow {
    int token; /* of q, out and lse */
    int head;
    int hidden; /* tokens at the end of the request that it does not see */
    bool valid;

    __device__ __forceinline__ QueryRow(const Params &params, const Segment &segment, int tile, int row)
    {
        const int index = tile * kTileRows + row;
        const int in_request = (int)((index + 0.5f) * params.heads_inverse);
        head = index - in_request * params.shape.heads;
        hidden = segment.q_len - 1 - in_request;
        token = segment.q_start + in_request;
        valid = hidden >= 0 && token < params.rows;
    }
};

/** The LSE as the caller wants it, from one in base 2; −inf stands for an empty row. */
__device__ __forceinline__ float convert_lse(float lse_log2, int kind)
{
    if (lse_log2 == -INFINITY) {
        return kind == HM_SM90_LSE_NATURAL_POSINF ? INFINITY : -INFINITY;
    }
    return kind == HM_SM90_LSE_BASE2 ? lse_log2 : lse_log2 * 0.693147180559945309f;
}

/** Where the group's partial results of a segment are: multiply by the size of what is stored for a slot and tile. */
__device__ __forceinline__ int64_t partial_index(const Params &params, int group, int part, int tile)
{
    return (int64_t)(group * 2 + part) * params.shape.tiles + tile;
}

/** Words of 16 bytes of a partial O: `column` counts tiles of 8 columns, 0 … 63; one word a lane, as in the
 * accumulators of the lane. */
__device__ __forceinline__ int64_t partial_word(const Params &params, int64_t partial, int warp, int column, int lane)
{
    return ((partial * params.shape.warps + warp) * 64 + column) * 32 + lane;
}

#endif
