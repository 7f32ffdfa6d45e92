/* SPDX-License-Identifier: Apache-2.0 */

#include "args.h"

/** @file
 * What a plan's update does on the device. */

__device__ __forceinline__ void write_rows(const hm_apply_args &args, uint32_t thread, uint32_t threads)
{
    for (uint32_t i = thread; i <= args.max_batch; i += threads) {
        const bool live = i < args.count;
        const int32_t kv_len = live ? args.kv_lens[i] : 0;
        const int32_t q_len = live ? args.q_lens[i] : 0;
        const int32_t q_start = live ? args.q_starts[i] : args.q_total;
        const int32_t append_start = live ? args.append_starts[i] : args.append_total;
        args.to_q_starts[i] = q_start;
        args.to_append_starts[i] = append_start;
        if (i < args.max_batch) {
            args.to_kv_lens[i] = kv_len;
            args.to_q_lens[i] = q_len;
        }
    }
    if (thread == 0) {
        *args.to_count = static_cast<int32_t>(args.count);
    }
}

/** Page ids that a lane has on their way at a time. */
constexpr uint32_t kIdsInFlight = 8;

/** block_table[row][first + i] = page_ids[offset + i], a warp a run. */
__device__ __forceinline__ void write_runs(const hm_apply_args &args, uint32_t thread, uint32_t threads)
{
    for (uint32_t i = thread / 32; i < args.run_count; i += threads / 32) {
        const uint4 run = static_cast<const uint4 *>(args.runs)[i]; /* row, first, n, offset */
        int32_t *to = args.to_block_table + run.x * args.table_stride + run.y;
        for (uint32_t first = thread % 32; first < run.z; first += 32 * kIdsInFlight) {
            int32_t ids[kIdsInFlight];
#pragma unroll
            for (uint32_t j = 0; j < kIdsInFlight; j++) {
                const uint32_t k = first + 32 * j;
                if (k < run.z) {
                    ids[j] = args.page_ids[run.w + k];
                }
            }
#pragma unroll
            for (uint32_t j = 0; j < kIdsInFlight; j++) {
                const uint32_t k = first + 32 * j;
                if (k < run.z) {
                    to[k] = ids[j];
                }
            }
        }
    }
}

/** The sources are in host memory, a microsecond or more away: the first row_ctas CTAs write the rows' arrays while the
 * others write the runs, and nothing is read there that the host could pass as an argument. */
extern "C" __global__ void __launch_bounds__(256) hm_apply(const __grid_constant__ hm_apply_args args)
{
    if (blockIdx.x < args.row_ctas) {
        write_rows(args, blockIdx.x * blockDim.x + threadIdx.x, args.row_ctas * blockDim.x);
    } else {
        write_runs(args, (blockIdx.x - args.row_ctas) * blockDim.x + threadIdx.x,
                   (gridDim.x - args.row_ctas) * blockDim.x);
    }
}

/** Vectors that a thread has on their way at a time: three rounds of 256 threads move a full page. */
constexpr uint32_t kInFlight = 6;

/** CTA x carries out copy x in the layers y, y + gridDim.y, …: the first rows of the source page go to the destination
 * page. */
template <uint32_t RowVectors> __device__ __forceinline__ void copy_pages(const hm_copy_pages_args &args)
{
    const int4 copy = static_cast<const int4 *>(args.copies)[blockIdx.x]; /* source, destination, tokens */
    const hm_row_layout &pages = args.pages;
    const uint32_t vectors = static_cast<uint32_t>(copy.z) * RowVectors;
    const int64_t distance = static_cast<int64_t>(copy.y) - copy.x;
    const int64_t latent_distance = distance * static_cast<int64_t>(pages.latent_page_stride);
    const int64_t rope_distance = distance * static_cast<int64_t>(pages.rope_page_stride);

    for (uint32_t layer = blockIdx.y; layer < args.layers; layer += gridDim.y) {
        char *latent = pages.latent + layer * args.layer_stride + copy.x * pages.latent_page_stride;
        char *rope = pages.rope + layer * args.layer_stride + copy.x * pages.rope_page_stride;
        for (uint32_t first = threadIdx.x; first < vectors; first += kInFlight * blockDim.x) {
            uint4 values[kInFlight];
            char *to[kInFlight];
#pragma unroll
            for (uint32_t j = 0; j < kInFlight; j++) {
                const uint32_t i = first + j * blockDim.x;
                const uint32_t token = i / RowVectors;
                const uint32_t vector = i % RowVectors;
                const bool is_latent = vector < HM_LATENT_VECTORS;
                char *from = is_latent ? latent + token * pages.latent_row_stride + vector * 16
                                       : rope + token * pages.rope_row_stride + (vector - HM_LATENT_VECTORS) * 16;
                to[j] = from + (is_latent ? latent_distance : rope_distance);
                if (i < vectors) {
                    values[j] = *reinterpret_cast<const uint4 *>(from);
                }
            }
#pragma unroll
            for (uint32_t j = 0; j < kInFlight; j++) {
                if (first + j * blockDim.x < vectors) {
                    *reinterpret_cast<uint4 *>(to[j]) = values[j];
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) hm_copy_pages(const __grid_constant__ hm_copy_pages_args args)
{
    if (args.pages.rope_vectors > 0) {
        copy_pages<HM_LATENT_VECTORS + HM_ROPE_VECTORS>(args);
    } else {
        copy_pages<HM_LATENT_VECTORS>(args);
    }
}
