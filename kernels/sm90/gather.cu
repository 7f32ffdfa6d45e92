/* SPDX-License-Identifier: Apache-2.0 */

#include "args.h"
#include "ptx/grid.cuh"
#include "rows.cuh"

/** @file
 * Cached rows of one sequence to a dense array, a warp a token. What the sequence does not hold is written as 0. */

extern "C" __global__ void __launch_bounds__(256) hm_gather(const __grid_constant__ hm_gather_args args)
{
    grid_release_dependents();
    grid_wait_for_predecessor();

    const uint32_t lane = threadIdx.x % kWarp;
    const uint64_t warp = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
    const uint64_t warps = static_cast<uint64_t>(gridDim.x) * blockDim.x / kWarp;
    const bool live = !args.row_count || args.row < static_cast<uint32_t>(*args.row_count);
    const uint64_t length = live ? static_cast<uint64_t>(*args.kv_len) : 0;

    for (uint64_t i = warp; i < args.count; i += warps) {
        const uint64_t place = args.first + i;
        RowPart part = {};
        if (place < length) {
            const uint32_t page = static_cast<uint32_t>(args.block_table[place / HM_PAGE_TOKENS]);
            if (page < args.pages.count) {
                const RowAddress row = row_in_page(args.pages, page, place % HM_PAGE_TOKENS);
                part = load_row(row.latent, row.rope, lane, args.pages.rope_vectors);
            }
        }
        char *to = args.destination + static_cast<int64_t>(i) * args.stride;
        store_row({ to, to + HM_LATENT_VECTORS * 16 }, part, lane, args.pages.rope_vectors);
    }
}
