/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Divides a batch over the groups of CTAs: one CTA, once a step; every layer's decode follows what it writes.
 * README.md, Schedule, says what is written and why.
 *
 *   1. copy lengths, cut those outside the envelope, sum costs        (all threads, 1024 requests at a time)
 *   2. put long and short requests in turn                            (a thread a request, up to 1024)
 *   3. cut the line of pages into groups, for 64 budgets at once      (two warps, a budget a lane)
 *   4. write segments and splits of the cheapest way                  (a warp a group)
 *   5. divide the rows of splits over the CTAs that merge them        (a warp, a way a lane) */

#include "merge_division.cuh"
#include "params.h"
#include "ptx/grid.cuh"
#include "schedule_cut.cuh"
#include "schedule_order.cuh"

using Shape = hm_sm90_shape;
using Workspace = hm_sm90_workspace;

constexpr int kThreads = HM_SM90_SCHEDULE_THREADS;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxGroups = HM_SM90_MAX_UNITS;
constexpr int kCachedRows = 4096; /* costs of so many requests are kept in shared memory */

struct Totals {
    uint64_t counts; /* packed: query tokens | live requests << 30 | empty requests << 47 */
    int64_t cost;

    __device__ __forceinline__ Totals operator+(const Totals &other) const
    {
        return { counts + other.counts, cost + other.cost };
    }
    __device__ __forceinline__ int q_tokens() const { return (int)(counts & 0x3FFFFFFF); }
    __device__ __forceinline__ int live() const { return (int)(counts >> 30 & 0x1FFFF); }
    __device__ __forceinline__ int empty() const { return (int)(counts >> 47); }
};

static_assert(kThreads <= kCachedRows, "requests that are put in order have their costs in shared memory");

struct Shared {
    Cut tried[2][kMaxGroups + 1][kBudgets]; /* with splits; without */
    int64_t price[2];
    int32_t best[2];
    int32_t largest; /* cost of a request */
    Cut cuts[kMaxGroups + 1];
    int32_t inside[kMaxGroups + 1]; /* cuts up to this one that lie inside a request */
    int32_t starts[kMaxGroups + 1]; /* groups before this one in which a split starts */
    int64_t costs[kCachedRows + 1];
    Totals warp_sums[kWarps];
    MergeRows splits[kMaxGroups];
    uint32_t error;
};
static_assert(sizeof(Shared) <= HM_SM90_SCHEDULE_SHARED, "declared to the host");

__device__ __forceinline__ int pages_of(int kv_len)
{
    return (kv_len + HM_SM90_PAGE_TOKENS - 1) / HM_SM90_PAGE_TOKENS;
}

__device__ __forceinline__ Totals shift_up(const Totals &value, int distance)
{
    return { __shfl_up_sync(~0u, value.counts, distance), __shfl_up_sync(~0u, value.cost, distance) };
}

/** Sum over the threads before this one; `all` receives the sum over the CTA. */
__device__ __forceinline__ Totals scan(Shared &shared, const Totals &value, Totals &all)
{
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    Totals sum = value;
    for (int distance = 1; distance < 32; distance *= 2) {
        const Totals before = shift_up(sum, distance);
        if (lane >= distance) {
            sum = sum + before;
        }
    }
    if (lane == 31) {
        shared.warp_sums[warp] = sum;
    }
    __syncthreads();
    Totals base = { 0, 0 };
    all = { 0, 0 };
    for (int w = 0; w < kWarps; w++) {
        if (w < warp) {
            base = base + shared.warp_sums[w];
        }
        all = all + shared.warp_sums[w];
    }
    __syncthreads();
    const Totals before = shift_up(sum, 1);
    return lane == 0 ? base : base + before;
}

/** The lane of the warp whose price is the lowest; of equal ones the first. */
__device__ __forceinline__ int cheapest_lane(int64_t price)
{
    int64_t lowest = price;
    for (int distance = 16; distance > 0; distance /= 2) {
        lowest = min(lowest, (int64_t)__shfl_xor_sync(~0u, lowest, distance));
    }
    return __ffs(__ballot_sync(~0u, price == lowest)) - 1;
}

__device__ __forceinline__ int clamp_length(Shared &shared, int value, int limit)
{
    const int clamped = min(max(value, 0), limit);
    if (clamped != value) {
        atomicOr(&shared.error, HM_SM90_BAD_LENGTH);
    }
    return clamped;
}

