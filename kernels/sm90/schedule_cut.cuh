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

/* The line: cost of all requests before number i, of `count` and one more; behind these, more than any limit. */

constexpr int kWindow = 8; /* costs that are read at one time */
constexpr int kLongestStride = kWindow * kWindow;
constexpr int kBeyond = kWindow * kLongestStride; /* how far behind its end a line is read */

/** In shared memory, followed by kBeyond times INT32_MAX. */
struct CachedLine {
    using Cost = int32_t;
    using Room = uint32_t;
    const int32_t *costs;
    int count;

    __device__ __forceinline__ Cost operator[](int i) const { return costs[i]; }
};

/** In global memory: of more requests, whose costs need not fit into 32 bits. */
struct StoredLine {
    using Cost = int64_t;
    using Room = uint64_t;
    const int64_t *costs;
    int count;

    __device__ __forceinline__ Cost operator[](int i) const { return i <= count ? costs[i] : INT64_MAX; }
};

/** The last i from `first` on, itself within the limit, that still is. Strides grow, then shrink. */
template <typename Line>
__device__ __forceinline__ int last_within(const Line &line, int first, typename Line::Cost limit)
{
    unsigned stride = 1;
    for (int i = first;;) {
        unsigned counts[4] = {}; /* four short chains */
#pragma unroll
        for (unsigned k = 1; k <= kWindow; k++) {
            counts[k % 4] += line[i + k * stride] <= limit;
        }
        const unsigned within = counts[0] + counts[1] + (counts[2] + counts[3]);
        i += within * stride;
        if (within == kWindow) {
            stride = min(stride * kWindow, (unsigned)kLongestStride);
        } else if (stride > 1) {
            stride /= kWindow;
        } else {
            return i;
        }
    }
}

/** The request that a group starts in, and where the next three begin, read ahead of need. */
template <typename Line> struct Place {
    using Cost = typename Line::Cost;
    using Room = typename Line::Room;
    int live = 0;
    Cost next, second, third;

    __device__ __forceinline__ explicit Place(const Line &line) : next(line[1]), second(line[2]), third(line[3]) {}

    /** Goes to the last request that begins within the limit, `budget` from here. Returns how far the limit is from
     * there on; where none begins, from here. */
    __device__ __forceinline__ Room advance(const Line &line, Cost limit, Cost budget)
    {
        const bool one = next <= limit, two = second <= limit, more = third <= limit;
        /* Without a sign, what is beyond the limit is farthest. */
        Room room = min((Room)budget, min((Room)(limit - next), (Room)(limit - second)));
        next = two ? third : one ? second : next;
        live += one + two;
        if (more) {
            live = last_within(line, live + 1, limit);
            room = limit - line[live];
            next = line[live + 1];
        }
        second = line[live + 2];
        third = line[live + 3];
        return room;
    }
};

/** What a budget leads to. */
struct Outcome {
    bool done; /* everything was given away */
    int parts; /* that are to be merged */
};

/** Step 3: gives every group, in order, what fits into the budget: whole requests while they fit; then, with splits, as
 * many pages of the next as still fit, if those are worth it. Cut g goes to tried[g · kBudgets]. */
template <typename Line>
__device__ __forceinline__ Outcome cut_line(Cut *tried, const Line &line, int groups, typename Line::Cost budget,
                                            bool splits)
{
    using Cost = typename Line::Cost;
    using Room = typename Line::Room;
    static_assert(kFewestPages == 1, "as many pages as fit are worth it");
    const Room start = splits ? kStartCost : budget; /* no room for pages without splits */
    Place<Line> place(line);
    Cost limit = budget;
    int page = 0, parts = 0;
    for (int group = 0; group < groups; group++, tried += kBudgets) {
        *tried = { place.live, page };
        const int before = place.live;
        const Room room = place.advance(line, limit, budget);
        const Room pages = (max(room, start) - start) / kPageCost;
        page = place.live == before ? page : 0;
        if (pages > 0 && place.live < line.count) {
            parts += page > 0 ? 1 : 2;
            page += (int)pages;
        }
        limit += budget - (Cost)(room - pages * kPageCost); /* behind the last request it does not matter */
    }
    *tried = { place.live, page };
    return { place.live == line.count, parts };
}

#endif
