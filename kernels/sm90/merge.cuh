/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_MERGE_CUH
#define HM_SM90_MERGE_CUH

/** @file
 * The merge of a row's partial results: O = Σ wᵢ·Oᵢ / Σ wᵢ with wᵢ = 2^(LSEᵢ − largest), always in the same order. */

#include "ptx/convert.cuh"
#include "ptx/copy.cuh"
#include "tile_work.cuh"

constexpr int kThreads = HM_SM90_COMBINE_THREADS;
constexpr int kWarps = kThreads / 32;
constexpr int kChunk = 8; /* columns of a read, 16 bytes */

/** A row of a split request. */
struct MergeRow {
    uint32_t first; /* partial row of part 0, were it in slot 0 of its group like the others */
    int token;      /* of out and lse */
    int head;
    int parts; /* 0: there is no such row */

    MergeRow() = default;
    /** Row `row` of the split, counted in all rows of all splits, which starts behind row_start. */
    __device__ __forceinline__ MergeRow(const Params &params, const hm_sm90_split &split, int row_start, int row)
    {
        const int index = row - row_start;
        const int in_request = (int)((index + 0.5f) * params.heads_inverse);
        first = slot_rows(params) * 2 * split.first_group + index;
        token = split.q_start + in_request;
        head = index - in_request * params.shape.heads;
        parts = token < params.rows ? split.parts : 0;
    }
    /** Partial rows of a slot. A group has two slots; part 0 is in slot 1, the others in slot 0. */
    __device__ __forceinline__ static uint32_t slot_rows(const Params &params)
    {
        return params.shape.tiles * params.shape.tile_rows;
    }
    __device__ __forceinline__ uint32_t row_of(const Params &params, int part) const
    {
        return first + slot_rows(params) * (part == 0 ? 1 : 2 * part);
    }
};

/** What is read of a part: an LSE, and 16 bytes of each chunk. The addresses are settled where one is made: nvcc 13.0
 * would find them one by one between the reads. */
template <int Chunks> struct PartRead {
    const float *lse;
    const uint4 *words;

    PartRead() = default;
    __device__ __forceinline__ PartRead(const Params &params, uint32_t row, int column)
        : lse(params.workspace.partial_lse + row),
          words(reinterpret_cast<const uint4 *>(static_cast<const unsigned char *>(params.workspace.partial_out) +
                                                (uint64_t)row * HM_SM90_ROW_BYTES + column * 2))
    {
        asm volatile("" : "+l"(lse), "+l"(words));
    }
    __device__ __forceinline__ void read(bool there, float &part_lse, uint4 (&part)[Chunks]) const
    {
        part_lse = load_global(lse, there, -INFINITY);
#pragma unroll
        for (int chunk = 0; chunk < Chunks; chunk++) {
            part[chunk] = load_global(words + chunk * 32, there);
        }
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
        return weight > 0 ? reciprocal(weight) : 0;
    }
    __device__ __forceinline__ float lse() const
    {
        return weight == 0 ? -INFINITY : top + log2_fast(weight);
    }
};

/** A warp merges Chunks · 256 columns of Rows rows: Parts reads of each are under way at one time. It waits for the kernel
 * before even if none of them exists. */
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
        int first = 0;
#pragma unroll 1
        do {
            PartRead<Chunks> at[Rows][Parts];
#pragma unroll
            for (int r = 0; r < Rows; r++) {
#pragma unroll
                for (int i = 0; i < Parts; i++) {
                    at[r][i] = PartRead<Chunks>(params, rows[r].row_of(params, first + i), lane_column);
                }
            }
            predecessor.wait();
            float lse[Rows][Parts];
            uint4 words[Rows][Parts][Chunks];
#pragma unroll
            for (int r = 0; r < Rows; r++) {
#pragma unroll
                for (int i = 0; i < Parts; i++) {
                    at[r][i].read(first + i < rows[r].parts, lse[r][i], words[r][i]);
                }
            }
#pragma unroll
            for (int r = 0; r < Rows; r++) {
                sums[r].add(lse[r], words[r]);
            }
            first += Parts;
        } while (first < most);
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
        unsigned char *const out = caller_out(params, row.token, row.head) + lane_column * 2;
#pragma unroll
        for (int chunk = 0; chunk < Chunks; chunk++) {
            uint32_t words[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float *pair = &sum.o[chunk * kChunk + j * 2];
                words[j] = Element::pack(pair[0] * scale, pair[1] * scale);
            }
            *reinterpret_cast<uint4 *>(out + chunk * 512) = make_uint4(words[0], words[1], words[2], words[3]);
        }
        if (lane_column == 0) {
            store_caller_lse(params, row.token, row.head, sum.lse());
        }
    }
};

