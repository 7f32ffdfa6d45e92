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
    alignas(16) float staged[kThreads * 8];
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

/** How rows are divided: in pieces for warps or for CTAs, as wide as still keep all of these busy. */
struct Division {
    bool by_cta;
    int lanes;
    int pieces; /* of a row */
    int items;
    int rounds; /* of reads */

    __device__ __forceinline__ Division(bool by_cta, int rows, int parts) : by_cta(by_cta)
    {
        const int widest = by_cta ? kColumns / 8 : 32, takers = by_cta ? gridDim.x : gridDim.x * kWarps;
        lanes = 8;
        while (lanes < widest && rows * (kColumns / 8 / lanes) > takers) {
            lanes *= 2;
        }
        pieces = kColumns / 8 / lanes;
        items = rows * pieces;
        const int batch = kBatch * (by_cta ? kThreads : 32) / lanes;
        rounds = (items + takers - 1) / takers * ((parts + batch - 1) / batch);
    }
};

/** Merges all splits in whichever way takes fewer rounds of reads. Waits for the kernel before. */
template <typename Element> __device__ __forceinline__ void merge_splits(SharedMerge &shared, const Params &params)
{
    const int rows = shared.header.splits > 0 ? shared.row_end[shared.header.splits - 1] : 0;
    Division division(false, rows, shared.most_parts);
    const Division by_cta(true, rows, shared.most_parts);
    if (by_cta.rounds < division.rounds) {
        division = by_cta;
    }
    /* Neighbouring items go to different CTAs. */
    const int step = division.by_cta ? gridDim.x : gridDim.x * kWarps;
    int item = blockIdx.x + (division.by_cta ? 0 : threadIdx.x / 32 * gridDim.x);
    bool waited = false;
    for (; item < division.items; item += step) {
        const MergeRow row = find_row(shared, params, item / division.pieces);
        const Piece piece = { division.lanes, item % division.pieces * division.lanes * 8 };
        if (!waited) {
            grid_wait_for_predecessor();
            waited = true;
        }
        if (division.by_cta) {
            merge_by_cta<Element>(shared.staged, params, row, piece);
        } else {
            merge_by_warp<Element>(params, row, piece);
        }
    }
    if (!waited) {
        grid_wait_for_predecessor();
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
    grid_release_dependents();
    /* The schedule may be read ahead of the wait: when this kernel starts, all that came before the decode is over, or
     * the schedule was complete long before (hm_sm90_decode_params::early). */
    number_rows(shared, params);
    __syncthreads();
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
