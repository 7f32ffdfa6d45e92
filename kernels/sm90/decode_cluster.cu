/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The decode kernel for plans of few and short requests: the CTAs of a cluster hold a tile of 16 rows and a page or two
 * each, and merge what they computed among themselves. No other kernel follows. */

#include "cluster_merge.cuh"
#include "empty_rows.cuh"
#include "tile_cluster.cuh"
#include "tile_start.cuh"

constexpr int kClusterLoader = kFewConsumers; /* the first thread of the last warp */
static_assert(HM_SM90_CLUSTER_THREADS == kClusterLoader + 32, "the consumers, and a warp that loads and weighs");

/** Sets the barriers up. One thread. */
template <bool Rope> __device__ __forceinline__ void start_cluster_cta(ClusterShared &shared, const CacheMaps &maps)
{
    for (int i = 0; i < kClusterPages; i++) {
        mbarrier_init(shared_address(&shared.full[i]), 1);
    }
    mbarrier_init(shared_address(&shared.sums_ready), kFewConsumers / 32 * 4);
    mbarrier_init(shared_address(&shared.lse_arrived), 1);
    mbarrier_init(shared_address(&shared.arrived), 1 + kClusterRows);
    mbarrier_fence_init();
    prefetch_maps<Rope>(maps);
}

/** The loads of the CTA's pages, by one thread. */
template <bool Rope> struct ClusterLoader {
    ClusterShared &shared;
    const Params &params;
    const CacheMaps &maps;
    int loaded = 0;

    __device__ __forceinline__ void load(int32_t page)
    {
        load_page<Rope>(shared.pages[loaded], shared_address(&shared.full[loaded]), maps,
                        page_coordinate(params, page, true));
        loaded++;
    }
    /** The first, where the schedule knew which it is, before the CTA's work is there for all to read. */
    __device__ __forceinline__ void load_early(const hm_sm90_start &start)
    {
        const EarlyPage early(start, params);
        if (early.known) {
            load(early.page);
        }
    }
    /** The others, up to page `end` of the request. */
    __device__ __forceinline__ void load_until(int end)
    {
        const Segment &segment = shared.work.head[0];
        while (segment.page_begin + loaded < min(segment.page_end, end)) {
            load(params.block_table[segment.request * params.table_stride + segment.page_begin + loaded]);
        }
    }
};

/** The last warp: loads, and weighs the parts. */
template <bool Rope> __device__ __forceinline__ void run_last_warp(ClusterLoader<Rope> &loader)
{
    ClusterShared &shared = loader.shared;
    const Params &params = loader.params;
    const int lane = threadIdx.x - kClusterLoader;
    const bool work = has_pages(shared);
    if (lane == 0) {
        expect_parts(shared, params);
    }
    if (params.early) {
        if (lane == 0 && work) {
            loader.load_until(shared.work.head[0].fresh_page);
        }
        grid_wait_for_predecessor();
    }
    if (work) {
        if (lane == 0) {
            loader.load_until(INT32_MAX);
        }
        mbarrier_wait(shared_address(&shared.sums_ready), 0);
        if (lane < kClusterRows) {
            ClusterTarget(shared, params).store_lse(lane, few_lse(shared, lane));
        }
        __syncwarp();
    }
    weigh_parts(shared, params);
}

template <typename Element, bool Rope, int Pages>
__device__ __forceinline__ void run_consumers(ClusterShared &shared, const Params &params)
{
    if (has_pages(shared)) {
        const FewQuery<kClusterRows, Rope> query(params, shared.work.head[0], first_row(shared.work.start));
        if (params.early) {
            grid_wait_for_predecessor();
        }
        query.start(shared);
        ClusterTile<Element, Rope>(shared, params).template run<Pages>();
    } else if (params.early) {
        grid_wait_for_predecessor();
    }
    merge_parts<Element>(shared, params);
}

/** The query tokens from `first` on, beyond the batch, shared by all CTAs. */
__device__ __forceinline__ void write_tail(const Params &params, int first)
{
    const int cta = blockIdx.y * gridDim.x + blockIdx.x, ctas = gridDim.x * gridDim.y;
    write_empty_tokens<kFewConsumers / 32>(params, first + cta, params.rows, ctas);
}

template <typename Element, bool Rope, int Pages>
__device__ __forceinline__ void decode_cluster(const CacheMaps &maps, const Params &params)
{
    extern __shared__ unsigned char shared_bytes[];
    ClusterShared &shared = *reinterpret_cast<ClusterShared *>(shared_bytes);
    release_early(params);
    if (threadIdx.x == kClusterLoader) {
        start_cluster_cta<Rope>(shared, maps);
    }
    __syncwarp();
    cluster_arrive();
    wait_for_schedule(params);
    const WorkRead read(params, threadIdx.x == kClusterLoader);
    ClusterLoader<Rope> loader{ shared, params, maps };
    if (threadIdx.x == kClusterLoader) {
        loader.load_early(read.start);
    }
    const int q_total = params.workspace.header->q_total;
    share_work(shared.work, read);
    cluster_wait(); /* the barriers of all CTAs are set up */
    if (threadIdx.x >= kClusterLoader) {
        run_last_warp(loader);
        return;
    }
    run_consumers<Element, Rope, Pages>(shared, params);
    write_tail(params, q_total);
}

#define DECODE_CLUSTER(name, Element, rope, pages)                                                                     \
    extern "C" __global__ void __launch_bounds__(HM_SM90_CLUSTER_THREADS, 1)                                           \
        hm_decode_##name(const __grid_constant__ CacheMaps maps, const __grid_constant__ Params params)                \
    {                                                                                                                  \
        decode_cluster<Element, rope, pages>(maps, params);                                                            \
    }

DECODE_CLUSTER(cluster1_bf16, Bf16, true, 1)
DECODE_CLUSTER(cluster1_fp16, Fp16, true, 1)
DECODE_CLUSTER(cluster2_bf16, Bf16, true, 2)
DECODE_CLUSTER(cluster2_fp16, Fp16, true, 2)
DECODE_CLUSTER(nope_cluster1_bf16, Bf16, false, 1)
DECODE_CLUSTER(nope_cluster1_fp16, Fp16, false, 1)
DECODE_CLUSTER(nope_cluster2_bf16, Bf16, false, 2)
DECODE_CLUSTER(nope_cluster2_fp16, Fp16, false, 2)
