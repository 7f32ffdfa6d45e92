/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_BARRIER_CUH
#define HM_SM90_PTX_BARRIER_CUH

/** @file
 * Named barriers of a CTA. Every warp of the `threads` arrives once a phase; those that sync also wait. A warp must not
 * arrive for the next phase before this one is complete: keep one id per ring slot. */

#include <stdint.h>

__device__ __forceinline__ void barrier_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void barrier_arrive(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/** Like barrier_sync; tells whether any thread said yes. */
__device__ __forceinline__ bool barrier_any(int id, int threads, bool yes)
{
    uint32_t any;
    asm volatile("{\n"
                 ".reg .pred p, q;\n"
                 "setp.ne.b32 p, %3, 0;\n"
                 "barrier.cta.red.or.pred q, %1, %2, p;\n"
                 "selp.b32 %0, 1, 0, q;\n"
                 "}"
                 : "=r"(any)
                 : "r"(id), "r"(threads), "r"((uint32_t)yes)
                 : "memory");
    return any != 0;
}

#endif
