/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_CLUSTER_MERGE_CUH
#define HM_SM90_CLUSTER_MERGE_CUH

/** @file
 * The merge inside a cluster: O = Σ wᵢ·Oᵢ / Σ wᵢ with wᵢ = 2^(LSEᵢ − largest), in the order of the parts. A CTA merges
 * 16 / parts rows of the tile. */

#include "ptx/cluster.cuh"
#include "ptx/convert.cuh"
#include "tile_cluster_shared.cuh"

/** Row `row` of those that the CTA merges. */
__device__ __forceinline__ QueryRow merged_row(const ClusterShared &shared, const Params &params,
                                               const ClusterRows &rows, int row)
{
    return QueryRow(params, shared.work.head[0],
                    first_row(shared.work.start) + ((int)cluster_rank() << rows.log2_count()) + row);
}

/** Whether the CTA has pages, and rows to compute. */
__device__ __forceinline__ bool has_pages(const ClusterShared &shared)
{
    return shared.work.start.count > 0 && first_row(shared.work.start) < shared.work.start.early_rows;
}

/** Parts that will come: none where the request has no tokens, or no rows in the tile. */
__device__ __forceinline__ int arriving_parts(const ClusterShared &shared)
{
    return first_row(shared.work.start) < shared.work.start.early_rows ? shared.work.head[0].part : 0;
}

/** Tells the barriers how much will come. One thread. */
__device__ __forceinline__ void expect_parts(ClusterShared &shared, const Params &params)
{
    const int rows = ClusterRows(params).count() * arriving_parts(shared);
    mbarrier_expect(shared_address(&shared.lse_arrived), rows * (int)sizeof(float));
    mbarrier_expect(shared_address(&shared.arrived), rows * HM_SM90_ROW_BYTES);
}

/** Finds the weights of the parts and writes the rows' LSE, while O is still on its way. One warp. */
__device__ __forceinline__ void weigh_parts(ClusterShared &shared, const Params &params)
{
    const ClusterRows rows(params);
    const int lane = threadIdx.x & (kClusterRows - 1), part = lane & (rows.parts - 1);
    const QueryRow own = merged_row(shared, params, rows, lane >> rows.log2_parts);
    const bool there = part < arriving_parts(shared);
    mbarrier_wait(shared_address(&shared.lse_arrived), 0);
    const float lse = there ? shared.gathered_lse[lane] : -INFINITY;
    float top = lse;
    for (int distance = 1; distance < rows.parts; distance *= 2) {
        top = fmaxf(top, __shfl_xor_sync(~0u, top, distance));
    }
    const float weight = exp2_fast(lse - (top == -INFINITY ? 0 : top));
    float all = weight;
    for (int distance = 1; distance < rows.parts; distance *= 2) {
        all += __shfl_xor_sync(~0u, all, distance);
    }
    if ((threadIdx.x & 31) < kClusterRows) {
        shared.weights[lane] = all > 0 ? weight * reciprocal(all) : 0;
        mbarrier_arrive(shared_address(&shared.arrived));
        if (part == 0 && own.valid && params.lse) {
            *caller_lse(params, own.token, own.head) =
                convert_lse(all == 0 ? -INFINITY : top + log2_fast(all), params.lse_kind);
        }
    }
}

/** Merges the rows and writes them to the caller; without parts, zeros. A thread of the consumers has 32 / Parts columns
 * of a row. */
template <typename Element, int Parts>
__device__ __forceinline__ void merge_parts(const ClusterShared &shared, const Params &params)
{
    constexpr int kRows = kClusterRows / Parts, kRowThreads = kFewConsumers / kRows, kWords = kRows;
    const int row = threadIdx.x / kRowThreads, thread = threadIdx.x % kRowThreads;
    const int arriving = arriving_parts(shared);
    const QueryRow own = merged_row(shared, params, ClusterRows(params), row);
    uint32_t *const out = reinterpret_cast<uint32_t *>(caller_out(params, own.token, own.head)) + thread;
    mbarrier_wait(shared_address(&shared.arrived), 0);
    float weights[Parts];
    uint32_t words[kWords][Parts];
#pragma unroll
    for (int part = 0; part < Parts; part++) {
        weights[part] = shared.weights[row * Parts + part];
    }
#pragma unroll
    for (int word = 0; word < kWords; word++) {
#pragma unroll
        for (int part = 0; part < Parts; part++) {
            const uint32_t *const values = reinterpret_cast<const uint32_t *>(shared.gathered[row * Parts + part]);
            words[word][part] = part < arriving ? values[word * kRowThreads + thread] : 0;
        }
    }
#pragma unroll
    for (int word = 0; word < kWords; word++) {
        float2 sum = make_float2(0, 0);
#pragma unroll
        for (int part = 0; part < Parts; part++) {
            const float2 values = Element::unpack(words[word][part]);
            sum.x = fmaf(values.x, weights[part], sum.x);
            sum.y = fmaf(values.y, weights[part], sum.y);
        }
        if (own.valid) {
            out[word * kRowThreads] = Element::pack(sum.x, sum.y);
        }
    }
}

template <typename Element>
__device__ __forceinline__ void merge_parts(const ClusterShared &shared, const Params &params)
{
    switch (params.shape.parts) {
    case 16:
        merge_parts<Element, 16>(shared, params);
        break;
    case 8:
        merge_parts<Element, 8>(shared, params);
        break;
    case 4:
        merge_parts<Element, 4>(shared, params);
        break;
    default:
        merge_parts<Element, 2>(shared, params);
    }
}

#endif
