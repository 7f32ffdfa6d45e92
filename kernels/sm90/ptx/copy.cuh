/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_COPY_CUH
#define HM_SM90_PTX_COPY_CUH

/** @file
 * Asynchronous copies of 16 bytes a thread from global to shared memory, and prefetches. */

#include <stdint.h>

/** Starts a copy; without `valid` it brings zeros and reads nothing. */
__device__ __forceinline__ void copy_async(uint32_t destination, const void *source, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(valid ? 16 : 0)
                 : "memory");
}

/** Waits for this thread's copies. */
__device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/** Brings the cache line of an address to L2. */
__device__ __forceinline__ void prefetch_l2(const void *address)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

#endif
