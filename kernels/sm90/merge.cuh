/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_MERGE_CUH
#define HM_SM90_MERGE_CUH

/** @file
 * The merge of partial results: O = Σ wᵢ·Oᵢ / Σ wᵢ with wᵢ = 2^(LSEᵢ − largest), always in the same order. */

#include "ptx/convert.cuh"
#include "ptx/matrix.cuh"
#include "tile_work.cuh"

constexpr int kThreads = HM_SM90_COMBINE_THREADS;
constexpr int kWarps = kThreads / 32;
constexpr int kFewBatch = 4;                       /* parts that a warp reads at once when it merges alone */
constexpr int kManyBatch = 9;                      /* when the warps of a CTA share an item: 132 parts in one go */
constexpr int kFewColumns = 16, kManyColumns = 64; /* items that 16 rows make: 32 columns and 8 columns each */

/** Sixteen rows of a split: what a warp of the decode kernel held. */
struct RowBlock {
    hm_sm90_split split;
    int tile;
    int warp;
};

/** A lane's share of a sum over parts: rows lane / 4 and + 8, Columns tiles of 8 columns. Every weight is relative to
 * the largest LSE seen. */
template <int Columns> struct Merge {
    float top[2] = { -INFINITY, -INFINITY };
    float weight[2] = { 0, 0 };
    float4 sum[Columns];

    __device__ __forceinline__ Merge()
    {
#pragma unroll
        for (int c = 0; c < Columns; c++) {
            sum[c] = make_float4(0, 0, 0, 0);
        }
    }

    /** Adds Batch partial sums: their tops, their weights relative to these, their values. A top of −inf adds
     * nothing. */
    template <int Batch>
    __device__ __forceinline__ void add(const float (&tops)[Batch][2], const float (&weights)[Batch][2],
                                        const float4 (&words)[Batch][Columns])
    {
        float keep[2], base[2];
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
            float higher = top[upper];
#pragma unroll
            for (int i = 0; i < Batch; i++) {
                higher = fmaxf(higher, tops[i][upper]);
            }
            base[upper] = higher == -INFINITY ? 0 : higher;
            keep[upper] = exp2_fast(top[upper] - base[upper]);
            top[upper] = higher;
            weight[upper] *= keep[upper];
        }
#pragma unroll
        for (int c = 0; c < Columns; c++) {
            sum[c] = make_float4(sum[c].x * keep[0], sum[c].y * keep[0], sum[c].z * keep[1], sum[c].w * keep[1]);
        }
#pragma unroll
        for (int i = 0; i < Batch; i++) {
            const float low = exp2_fast(tops[i][0] - base[0]), high = exp2_fast(tops[i][1] - base[1]);
            weight[0] += weights[i][0] * low;
            weight[1] += weights[i][1] * high;
#pragma unroll
            for (int c = 0; c < Columns; c++) {
                sum[c].x += words[i][c].x * low;
                sum[c].y += words[i][c].y * low;
                sum[c].z += words[i][c].z * high;
                sum[c].w += words[i][c].w * high;
            }
        }
    }

    __device__ __forceinline__ void finish()
    {
        const float low = weight[0] > 0 ? 1 / weight[0] : 0, high = weight[1] > 0 ? 1 / weight[1] : 0;
        for (int c = 0; c < Columns; c++) {
            sum[c] = make_float4(sum[c].x * low, sum[c].y * low, sum[c].z * high, sum[c].w * high);
        }
    }

    __device__ __forceinline__ float lse(int upper) const
    {
        return weight[upper] > 0 ? top[upper] + log2_fast(weight[upper]) : -INFINITY;
    }
};

/** Adds parts first, first + step, … of a row block, column tiles [column, column + Columns). Batch parts are read at
 * once. */
template <int Batch, int Columns>
__device__ __forceinline__ void merge_parts(Merge<Columns> &merge, const Params &params, const RowBlock &block,
                                            int column, int first, int step)
{
    const int lane = threadIdx.x & 31;
    const float4 *partial_out = reinterpret_cast<const float4 *>(params.workspace.partial_out);
#pragma unroll 1
    for (int base = first; base < block.split.parts; base += Batch * step) {
        float tops[Batch][2], weights[Batch][2];
        float4 words[Batch][Columns];
#pragma unroll
        for (int i = 0; i < Batch; i++) {
            const int part = base + i * step;
            const bool there = part < block.split.parts;
            const int64_t partial =
                partial_index(params, block.split.first_group + (there ? part : 0), !there || part == 0, block.tile);
            const float *lse = params.workspace.partial_lse + partial * kTileRows + block.warp * 16 + lane / 4;
            tops[i][0] = there ? lse[0] : -INFINITY;
            tops[i][1] = there ? lse[8] : -INFINITY;
            weights[i][0] = weights[i][1] = 1;
#pragma unroll
            for (int c = 0; c < Columns; c++) {
                words[i][c] = there ? partial_out[partial_word(params, partial, block.warp, column + c, lane)]
                                    : make_float4(0, 0, 0, 0);
            }
        }
        merge.add(tops, weights, words);
    }
}

