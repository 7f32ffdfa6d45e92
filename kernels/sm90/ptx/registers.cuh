/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_REGISTERS_CUH
#define HM_SM90_PTX_REGISTERS_CUH

/** @file
 * Moves registers between the warpgroups of a CTA. Each warpgroup's role must be one branch of a single if/else, else
 * ptxas ignores it (C7508). */

template <int Registers> __device__ __forceinline__ void registers_grow()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}

template <int Registers> __device__ __forceinline__ void registers_shrink()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

#endif
