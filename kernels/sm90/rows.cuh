/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_ROWS_CUH
#define HM_SM90_ROWS_CUH

/** @file
 * A cached row, moved by one warp: 64 vectors of 16 bytes, of which lane i has i and i + 32, and those of the rope part,
 * eight or none, one in each of the first lanes. */

#include "args.h"

constexpr uint32_t kWarp = 32;

struct RowAddress {
    char *latent;
    char *rope;
};

/** Three vectors a lane; all are loaded before any is stored, so that a warp has a whole row on its way. */
struct RowPart {
    uint4 low;
    uint4 high;
    uint4 rope;
};

__device__ __forceinline__ RowAddress row_in_page(const hm_row_layout &pages, uint32_t page, uint32_t token)
{
    return { pages.latent + page * pages.latent_page_stride + token * pages.latent_row_stride,
             pages.rope + page * pages.rope_page_stride + token * pages.rope_row_stride };
}

__device__ __forceinline__ void store_row(const RowAddress &row, const RowPart &part, uint32_t lane,
                                          uint32_t rope_vectors)
{
    reinterpret_cast<uint4 *>(row.latent)[lane] = part.low;
    reinterpret_cast<uint4 *>(row.latent)[lane + kWarp] = part.high;
    if (lane < rope_vectors) {
        reinterpret_cast<uint4 *>(row.rope)[lane] = part.rope;
    }
}

/** Ordinary loads, not those of the read-only path: these may not be moved before griddepcontrol.wait. */
__device__ __forceinline__ RowPart load_row(const char *latent, const char *rope, uint32_t lane, uint32_t rope_vectors)
{
    RowPart part;
    part.low = reinterpret_cast<const uint4 *>(latent)[lane];
    part.high = reinterpret_cast<const uint4 *>(latent)[lane + kWarp];
    part.rope = make_uint4(0, 0, 0, 0);
    if (lane < rope_vectors) {
        part.rope = reinterpret_cast<const uint4 *>(rope)[lane];
    }
    return part;
}

#endif
