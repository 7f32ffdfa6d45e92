/* SPDX-License-Identifier: Apache-2.0 */

#include "probe.h"
#include "ptx/mbarrier.cuh"
#include "ptx/tma.cuh"
#include "ptx/wgmma.cuh"

/** @file
 * Kernels that do one thing as fast as the device can, for hopmla_measure_ceilings. They work on random values: zeros
 * draw less power, and power is what limits both. */

__device__ __forceinline__ uint32_t scramble(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/** Two bfloat16 values of random sign and mantissa, 0.125 to 2 in size. */
__device__ __forceinline__ uint32_t random_pair(uint32_t seed)
{
    const uint32_t bits = scramble(seed);
    return (bits & 0x81FF81FFu) + 0x3E003E00u;
}

extern "C" __global__ void __launch_bounds__(HM_PROBE_THREADS) hm_probe_fill(uint4 *data, uint64_t vectors)
{
    const uint64_t threads = static_cast<uint64_t>(gridDim.x) * blockDim.x;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < vectors; i += threads) {
        const uint32_t seed = static_cast<uint32_t>(i) * 4;
        data[i] = make_uint4(random_pair(seed), random_pair(seed + 1), random_pair(seed + 2), random_pair(seed + 3));
    }
}

/** Reads everything once. `vectors` is a multiple of what the grid reads in one round. The result is of no use, but the
 * compiler cannot know that it will never be the one value that would be stored. */
extern "C" __global__ void __launch_bounds__(HM_PROBE_THREADS)
    hm_probe_read(const uint4 *__restrict__ data, uint64_t vectors, uint32_t *sink)
{
    const uint64_t step = static_cast<uint64_t>(gridDim.x) * blockDim.x;
    uint32_t sum = 0;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < vectors;
         i += HM_PROBE_IN_FLIGHT * step) {
        uint4 values[HM_PROBE_IN_FLIGHT];
#pragma unroll
        for (uint32_t j = 0; j < HM_PROBE_IN_FLIGHT; j++) {
            values[j] = __ldg(&data[i + j * step]);
        }
#pragma unroll
        for (uint32_t j = 0; j < HM_PROBE_IN_FLIGHT; j++) {
            sum ^= values[j].x ^ values[j].y ^ values[j].z ^ values[j].w;
        }
    }
    if (sum == 0x5EED5EEDu) {
        *sink = sum;
    }
}

/** Two warpgroups, each of which multiplies its own 64×64 by four 64×256 matrices over and over, all of it in shared
 * memory. `keep` is 0: each round starts its sums anew, so that they stay of the size that they have in use. Were the 0
 * known at compile time, ptxas 13.0 would leave out the products of every round that the next one overwrites. */
extern "C" __global__ void __launch_bounds__(HM_PROBE_MULTIPLY_THREADS)
    hm_probe_multiply(uint32_t rounds, int keep, uint32_t *sink)
{
    extern __shared__ __align__(1024) uint32_t words[];
    for (uint32_t i = threadIdx.x; i < HM_PROBE_MULTIPLY_SHARED / 4; i += blockDim.x) {
        words[i] = random_pair(i + blockIdx.x * (HM_PROBE_MULTIPLY_SHARED / 4));
    }
    fence_async_proxy();
    __syncthreads();

    const uint32_t base = shared_address(words);
    const uint64_t a = describe_rows(base + threadIdx.x / 128 * HM_PROBE_A_BYTES);
    const uint64_t b = describe_columns(base + 2 * HM_PROBE_A_BYTES);
    float d[128];
#pragma unroll
    for (uint32_t i = 0; i < 128; i++) {
        d[i] = 0.0f;
    }
#pragma unroll 1
    for (uint32_t round = 0; round < rounds; round++) {
        wgmma_fence();
#pragma unroll
        for (uint32_t i = 0; i < HM_PROBE_PRODUCTS; i++) {
            const uint32_t tile = i / 4;
            const uint32_t k = i % 4;
            Wgmma<Bf16>::values(d, a + 2 * k, b + tile * (HM_PROBE_B_BYTES / 16) + 128 * k, i > 0 ? 1 : keep);
        }
        wgmma_commit();
        wgmma_wait<0>();
    }
    float sum = 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < 128; i++) {
        sum += d[i];
    }
    if (sum == 1234567.0f) {
        *sink = 1;
    }
}
