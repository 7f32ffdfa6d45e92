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
constexpr int kChunk = 8; /* columns of a read, 16 bytes */

/** A row of a split request: where its partial results are, and where it goes. */
struct MergeRow {
    const unsigned char *out; /* of part 0, were it in slot 0 of its group like the others */
    const float *lse;
    uint32_t stride; /* rows of a slot: a group has two, part 0 is in slot 1 */
    int parts;       /* 0: there is no such row */
    unsigned char *merged_out;
    float *merged_lse; /* or NULL */

    MergeRow() = default;
    __device__ __forceinline__ MergeRow(const Params &params, const hm_sm90_split &split, int row)
        : stride(params.shape.tiles * params.shape.tile_rows), parts(split.parts)
    {
        const int64_t first = (int64_t)stride * (2 * split.first_group) + row;
        out = static_cast<const unsigned char *>(params.workspace.partial_out) + first * HM_SM90_ROW_BYTES;
        lse = params.workspace.partial_lse + first;
        Segment segment = {};
        segment.q_start = split.q_start;
        segment.q_len = split.q_len;
        merged_out = output_row(params, segment, 0, row, -1);
        merged_lse = output_lse(params, segment, 0, row, -1);
        parts = merged_out ? parts : 0;
    }
    __device__ __forceinline__ const float *lse_of(int part) const
    {
        return lse + (part == 0 ? stride : part * 2 * stride);
    }
    __device__ __forceinline__ const uint4 *out_of(int part, int column) const
    {
        const uint64_t slot = (uint64_t)stride * HM_SM90_ROW_BYTES; /* below 2^29 */
        return reinterpret_cast<const uint4 *>(out + column * 2 +
                                               (part == 0 ? slot : part * (uint64_t)(uint32_t)(2 * slot)));
    }
};

/** The wait for the kernel before, once, behind the addresses of the first reads. */
struct Predecessor {
    bool waited = false;

    __device__ __forceinline__ void wait()
    {
        if (!waited) {
            grid_wait_for_predecessor();
            waited = true;
        }
    }
};

/** The sum of some parts of Chunks · 8 columns, relative to 2^top. */
template <typename Element, int Chunks> struct PartSum {
    float top = -INFINITY;
    float weight = 0;
    float o[Chunks * kChunk] = {};

    /** Makes the sum relative to a larger power; returns what weights are relative to. */
    __device__ __forceinline__ float raise(float larger)
    {
        const float base = larger == -INFINITY ? 0 : larger;
        const float scale = exp2_fast(top - base);
        top = larger;
        weight *= scale;
#pragma unroll
        for (int i = 0; i < Chunks * kChunk; i++) {
            o[i] *= scale;
        }
        return base;
    }
    template <int Parts>
    __device__ __forceinline__ void add(const float (&lse)[Parts], const uint4 (&words)[Parts][Chunks])
    {
        float larger = top;
#pragma unroll
        for (int i = 0; i < Parts; i++) {
            larger = fmaxf(larger, lse[i]);
        }
        const float base = raise(larger);
#pragma unroll
        for (int i = 0; i < Parts; i++) {
            const float part_weight = exp2_fast(lse[i] - base);
            weight += part_weight;
#pragma unroll
            for (int chunk = 0; chunk < Chunks; chunk++) {
                const uint32_t pairs[4] = { words[i][chunk].x, words[i][chunk].y, words[i][chunk].z,
                                            words[i][chunk].w };
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float2 values = Element::unpack(pairs[j]);
                    float *sum = &o[chunk * kChunk + j * 2];
                    sum[0] = fmaf(values.x, part_weight, sum[0]);
                    sum[1] = fmaf(values.y, part_weight, sum[1]);
                }
            }
        }
    }
    __device__ __forceinline__ float scale() const
    {
        return weight > 0 ? 1 / weight : 0;
    }
    __device__ __forceinline__ float lse() const
    {
        return weight == 0 ? -INFINITY : top + log2_fast(weight);
    }
};

