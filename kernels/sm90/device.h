/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_DEVICE_H
#define HM_SM90_DEVICE_H

/** @file
 * A context on a Hopper device, with every kernel loaded. */

#include "kernels/backend.h"
#include "kernels/sm90/driver.h"
#include "kernels/sm90/kernels.h"

struct hm_device {
    hm_cu_context context;
    hm_cu_device device;
    int32_t ordinal;
    int32_t owns_primary; /* the device's primary context was retained, and is released at close */
    uint32_t sm_count;
    uint32_t max_shared_bytes; /* dynamic shared memory that one CTA may ask for */
    uint32_t forced_rows;      /* of a tile, for experiments and tests: HOPMLA_TILE_ROWS in the environment; else 0 */
    uint32_t clusters[HM_SM90_CLUSTER_SIZES]; /* of 2, 4, 8, 16 CTAs of decode_cluster that it holds at one time */
    uint64_t memory_bytes;
    uint64_t l2_bytes;
    hm_cu_library libraries[HM_CUBIN_COUNT];
    hm_cu_function functions[HM_KERNEL_COUNT];
    char name[128];
};

hopmla_status hm_sm90_open(const hm_open_options *options, hm_device **device, hopmla_error *error);
void hm_sm90_close(hm_device *device);
void hm_sm90_describe(const hm_device *device, hopmla_context_info *info);

/** Makes the device's context current on the calling thread, and puts the former one back. The table in backend.c
 * does both around whatever needs it; functions that it calls find the context current. */
hopmla_status hm_sm90_enter(hm_device *device, hopmla_error *error);
void hm_sm90_leave(hm_device *device);

#endif
