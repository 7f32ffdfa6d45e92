/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The decode kernel: persistent CTAs of three warpgroups, each CTA with a tile of 64 query rows, follow the schedule in
 * the workspace. README.md explains how the warpgroups play together. */

#include "ptx/grid.cuh"
#include "ptx/registers.cuh"
#include "tile_scores.cuh"
#include "tile_values.cuh"

/* 184 + 160 + 160 of the 512 registers that three warpgroups have for a thread each. ptxas (nvcc 13.0) ignores
 * setmaxnreg with 152 for a warpgroup that holds 128 accumulators (C7507). */
constexpr int kScoreRegisters = 184;
constexpr int kValueRegisters = 160;

template <bool Rope>
__device__ __forceinline__ void start_cta(SharedMemory &shared, const Params &params, const CacheMaps &maps)
{
    if (params.early) {
        grid_release_dependents();
    }
    if (threadIdx.x == 0) {
        for (int slot = 0; slot < kSlots; slot++) {
            mbarrier_init(shared_address(&shared.latent_full[0][slot]), 1);
            mbarrier_init(shared_address(&shared.latent_full[1][slot]), 1);
            mbarrier_init(shared_address(&shared.rope_full[slot]), 1);
            mbarrier_init(shared_address(&shared.rope_free[slot]), 1);
            mbarrier_init(shared_address(&shared.notes_free[slot]), 2 * kWarpgroup);
        }
        mbarrier_init(shared_address(&shared.values_done), 2);
        mbarrier_init(shared_address(&shared.sums_ready), kWarpgroup);
        mbarrier_init(shared_address(&shared.sums_free), 2 * kWarpgroup);
        mbarrier_init(shared_address(&shared.query_free[0]), 2 * kWarpgroup);
        mbarrier_init(shared_address(&shared.query_free[1]), 2 * kWarpgroup);
        mbarrier_init(shared_address(&shared.query_sent), kWarpgroup);
        mbarrier_fence_init();
        tma_prefetch_map(&maps.latent);
        if constexpr (Rope) {
            tma_prefetch_map(&maps.rope);
        }
        if (params.early) {
            load_early_half(shared, params, maps);
        }
    }
    read_work(shared.work, params);
}

template <typename Element, bool Rope>
__device__ __forceinline__ void decode(const CacheMaps &maps, const Params &params)
{
    extern __shared__ unsigned char shared_bytes[];
    SharedMemory &shared = *reinterpret_cast<SharedMemory *>(shared_bytes);
    start_cta<Rope>(shared, params, maps);
    const int warpgroup = threadIdx.x / kWarpgroup;
    if (warpgroup == 0) {
        registers_grow<kScoreRegisters>();
        run_score_warpgroup<Element, Rope>(shared, params, maps);
    } else {
        registers_shrink<kValueRegisters>();
        run_value_warpgroup<Element, Rope>(shared, warpgroup - 1, params, maps);
    }
}

#define DECODE(name, Element, rope)                                                                                    \
    extern "C" __global__ void __launch_bounds__(HM_SM90_DECODE_THREADS, 1)                                            \
        hm_decode_##name(const __grid_constant__ CacheMaps maps, const __grid_constant__ Params params)                \
    {                                                                                                                  \
        decode<Element, rope>(maps, params);                                                                           \
    }

DECODE(bf16, Bf16, true)
DECODE(fp16, Fp16, true)
DECODE(nope_bf16, Bf16, false)
DECODE(nope_fp16, Fp16, false)
