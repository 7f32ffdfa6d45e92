/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_MERGE_CUH
#define HM_SM90_MERGE_CUH

/** @file
 * The merge of a row's partial results: O = Σ wᵢ·Oᵢ / Σ wᵢ with wᵢ = 2^(LSEᵢ − largest), always in the same order. */

#include "ptx/convert.cuh"
#include "tile_work.cuh"

constexpr int kThreads = HM_SM90_COMBINE_THREADS;
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = 512;
constexpr int kBatch = 8; /* parts that a thread reads at once */

/** A row of a split request, and where its partial results are. */
struct MergeRow {
    hm_sm90_split split;
    int row;        /* of the request */
    int64_t first;  /* the row in slot 0 of the first group */
    int64_t stride; /* rows of a slot */

    __device__ __forceinline__ MergeRow(const Params &params, const hm_sm90_split &split, int row)
        : split(split), row(row), stride((int64_t)params.shape.tiles * params.shape.tile_rows)
    {
        first = 2 * split.first_group * stride + row;
    }
    /** Part 0 is in slot 1 of its group, the others are in slot 0. */
    __device__ __forceinline__ int64_t part(int index) const { return first + (2 * index + (index == 0)) * stride; }
    __device__ __forceinline__ float lse(const Params &params, int index) const
    {
        return params.workspace.partial_lse[part(index)];
    }
    __device__ __forceinline__ uint4 load(const Params &params, int index, int column) const
    {
        return *reinterpret_cast<const uint4 *>(static_cast<const unsigned char *>(params.workspace.partial_out) +
                                                part(index) * HM_SM90_ROW_BYTES + column * 2);
    }
};

/** What the weights are relative to, the same in all lanes of a warp. */
struct Weights {
    float top = -INFINITY; /* largest LSE; 0 when there is none */
    float sum = 0;

    __device__ __forceinline__ Weights(const Params &params, const MergeRow &row)
    {
        const int lane = threadIdx.x & 31;
        constexpr int kMost = HM_SM90_MAX_UNITS / 32;
        float lse[kMost];
#pragma unroll
        for (int i = 0; i < kMost; i++) {
            lse[i] = lane + i * 32 < row.split.parts ? row.lse(params, lane + i * 32) : -INFINITY;
        }
#pragma unroll
        for (int i = 0; i < kMost; i++) {
            top = fmaxf(top, lse[i]);
        }
        for (int distance = 16; distance > 0; distance /= 2) {
            top = fmaxf(top, __shfl_xor_sync(~0u, top, distance));
        }
        top = top == -INFINITY ? 0 : top;
#pragma unroll
        for (int i = 0; i < kMost; i++) {
            sum += exp2_fast(lse[i] - top);
        }
        for (int distance = 16; distance > 0; distance /= 2) {
            sum += __shfl_xor_sync(~0u, sum, distance);
        }
    }
    __device__ __forceinline__ float scale() const
    {
        return sum > 0 ? 1 / sum : 0;
    }
    __device__ __forceinline__ float lse() const
    {
        return sum > 0 ? top + log2_fast(sum) : -INFINITY;
    }
};

/** The row as the caller sees it. */
__device__ __forceinline__ QueryRow query_of(const Params &params, const MergeRow &row)
{
    Segment segment = {};
    segment.q_start = row.split.q_start;
    segment.q_len = row.split.q_len;
    return QueryRow(params, segment, 0, row.row);
}

__device__ __forceinline__ unsigned char *merged_row(const Params &params, const QueryRow &query)
{
    return static_cast<unsigned char *>(params.out) +
           (query.token * params.out_token_stride + query.head * params.out_head_stride) * 2;
}

__device__ __forceinline__ void store_merged_lse(const Params &params, const QueryRow &query, const Weights &weights)
{
    if (params.lse && query.valid) {
        params.lse[query.token * params.lse_token_stride + query.head * params.lse_head_stride] =
            convert_lse(weights.lse(), params.lse_kind);
    }
}

template <typename Element>
__device__ __forceinline__ void add_scaled(float (&sum)[8], const uint4 &words, float weight)
{
    const uint32_t pairs[4] = { words.x, words.y, words.z, words.w };
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 values = Element::unpack(pairs[i]);
        sum[i * 2] = fmaf(values.x, weight, sum[i * 2]);
        sum[i * 2 + 1] = fmaf(values.y, weight, sum[i * 2 + 1]);
    }
}