/** Step 1. Returns the sums over the batch. */
__device__ __forceinline__ Totals sum_requests(Shared &shared, const hm_sm90_schedule_params &params)
{
    const Shape &shape = params.shape;
    const Workspace &workspace = params.workspace;
    const int count = params.count ? clamp_length(shared, *params.count, shape.max_batch) : shape.max_batch;
    Totals before = { 0, 0 };
    for (int first = 0; first < shape.max_batch; first += kThreads) {
        const int row = first + threadIdx.x;
        int kv_len = 0, q_len = 0;
        if (row < count) {
            kv_len = clamp_length(shared, params.kv_lens[row], shape.max_kv);
            q_len = params.q_lens ? clamp_length(shared, params.q_lens[row], shape.max_q) : shape.max_q;
        }
        const bool live = q_len > 0 && kv_len > 0, empty = q_len > 0 && kv_len == 0;
        const int cost = live ? request_cost(pages_of(kv_len)) : 0;
        const Totals own = { (uint64_t)q_len | (uint64_t)live << 30 | (uint64_t)empty << 47, cost };
        atomicMax(&shared.largest, cost);
        Totals all;
        const Totals at = before + scan(shared, own, all);
        before = before + all;
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
            if (at.live() < kCachedRows) {
                shared.costs[at.live()] = at.cost;
            }
        }
    }
    if (threadIdx.x == 0) {
        workspace.q_starts[shape.max_batch] = before.q_tokens();
        workspace.costs[before.live()] = before.cost;
        if (before.live() <= kCachedRows) {
            shared.costs[before.live()] = before.cost;
        }
        workspace.header->count = count;
        workspace.header->q_total = before.q_tokens();
        workspace.header->empties = before.empty();
    }
    return before;
}

/** Step 2. In place of batch order; more requests than threads are left in it: with many a group, cuts matter little. */
__device__ __forceinline__ void order_requests(Shared &shared, const Workspace &workspace, int live)
{
    if (live > kThreads) {
        return;
    }
    uint32_t *keys = reinterpret_cast<uint32_t *>(shared.tried); /* not yet in use */
    const int i = threadIdx.x;
    int size = 1;
    while (size < live) {
        size *= 2;
    }
    if (i < size) {
        const int row = i < live ? workspace.live[i] : 0;
        keys[i] = i < live ? order_key(row, pages_of(workspace.kv_lens[row])) : 0;
    }
    sort_keys(keys, size);
    const uint32_t key = i < live ? keys[alternate(i, live)] : 0;
    Totals all;
    const Totals at = scan(shared, { 0, i < live ? request_cost(key_pages(key)) : 0 }, all);
    if (i < live) {
        workspace.live[i] = key_row(key);
        shared.costs[i] = at.cost;
    }
}

/** Tries 32 budgets: with splits from the average cost on, without from the largest request on. The last suffices: a
 * group advances by more than its budget less what it may leave unused. A warp for each kind. */
