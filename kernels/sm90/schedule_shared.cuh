/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_SCHEDULE_SHARED_CUH
#define HM_SM90_SCHEDULE_SHARED_CUH

/** @file
 * What the steps of the schedule hand on to each other in shared memory. */

#include "merge_division.cuh"
#include "schedule_cut.cuh"
#include "schedule_scan.cuh"

using Shape = hm_sm90_shape;
using Workspace = hm_sm90_workspace;

constexpr int kMaxGroups = HM_SM90_MAX_UNITS;
constexpr int kCachedRows = 4096; /* so many requests that have work are kept in shared memory, with their costs */

struct Totals {
    uint64_t counts; /* packed: query tokens | live requests << 30 | empty requests << 47 */
    int64_t cost;

    __device__ __forceinline__ Totals operator+(const Totals &other) const
    {
        return { counts + other.counts, cost + other.cost };
    }
    __device__ __forceinline__ Totals operator-(const Totals &other) const
    {
        return { counts - other.counts, cost - other.cost };
    }
    __device__ __forceinline__ bool operator!=(const Totals &other) const
    {
        return counts != other.counts || cost != other.cost;
    }
    __device__ __forceinline__ int q_tokens() const { return (int)(counts & 0x3FFFFFFF); }
    __device__ __forceinline__ int live() const { return (int)(counts >> 30 & 0x1FFFF); }
    __device__ __forceinline__ int empty() const { return (int)(counts >> 47); }
};

__device__ __forceinline__ Totals shift_up(const Totals &value, int distance)
{
    return { __shfl_up_sync(~0u, value.counts, distance), __shfl_up_sync(~0u, value.cost, distance) };
}

static_assert(kThreads <= kCachedRows, "requests that are put in order are kept in shared memory");
static_assert((kCachedRows + 1) * 2 * (int64_t)request_cost((1 << 14) + 1) < INT32_MAX, "limits of a kept line");
static_assert(kMergeWays <= kWarps, "a warp a way");

/** Of a split: the group at whose end its request is cut first, and the cuts inside requests up to that group's start. */
struct SplitStart {
    int32_t group;
    int32_t inside;
};

struct Shared {
    union {
        Cut tried[2][kMaxGroups + 1][kBudgets]; /* with splits; without */
        uint32_t keys[2 * kThreads];            /* of requests, before */
    };
    int64_t price[2];
    int32_t best[2];
    int32_t largest; /* cost of a request */
    Cut cuts[kMaxGroups + 1];
    int32_t first[kMaxGroups + 1]; /* segment of a group */
    SplitStart split_starts[kMaxGroups + 1];
    MergeRows splits[kMaxGroups];
    int64_t way_time[kMergeWays];
    int32_t way_items[kMergeWays];
    int32_t costs[kCachedRows + 1 + kBeyond];
    uint16_t live[kCachedRows];
    WarpSums<Totals> totals;
    WarpSums<int32_t> sums;
    uint32_t error;
};
static_assert(sizeof(Shared) <= HM_SM90_SCHEDULE_SHARED, "declared to the host");

__device__ __forceinline__ int pages_of(int kv_len)
{
    return (kv_len + HM_SM90_PAGE_TOKENS - 1) / HM_SM90_PAGE_TOKENS;
}

#endif