/** Threads that share the parts of a row, 8 columns each: `lanes` neighbours, a power of two, have 8·lanes columns. */
struct Piece {
    int lanes;
    int column;
};

/** Σ wᵢ·Oᵢ / Σ wᵢ over the parts first, first + step, … of the thread's columns, then over the warp's lanes that have
 * the same. */
template <typename Element>
__device__ __forceinline__ Weights merge_parts(float (&sum)[8], const Params &params, const MergeRow &row,
                                               const Piece &piece, int first, int step)
{
    const int column = piece.column + (threadIdx.x & (piece.lanes - 1)) * 8, parts = row.split.parts;
    float lse[kBatch];
    uint4 words[kBatch];
    const auto load = [&](int base) {
#pragma unroll
        for (int i = 0; i < kBatch; i++) {
            const int part = base + i * step;
            if (part < parts) {
                lse[i] = row.lse(params, part);
                words[i] = row.load(params, part, column);
            }
        }
    };
    load(first);
    const Weights weights(params, row);
    const float scale = weights.scale();
#pragma unroll 1
    for (int base = first;;) {
#pragma unroll
        for (int i = 0; i < kBatch; i++) {
            if (base + i * step < parts) {
                add_scaled<Element>(sum, words[i], exp2_fast(lse[i] - weights.top) * scale);
            }
        }
        base += kBatch * step;
        if (base >= parts) {
            break;
        }
        load(base);
    }
    __syncwarp();
    for (int distance = 16; distance >= piece.lanes; distance /= 2) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sum[i] += __shfl_xor_sync(~0u, sum[i], distance);
        }
    }
    return weights;
}

/** A warp merges a piece of a row, at most 256 columns. */
template <typename Element>
__device__ __forceinline__ void merge_by_warp(const Params &params, const MergeRow &row, const Piece &piece)
{
    const int lane = threadIdx.x & 31;
    float sum[8] = {};
    const Weights weights = merge_parts<Element>(sum, params, row, piece, lane / piece.lanes, 32 / piece.lanes);
    const QueryRow query = query_of(params, row);
    if (lane < piece.lanes && query.valid) {
        *reinterpret_cast<uint4 *>(merged_row(params, query) + (piece.column + lane * 8) * 2) =
            make_uint4(Element::pack(sum[0], sum[1]), Element::pack(sum[2], sum[3]), Element::pack(sum[4], sum[5]),
                       Element::pack(sum[6], sum[7]));
        if (piece.column == 0 && lane == 0) {
            store_merged_lse(params, query, weights);
        }
    }
}

/** A CTA does. */
template <typename Element>
__device__ __forceinline__ void merge_by_cta(float (&staged)[kThreads * 8], const Params &params, const MergeRow &row,
                                             const Piece &piece)
{
    const int columns = piece.lanes * 8, lane = threadIdx.x & (piece.lanes - 1);
    float sum[8] = {};
    const Weights weights =
        merge_parts<Element>(sum, params, row, piece, threadIdx.x / piece.lanes, kThreads / piece.lanes);
    __syncthreads(); /* the item before has been read */
    if ((threadIdx.x & 31) < piece.lanes) {
        const int place = threadIdx.x / max(piece.lanes, 32);
#pragma unroll
        for (int i = 0; i < 8; i += 4) {
            *reinterpret_cast<float4 *>(&staged[place * columns + lane * 8 + i]) =
                make_float4(sum[i], sum[i + 1], sum[i + 2], sum[i + 3]);
        }
    }
    __syncthreads();
    const QueryRow query = query_of(params, row);
    const int pair = threadIdx.x * 2, sums = kThreads / max(piece.lanes, 32);
    if (pair < columns && query.valid) {
        float2 total = make_float2(0, 0);
#pragma unroll 4
        for (int i = 0; i < sums; i++) {
            const float2 more = *reinterpret_cast<const float2 *>(&staged[i * columns + pair]);
            total = make_float2(total.x + more.x, total.y + more.y);
        }
        *reinterpret_cast<uint32_t *>(merged_row(params, query) + (piece.column + pair) * 2) =
            Element::pack(total.x, total.y);
        if (piece.column == 0 && threadIdx.x == 0) {
            store_merged_lse(params, query, weights);
        }
    }
}

#endif
