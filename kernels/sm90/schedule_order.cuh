/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_SCHEDULE_ORDER_CUH
#define HM_SM90_SCHEDULE_ORDER_CUH

/** @file
 * The order of requests on the line of pages: long and short ones in turn, so that neighbours add up to about the same,
 * and groups can be given whole requests. */

#include <stdint.h>

/** A request and its pages in one word, longer ones larger, of equal ones those of lower rows. */
__device__ __forceinline__ uint32_t order_key(int row, int pages)
{
    return (uint32_t)pages << 16 | (65535 - row); /* 2^14 pages and 2^16 rows at most */
}
__device__ __forceinline__ int key_row(uint32_t key)
{
    return 65535 - (int)(key & 65535);
}
__device__ __forceinline__ int key_pages(uint32_t key)
{
    return (int)(key >> 16);
}

/** Which of two keys place i keeps: runs are ordered downwards and upwards in turn. */
__device__ __forceinline__ uint32_t settle(uint32_t key, uint32_t other, int i, int distance, int run)
{
    const bool larger = ((i & distance) == 0) == ((i & run) == 0);
    return larger ? max(key, other) : min(key, other);
}

/** Sorts keys, one a thread, of the first `size` threads, a power of two, the largest first: a bitonic network. All
 * threads; what others hold is 0. `buffers` has room for 2 · kSize keys, of which every stage between warps takes half. */
template <int kSize> __device__ __forceinline__ uint32_t sort_keys(uint32_t key, uint32_t *buffers, int size)
{
    const int i = threadIdx.x;
    uint32_t *to = buffers, *last = buffers + kSize;
    for (int run = 2; run <= size; run *= 2) {
        int distance = run / 2;
        for (; distance >= 32; distance /= 2) {
            to[i] = key;
            __syncthreads();
            key = settle(key, to[i ^ distance], i, distance, run);
            uint32_t *const free = last;
            last = to;
            to = free;
        }
        if ((i & ~31) < size) {
            for (; distance > 0; distance /= 2) {
                key = settle(key, __shfl_xor_sync(~0u, key, distance), i, distance, run);
            }
        }
    }
    return key;
}

/** Which of `count` sorted keys stands at a place of the line: the longest, the shortest, the second longest … */
__device__ __forceinline__ int alternate(int place, int count)
{
    return place % 2 == 0 ? place / 2 : count - 1 - place / 2;
}

#endif
