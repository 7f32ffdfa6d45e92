/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_CLUSTER_CUH
#define HM_SM90_PTX_CLUSTER_CUH

/** @file
 * CTAs of a cluster, and stores to each other's shared memory. */

#include <stdint.h>

/** The CTA's place in its cluster. */
__device__ __forceinline__ uint32_t cluster_rank()
{
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/** A barrier of all threads of the cluster, in two halves. The first orders nothing: mbarriers that a thread has set up
 * before, with mbarrier_fence_init, are there for all behind the second, other writes need not be. */
__device__ __forceinline__ void cluster_arrive()
{
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait()
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/** The same address in the shared memory of CTA `rank`. */
__device__ __forceinline__ uint32_t cluster_address(uint32_t address, uint32_t rank)
{
    uint32_t remote;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    return remote;
}

/** Stores to a CTA of the cluster; when the bytes are there, they count at a barrier beside them, and whoever waits for
 * that may read them. */
__device__ __forceinline__ void store_cluster(uint32_t address, const uint4 &words, uint32_t barrier)
{
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(address),
        "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w), "r"(barrier)
        : "memory");
}

__device__ __forceinline__ void store_cluster(uint32_t address, float value, uint32_t barrier)
{
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(address),
                 "r"(__float_as_uint(value)), "r"(barrier)
                 : "memory");
}

#endif
