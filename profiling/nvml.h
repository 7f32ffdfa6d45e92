/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVML_H
#define NVML_H

/** @file
 * Clock and power of a CUDA device, by NVIDIA's management library. It is opened at run time and never needed: where it
 * is missing there are no readings. Depends on libc alone. */

#include <stdbool.h>
#include <stdint.h>

typedef struct nvml nvml;

typedef struct nvml_reading {
    double sm_mhz; /* clock of the processors; under a power limit it has been seen to read high */
    double watts;  /* of the whole card, a mean over the driver's own window (a second on Hopper) */
} nvml_reading;

/** Opens the library and finds the device, whatever order and subset CUDA shows: by its PCI address, which libcuda.so.1
 * tells once it was initialised. HOPMLA_LIBNVML and HOPMLA_LIBCUDA name other files.
 *
 * @param ordinal  CUDA's
 * @return NULL where there is nothing to read */
nvml *nvml_open(int32_t ordinal);

/** NULL is allowed. */
void nvml_close(nvml *n);

/** Takes about a tenth of a millisecond. Not thread-safe on one handle. @return whether both could be read */
bool nvml_read(nvml *n, nvml_reading *reading);

#endif
