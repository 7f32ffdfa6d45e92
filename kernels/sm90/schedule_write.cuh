/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_SCHEDULE_WRITE_CUH
#define HM_SM90_SCHEDULE_WRITE_CUH

/** @file
 * Steps 4 and 5 of the schedule: the cuts that were chosen as segments, groups and splits in the workspace, and the way in
 * which combine merges these. */

#include "schedule_shared.cuh"

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

/** Segment `index` of all, which `busy` groups have. The groups are those of `narrowed`, the records the grid's. */
__device__ __forceinline__ void write_segment(const Shared &shared, const hm_sm90_schedule_params &params,
                                              const Shape &narrowed, int count, int busy, int index)
{
    const Workspace &workspace = params.workspace;
    const int group = group_of(shared, narrowed.groups, index), records = params.shape.tile_rows / narrowed.tile_rows;
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
    store_segment(&workspace.segments[index], segment);
    const bool early = i == 0 && params.block_table && segment.page_begin < segment.fresh_page;
    const int32_t page = early ? params.block_table[request * params.table_stride + segment.page_begin] : -1;
    for (int record = group * records; record < (group + 1) * records; record++) {
        hm_sm90_group &own = workspace.groups[record];
        if (i == 0) {
            own.start.early_page = page;
            own.start.early_rows = segment.q_len * narrowed.heads;
            own.start.early_whole = busy * 2 <= narrowed.groups;
        }
        if (i < HM_SM90_INLINE_SEGMENTS) {
            store_segment(&own.head[i], segment);
        }
    }
}

/** Step 4, groups and segments; the latter from the last thread on, while the first ones write splits. */
__device__ __forceinline__ void write_groups(const Shared &shared, const hm_sm90_schedule_params &params,
                                             const Shape &narrowed, int count, int busy)
{
    const int segments = shared.first[narrowed.groups];
    for (int index = kThreads - 1 - threadIdx.x; index < segments; index += kThreads) {
        write_segment(shared, params, narrowed, count, busy, index);
    }
    const int record = threadIdx.x, records = params.shape.tile_rows / narrowed.tile_rows, group = record / records;
    if (record < params.shape.groups) {
        hm_sm90_group &own = params.workspace.groups[record];
        own.start.first = group < narrowed.groups ? shared.first[group] : 0;
        own.start.count = group < narrowed.groups ? shared.first[group + 1] - shared.first[group] : 0;
        own.start.group = group;
        own.start.rows = narrowed.tile_rows;
        own.start.row = record % records * params.shape.tile_stride * narrowed.tile_rows;
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

/** In place of steps 2 to 5 where clusters hold requests: the pages of each, `parts` CTAs at most, as many for one as for
 * another but the last. A thread a CTA. */
__device__ __forceinline__ void write_clusters(const hm_sm90_schedule_params &params)
{
    const Workspace &workspace = params.workspace;
    const Shape &shape = params.shape;
    const int cta = threadIdx.x, request = cta / shape.parts, part = cta % shape.parts;
    if (cta >= shape.groups) {
        return;
    }
    hm_sm90_group &own = workspace.groups[cta];
    hm_sm90_segment segment;
    segment.request = request;
    segment.kv_len = workspace.kv_lens[request];
    segment.q_len = workspace.q_lens[request];
    segment.q_start = workspace.q_starts[request];
    const int pages = pages_of(segment.kv_len), each = max((pages + shape.parts - 1) / shape.parts, 1);
    segment.page_begin = min(part * each, pages);
    segment.page_end = min(segment.page_begin + each, pages);
    segment.fresh_page = fresh_page(params.append_starts, request, segment.kv_len);
    segment.part = (pages + each - 1) / each;
    store_segment(&own.head[0], segment);
    const bool early = params.block_table && segment.page_begin < min(segment.page_end, segment.fresh_page);
    own.start.first = 0;
    own.start.count = segment.q_len > 0 && segment.page_begin < segment.page_end;
    own.start.early_page = early ? params.block_table[request * params.table_stride + segment.page_begin] : -1;
    own.start.early_rows = segment.q_len * shape.heads;
    own.start.early_whole = true;
    own.start.group = cta;
    own.start.rows = shape.tile_rows;
    own.start.row = 0;
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

#endif
