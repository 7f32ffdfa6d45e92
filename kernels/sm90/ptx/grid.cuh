/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_GRID_CUH
#define HM_SM90_PTX_GRID_CUH

/** @file
 * Programmatic dependent launch: the next kernel of the stream may start while this one still runs. */

/** Lets the next kernel be scheduled as soon as this grid leaves room. */
__device__ __forceinline__ void grid_release_dependents()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/** Waits until the kernel before this one has ended and its writes are visible. Nothing that an earlier kernel writes
 * may be read before it, nothing that an earlier kernel reads may be written before it. */
__device__ __forceinline__ void grid_wait_for_predecessor()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

/** Ends the thread, in the middle of a kernel. Unlike a return it also tells ptxas (nvcc 13.0) to lay out what stands before
 * it before what stands behind it, in the order of the source. */
__device__ __forceinline__ void exit_thread()
{
    asm volatile("exit;" ::: "memory");
}

#endif
