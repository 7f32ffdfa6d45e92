/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Follows every decode: merges the parts of requests that were cut over groups, in a fixed order, and writes the rows
 * that nothing was computed for. A fixed grid; what there is to do stands in the workspace. */

#include "ptx/grid.cuh"
#include "merge.cuh"

struct SharedMerge {
    hm_sm90_header header;
    hm_sm90_split splits[HM_SM90_MAX_UNITS];
    int32_t row_end[HM_SM90_MAX_UNITS]; /* rows of the splits up to and with this one */
    int32_t most_parts;
    SharedSums sums;
};

/** Reads the schedule and numbers the rows of all splits. All threads. */
__device__ __forceinline__ void number_rows(SharedMerge &shared, const Params &params)
{
    if (threadIdx.x == 0) {
        shared.header = *params.workspace.header;
    }
    if (threadIdx.x < params.shape.groups) {
        shared.splits[threadIdx.x] = params.workspace.splits[threadIdx.x];
    }
    __syncthreads();
    if (threadIdx.x >= 32) {
        return;
    }
    int before = 0, most = 0;
    for (int base = 0; base < shared.header.splits; base += 32) {
        const int s = base + threadIdx.x;
        int rows = 0;
        if (s < shared.header.splits) {
            rows = shared.splits[s].q_len * params.shape.heads;
            most = max(most, shared.splits[s].parts);
        }
        for (int distance = 1; distance < 32; distance *= 2) {
            const int left = __shfl_up_sync(~0u, rows, distance);
            rows += threadIdx.x >= distance ? left : 0;
        }
        if (s < shared.header.splits) {
            shared.row_end[s] = before + rows;
        }
        before += __shfl_sync(~0u, rows, 31);
    }
    most = __reduce_max_sync(~0u, most);
    if (threadIdx.x == 0) {
        shared.most_parts = most;
    }
}

__device__ __forceinline__ MergeRow find_row(const SharedMerge &shared, const Params &params, int row)
{
    int low = 0, high = shared.header.splits - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (shared.row_end[middle] > row) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return MergeRow(params, shared.splits[low], row - (low > 0 ? shared.row_end[low - 1] : 0));
}

/** A way to divide the rows, and how long it takes: reads are made in rounds, each of which waits for memory once. */
struct Division {
    int way;
    int lanes; /* of a CTA's item */
    int items;
    int cost = INT32_MAX; /* quarters of a round */

    __device__ __forceinline__ void consider(int number, int item_lanes, int all, int takers, int rounds_each,
                                             int extra)
    {
        const int rounds = (all + takers - 1) / takers * rounds_each;
        if (rounds * 4 + extra < cost) {
            way = number;
            lanes = item_lanes;
            items = all;
            cost = rounds * 4 + extra;
        }
    }
    template <int Rows, int Chunks, int Parts>
    __device__ __forceinline__ void consider_warps(int number, int rows, int parts)
    {
        consider(number, 32, (rows + Rows - 1) / Rows * (2 / Chunks), gridDim.x * kWarps, (parts + Parts - 1) / Parts,
                 0);
    }
    template <int Parts> __device__ __forceinline__ void consider_ctas(int number, int rows, int parts)
    {
        int width = 8;
        while (width < kColumns / kChunk && rows * (kColumns / kChunk / width) > gridDim.x) {
            width *= 2;
        }
        const int batch = kThreads / width * Parts;
        consider(number, width, rows * (kColumns / kChunk / width), gridDim.x, (parts + batch - 1) / batch, 2);
    }
};

/** Merges a warp's items: Rows rows of Chunks · 256 columns. */
template <typename Element, int Rows, int Chunks, int Parts>
__device__ __forceinline__ void merge_by_warps(const SharedMerge &shared, const Params &params,
                                               Predecessor &predecessor, int rows, int items)
{
    /* Neighbouring items go to different CTAs. */
    for (int item = blockIdx.x + threadIdx.x / 32 * gridDim.x; item < items; item += gridDim.x * kWarps) {
        const int first = item / (2 / Chunks) * Rows, column = item % (2 / Chunks) * 256;
        MergeRow found[Rows];
#pragma unroll
        for (int r = 0; r < Rows; r++) {
            found[r] = find_row(shared, params, min(first + r, rows - 1));
            found[r].parts = first + r < rows ? found[r].parts : 0;
        }
        WarpMerge<Element, Rows, Chunks, Parts>::run(params, predecessor, found, column);
    }
}

