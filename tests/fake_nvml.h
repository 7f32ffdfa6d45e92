/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H

/** @file
 * A management library for one device, and the two calls of a driver that find its address. */

typedef struct fake_nvml {
    const char *fails; /* name of the call that fails, or NULL */
    unsigned mhz;
    unsigned milliwatts;
    int open;     /* nvmlInit_v2 minus nvmlShutdown */
    int readings; /* of the clock */
} fake_nvml;

extern fake_nvml fake_nvml_state;

#endif