__device__ __forceinline__ void store_merged_lse(const Params &params, const MergeRow &row, float lse_log2)
{
    if (row.merged_lse) {
        *row.merged_lse = convert_lse(lse_log2, params.lse_kind);
    }
}

/** A warp merges Chunks · 256 columns of Rows rows: Parts reads of each are under way at one time. */
template <typename Element, int Rows, int Chunks, int Parts> struct WarpMerge {
    __device__ __forceinline__ static void run(const Params &params, Predecessor &predecessor,
                                               const MergeRow (&rows)[Rows], int column)
    {
        const int lane_column = column + (threadIdx.x & 31) * kChunk;
        PartSum<Element, Chunks> sums[Rows];
        int most = 0;
#pragma unroll
        for (int r = 0; r < Rows; r++) {
            most = max(most, rows[r].parts);
        }
#pragma unroll 1
        for (int first = 0; first < most; first += Parts) {
            const float *lse_at[Rows][Parts];
            const uint4 *words_at[Rows][Parts];
#pragma unroll
            for (int r = 0; r < Rows; r++) {
#pragma unroll
                for (int i = 0; i < Parts; i++) {
                    lse_at[r][i] = rows[r].lse_of(first + i);
                    words_at[r][i] = rows[r].out_of(first + i, lane_column);
                }
            }
            predecessor.wait();
            float lse[Rows][Parts];
            uint4 words[Rows][Parts][Chunks];
#pragma unroll
            for (int r = 0; r < Rows; r++) {
#pragma unroll
                for (int i = 0; i < Parts; i++) {
                    const bool there = first + i < rows[r].parts;
                    lse[r][i] = there ? *lse_at[r][i] : -INFINITY;
#pragma unroll
                    for (int chunk = 0; chunk < Chunks; chunk++) {
                        words[r][i][chunk] = there ? words_at[r][i][chunk * 32] : make_uint4(0, 0, 0, 0);
                    }
                }
            }
#pragma unroll
            for (int r = 0; r < Rows; r++) {
                sums[r].add(lse[r], words[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < Rows; r++) {
            if (rows[r].parts > 0) {
                store(params, rows[r], sums[r], lane_column);
            }
        }
    }

  private:
    __device__ __forceinline__ static void store(const Params &params, const MergeRow &row,
                                                 const PartSum<Element, Chunks> &sum, int lane_column)
    {
        const float scale = sum.scale();
#pragma unroll
        for (int chunk = 0; chunk < Chunks; chunk++) {
            uint32_t words[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float *pair = &sum.o[chunk * kChunk + j * 2];
                words[j] = Element::pack(pair[0] * scale, pair[1] * scale);
            }
            *reinterpret_cast<uint4 *>(row.merged_out + lane_column * 2 + chunk * 512) =
                make_uint4(words[0], words[1], words[2], words[3]);
        }
        if (lane_column == 0) {
            store_merged_lse(params, row, sum.lse());
        }
    }
};

/** A CTA's threads share the parts of 8 · lanes columns of a row; lanes is a power of two, 8 … 64. */
struct SharedSums {
    float top[kThreads / 32][2]; /* of a warp's sum, and its weight */
    alignas(16) float o[kThreads * kChunk];
};

template <typename Element, int Parts> struct CtaMerge {
    __device__ __forceinline__ static void run(SharedSums &shared, const Params &params, Predecessor &predecessor,
                                               const MergeRow &row, int lanes, int column)
    {
        const int lane = threadIdx.x & (lanes - 1), slots = kThreads / lanes;
        PartSum<Element, 1> sum;
        int first = threadIdx.x / lanes;
#pragma unroll 1
        do {
            const float *lse_at[Parts];
            const uint4 *words_at[Parts];
#pragma unroll
            for (int i = 0; i < Parts; i++) {
                lse_at[i] = row.lse_of(first + i * slots);
                words_at[i] = row.out_of(first + i * slots, column + lane * kChunk);
            }
            predecessor.wait();
            float lse[Parts];
            uint4 words[Parts][1];
#pragma unroll
            for (int i = 0; i < Parts; i++) {
                const bool there = first + i * slots < row.parts;
                lse[i] = there ? *lse_at[i] : -INFINITY;
                words[i][0] = there ? *words_at[i] : make_uint4(0, 0, 0, 0);
            }
            sum.add(lse, words);
            first += slots * Parts;
        } while (first < row.parts);
        __syncwarp();
        add_lanes(sum, lanes);
        share(shared, sum, lanes, lane);
        const int columns = lanes * kChunk, pair = threadIdx.x * 2;
        if (pair < columns && row.parts > 0) {
            finish(shared, params, row, lanes, column, pair);
        }
    }

  private:
    /** Sums of the lanes of a warp that have the same columns. */
    __device__ __forceinline__ static void add_lanes(PartSum<Element, 1> &sum, int lanes)
    {
        float larger = sum.top;
        for (int distance = 16; distance >= lanes; distance /= 2) {
            larger = fmaxf(larger, __shfl_xor_sync(~0u, larger, distance));
        }
        sum.raise(larger);
        for (int distance = 16; distance >= lanes; distance /= 2) {
            sum.weight += __shfl_xor_sync(~0u, sum.weight, distance);
#pragma unroll
            for (int i = 0; i < kChunk; i++) {
                sum.o[i] += __shfl_xor_sync(~0u, sum.o[i], distance);
            }
        }
    }
    __device__ __forceinline__ static void share(SharedSums &shared, const PartSum<Element, 1> &sum, int lanes,
                                                 int lane)
    {
        __syncthreads(); /* the item before has been read */
        if ((threadIdx.x & 31) == 0) {
            shared.top[threadIdx.x / 32][0] = sum.top;
            shared.top[threadIdx.x / 32][1] = sum.weight;
        }
        if ((threadIdx.x & 31) < lanes) {
            float *place = &shared.o[(threadIdx.x / max(lanes, 32) * lanes + lane) * kChunk];
#pragma unroll
            for (int i = 0; i < kChunk; i += 4) {
                *reinterpret_cast<float4 *>(place + i) =
                    make_float4(sum.o[i], sum.o[i + 1], sum.o[i + 2], sum.o[i + 3]);
            }
        }
        __syncthreads();
    }
    /** Adds up the sums of warps, two columns a thread. */
    __device__ __forceinline__ static void finish(const SharedSums &shared, const Params &params, const MergeRow &row,
                                                  int lanes, int column, int pair)
    {
        const int columns = lanes * kChunk, step = max(lanes / 32, 1); /* warps that share a part */
        float top = -INFINITY;
#pragma unroll
        for (int warp = 0; warp < kWarps; warp++) {
            top = fmaxf(top, shared.top[warp][0]);
        }
        const float base = top == -INFINITY ? 0 : top;
        float weight = 0;
        float2 o = make_float2(0, 0);
#pragma unroll
        for (int i = 0; i < kWarps; i++) {
            if (i * step < kWarps) {
                const float scale = exp2_fast(shared.top[i * step][0] - base);
                const float2 more = *reinterpret_cast<const float2 *>(&shared.o[i * columns + pair]);
                weight = fmaf(shared.top[i * step][1], scale, weight);
                o.x = fmaf(more.x, scale, o.x);
                o.y = fmaf(more.y, scale, o.y);
            }
        }
        const float inverse = weight > 0 ? 1 / weight : 0;
        *reinterpret_cast<uint32_t *>(row.merged_out + (column + pair) * 2) =
            Element::pack(o.x * inverse, o.y * inverse);
        if (column == 0 && pair == 0) {
            store_merged_lse(params, row, weight == 0 ? -INFINITY : top + log2_fast(weight));
        }
    }
};

#endif
