/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_BARRIER_CUH
#define HM_SM90_PTX_BARRIER_CUH

/** @file
 * Named barriers of a CTA. Every warp of the `threads` arrives once a phase; those that sync also wait. A warp must not
 * arrive for the next phase before this one is complete: keep one id per ring slot. */

__device__ __forceinline__ void barrier_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void barrier_arrive(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#endif