/** The segment as far as rows of the tile are concerned. */
__device__ __forceinline__ Segment rows_of(const hm_sm90_split &split)
{
    Segment segment = {};
    segment.q_start = split.q_start;
    segment.q_len = split.q_len;
    return segment;
}

template <int Columns>
__device__ __forceinline__ void write_lse(const Merge<Columns> &merge, const Params &params, const RowBlock &block)
{
    const int lane = threadIdx.x & 31;
    if (!params.lse || lane % 4 != 0) {
        return;
    }
    for (int upper = 0; upper < 2; upper++) {
        const QueryRow query(params, rows_of(block.split), block.tile, block.warp * 16 + lane / 4 + upper * 8);
        if (query.valid) {
            params.lse[query.token * params.lse_token_stride + query.head * params.lse_head_stride] =
                convert_lse(merge.lse(upper), params.lse_kind);
        }
    }
}

__device__ __forceinline__ unsigned char *output_row(const Params &params, const QueryRow &query)
{
    return static_cast<unsigned char *>(params.out) +
           (query.token * params.out_token_stride + query.head * params.out_head_stride) * 2;
}

/** Few parts: a warp merges 16 rows × 32 columns alone. */
template <typename Element>
__device__ __forceinline__ void merge_few(const Params &params, const RowBlock &block, int column)
{
    const int lane = threadIdx.x & 31;
    Merge<4> merge;
    merge_parts<kFewBatch>(merge, params, block, column, 0, 1);
    merge.finish();
    for (int upper = 0; upper < 2; upper++) {
        const QueryRow query(params, rows_of(block.split), block.tile, block.warp * 16 + lane / 4 + upper * 8);
        uint32_t words[4];
        for (int c = 0; c < 4; c++) {
            words[c] = upper == 0 ? Element::pack(merge.sum[c].x, merge.sum[c].y)
                                  : Element::pack(merge.sum[c].z, merge.sum[c].w);
        }
        transpose_quad(words[0], words[1], words[2], words[3]);
        if (query.valid) {
            *reinterpret_cast<uint4 *>(output_row(params, query) + column * 16 + (lane & 3) * 16) =
                make_uint4(words[0], words[1], words[2], words[3]);
        }
    }
    if (column == 0) {
        write_lse(merge, params, block);
    }
}

struct SharedMerge {
    hm_sm90_header header;
    hm_sm90_split splits[HM_SM90_MAX_UNITS];
    uint32_t few_end[HM_SM90_MAX_UNITS];  /* items for single warps, up to and with this split */
    uint32_t many_end[HM_SM90_MAX_UNITS]; /* items for whole CTAs */
    float4 sum[kWarps][32];
    float top[kWarps][2][32];
    float weight[kWarps][2][32];
};

/** Many parts: each warp takes every sixteenth part of 16 rows × 8 columns, the first merges what they found. */
template <typename Element>
__device__ __forceinline__ void merge_many(SharedMerge &shared, const Params &params, const RowBlock &block, int column)
{
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    Merge<1> own;
    merge_parts<kManyBatch>(own, params, block, column, warp, kWarps);
    __syncthreads(); /* the item before has been read */
    shared.sum[warp][lane] = own.sum[0];
    for (int upper = 0; upper < 2; upper++) {
        shared.top[warp][upper][lane] = own.top[upper];
        shared.weight[warp][upper][lane] = own.weight[upper];
    }
    __syncthreads();
    if (warp != 0) {
        return;
    }
    Merge<1> merge;
#pragma unroll
    for (int w = 0; w < kWarps; w += 4) {
        float tops[4][2], weights[4][2];
        float4 words[4][1];
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int upper = 0; upper < 2; upper++) {
                tops[i][upper] = shared.top[w + i][upper][lane];
                weights[i][upper] = shared.weight[w + i][upper][lane];
            }
            words[i][0] = shared.sum[w + i][lane];
        }
        merge.add(tops, weights, words);
    }
    merge.finish();
    for (int upper = 0; upper < 2; upper++) {
        const QueryRow query(params, rows_of(block.split), block.tile, block.warp * 16 + lane / 4 + upper * 8);
        if (query.valid) {
            *reinterpret_cast<uint32_t *>(output_row(params, query) + column * 16 + (lane & 3) * 4) =
                upper == 0 ? Element::pack(merge.sum[0].x, merge.sum[0].y)
                           : Element::pack(merge.sum[0].z, merge.sum[0].w);
        }
    }
    if (column == 0) {
        write_lse(merge, params, block);
    }
}

#endif