__device__ __forceinline__ void try_budgets(Shared &shared, const hm_sm90_schedule_params &params, const Totals &totals,
                                            bool splits)
{
    const int64_t *costs = totals.live() <= kCachedRows ? shared.costs : params.workspace.costs;
    const Shape &shape = params.shape;
    const int lane = threadIdx.x & 31, kind = splits ? 0 : 1;
    const int unused = splits ? kStartCost + kPageCost * (kFewestPages + 1) - 1 : shared.largest;
    const int step = (unused + kBudgets - 2) / (kBudgets - 1);
    const int64_t average = (totals.cost + shape.groups - 1) / shape.groups;
    const int64_t least = splits ? kStartCost + kPageCost * kFewestPages : unused;
    const int64_t budget = max(average, least) + lane * (int64_t)step;
    const Outcome outcome = cut_line(&shared.tried[kind][0][lane], costs, totals.live(), shape.groups, budget, splits);
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

/** Settles on the cheaper kind and numbers the cuts inside requests. One warp. */
__device__ __forceinline__ void choose_cuts(Shared &shared, const hm_sm90_schedule_params &params)
{
    const int groups = params.shape.groups;
    const int lane = threadIdx.x & 31;
    const int kind = shared.price[0] < shared.price[1] ? 0 : 1;
    for (int group = lane; group <= groups; group += 32) {
        shared.cuts[group] = shared.tried[kind][group][shared.best[kind]];
    }
    __syncwarp();
    int inside_before = 0, starts_before = 0;
    for (int base = 0; base <= groups; base += 32) {
        const int group = base + lane;
        bool inside = false, starts = false;
        if (group <= groups) {
            inside = shared.cuts[group].page > 0;
            if (group < groups) {
                const Cut begin = shared.cuts[group], end = shared.cuts[group + 1];
                starts = end.page > 0 && !(begin.live == end.live && begin.page > 0);
            }
        }
        const uint32_t inside_mask = __ballot_sync(~0u, inside), starts_mask = __ballot_sync(~0u, starts);
        const uint32_t lower = (1u << lane) - 1;
        if (group <= groups) {
            shared.inside[group] = inside_before + __popc(inside_mask & lower) + inside;
            shared.starts[group] = starts_before + __popc(starts_mask & lower);
        }
        inside_before += __popc(inside_mask);
        starts_before += __popc(starts_mask);
    }
    if (lane == 0) {
        params.workspace.header->splits = starts_before;
        params.workspace.header->error = shared.error;
    }
}

/** The first page of a request that an append of this step may write. */
__device__ __forceinline__ int fresh_page(const int32_t *append_starts, int request, int kv_len)
{
    const int appended = append_starts ? append_starts[request + 1] - append_starts[request] : 0;
    return appended > 0 ? max(kv_len - appended, 0) / HM_SM90_PAGE_TOKENS : INT32_MAX;
}

/** Segments [0, count) of a group, one a lane. */
__device__ __forceinline__ void write_segments(const hm_sm90_schedule_params &params, int group, int first, Cut begin,
                                               Cut end)
{
    const Workspace &workspace = params.workspace;
    hm_sm90_group &out = workspace.groups[group];
    const int lane = threadIdx.x & 31;
    const int count = end.live - begin.live + (end.page > 0);
    if (lane == 0) {
        out.first = first;
        out.count = count;
    }
    for (int i = lane; i < count; i += 32) {
        const int live = begin.live + i;
        const int request = workspace.live[live];
        hm_sm90_segment segment = {};
        segment.request = request;
        segment.kv_len = workspace.kv_lens[request];
        segment.q_len = workspace.q_lens[request];
        segment.q_start = workspace.q_starts[request];
        segment.page_begin = i == 0 ? begin.page : 0;
        const bool finishes = live < end.live;
        segment.page_end = finishes ? pages_of(segment.kv_len) : end.page;
        segment.fresh_page = fresh_page(params.append_starts, request, segment.kv_len);
        segment.part = segment.page_begin > 0 ? 0 : finishes ? -1 : 1;
        workspace.segments[first + i] = segment;
        if (i < HM_SM90_INLINE_SEGMENTS) {
            out.head[i] = segment;
        }
    }
}

/** The request that is cut at the end of `group` for the first time, if there is one. */
__device__ __forceinline__ void write_split(Shared &shared, const hm_sm90_schedule_params &params, int group)
{
    const Workspace &workspace = params.workspace;
    const int groups = params.shape.groups;
    const int index = shared.starts[group];
    if (index == shared.starts[group + 1]) {
        return;
    }
    const int live = shared.cuts[group + 1].live;
    int parts = 2;
    while (group + parts <= groups && shared.cuts[group + parts].live == live && shared.cuts[group + parts].page > 0) {
        parts++;
    }
    const int request = workspace.live[live];
    workspace.splits[index].q_start = workspace.q_starts[request];
    workspace.splits[index].first_group = group;
    workspace.splits[index].parts = parts;
    shared.splits[index] = { workspace.q_lens[request] * params.shape.heads, parts };
}

/** Numbers the rows of splits, and settles on the quickest way to merge them. One warp. */
__device__ __forceinline__ void divide_merge(const Shared &shared, const hm_sm90_schedule_params &params)
{
    const Shape &shape = params.shape;
    const int lane = threadIdx.x & 31, splits = shared.starts[shape.groups];
    MergeLoad load;
    int row_end = 0;
    for (int s = 0; s < splits; s++) {
        row_end += shared.splits[s].rows;
        if (lane == 0) {
            params.workspace.splits[s].row_end = row_end;
        }
        add_rows(load, min(lane, kMergeWays - 1), shared.splits[s]);
    }
    /* Where most groups have nothing to do, combine stays on half of the processors: the next decode starts on others. */
    int busy = 0;
    for (int group = lane; group < shape.groups; group += 32) {
        const Cut begin = shared.cuts[group], end = shared.cuts[group + 1];
        busy += begin.live != end.live || begin.page != end.page;
    }
    busy = __reduce_add_sync(~0u, busy);
    const int ctas = busy * 2 > shape.groups ? params.merge_grid : shape.groups * shape.tile_stride;
    const int64_t time = lane < kMergeWays ? time_of(load, lane, ctas) : INT64_MAX;
    if (lane == cheapest_lane(time)) {
        params.workspace.header->merge_way = lane;
        params.workspace.header->merge_items = items_of(load, lane);
        params.workspace.header->merge_ctas = ctas;
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
    __syncthreads();
    order_requests(shared, params.workspace, totals.live());
    __syncthreads();
    if (warp < 2) {
        try_budgets(shared, params, totals, warp == 0);
    }
    __syncthreads();
    if (warp == 0) {
        choose_cuts(shared, params);
    }
    __syncthreads();
    const int groups = params.shape.groups;
    for (int group = warp; group < groups; group += kWarps) {
        const Cut begin = shared.cuts[group];
        write_segments(params, group, begin.live + shared.inside[group], begin, shared.cuts[group + 1]);
    }
    if (threadIdx.x < groups) {
        write_split(shared, params, threadIdx.x);
    }
    __syncthreads();
    if (warp == 0) {
        divide_merge(shared, params);
    }
}
