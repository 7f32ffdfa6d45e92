/* SPDX-License-Identifier: Apache-2.0 */
#include "nvml.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    PCI_ADDRESS = 32, /* "00000000:1B:00.0" and a NUL are 17 */
    CLOCK_SM = 1      /* NVML_CLOCK_SM */
};

typedef struct nvml_device nvml_device;

struct nvml {
    void *library;
    nvml_device *device;
    int (*shutdown)(void);
    int (*get_clock)(nvml_device *device, int type, unsigned *mhz);
    int (*get_power)(nvml_device *device, unsigned *milliwatts);
};

/** ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bits are the same. */
static bool find(void *library, const char *name, void *slot)
{
    void *symbol = dlsym(library, name);
    memcpy(slot, &symbol, sizeof(symbol));
    return symbol != NULL;
}

static void *open_library(const char *variable, const char *usual)
{
    const char *other = getenv(variable);
    return dlopen(other != NULL ? other : usual, RTLD_NOW | RTLD_LOCAL);
}

/** Asks the driver for the address of one of its devices. */
static bool find_address(int32_t ordinal, char address[PCI_ADDRESS])
{
    int (*get_device)(int *device, int ordinal);
    int (*get_address)(char *text, int size, int device);
    int device = 0;
    void *library = open_library("HOPMLA_LIBCUDA", "libcuda.so.1");
    if (library == NULL)
        return false;
    bool found = find(library, "cuDeviceGet", &get_device) && find(library, "cuDeviceGetPCIBusId", &get_address) &&
                 get_device(&device, ordinal) == 0 && get_address(address, PCI_ADDRESS, device) == 0;
    dlclose(library); /* whoever initialised it holds it */
    return found;
}

nvml *nvml_open(int32_t ordinal)
{
    char address[PCI_ADDRESS];
    int (*init)(void);
    int (*get_handle)(const char *address, nvml_device **device);
    if (!find_address(ordinal, address))
        return NULL;
    nvml *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return NULL;
    n->library = open_library("HOPMLA_LIBNVML", "libnvidia-ml.so.1");
    if (n->library == NULL)
        goto free_handle;
    if (!find(n->library, "nvmlInit_v2", &init) || !find(n->library, "nvmlShutdown", &n->shutdown) ||
        !find(n->library, "nvmlDeviceGetHandleByPciBusId_v2", &get_handle) ||
        !find(n->library, "nvmlDeviceGetClockInfo", &n->get_clock) ||
        !find(n->library, "nvmlDeviceGetPowerUsage", &n->get_power) || init() != 0)
        goto close_library;
    if (get_handle(address, &n->device) != 0)
        goto shut_down;
    return n;
shut_down:
    n->shutdown();
close_library:
    dlclose(n->library);
free_handle:
    free(n);
    return NULL;
}

void nvml_close(nvml *n)
{
    if (n == NULL)
        return;
    n->shutdown();
    dlclose(n->library);
    free(n);
}

bool nvml_read(nvml *n, nvml_reading *reading)
{
    unsigned mhz = 0, milliwatts = 0;
    if (n->get_clock(n->device, CLOCK_SM, &mhz) != 0 || n->get_power(n->device, &milliwatts) != 0)
        return false;
    *reading = (nvml_reading){ mhz, milliwatts / 1e3 };
    return true;
}
