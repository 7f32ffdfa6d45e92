/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Divides a batch over the groups of CTAs: one CTA, once a step; every layer's decode follows what it writes.
 * README.md, Schedule, says what is written and why.
 *
 *   1. copy lengths, cut those outside the envelope, sum costs        (all threads, 1024 requests at a time)
 *   2. put long and short requests in turn                            (a thread a request, up to 1024)
 *   3. cut the line of pages into groups, for 64 budgets at once      (two warps, a budget a lane)
 *   4. write segments and splits of the cheapest way                  (a thread a group, a segment, a split)
 *   5. divide the rows of splits over the CTAs that merge them        (a warp a way) */

#include "ptx/grid.cuh"
#include "schedule_order.cuh"
#include "schedule_write.cuh"

__device__ __forceinline__ int clamp_length(Shared &shared, int value, int limit)
{
    const int clamped = min(max(value, 0), limit);
    if (clamped != value) {
        atomicOr(&shared.error, HM_SM90_BAD_LENGTH);
    }
    return clamped;
}

struct Lengths {
    int kv, q;
};

/** As they stand in the tables, which have all rows of max_batch: those beyond the batch may be read, not used. */
__device__ __forceinline__ Lengths read_lengths(const hm_sm90_schedule_params &params, int row)
{
    const Shape &shape = params.shape;
    return row < shape.max_batch ? Lengths{ params.kv_lens[row], params.q_lens ? params.q_lens[row] : shape.max_q }
                                 : Lengths{ 0, 0 };
}

/** Step 1. Returns the sums over the batch. */
__device__ __forceinline__ Totals sum_requests(Shared &shared, const hm_sm90_schedule_params &params)
{
    const Shape &shape = params.shape;
    const Workspace &workspace = params.workspace;
    Lengths ahead = read_lengths(params, threadIdx.x);
    const int count = params.count ? clamp_length(shared, *params.count, shape.max_batch) : shape.max_batch;
    Totals before = { 0, 0 };
    for (int first = 0; first < shape.max_batch; first += kThreads) {
        const int row = first + threadIdx.x;
        const Lengths lengths = row < count ? ahead : Lengths{ 0, 0 };
        ahead = read_lengths(params, row + kThreads);
        const int kv_len = clamp_length(shared, lengths.kv, shape.max_kv);
        const int q_len = clamp_length(shared, lengths.q, shape.max_q);
        const bool live = q_len > 0 && kv_len > 0, empty = q_len > 0 && kv_len == 0;
        const int cost = live ? request_cost(pages_of(kv_len)) : 0;
        const Totals own = { (uint64_t)q_len | (uint64_t)live << 30 | (uint64_t)empty << 47, cost };
        const int largest = __reduce_max_sync(~0u, cost);
        if (largest > 0 && (threadIdx.x & 31) == 0) {
            atomicMax(&shared.largest, largest);
        }
        Totals at = before;
        if (first < count) {
            Totals all;
            at = before + scan(shared.totals, own, all);
            before = before + all;
        }
        if (row < shape.max_batch) {
            workspace.kv_lens[row] = kv_len;
            workspace.q_lens[row] = q_len;
            workspace.q_starts[row] = at.q_tokens();
        }
        if (empty) {
            workspace.empties[at.empty()] = row;
        }
        if (live) {
            workspace.live[at.live()] = row;
            workspace.costs[at.live()] = at.cost;
            if (at.live() < kThreads) {
                shared.keys[at.live()] = order_key(row, pages_of(kv_len));
            }
            if (at.live() < kCachedRows) {
                shared.live[at.live()] = row;
                shared.costs[at.live()] = (int)at.cost;
            }
        }
    }
    if (before.live() <= kCachedRows && threadIdx.x <= kBeyond) {
        shared.costs[before.live() + threadIdx.x] = threadIdx.x == 0 ? (int)before.cost : INT32_MAX;
    }
    if (threadIdx.x == 0) {
        workspace.q_starts[shape.max_batch] = before.q_tokens();
        workspace.costs[before.live()] = before.cost;
        workspace.header->count = count;
        workspace.header->q_total = before.q_tokens();
        workspace.header->empties = before.empty();
    }
    return before;
}

/** Step 2. In place of batch order; more requests than threads are left in it: with many a group, cuts matter little. */
__device__ __forceinline__ void order_requests(Shared &shared, int live)
{
    if (live > kThreads) {
        return;
    }
    const int i = threadIdx.x;
    int size = 1;
    while (size < live) {
        size *= 2;
    }
    const uint32_t sorted = sort_keys<kThreads>(i < live ? shared.keys[i] : 0, shared.keys, size);
    __syncthreads();
    shared.keys[i] = sorted;
    __syncthreads();
    const uint32_t key = i < live ? shared.keys[alternate(i, live)] : 0;
    int32_t all;
    const int32_t cost = scan(shared.sums, i < live ? request_cost(key_pages(key)) : 0, all);
    if (i < live) {
        shared.live[i] = key_row(key);
        shared.costs[i] = cost;
    }
}

/** Tries 32 budgets: with splits from the average cost on, without from the largest request on. The last suffices: a
 * group advances by more than its budget less what it may leave unused. A warp for each kind. */
