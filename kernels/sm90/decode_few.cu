/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The decode kernel for requests of few query rows: persistent CTAs of two consumer warpgroups and a loader warp, each
 * CTA with a tile of 16 or 32 rows, follow the schedule in the workspace. */

#include "tile_few.cuh"

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
        mbarrier_fence_init();
        tma_prefetch_map(&maps.latent);
        if constexpr (Rope) {
            tma_prefetch_map(&maps.rope);
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
    if (threadIdx.x >= kFewConsumers) {
        run_few_loader<Rope>(shared, params, maps);
        return;
    }
    FewTile<Element, N, Rope>(shared, params).run();
}

#define DECODE_FEW(name, Element, N, rope)                                                                             \
    extern "C" __global__ void __launch_bounds__(HM_SM90_FEW_THREADS, 1)                                               \
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
