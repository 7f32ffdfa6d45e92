/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_LAUNCH_H
#define HM_SM90_LAUNCH_H

/** @file
 * The one way a kernel is launched. */

#include "kernels/sm90/device.h"

typedef struct hm_launch {
    hm_kernel kernel;
    uint32_t grid[3];      /* CTAs; 0 counts as 1 */
    uint32_t threads;      /* of a CTA */
    uint32_t shared_bytes; /* dynamic; at most what kernels.h declares */
    uint32_t cluster[2];   /* CTAs of a cluster along x and y; 0 counts as 1, both 0: none */
    /* 1: programmatic dependent launch: the kernel may start while the one before it in the stream still runs, and must
     * execute griddepcontrol.wait before it touches anything that an earlier kernel writes or reads. */
    uint32_t programmatic;
} hm_launch;

/** Enqueues a launch. The device's context is current. parameters[i] points to the i-th argument of the kernel, which
 * is copied before the call returns. */
hopmla_status hm_sm90_launch(hm_device *device, const hm_launch *launch, void **parameters, hopmla_stream stream,
                             hopmla_error *error);

/** How many clusters of a launch the device holds at one time, the driver's figure; 0 where it cannot hold one. The
 * device's context is current. @return OK, OUT_OF_DEVICE_MEMORY, CAPTURE, DRIVER_STICKY */
hopmla_status hm_sm90_clusters_at_once(hm_device *device, const hm_launch *launch, uint32_t *count,
                                       hopmla_error *error);

#endif
