/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_SHAPE_H
#define HM_SM90_SHAPE_H

/** @file
 * What an envelope leads to on a device: tile, division of the CTAs, workspace. Nothing of it depends on a batch, so that
 * a captured graph fits all that the plan is updated to. */

#include "kernels/sm90/device.h"
#include "kernels/sm90/params.h"

/** A tile, the query rows (token, head) that a CTA holds, and the kernels for it. */
typedef struct hm_sm90_tile {
    uint32_t rows;
    uint32_t threads;
    uint32_t shared_bytes;
    hm_kernel kernels[HOPMLA_KV_FP16_NOPE + 1]; /* by HOPMLA_KV_* */
} hm_sm90_tile;

/** Asks how many clusters the device holds, which shapes depend on. Once, when its kernels are loaded. */
hopmla_status hm_sm90_count_clusters(hm_device *device, hopmla_error *error);

hm_sm90_shape hm_sm90_shape_of(const hm_device *device, const hm_envelope *envelope);
const hm_sm90_tile *hm_sm90_tile_of(const hm_sm90_shape *shape);

/** CTAs of combine. */
uint32_t hm_sm90_merge_grid(const hm_device *device, const hm_envelope *envelope, const hm_sm90_shape *shape);

/** Lays the workspace out at `base`, which may be NULL. @return its size, a multiple of 1024 */
uint64_t hm_sm90_lay_out(const hm_sm90_shape *shape, void *base, hm_sm90_workspace *workspace);

#endif
