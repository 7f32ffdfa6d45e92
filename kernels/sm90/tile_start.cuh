/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_START_CUH
#define HM_SM90_TILE_START_CUH

/** @file
 * How a CTA learns its work. */

#include "ptx/copy.cuh"
#include "tile_work.cuh"

constexpr int kWorkWords = sizeof(hm_sm90_group) / sizeof(int32_t);

/** Lets the next kernel be scheduled, combine or another layer's, where it need not count on all that came before being
 * over. */
__device__ __forceinline__ void release_early(const Params &params)
{
    if (params.early) {
        grid_release_dependents();
    }
}

template <bool Rope> __device__ __forceinline__ void prefetch_maps(const CacheMaps &maps)
{
    tma_prefetch_map(&maps.latent);
    if constexpr (Rope) {
        tma_prefetch_map(&maps.rope);
    }
}

/** The schedule may be read behind this: at once in a plan, in a raw call when the kernel before is over. */
__device__ __forceinline__ void wait_for_schedule(const Params &params)
{
    if (!params.early) {
        grid_wait_for_predecessor();
        grid_release_dependents(); /* not before: the next kernel counts on it */
    }
}

/** What a thread reads of the group's work, in one round. */
struct WorkRead {
    hm_sm90_start start; /* of a thread that needs it */
    int32_t word;        /* one for each of the first threads */

    __device__ __forceinline__ WorkRead(const Params &params, bool needs_start)
    {
        const hm_sm90_group *const group = params.workspace.groups + blockIdx.y;
        const int32_t *const words = reinterpret_cast<const int32_t *>(group);
        word = load_global(words + threadIdx.x, threadIdx.x < kWorkWords);
        if (needs_start) {
            const int4 low = reinterpret_cast<const int4 *>(group)[0], high = reinterpret_cast<const int4 *>(group)[1];
            start = { low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w };
        }
        if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == kWorkWords &&
            params.workspace.header->q_total > params.rows) {
            atomicOr(&params.workspace.header->error, HM_SM90_BAD_ROWS);
        }
    }
};

/** Brings it to shared memory, and whatever else was set up there to all threads. */
__device__ __forceinline__ void share_work(hm_sm90_group &work, const WorkRead &read)
{
    if (threadIdx.x < kWorkWords) {
        reinterpret_cast<int32_t *>(&work)[threadIdx.x] = read.word;
    }
    __syncthreads();
}

#endif
