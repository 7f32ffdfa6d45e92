/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_FEW_SHARED_CUH
#define HM_SM90_TILE_FEW_SHARED_CUH

/** @file
 * Shared memory of a decode CTA with a tile of N = 16 or 32 rows, and its named barriers. Rows are called heads here. */

#include "tile_work.cuh"

constexpr int kFewSlots = 2;
constexpr int kFewConsumers = 2 * kWarpgroup;
constexpr int kFewStagedRow = HM_SM90_ROW_BYTES + 16; /* eight rows start in different banks */

/** What has the same place whatever N is, so that loader and start need not know it. */
struct __align__(1024) FewCommon
{
    PageSlot pages[kFewSlots];
    uint64_t full[kFewSlots];
    uint64_t empty[kFewSlots];
    uint64_t half_full; /* of a page that is loaded in halves */
    hm_sm90_group work;
};

template <int N> struct FewShared : FewCommon {
    alignas(1024) unsigned char query[9][N * 128]; /* tiles of 64 columns, rows of 128 bytes, 128-byte swizzle */
    unsigned char probabilities[N * 128];          /* a head's row: 64 tokens, 128-byte swizzle */
    unsigned char staged[16][kFewStagedRow];       /* O of 16 heads on its way out */
    float4 exchange[2][N / 16][kWarpgroup];
    float4 tops[N]; /* by the warp that has the tokens; the same for sums */
    float4 sums[N];
    float references[N];
    float factors[N]; /* to multiply O by, where a page asks for it */
};
static_assert(sizeof(FewShared<16>) <= HM_SM90_FEW_SHARED, "declared to the host");
static_assert(sizeof(FewShared<32>) <= HM_SM90_FEW_SHARED, "declared to the host");

/** Named barriers; 0 is __syncthreads. */
enum FewBarrier {
    kFewScores = 1,  /* both halves of the sums over columns are there, K has been read, Q too after the last page */
    kFewPublish = 2, /* probabilities and whatever stands beside them are there */
    kFewTops = 3     /* + warpgroup: the largest scores of its heads are there */
};

/** The block of 8 heads and the two of its heads that a thread has in sum `i` of a row of N / 2. */
__device__ __forceinline__ int few_head(int block)
{
    return block * 8 + 2 * (threadIdx.x & 3);
}

#endif
