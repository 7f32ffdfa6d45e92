/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_TMA_CUH
#define HM_SM90_PTX_TMA_CUH

/** @file
 * The copy engine (TMA) and the ordering between it, the tensor cores and ordinary accesses to shared memory. */

#include <stdint.h>

/** 128 opaque bytes, encoded on the host. */
struct alignas(64) TensorMap {
    unsigned char opaque[128];
};

/** L2 policy: lines that were read once go first. */
constexpr uint64_t kEvictFirst = 0x12F0000000000000ull;

__device__ __forceinline__ void tma_prefetch_map(const TensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/** Starts the copy of one box of a 4-D map to shared memory; its bytes complete on the barrier. Coordinates outside the
 * map bring zeros. */
__device__ __forceinline__ void tma_load(uint32_t destination, const TensorMap *map, int x, int y, int z, int w,
                                         uint32_t barrier, uint64_t policy)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint "
                 "[%0], [%1, {%2, %3, %4, %5}], [%6], %7;" ::"r"(destination),
                 "l"(map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barrier), "l"(policy)
                 : "memory");
}

/** Asks for one box of a 4-D map to be brought to L2. */
__device__ __forceinline__ void tma_prefetch(const TensorMap *map, int x, int y, int z, int w)
{
    asm volatile("cp.async.bulk.prefetch.tensor.4d.L2.global.tile [%0, {%1, %2, %3, %4}];" ::"l"(map), "r"(x), "r"(y),
                 "r"(z), "r"(w)
                 : "memory");
}

/** Orders this thread's ordinary accesses to shared memory before later ones of the tensor cores and the copy engine.
 * A barrier must follow for other threads' later accesses. */
__device__ __forceinline__ void fence_async_proxy()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#endif
