/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_SCHEDULE_CUT_CUH
#define HM_SM90_SCHEDULE_CUT_CUH

/** @file
 * The line of pages and how a budget cuts it: all requests' pages one after the other, with a fixed cost ahead of each
 * request. */

#include <stdint.h>

/* Costs in quarters of a page's time (0.3 µs). */
constexpr int kPageCost = 4;
constexpr int kStartCost = 6;   /* of a segment: Q, the ring's start, O */
constexpr int kFewestPages = 1; /* that are worth a segment which does not finish its request */
constexpr int kBudgets = 32;    /* that are tried, a lane each, with splits and without */

__host__ __device__ constexpr int request_cost(int pages)
{
    return kStartCost + kPageCost * pages;
}

/** Costs of parts, which differ between tiles: a page of 64 rows takes longer to compute than to read. */
struct MergeCosts {
    int any;  /* of having parts to merge at all: the combine kernel's chain of reads */
    int part; /* of a part for each 16 rows of a tile, written once and read once by one CTA */
};

__host__ __device__ constexpr MergeCosts merge_costs(int tile_rows)
{
    return tile_rows < 64 ? MergeCosts{ 8, 3 } : MergeCosts{ 16, 3 };
}

/** Where a group starts: request number `live` of those that have work, `page` of it. */
struct Cut {
    int32_t live;
    int32_t page;
};

/** A request of those that have work, and the cost of the line up to it and with it: a group that stays within a request
 * reads nothing. Behind the last one there is no end. */
struct Place {
    int live;
    int64_t begin, end;

    __device__ __forceinline__ Place(const int64_t *costs, int count, int live)
        : live(live), begin(costs[live]), end(live < count ? costs[live + 1] : INT64_MAX)
    {
    }

    /** Goes to the last request that begins within the limit. A few steps one by one, then by halves. */
    __device__ __forceinline__ void advance(const int64_t *costs, int count, int64_t limit)
    {
        for (int near = 0; near < 4; near++) {
            if (end > limit) {
                return;
            }
            live++;
            begin = end;
            end = live < count ? costs[live + 1] : INT64_MAX;
        }
        int low = live, high = count;
        while (low < high) {
            const int middle = (low + high + 1) / 2;
            if (costs[middle] <= limit) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        *this = Place(costs, count, low);
    }
};

/** What a budget leads to. */
struct Outcome {
    bool done; /* everything was given away */
    int parts; /* that are to be merged */
};

/** Step 3: gives every group, in order, what fits into the budget: whole requests while they fit; then, with splits, as
 * many pages of the next as still fit, if those are worth it. Cut g goes to tried[g · kBudgets]. */
__device__ __forceinline__ Outcome cut_line(Cut *tried, const int64_t *costs, int live, int groups, int64_t budget,
                                            bool splits)
{
    Place place(costs, live, 0);
    int page = 0, parts = 0;
    for (int group = 0; group < groups; group++) {
        tried[group * kBudgets] = { place.live, page };
        if (place.live == live) {
            continue;
        }
        const int before = place.live;
        const int64_t limit = place.begin + kPageCost * (int64_t)page + budget;
        place.advance(costs, live, limit);
        page = place.live == before ? page : 0;
        if (splits && place.live < live) {
            const int64_t room = limit - place.begin - kPageCost * (int64_t)page - kStartCost;
            if (room >= kPageCost * kFewestPages) {
                parts += page > 0 ? 1 : 2;
                page += (int)(room / kPageCost);
            }
        }
    }
    tried[groups * kBudgets] = { place.live, page };
    return { place.live == live, parts };
}

#endif
