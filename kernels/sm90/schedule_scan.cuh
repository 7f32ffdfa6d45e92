/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_SCHEDULE_SCAN_CUH
#define HM_SM90_SCHEDULE_SCAN_CUH

/** @file
 * Sums over the threads of the schedule's CTA, and the least over a warp. */

#include <stdint.h>

#include "params.h"

constexpr int kThreads = HM_SM90_SCHEDULE_THREADS;
constexpr int kWarps = kThreads / 32;

/** What the warps of a scan tell each other: sums of each, and up to and with each. */
template <typename Sum> struct WarpSums {
    Sum own[kWarps];
    Sum ends[kWarps];
};

__device__ __forceinline__ int32_t shift_up(int32_t value, int distance)
{
    return __shfl_up_sync(~0u, value, distance);
}

/** Sum over the lanes up to and with this one. */
template <typename Sum> __device__ __forceinline__ Sum scan_warp(Sum sum)
{
    const int lane = threadIdx.x & 31;
    for (int distance = 1; distance < 32; distance *= 2) {
        const Sum before = shift_up(sum, distance);
        if (lane >= distance) {
            sum = sum + before;
        }
    }
    return sum;
}

/** Sum over the threads before this one; `all` receives the sum over the CTA. Warps that have nothing leave the shuffle
 * unit to the others. */
template <typename Sum> __device__ __forceinline__ Sum scan(WarpSums<Sum> &warps, const Sum &value, Sum &all)
{
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    Sum sum = {};
    if (__ballot_sync(~0u, value != Sum{}) != 0) {
        sum = scan_warp(value);
    }
    if (lane == 31) {
        warps.own[warp] = sum;
    }
    __syncthreads();
    if (warp == 0) {
        warps.ends[lane] = scan_warp(warps.own[lane]);
    }
    __syncthreads();
    all = warps.ends[kWarps - 1];
    return (warp > 0 ? warps.ends[warp - 1] : Sum{}) + sum - value;
}

/** The lane of the warp whose price is the lowest; of equal ones the first. */
__device__ __forceinline__ int cheapest_lane(int64_t price)
{
    int64_t lowest = price;
    for (int distance = 16; distance > 0; distance /= 2) {
        lowest = min(lowest, (int64_t)__shfl_xor_sync(~0u, lowest, distance));
    }
    return __ffs(__ballot_sync(~0u, price == lowest)) - 1;
}

#endif
