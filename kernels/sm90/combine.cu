/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Follows every decode: merges the parts of requests that were cut over groups, in a fixed order, and writes the rows
 * that nothing was computed for. A fixed grid; what there is to do stands in the workspace. */

#include "ptx/grid.cuh"
#include "merge.cuh"

/** Reads the schedule and numbers the items of all splits. A split whose parts are so many that a warp would read
 * longer than all CTAs together do goes to CTAs. All threads. */
__device__ __forceinline__ void number_items(SharedMerge &shared, const Params &params)
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
    uint32_t few_before = 0, many_before = 0;
    for (int base = 0; base < shared.header.splits; base += 32) {
        const int s = base + threadIdx.x;
        uint32_t few = 0, many = 0;
        if (s < shared.header.splits) {
            const uint32_t blocks = (shared.splits[s].q_len * params.shape.heads + 15) / 16;
            const uint32_t rounds = (blocks * kManyColumns + gridDim.x - 1) / gridDim.x;
            const bool alone = (shared.splits[s].parts + kFewBatch - 1) / kFewBatch <= 2 * rounds;
            few = alone ? blocks * kFewColumns : 0;
            many = alone ? 0 : blocks * kManyColumns;
        }
        for (int distance = 1; distance < 32; distance *= 2) {
            const uint32_t few_left = __shfl_up_sync(~0u, few, distance);
            const uint32_t many_left = __shfl_up_sync(~0u, many, distance);
            few += threadIdx.x >= distance ? few_left : 0;
            many += threadIdx.x >= distance ? many_left : 0;
        }
        if (s < shared.header.splits) {
            shared.few_end[s] = few_before + few;
            shared.many_end[s] = many_before + many;
        }
        few_before += __shfl_sync(~0u, few, 31);
        many_before += __shfl_sync(~0u, many, 31);
    }
}

/** Finds an item: its rows, and which of the `columns` items of these rows it is. */
__device__ __forceinline__ RowBlock find_item(const SharedMerge &shared, const uint32_t *ends, uint32_t item,
                                              uint32_t columns, uint32_t &column)
{
    int low = 0, high = shared.header.splits - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (ends[middle] > item) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    const uint32_t index = item - (low > 0 ? ends[low - 1] : 0);
    const uint32_t rows = index / columns;
    column = index % columns;
    return { shared.splits[low], (int)(rows / (kTileRows / 16)), (int)(rows % (kTileRows / 16)) };
}

template <typename Element> __device__ __forceinline__ void merge_splits(SharedMerge &shared, const Params &params)
{
    const int splits = shared.header.splits;
    if (splits == 0) {
        return;
    }
    uint32_t column;
    for (uint32_t item = blockIdx.x; item < shared.many_end[splits - 1]; item += gridDim.x) {
        const RowBlock block = find_item(shared, shared.many_end, item, kManyColumns, column);
        merge_many<Element>(shared, params, block, column);
    }
    /* Neighbouring items go to different CTAs. */
    for (uint32_t item = threadIdx.x / 32 * gridDim.x + blockIdx.x; item < shared.few_end[splits - 1];
         item += gridDim.x * kWarps) {
        const RowBlock block = find_item(shared, shared.few_end, item, kFewColumns, column);
        merge_few<Element>(params, block, column * (kManyColumns / kFewColumns));
    }
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
    /* The schedule may be read ahead of the wait: the decode before has let this kernel start after its own wait, so
     * everything before the decode is over. */
    number_items(shared, params);
    __syncthreads();
    grid_wait_for_predecessor();
    grid_release_dependents();
    merge_splits<Element>(shared, params);
    write_empties(shared, params);
}

extern "C" __global__ void __launch_bounds__(kThreads) hm_combine_bf16(const __grid_constant__ Params params)
{
    combine<Bf16>(params);
}

extern "C" __global__ void __launch_bounds__(kThreads) hm_combine_fp16(const __grid_constant__ Params params)
{
    combine<Fp16>(params);
}
