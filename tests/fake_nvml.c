/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_nvml.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define DEVICE ((void *)&fake_nvml_state)

enum {
    FAILED = 999
};

fake_nvml fake_nvml_state;

/* What the library finds by name; nothing declares them. */
int cuDeviceGet(int *device, int ordinal);
int cuDeviceGetPCIBusId(char *text, int size, int device);
int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device);
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz);
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);

static int fails(const char *name)
{
    return fake_nvml_state.fails != NULL && strcmp(fake_nvml_state.fails, name) == 0 ? FAILED : 0;
}

int cuDeviceGet(int *device, int ordinal)
{
    *device = ordinal + 100; /* a handle is no ordinal */
    return fails(__func__);
}

int cuDeviceGetPCIBusId(char *text, int size, int device)
{
    snprintf(text, (size_t)size, "0000:%02x:00.0", (unsigned)device);
    return fails(__func__);
}

int nvmlInit_v2(void)
{
    if (fails(__func__))
        return FAILED;
    ++fake_nvml_state.open;
    return 0;
}

int nvmlShutdown(void)
{
    --fake_nvml_state.open;
    return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device)
{
    *device = DEVICE;
    return strcmp(address, "0000:65:00.0") != 0 ? FAILED : fails(__func__); /* ordinal 1 */
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz)
{
    ++fake_nvml_state.readings;
    *mhz = fake_nvml_state.mhz;
    return device != DEVICE || type != 1 ? FAILED : fails(__func__);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    *milliwatts = fake_nvml_state.milliwatts;
    return device != DEVICE ? FAILED : fails(__func__);
}
