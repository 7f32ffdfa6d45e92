/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The decode kernel for requests of few query rows: persistent CTAs of two consumer warpgroups and a loader warp, each
 * CTA with a tile of 16 or 32 rows, follow the schedule in the workspace. */

#include "ptx/registers.cuh"
#include "tile_few.cuh"

/* A CTA starts with as few registers as let combine start beside it: in a quarter of a processor 3 warps of 104 and 2 of
 * combine's 96, of 512. The loader's warpgroup, three of whose warps have nothing to do, gives most of its own away. */
constexpr int kStartRegisters = 104;
constexpr int kConsumerRegisters = 144;
constexpr int kLoaderRegisters = 24;
static_assert(HM_SM90_DECODE_THREADS == kFewConsumers + kWarpgroup, "two consumer warpgroups and the loader's");
static_assert(2 * kConsumerRegisters + kLoaderRegisters == 3 * kStartRegisters, "no more than there are");
static_assert(3 * kStartRegisters + 2 * HM_SM90_COMBINE_REGISTERS <= 512, "combine beside it");

template <bool Rope, int N>
__device__ __forceinline__ void start_cta(FewShared<N> &shared, const Params &params, const CacheMaps &maps)
{
    if (params.early) {
        grid_release_dependents();
    }
    if (threadIdx.x == kFewConsumers) {
        for (int slot = 0; slot < kFewSlots; slot++) {
            mbarrier_init(shared_address(&shared.full[slot]), 1);
            mbarrier_init(shared_address(&shared.empty[slot]), kFewConsumers / 32);
        }
        mbarrier_init(shared_address(&shared.half_full), 1);
        mbarrier_fence_init();
        tma_prefetch_map(&maps.latent);
        if constexpr (Rope) {
            tma_prefetch_map(&maps.rope);
        }
        if (params.early) {
            load_early_page<Rope>(shared, params, maps);
        }
    }
    read_work(shared.work, params);
}

template <typename Element, int N, bool Rope>
__device__ __forceinline__ void decode_few(const CacheMaps &maps, const Params &params)
{
    extern __shared__ unsigned char shared_bytes[];
    FewShared<N> &shared = *reinterpret_cast<FewShared<N> *>(shared_bytes);
    start_cta<Rope>(shared, params, maps);
    if (threadIdx.x < kFewConsumers) {
        registers_grow<kConsumerRegisters>();
        FewTile<Element, N, Rope>(shared, params).run();
    } else {
        registers_shrink<kLoaderRegisters>();
        if (threadIdx.x < kFewConsumers + 32) {
            run_few_loader<Rope>(shared, params, maps);
        }
    }
}

#define DECODE_FEW(name, Element, N, rope)                                                                             \
    extern "C" __global__ void __maxnreg__(kStartRegisters)                                                            \
        hm_decode_##name(const __grid_constant__ CacheMaps maps, const __grid_constant__ Params params)                \
    {                                                                                                                  \
        decode_few<Element, N, rope>(maps, params);                                                                    \
    }

DECODE_FEW(few16_bf16, Bf16, 16, true)
DECODE_FEW(few16_fp16, Fp16, 16, true)
DECODE_FEW(few32_bf16, Bf16, 32, true)
DECODE_FEW(few32_fp16, Fp16, 32, true)
DECODE_FEW(nope_few16_bf16, Bf16, 16, false)
DECODE_FEW(nope_few16_fp16, Fp16, 16, false)
DECODE_FEW(nope_few32_bf16, Bf16, 32, false)
DECODE_FEW(nope_few32_fp16, Fp16, 32, false)