/** The threads of a CTA share the parts of some columns of a row. */
struct SharedSums {
    float top[kWarps]; /* of a warp's sum, and its weight */
    float weight[kWarps];
    alignas(16) float o[kThreads * kChunk];
};

template <typename Element, int Parts> struct CtaMerge {
    /** `lanes` is 2^log2, 8 … 64, as many as have different columns. */
    __device__ __forceinline__ static void run(SharedSums &shared, const Params &params, Predecessor &predecessor,
                                               const MergeRow &row, int log2, int column)
    {
        const int lane = threadIdx.x & ((1 << log2) - 1), slots = kThreads >> log2;
        PartSum<Element, 1> sum;
        int first = threadIdx.x >> log2;
#pragma unroll 1
        do {
            const uint32_t step = MergeRow::slot_rows(params) * 2 * slots;
            uint32_t part_row = row.first + MergeRow::slot_rows(params) * 2 * first;
            PartRead<1> at[Parts];
#pragma unroll
            for (int i = 0; i < Parts; i++) {
                at[i] =
                    PartRead<1>(params, i > 0 || first > 0 ? part_row : row.row_of(params, 0), column + lane * kChunk);
                part_row += step;
            }
            predecessor.wait();
            float lse[Parts];
            uint4 words[Parts][1];
#pragma unroll
            for (int i = 0; i < Parts; i++) {
                at[i].read(first + i * slots < row.parts, lse[i], words[i]);
            }
            sum.add(lse, words);
            first += slots * Parts;
        } while (first < row.parts);
        __syncwarp();
        add_lanes(sum, 1 << log2);
        share(shared, sum, log2, lane);
        const int pair = threadIdx.x * 2;
        if (pair < kChunk << log2 && row.parts > 0) {
            finish(shared, params, row, log2, column, pair);
        }
    }

  private:
    /** Sums of the lanes of a warp that have the same columns. */
    __device__ __forceinline__ static void add_lanes(PartSum<Element, 1> &sum, int lanes)
    {
        if (lanes >= 32) {
            return;
        }
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
    __device__ __forceinline__ static void share(SharedSums &shared, const PartSum<Element, 1> &sum, int log2, int lane)
    {
        __syncthreads(); /* the item before has been read */
        if ((threadIdx.x & 31) == 0) {
            shared.top[threadIdx.x / 32] = sum.top;
            shared.weight[threadIdx.x / 32] = sum.weight;
        }
        if ((threadIdx.x & 31) < 1 << log2) {
            float *place = &shared.o[((threadIdx.x >> max(log2, 5) << log2) + lane) * kChunk];
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
                                                  int log2, int column, int pair)
    {
        uint32_t *const out =
            reinterpret_cast<uint32_t *>(caller_out(params, row.token, row.head) + (column + pair) * 2);
        const int wide = log2 == 6, sums = kWarps >> wide; /* wide: two warps share a part */
        float top[kWarps], weight[kWarps];
        float2 o[kWarps];
#pragma unroll
        for (int i = 0; i < kWarps; i++) {
            const int from = i & (sums - 1);
            top[i] = shared.top[from << wide];
            weight[i] = shared.weight[from << wide];
            o[i] = *reinterpret_cast<const float2 *>(&shared.o[(from << log2) * kChunk + pair]);
        }
        float larger = top[0];
#pragma unroll
        for (int i = 1; i < kWarps; i++) {
            larger = fmaxf(larger, top[i]);
        }
        const float base = larger == -INFINITY ? 0 : larger;
        float all = 0;
        float2 sum = make_float2(0, 0);
#pragma unroll
        for (int i = 0; i < kWarps; i++) {
            const float scale = exp2_fast(top[i] - base);
            const bool own = i < sums;
            all = own ? fmaf(weight[i], scale, all) : all;
            sum.x = own ? fmaf(o[i].x, scale, sum.x) : sum.x;
            sum.y = own ? fmaf(o[i].y, scale, sum.y) : sum.y;
        }
        const float inverse = all > 0 ? reciprocal(all) : 0;
        *out = Element::pack(sum.x * inverse, sum.y * inverse);
        if (column == 0 && pair == 0) {
            store_caller_lse(params, row.token, row.head, all == 0 ? -INFINITY : larger + log2_fast(all));
        }
    }
};

#endif