template <typename Element, int Parts>
__device__ __forceinline__ void merge_by_ctas(SharedMerge &shared, const Params &params, Predecessor &predecessor,
                                              int lanes, int items)
{
    const int pieces = kColumns / kChunk / lanes;
    for (int item = blockIdx.x; item < items; item += gridDim.x) {
        const MergeRow row = find_row(shared, params, item / pieces);
        CtaMerge<Element, Parts>::run(shared.sums, params, predecessor, row, lanes, item % pieces * lanes * kChunk);
    }
}

/** Merges all splits the quickest way. Waits for the kernel before. */
template <typename Element> __device__ __forceinline__ void merge_splits(SharedMerge &shared, const Params &params)
{
    const int rows = shared.header.splits > 0 ? shared.row_end[shared.header.splits - 1] : 0;
    const int parts = shared.most_parts;
    Division division;
    division.consider_warps<1, 1, 8>(0, rows, parts);
    division.consider_warps<1, 2, 4>(1, rows, parts);
    division.consider_warps<2, 2, 2>(2, rows, parts);
    division.consider_ctas<8>(3, rows, parts);
    Predecessor predecessor;
    switch (division.way) {
    case 0:
        merge_by_warps<Element, 1, 1, 8>(shared, params, predecessor, rows, division.items);
        break;
    case 1:
        merge_by_warps<Element, 1, 2, 4>(shared, params, predecessor, rows, division.items);
        break;
    case 2:
        merge_by_warps<Element, 2, 2, 2>(shared, params, predecessor, rows, division.items);
        break;
    default:
        merge_by_ctas<Element, 8>(shared, params, predecessor, division.lanes, division.items);
    }
    predecessor.wait();
}

/** O = 0 and the LSE of nothing for one head of a query token. A warp. */
__device__ __forceinline__ void write_empty(const Params &params, int token, int head)
{
    const int lane = threadIdx.x & 31;
    if (token >= params.rows) {
        return;
    }
    uint4 *out = reinterpret_cast<uint4 *>(static_cast<unsigned char *>(params.out) +
                                           (token * params.out_token_stride + head * params.out_head_stride) * 2);
    out[lane] = make_uint4(0, 0, 0, 0);
    out[lane + 32] = make_uint4(0, 0, 0, 0);
    if (lane == 0 && params.lse) {
        params.lse[token * params.lse_token_stride + head * params.lse_head_stride] =
            convert_lse(-INFINITY, params.lse_kind);
    }
}

__device__ __forceinline__ void write_empties(const SharedMerge &shared, const Params &params)
{
    const int heads = params.shape.heads;
    const int warp = threadIdx.x / 32;
    const Workspace &workspace = params.workspace;
    for (int i = blockIdx.x; i < shared.header.empties; i += gridDim.x) {
        const int request = workspace.empties[i];
        const int start = workspace.q_starts[request];
        const int rows = workspace.q_lens[request] * heads;
        for (int row = warp; row < rows; row += kWarps) {
            write_empty(params, start + row / heads, row % heads);
        }
    }
    const int total = shared.header.q_total;
    const int64_t rows = (int64_t)(params.rows - total) * heads;
    for (int64_t row = blockIdx.x * kWarps + warp; row < rows; row += gridDim.x * kWarps) {
        write_empty(params, total + (int)(row / heads), (int)(row % heads));
    }
}

template <typename Element> __device__ __forceinline__ void combine(const Params &params)
{
    __shared__ SharedMerge shared;
    grid_release_dependents();
    /* The schedule may be read ahead of the wait: when this kernel starts, all that came before the decode is over, or
     * the schedule was complete long before (hm_sm90_decode_params::early). */
    number_rows(shared, params);
    __syncthreads();
    merge_splits<Element>(shared, params);
    write_empties(shared, params);
}

/* As few registers as let it start beside a decode of 16 rows, 3 warps of 96 in a quarter of the processor, and two of
 * it on one processor after a decode of 64. */
extern "C" __global__ void __maxnreg__(HM_SM90_COMBINE_REGISTERS) hm_combine_bf16(const __grid_constant__ Params params)
{
    combine<Bf16>(params);
}

extern "C" __global__ void __maxnreg__(HM_SM90_COMBINE_REGISTERS) hm_combine_fp16(const __grid_constant__ Params params)
{
    combine<Fp16>(params);
}
