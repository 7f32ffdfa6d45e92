/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Follows every decode: merges the parts of requests that were cut over groups, in a fixed order, and writes the rows
 * that nothing was computed for. A fixed grid; what there is to do stands in the workspace. */

#include "ptx/grid.cuh"
#include "empty_rows.cuh"
#include "merge.cuh"

struct SharedMerge {
    hm_sm90_split splits[HM_SM90_MAX_UNITS];
    SharedSums sums;
};

/** Some request has query rows but no tokens, or there are rows beyond the batch. */
__device__ __forceinline__ bool has_empties(const hm_sm90_header &header, const Params &params)
{
    return header.empties > 0 || header.q_total < params.rows;
}

/** Row `row` of all splits, the same for all lanes of a warp. */
__device__ __forceinline__ MergeRow find_row(const SharedMerge &shared, const Params &params, int splits, int row)
{
    const int lane = threadIdx.x & 31;
    int before = 0;
#pragma unroll 1
    for (int base = 0; base < splits; base += 32) {
        before += __popc(__ballot_sync(~0u, base + lane < splits && shared.splits[base + lane].row_end <= row));
    }
    return MergeRow(params, shared.splits[before], before > 0 ? shared.splits[before - 1].row_end : 0, row);
}

/** Ends a thread behind its last item, close by in the code, where no empty row is to be written. */
__device__ __forceinline__ void leave_unless_empties(const hm_sm90_header &header, const Params &params)
{
    if (!has_empties(header, params)) {
        exit_thread();
    }
}

/** Merges a warp's items: Rows rows of Chunks · 256 columns. */
template <typename Element, int Rows, int Chunks, int Parts>
__device__ __forceinline__ void merge_by_warps(const SharedMerge &shared, const Params &params,
                                               Predecessor &predecessor, const hm_sm90_header &header, int cta)
{
    const int rows = shared.splits[header.splits - 1].row_end, step = header.merge_ctas * kWarps;
    /* Neighbouring items go to different CTAs. */
    for (int item = cta + threadIdx.x / 32 * header.merge_ctas; item < header.merge_items; item += step) {
        const int first = item / (2 / Chunks) * Rows, column = item % (2 / Chunks) * 256;
        MergeRow found[Rows];
#pragma unroll
        for (int r = 0; r < Rows; r++) {
            found[r] = find_row(shared, params, header.splits, min(first + r, rows - 1));
            found[r].parts = first + r < rows ? found[r].parts : 0;
        }
        WarpMerge<Element, Rows, Chunks, Parts>::run(params, predecessor, found, column);
    }
    leave_unless_empties(header, params);
}

template <typename Element, int Parts>
__device__ __forceinline__ void merge_by_ctas(SharedMerge &shared, const Params &params, Predecessor &predecessor,
                                              const hm_sm90_header &header, int cta)
{
    const int log2 = header.merge_way - HM_SM90_MERGE_BY_CTA + 3, pieces = 6 - log2;
    for (int item = cta; item < header.merge_items; item += header.merge_ctas) {
        const MergeRow row = find_row(shared, params, header.splits, item >> pieces);
        const int column = (item & ((1 << pieces) - 1)) * kChunk << log2;
        CtaMerge<Element, Parts>::run(shared.sums, params, predecessor, row, log2, column);
    }
    leave_unless_empties(header, params);
}

/** Merges all splits the way that the schedule has settled on. Who has an item waits for the kernel before, and somebody
 * always has one: a grid in which nobody waited could end before the decode, and the next kernel start. */
template <typename Element>
__device__ __forceinline__ void merge_splits(SharedMerge &shared, const Params &params, const hm_sm90_header &header,
                                             int cta)
{
    Predecessor predecessor;
    if (header.merge_way >= HM_SM90_MERGE_BY_CTA) {
        merge_by_ctas<Element, 8>(shared, params, predecessor, header, cta);
    } else if (header.merge_way == HM_SM90_MERGE_HALF_ROWS) {
        merge_by_warps<Element, 1, 1, 8>(shared, params, predecessor, header, cta);
    } else if (header.merge_way == HM_SM90_MERGE_ROWS) {
        merge_by_warps<Element, 1, 2, 4>(shared, params, predecessor, header, cta);
    } else {
        merge_by_warps<Element, 2, 2, 2>(shared, params, predecessor, header, cta);
    }
    predecessor.wait();
}

/** Requests without tokens, a CTA each, and the rows beyond the batch. */
__device__ __forceinline__ void write_empties(const Params &params, const hm_sm90_header &header, int cta)
{
    const Workspace &workspace = params.workspace;
    int i = cta;
#pragma unroll 1
    for (;; i += header.merge_ctas) {
        const bool request = i < header.empties;
        const int row = request ? workspace.empties[i] : 0;
        const int first = request ? workspace.q_starts[row] : header.q_total + cta;
        const int end = request ? first + workspace.q_lens[row] : params.rows;
        write_empty_tokens<kWarps>(params, first, end, request ? 1 : header.merge_ctas);
        if (!request) {
            break;
        }
    }
}

/** The header, in one round of reads. Whatever stands there, one CTA at least works, and none that is not there. */
__device__ __forceinline__ hm_sm90_header read_header(const Workspace &workspace)
{
    union {
        uint4 words[2];
        hm_sm90_header header;
    } read;
    read.words[0] = reinterpret_cast<const uint4 *>(workspace.header)[0];
    read.words[1] = reinterpret_cast<const uint4 *>(workspace.header)[1];
    read.header.merge_ctas = min(max(read.header.merge_ctas, 1), (int)gridDim.x);
    return read.header;
}

template <typename Element> __device__ __forceinline__ void combine(const Params &params)
{
    __shared__ SharedMerge shared;
    grid_release_dependents();
    /* The schedule may be read ahead of the wait: when this kernel starts, all that came before the decode is over, or
     * the schedule was complete long before (hm_sm90_decode_params::early). */
    const hm_sm90_header header = read_header(params.workspace);
    if (threadIdx.x < params.shape.groups) {
        shared.splits[threadIdx.x] = params.workspace.splits[threadIdx.x];
    }
    /* The last CTAs work. The first ones that start leave at once then, and the others find their places. */
    const bool work = header.splits > 0 || has_empties(header, params);
    const int idle = (int)gridDim.x - (work ? header.merge_ctas : 1);
    const int cta = (int)blockIdx.x - idle;
    if (cta < 0) {
        return;
    }
    __syncthreads();
    if (header.splits > 0) {
        merge_splits<Element>(shared, params, header, cta);
    } else {
        grid_wait_for_predecessor();
    }
    write_empties(params, header, cta);
}

/* As few registers as let it start beside a decode of few rows, and two of it on one processor after a decode of 64. */
extern "C" __global__ void __maxnreg__(HM_SM90_COMBINE_REGISTERS) hm_combine_bf16(const __grid_constant__ Params params)
{
    combine<Bf16>(params);
}

extern "C" __global__ void __maxnreg__(HM_SM90_COMBINE_REGISTERS) hm_combine_fp16(const __grid_constant__ Params params)
{
    combine<Fp16>(params);
}
