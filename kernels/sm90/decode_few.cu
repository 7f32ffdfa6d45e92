/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The decode kernel for requests of few query rows: persistent CTAs of two consumer warpgroups and a loader warp, each
 * CTA with a tile of 16 or 32 rows, follow the schedule in the workspace. */

#include "tile_few_cta.cuh"

template <typename Element, int N, bool Rope>
__device__ __forceinline__ void decode_few(const CacheMaps &maps, const Params &params)
{
    extern __shared__ unsigned char shared_bytes[];
    FewCommon &shared = *reinterpret_cast<FewShared<N> *>(shared_bytes);
    release_early(params);
    start_few_cta<Rope>(shared, maps);
    wait_for_schedule(params);
    const WorkRead read(params, threadIdx.x == kFewConsumers);
    run_few_cta<Element, N, Rope, kConsumerRegisters, kLoaderRegisters>(shared, maps, params, read);
}

#define DECODE_FEW(name, Element, N, rope)                                                                             \
    extern "C" __global__ void __maxnreg__(kFewStartRegisters)                                                         \
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
