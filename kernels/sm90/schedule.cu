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

#include "merge_division.cuh"
#include "params.h"
#include "ptx/grid.cuh"
#include "schedule_cut.cuh"
#include "schedule_order.cuh"
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

/** The first page of a request that an append of this step may write. */
__device__ __forceinline__ int fresh_page(const int32_t *append_starts, int request, int kv_len)
{
    const int appended = append_starts ? append_starts[request + 1] - append_starts[request] : 0;
    return appended > 0 ? max(kv_len - appended, 0) / HM_SM90_PAGE_TOKENS : INT32_MAX;
}

/** Request number `live` of those that have work, `count` altogether. */
__device__ __forceinline__ int request_at(const Shared &shared, const Workspace &workspace, int count, int live)
{
    return count <= kCachedRows ? shared.live[live] : workspace.live[live];
}

__device__ __forceinline__ void store_segment(hm_sm90_segment *to, const hm_sm90_segment &segment)
{
    uint4 *words = reinterpret_cast<uint4 *>(to);
    words[0] = make_uint4(segment.request, segment.page_begin, segment.page_end, segment.kv_len);
    words[1] = make_uint4(segment.q_len, segment.q_start, segment.part, segment.fresh_page);
}

/** The group that segment `index` belongs to: the last whose first segment it is or follows. */
__device__ __forceinline__ int group_of(const Shared &shared, int groups, int index)
{
    int low = 0, high = groups - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (shared.first[middle] <= index) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/** Segment `index` of all, which `busy` groups have. */
__device__ __forceinline__ void write_segment(const Shared &shared, const hm_sm90_schedule_params &params, int count,
                                              int busy, int index)
{
    const Workspace &workspace = params.workspace;
    const int group = group_of(shared, params.shape.groups, index);
    const Cut begin = shared.cuts[group], end = shared.cuts[group + 1];
    const int i = index - shared.first[group];
    const int request = request_at(shared, workspace, count, begin.live + i);
    hm_sm90_segment segment;
    segment.request = request;
    segment.kv_len = workspace.kv_lens[request];
    segment.q_len = workspace.q_lens[request];
    segment.q_start = workspace.q_starts[request];
    segment.page_begin = i == 0 ? begin.page : 0;
    const bool finishes = begin.live + i < end.live;
    segment.page_end = finishes ? pages_of(segment.kv_len) : end.page;
    segment.fresh_page = fresh_page(params.append_starts, request, segment.kv_len);
    segment.part = segment.page_begin > 0 ? 0 : finishes ? -1 : 1;
    if (i == 0) {
        const bool early = params.block_table && segment.page_begin < segment.fresh_page;
        hm_sm90_group &own = workspace.groups[group];
        own.early_page = early ? params.block_table[request * params.table_stride + segment.page_begin] : -1;
        own.early_rows = segment.q_len * params.shape.heads;
        own.early_whole = busy * 2 <= params.shape.groups;
    }
    store_segment(&workspace.segments[index], segment);
    if (i < HM_SM90_INLINE_SEGMENTS) {
        store_segment(&workspace.groups[group].head[i], segment);
    }
}

/** Step 4, groups and segments; the latter from the last thread on, while the first ones write splits. */
__device__ __forceinline__ void write_groups(const Shared &shared, const hm_sm90_schedule_params &params, int count,
                                             int busy)
{
    const int groups = params.shape.groups, segments = shared.first[groups];
    for (int index = kThreads - 1 - threadIdx.x; index < segments; index += kThreads) {
        write_segment(shared, params, count, busy, index);
    }
    const int group = threadIdx.x;
    if (group < groups) {
        params.workspace.groups[group].first = shared.first[group];
        params.workspace.groups[group].count = shared.first[group + 1] - shared.first[group];
    }
}

/** Step 4, splits, a thread each. */
__device__ __forceinline__ void write_splits(Shared &shared, const hm_sm90_schedule_params &params, int count,
                                             int splits)
{
    const Workspace &workspace = params.workspace;
    const int index = threadIdx.x;
    hm_sm90_split split = {};
    int rows = 0;
    if (index < splits) {
        const SplitStart start = shared.split_starts[index];
        const int request = request_at(shared, workspace, count, shared.cuts[start.group + 1].live);
        rows = workspace.q_lens[request] * params.shape.heads;
        split.q_start = workspace.q_starts[request];
        split.first_group = start.group;
        split.parts = 1 + shared.split_starts[index + 1].inside - start.inside;
        shared.splits[index] = { rows, split.parts };
    }
    int32_t all;
    split.row_end = rows + scan(shared.sums, rows, all);
    if (index < splits) {
        *reinterpret_cast<uint4 *>(&workspace.splits[index]) =
            make_uint4(split.q_start, split.row_end, split.first_group, split.parts);
    }
}

/** Step 5. The time of every way to merge, a warp each. */
__device__ __forceinline__ void time_ways(Shared &shared, int splits, int ctas)
{
    const int lane = threadIdx.x & 31, way = threadIdx.x / 32;
    if (way >= kMergeWays) {
        return;
    }
    MergeLoad load;
    for (int s = lane; s < splits; s += 32) {
        add_rows(load, way, shared.splits[s]);
    }
    load.items = __reduce_add_sync(~0u, load.items);
    load.longest = __reduce_max_sync(~0u, load.longest);
    for (int distance = 16; distance > 0; distance /= 2) {
        load.cost += __shfl_xor_sync(~0u, load.cost, distance);
    }
    if (lane == 0) {
        shared.way_time[way] = time_of(load, way, ctas);
        shared.way_items[way] = items_of(load, way);
    }
}

/** Step 5. Settles on the quickest way. One warp. */
__device__ __forceinline__ void choose_way(const Shared &shared, hm_sm90_header &header, int ctas)
{
    const int lane = threadIdx.x & 31;
    const int64_t time = lane < kMergeWays ? shared.way_time[lane] : INT64_MAX;
    if (lane == cheapest_lane(time)) {
        header.merge_way = lane;
        header.merge_items = shared.way_items[lane];
        header.merge_ctas = ctas;
    }
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
    const Shape &shape = params.shape;
    const int live = totals.live();
    __syncthreads();
    order_requests(shared, live);
    __syncthreads();
    if (warp < 2) {
        if (live <= kCachedRows) {
            try_budgets(shared, shape, CachedLine{ shared.costs, live }, totals.cost, warp == 0);
        } else {
            try_budgets(shared, shape, StoredLine{ params.workspace.costs, live }, totals.cost, warp == 0);
        }
    }
    __syncthreads();
    const CutCounts counts = choose_cuts(shared, shape.groups);
    __syncthreads();
    write_groups(shared, params, live, counts.busy);
    write_splits(shared, params, live, counts.starts);
    __syncthreads();
    /* Where most groups have nothing to do, combine stays on half of the processors: the next decode starts on others. */
    const int ctas = counts.busy * 2 > shape.groups ? params.merge_grid : shape.groups * shape.tile_stride;
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
