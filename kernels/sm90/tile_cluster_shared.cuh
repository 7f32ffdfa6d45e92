/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_CLUSTER_SHARED_CUH
#define HM_SM90_TILE_CLUSTER_SHARED_CUH

/** @file
 * Shared memory of a CTA of a cluster: two pages, a tile of 16 rows, and what the other CTAs send. */

#include "tile_few_shared.cuh"

constexpr int kClusterRows = HM_SM90_NARROW_ROWS;
constexpr int kClusterPages = HM_SM90_CLUSTER_PAGES;

/** FewSoftmax and FewTile find what they need by the names that FewShared has. */
struct __align__(1024) ClusterShared
{
    PageSlot pages[kClusterPages];
    union {
        unsigned char query[9][kClusterRows * 128];
        unsigned char staged[kClusterRows][kFewStagedRow]; /* O on its way out, in place of Q */
    };
    unsigned char probabilities[kClusterRows * 128];
    unsigned char gathered[kClusterRows][HM_SM90_ROW_BYTES]; /* of row r that the CTA merges, part p: r · parts + p */
    float4 exchange[2][1][kWarpgroup];
    float4 tops[kClusterRows];
    float4 sums[kClusterRows];
    float references[kClusterRows];
    float factors[kClusterRows];
    float gathered_lse[kClusterRows];
    float weights[kClusterRows]; /* of the parts */
    uint64_t full[kClusterPages];
    uint64_t sums_ready;
    uint64_t lse_arrived;
    uint64_t arrived; /* all parts, and their weights are there */
    hm_sm90_group work;
};
static_assert(sizeof(ClusterShared) <= HM_SM90_CLUSTER_SHARED, "declared to the host");

/** Which rows of the tile a CTA merges: neighbours, as many as all others. */
struct ClusterRows {
    int parts;
    int log2_parts;

    __device__ __forceinline__ explicit ClusterRows(const Params &params)
        : parts(params.shape.parts), log2_parts(__ffs(parts) - 1)
    {
    }
    __device__ __forceinline__ int log2_count() const { return kLog2Rows - log2_parts; }
    __device__ __forceinline__ int count() const { return 1 << log2_count(); }
    __device__ __forceinline__ int owner(int row) const { return row >> log2_count(); }
    /** Where the owner gets part `part` of the row. */
    __device__ __forceinline__ int place(int row, int part) const { return (row & (count() - 1)) << log2_parts | part; }

  private:
    static constexpr int kLog2Rows = 4;
    static_assert(kClusterRows == 1 << kLog2Rows, "a power of two");
};

#endif
