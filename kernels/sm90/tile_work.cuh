/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_WORK_CUH
#define HM_SM90_TILE_WORK_CUH

/** @file
 * What a CTA works on: with tile_start.cuh, the place of the decode kernels that knows how the schedule is laid out. */

#include <math.h>

#include "ptx/grid.cuh"
#include "tile_common.cuh"

using Params = hm_sm90_decode_params;
using Workspace = hm_sm90_workspace;
using Segment = hm_sm90_segment;

__device__ __forceinline__ int page_count(const Segment &segment)
{
    return segment.page_end - segment.page_begin;
}

/** Where the CTA's first tile starts. */
__device__ __forceinline__ int first_row(const hm_sm90_start &start)
{
    return start.row + (int)blockIdx.x * start.rows;
}

/** The CTA's first page, where the schedule says which it is: one that may be loaded ahead of the wait. */
struct EarlyPage {
    int32_t page;
    bool known;
    bool whole; /* at once: few CTAs load one */

    __device__ __forceinline__ EarlyPage(const hm_sm90_start &start, const Params &params)
        : page(start.early_page), whole(start.early_whole)
    {
        known = params.early && start.count > 0 && first_row(start) < start.early_rows && page >= 0;
    }
};

/** The segments of a CTA, once for each of its tiles, less those that have no rows in the tile. */
struct WorkIterator {
    int row; /* where the tile starts */
    int index;
    const Segment *at = nullptr;

    __device__ __forceinline__ explicit WorkIterator(int row, int index = -1) : row(row), index(index) {}

    /** Goes to the next one; false at the end. */
    __device__ __forceinline__ bool next(const hm_sm90_group &group, const Params &params)
    {
        for (;;) {
            if (++index >= group.start.count) {
                index = 0;
                row += params.shape.tile_stride * params.shape.tile_rows;
                if (row >= params.shape.tiles * params.shape.tile_rows || group.start.count == 0) {
                    return false;
                }
            }
            at = index < HM_SM90_INLINE_SEGMENTS ? &group.head[index]
                                                 : &params.workspace.segments[group.start.first + index];
            if (row < at->q_len * params.shape.heads) {
                return true;
            }
        }
    }

    /** The current one. Read its fields where they are needed: kept in registers they would be spilled. */
    __device__ __forceinline__ const Segment &segment() const { return *at; }
};

/** A row of a tile: which query token and head it is, and whether there is one. */
struct QueryRow {
    int token; /* of q, out and lse */
    int head;
    int hidden; /* tokens at the end of the request that it does not see */
    bool valid;

    QueryRow() = default;
    /** @param index  in the request, (query token, head) */
    __device__ __forceinline__ QueryRow(const Params &params, const Segment &segment, int index)
    {
        const int in_request = (int)((index + 0.5f) * params.heads_inverse);
        head = index - in_request * params.shape.heads;
        hidden = segment.q_len - 1 - in_request;
        token = segment.q_start + in_request;
        valid = hidden >= 0 && token < params.rows;
    }
};

/** A row of q or q_rope; NULL for one that does not exist. */
__device__ __forceinline__ const unsigned char *query_row(const void *base, int64_t token_stride, int64_t head_stride,
                                                          const QueryRow &row)
{
    if (!row.valid) {
        return nullptr;
    }
    return static_cast<const unsigned char *>(base) + (row.token * token_stride + row.head * head_stride) * 2;
}

/** Coordinate of a page in the maps; one outside them, which brings zeros, for an id that the pool does not have. */
__device__ __forceinline__ int page_coordinate(const Params &params, int32_t page, bool report)
{
    if ((uint32_t)page < (uint32_t)params.pages) {
        return params.page_base + page;
    }
    if (report) {
        atomicOr(&params.workspace.header->error, HM_SM90_BAD_PAGE);
    }
    return params.page_outside;
}

/** The LSE as the caller wants it, from one in base 2; −inf stands for an empty row. */
__device__ __forceinline__ float convert_lse(float lse_log2, int kind)
{
    if (lse_log2 == -INFINITY) {
        return kind == HM_SM90_LSE_NATURAL_POSINF ? INFINITY : -INFINITY;
    }
    return kind == HM_SM90_LSE_BASE2 ? lse_log2 : lse_log2 * 0.693147180559945309f;
}

/** Where a row goes in the end: 512 values of `out`. */
__device__ __forceinline__ unsigned char *caller_out(const Params &params, int token, int head)
{
    return static_cast<unsigned char *>(params.out) +
           (token * params.out_token_stride + head * params.out_head_stride) * 2;
}

/** … and its LSE, where the caller wants one. */
__device__ __forceinline__ float *caller_lse(const Params &params, int token, int head)
{
    return params.lse + token * params.lse_token_stride + head * params.lse_head_stride;
}

/** Stores an LSE, in base 2, as the caller wants it, or not at all. */
__device__ __forceinline__ void store_caller_lse(const Params &params, int token, int head, float lse_log2)
{
    if (params.lse) {
        *caller_lse(params, token, head) = convert_lse(lse_log2, params.lse_kind);
    }
}

/** A row of the partial results of a group's slot. */
__device__ __forceinline__ int64_t partial_row(const Params &params, int group, int part, int row)
{
    return (int64_t)(group * 2 + part) * params.shape.tiles * params.shape.tile_rows + row;
}

/** Where those of a segment's tile start that starts at `row`; −1 for a whole request. */
__device__ __forceinline__ int64_t own_partial_row(const Params &params, int group, const Segment &segment, int row)
{
    return segment.part < 0 ? -1 : partial_row(params, group, segment.part, row);
}

/** Where row `row` of the tile that starts at `first` goes, NULL for a row that does not exist: to the caller, or to the
 * partial results. */
__device__ __forceinline__ unsigned char *output_row(const Params &params, const Segment &segment, int first, int row,
                                                     int64_t partial)
{
    const QueryRow query(params, segment, first + row);
    unsigned char *const out =
        partial < 0 ? caller_out(params, query.token, query.head)
                    : static_cast<unsigned char *>(params.workspace.partial_out) + (partial + row) * HM_SM90_ROW_BYTES;
    return query.valid ? out : nullptr;
}

/** Where its LSE goes, NULL for none: as the caller wants it, or in base 2 to the partial results. */
__device__ __forceinline__ float *output_lse(const Params &params, const Segment &segment, int first, int row,
                                             int64_t partial)
{
    const QueryRow query(params, segment, first + row);
    float *const lse =
        partial < 0 ? caller_lse(params, query.token, query.head) : params.workspace.partial_lse + partial + row;
    return partial >= 0 || (params.lse && query.valid) ? lse : nullptr;
}

#endif
