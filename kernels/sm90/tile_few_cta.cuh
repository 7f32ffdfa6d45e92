/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_FEW_CTA_CUH
#define HM_SM90_TILE_FEW_CTA_CUH

/** @file
 * A CTA with a tile of few rows: its start, and who does what. */

#include "ptx/registers.cuh"
#include "tile_few.cuh"
#include "tile_start.cuh"

/* A CTA starts with as few registers as let combine start beside it: in a quarter of a processor 3 warps of 104 and 2 of
 * combine's 96, of 512. The loader's warpgroup, three of whose warps have nothing to do, gives most of its own away. */
constexpr int kFewStartRegisters = 104;
constexpr int kConsumerRegisters = 144;
constexpr int kLoaderRegisters = 24;
static_assert(HM_SM90_DECODE_THREADS == kFewConsumers + kWarpgroup, "two consumer warpgroups and the loader's");
static_assert(2 * kConsumerRegisters + kLoaderRegisters == 3 * kFewStartRegisters, "no more than there are");
static_assert(3 * kFewStartRegisters + 2 * HM_SM90_COMBINE_REGISTERS <= 512, "combine beside it");

/** Sets the barriers up, and has the maps brought. The thread that asks for the first page, before any other touches
 * them. */
template <bool Rope> __device__ __forceinline__ void start_few_cta(FewCommon &shared, const CacheMaps &maps)
{
    if (threadIdx.x != kFewConsumers) {
        return;
    }
    for (int slot = 0; slot < kFewSlots; slot++) {
        mbarrier_init(shared_address(&shared.full[slot]), 1);
        mbarrier_init(shared_address(&shared.empty[slot]), kFewConsumers / 32);
    }
    mbarrier_init(shared_address(&shared.half_full), 1);
    mbarrier_fence_init();
    prefetch_maps<Rope>(maps);
}

template <typename Element, int N, bool Rope>
__device__ __forceinline__ void run_few_consumers(FewCommon &shared, const Params &params)
{
    if constexpr (N != HM_SM90_NARROW_ROWS) {
        if (uniform(shared.work.start.rows) == HM_SM90_NARROW_ROWS) {
            FewTile<Element, HM_SM90_NARROW_ROWS, Rope>(static_cast<FewShared<HM_SM90_NARROW_ROWS> &>(shared), params)
                .run();
            exit_thread();
        }
    }
    FewTile<Element, N, Rope>(static_cast<FewShared<N> &>(shared), params).run();
}

/** A CTA with a tile of N rows, or of 16 where the step is short. `read` is of the thread that asks for the first page. */
template <typename Element, int N, bool Rope, int ConsumerRegisters, int LoaderRegisters>
__device__ __forceinline__ void run_few_cta(FewCommon &shared, const CacheMaps &maps, const Params &params,
                                            const WorkRead &read)
{
    if (threadIdx.x == kFewConsumers) {
        load_early_page<Rope>(shared, params, maps, read.start);
    }
    share_work(shared.work, read);
    if (threadIdx.x >= kFewConsumers) {
        registers_shrink<LoaderRegisters>();
        if (threadIdx.x < kFewConsumers + 32) {
            run_few_loader<Rope>(shared, params, maps);
        }
        return;
    }
    registers_grow<ConsumerRegisters>();
    run_few_consumers<Element, N, Rope>(shared, params);
}

#endif
