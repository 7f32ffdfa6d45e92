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

/** Sorts keys[0 … size), size a power of two, largest first: a bitonic network, a thread a key. All threads. */
__device__ __forceinline__ void sort_keys(uint32_t *keys, int size)
{
    const int i = threadIdx.x;
    for (int run = 2; run <= size; run *= 2) {
        for (int distance = run / 2; distance > 0; distance /= 2) {
            __syncthreads();
            const int other = i ^ distance;
            if (i < size && other > i) {
                const uint32_t a = keys[i], b = keys[other];
                if ((a < b) == ((i & run) == 0)) {
                    keys[i] = b;
                    keys[other] = a;
                }
            }
        }
    }
    __syncthreads();
}

/** Which of `count` sorted keys stands at a place of the line: the longest, the shortest, the second longest … */
__device__ __forceinline__ int alternate(int place, int count)
{
    return place % 2 == 0 ? place / 2 : count - 1 - place / 2;
}

#endif
