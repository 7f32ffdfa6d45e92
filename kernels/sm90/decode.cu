/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The decode kernel: persistent CTAs of three warpgroups, each CTA with a tile of 64 query rows, or of 16 in short steps,
 * follow the schedule in the workspace. README.md explains how the warpgroups play together. */

#include "ptx/grid.cuh"
#include "tile_scores.cuh"
#include "tile_few_cta.cuh"
#include "tile_values.cuh"

/* 184 + 160 + 160 of the 512 registers that three warpgroups have for a thread each. ptxas (nvcc 13.0) ignores
 * setmaxnreg with 152 for a warpgroup that holds 128 accumulators (C7507). */
constexpr int kScoreRegisters = 184;
constexpr int kValueRegisters = 160;
constexpr int kNarrowLoaderRegisters = 136;
static_assert(2 * kScoreRegisters + kNarrowLoaderRegisters <= 3 * 168,
              "of consumers of narrow tiles, and their loader");

/** Sets the barriers up, and has the maps brought. The thread that asks for the first page, before any other touches
 * them. */
template <bool Rope> __device__ __forceinline__ void start_cta(SharedMemory &shared, const CacheMaps &maps)
{
    if (threadIdx.x != 0) {
        return;
    }
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
    prefetch_maps<Rope>(maps);
}

template <typename Element, bool Rope>
__device__ __forceinline__ void run_cta(SharedMemory &shared, const CacheMaps &maps, const Params &params,
                                        const WorkRead &read)
{
    if (threadIdx.x == 0) {
        load_early_half(shared, params, maps, read.start);
    }
    share_work(shared.work, read);
    const int warpgroup = threadIdx.x / kWarpgroup;
    if (warpgroup == 0) {
        registers_grow<kScoreRegisters>();
        run_score_warpgroup<Element, Rope>(shared, params, maps);
    } else {
        registers_shrink<kValueRegisters>();
        run_value_warpgroup<Element, Rope>(shared, warpgroup - 1, params, maps);
    }
}

/** Tiles of 64 rows, or of 16 where the step is short. */
template <typename Element, bool Rope>
__device__ __forceinline__ void decode(const CacheMaps &maps, const Params &params)
{
    extern __shared__ unsigned char shared_bytes[];
    SharedMemory &shared = *reinterpret_cast<SharedMemory *>(shared_bytes);
    release_early(params);
    start_cta<Rope>(shared, maps);
    wait_for_schedule(params);
    const WorkRead read(params, true);
    if (uniform(read.start.rows) == kTileRows) {
        run_cta<Element, Rope>(shared, maps, params, read);
        exit_thread();
    }
    FewCommon &narrow = *reinterpret_cast<FewShared<HM_SM90_NARROW_ROWS> *>(shared_bytes);
    start_few_cta<Rope>(narrow, maps);
    run_few_cta<Element, HM_SM90_NARROW_ROWS, Rope, kScoreRegisters, kNarrowLoaderRegisters>(narrow, maps, params,
                                                                                             read);
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