template <typename Line>
__device__ __forceinline__ void try_budgets(Shared &shared, const Shape &shape, const Line &line, int64_t cost,
                                            bool splits)
{
    using Cost = typename Line::Cost;
    const int lane = threadIdx.x & 31, kind = splits ? 0 : 1;
    const int unused = splits ? kStartCost + kPageCost * (kFewestPages + 1) - 1 : shared.largest;
    const int step = (unused + kBudgets - 2) / (kBudgets - 1);
    const Cost average = ((Cost)cost + shape.groups - 1) / shape.groups;
    const Cost least = splits ? kStartCost + kPageCost * kFewestPages : unused;
    const Cost budget = max(average, least) + lane * step;
    const Outcome outcome = cut_line(&shared.tried[kind][0][lane], line, shape.groups, budget, splits);
    const MergeCosts costs_of = merge_costs(shape.tile_rows);
    const int64_t merge = outcome.parts == 0
                              ? 0
                              : costs_of.any + (int64_t)costs_of.part * (shape.tile_rows / 16) * shape.tiles *
                                                   outcome.parts / (shape.groups * shape.tile_stride);
    const int64_t price = outcome.done ? budget + merge : INT64_MAX;
    if (lane == cheapest_lane(price)) {
        shared.price[kind] = price;
        shared.best[kind] = lane;
    }
}

/** What is counted of cuts and groups. */
struct CutCounts {
    int inside; /* cuts inside a request */
    int starts; /* groups at whose end a request is cut first */
    int busy;   /* groups that have work */

    __device__ __forceinline__ explicit CutCounts(int32_t packed)
        : inside(packed & 1023), starts(packed >> 10 & 1023), busy(packed >> 20)
    {
    }
    __device__ __forceinline__ static int32_t pack(bool inside, bool starts, bool busy)
    {
        return (int)inside | (int)starts << 10 | (int)busy << 20;
    }
};
static_assert(kMaxGroups < 1024, "packed");

/** Settles on the cheaper kind, and numbers the segments and splits of its groups. Returns the counts of all. */
__device__ __forceinline__ CutCounts choose_cuts(Shared &shared, int groups)
{
    const int kind = shared.price[0] < shared.price[1] ? 0 : 1;
    const int group = threadIdx.x, best = shared.best[kind];
    Cut begin = { 0, 0 };
    int32_t own = 0;
    if (group <= groups) {
        begin = shared.tried[kind][group][best];
        const Cut end = group < groups ? shared.tried[kind][group + 1][best] : Cut{ begin.live, 0 };
        const bool starts = end.page > 0 && !(begin.live == end.live && begin.page > 0);
        const bool busy = group < groups && (begin.live != end.live || begin.page != end.page);
        own = CutCounts::pack(begin.page > 0, starts, busy);
    }
    int32_t all;
    const int32_t before = scan(shared.sums, own, all);
    const CutCounts counts(before), with(before + own), total(all);
    if (group <= groups) {
        shared.cuts[group] = begin;
        shared.first[group] = begin.live + with.inside;
    }
    if (with.starts > counts.starts) {
        shared.split_starts[counts.starts] = { group, with.inside };
    }
    if (threadIdx.x == 0) {
        shared.split_starts[total.starts] = { groups, total.inside };
    }
    return total;
}

/** Tiles of so few rows, where there are CTAs enough for one page each: a CTA brings less of Q, and stores less of O. A
 * group's CTAs are those of two or four then. */
__device__ __forceinline__ Shape narrow(const Shape &shape, int rows, int64_t pages)
{
    const int most = shape.tile_rows / rows, times = pages > 0 && pages * most <= shape.groups ? most : 1;
    Shape narrowed = shape;
    narrowed.tile_rows /= times;
    narrowed.tiles *= times;
    narrowed.tile_stride *= times;
    narrowed.groups /= times;
    return narrowed;
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    hm_schedule(const __grid_constant__ hm_sm90_schedule_params params)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    Shared &shared = *reinterpret_cast<Shared *>(shared_bytes);
    const int warp = threadIdx.x / 32;
    grid_wait_for_predecessor();
    grid_release_dependents();
    if (threadIdx.x == 0) {
        shared.error = 0;
        shared.largest = 0;
    }
    __syncthreads();
    const Totals totals = sum_requests(shared, params);
    if (params.shape.parts > 0) {
        __syncthreads();
        write_clusters(params);
        if (threadIdx.x == 0) {
            params.workspace.header->splits = 0;
            params.workspace.header->error = shared.error;
        }
        return;
    }
    const int live = totals.live();
    const Shape narrowed =
        narrow(params.shape, params.narrow_rows, (totals.cost - kStartCost * (int64_t)live) / kPageCost);
    __syncthreads();
    order_requests(shared, live);
    __syncthreads();
    if (warp < 2) {
        if (live <= kCachedRows) {
            try_budgets(shared, narrowed, CachedLine{ shared.costs, live }, totals.cost, warp == 0);
        } else {
            try_budgets(shared, narrowed, StoredLine{ params.workspace.costs, live }, totals.cost, warp == 0);
        }
    }
    __syncthreads();
    const CutCounts counts = choose_cuts(shared, narrowed.groups);
    __syncthreads();
    write_groups(shared, params, narrowed, live, counts.busy);
    write_splits(shared, params, live, counts.starts);
    __syncthreads();
    /* Where most groups have nothing to do, or tiles are narrow, no more CTAs of combine work than of decode, of a grid that
     * may be twice as large: the next decode starts on the other processors. */
    const bool busy = counts.busy * 2 > narrowed.groups && narrowed.tile_rows == params.shape.tile_rows;
    const int ctas = busy ? params.merge_grid : narrowed.groups * narrowed.tile_stride;
    time_ways(shared, counts.starts, ctas);
    __syncthreads();
    if (warp == 0) {
        choose_way(shared, *params.workspace.header, ctas);
    }
    if (threadIdx.x == 0) {
        params.workspace.header->splits = counts.starts;
        params.workspace.header->error = shared.error;
    }
}
