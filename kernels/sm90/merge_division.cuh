/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_MERGE_DIVISION_CUH
#define HM_SM90_MERGE_DIVISION_CUH

/** @file
 * How combine divides the rows of splits: settled once a step, by the schedule, for all layers. */

#include "params.h"

/* Costs in quarters of a round of reads, in which a thread reads eight times 16 bytes and waits for memory once. */
constexpr int kRoundCost = 4;
constexpr int kShareCost = 3; /* of bringing the sums of a CTA's threads together */
constexpr int kMergeWarps = HM_SM90_COMBINE_THREADS / 32;
constexpr int kMergeWays = HM_SM90_MERGE_BY_CTA + 4;

/** The rows of one split. */
struct MergeRows {
    int rows;
    int parts;
};

/** What a way makes of them. */
struct MergeLoad {
    int items = 0;
    int64_t cost = 0; /* of all items */
    int longest = 0;  /* cost of one */
};

__device__ __forceinline__ int rounds_up(int value, int shift)
{
    return (value + (1 << shift) - 1) >> shift;
}

__device__ __forceinline__ void add_rows(MergeLoad &load, int way, const MergeRows &split)
{
    int items, cost;
    if (way >= HM_SM90_MERGE_BY_CTA) {
        const int lanes = way - HM_SM90_MERGE_BY_CTA + 3; /* log2 */
        items = split.rows << (6 - lanes);
        cost = rounds_up(split.parts, 8 - lanes + 3) * kRoundCost + kShareCost;
    } else {
        items = way == HM_SM90_MERGE_HALF_ROWS ? split.rows * 2 : split.rows;
        cost = rounds_up(split.parts, 3 - way) * kRoundCost;
    }
    load.items += items;
    load.cost += (int64_t)items * cost;
    load.longest = max(load.longest, cost);
}

/** What is taken at one time: an item, or two. */
__device__ __forceinline__ int items_of(const MergeLoad &load, int way)
{
    const int pair = way == HM_SM90_MERGE_PAIRS;
    return (load.items + pair) >> pair;
}

/** Time of a way with so many CTAs: nobody is done before the longest item, nor before an even share. */
__device__ __forceinline__ int64_t time_of(const MergeLoad &load, int way, int ctas)
{
    const int takers = way >= HM_SM90_MERGE_BY_CTA ? ctas : ctas * kMergeWarps;
    const int64_t items = items_of(load, way);
    const int64_t mean = load.items > 0 ? (load.cost + load.items - 1) / load.items : 0;
    return max((int64_t)load.longest, (items + takers - 1) / takers * mean);
}

#endif
