/* SPDX-License-Identifier: Apache-2.0 */

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/sm90/driver.h"
#include "lib/error.h"

/* cuLibraryLoadData and cuGetProcAddress_v2 came with it. */
#define OLDEST_DRIVER 12000

hm_driver hm_cu;

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static int loaded;

typedef hm_cu_result (*get_proc_address)(const char *symbol, void **function, int version, uint64_t flags,
                                         int *symbol_status);

/* ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bits are the same. */
static void set_function(void *slot, void *symbol)
{
    memcpy(slot, &symbol, sizeof(symbol));
}

static hopmla_status fail_old(int found, const char *missing, hopmla_error *error)
{
    return hm_fail(error, HOPMLA_ERROR_OLD_DRIVER, "the driver supports CUDA %d.%d, %d.%d is needed (%s is missing)",
                   found / 1000, found % 1000 / 10, OLDEST_DRIVER / 1000, OLDEST_DRIVER % 1000 / 10, missing);
}

static hopmla_status fill_table(void *library, hm_driver *table, hopmla_error *error)
{
    get_proc_address find = NULL;
    hm_cu_result (*get_version)(int *) = NULL;

    set_function(&find, dlsym(library, "cuGetProcAddress_v2"));
    set_function(&get_version, dlsym(library, "cuDriverGetVersion"));
    if (!get_version || get_version(&table->version) != HM_CU_SUCCESS) {
        return hm_fail(error, HOPMLA_ERROR_NO_DRIVER, "libcuda.so.1 does not tell its version");
    }
    if (!find) {
        return fail_old(table->version, "cuGetProcAddress_v2", error);
    }
#define FIND(name, minimum, required, arguments)                                                                       \
    {                                                                                                                  \
        void *symbol = NULL;                                                                                           \
        int symbol_status = 0;                                                                                         \
        if (find(#name, &symbol, minimum, 0, &symbol_status) != HM_CU_SUCCESS) {                                       \
            symbol = NULL;                                                                                             \
        }                                                                                                              \
        if ((required) && !symbol) {                                                                                   \
            return fail_old(table->version, #name, error);                                                             \
        }                                                                                                              \
        set_function(&table->name, symbol);                                                                            \
    }
    HM_CU_FUNCTIONS(FIND)
#undef FIND
    return HOPMLA_OK;
}

static hopmla_status load_library(hopmla_error *error)
{
    const char *path = secure_getenv("HOPMLA_LIBCUDA");
    if (!path || !*path) {
        path = "libcuda.so.1";
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *reason = dlerror();
        return hm_fail(error, HOPMLA_ERROR_NO_DRIVER, "%s", reason ? reason : "libcuda.so.1 was not found");
    }
    hm_driver table = { 0 };
    hopmla_status status = fill_table(library, &table, error);
    if (status != HOPMLA_OK) {
        dlclose(library); /* it was never started; once it is, it has threads and stays */
        return status;
    }
    hm_cu = table;
    loaded = 1;
    return HOPMLA_OK;
}

static hopmla_status start(hopmla_error *error)
{
    if (!loaded) {
        hopmla_status status = load_library(error);
        if (status != HOPMLA_OK) {
            return status;
        }
    }
    hm_cu_result code = hm_cu.cuInit(0); /* once is enough, more are free */
    if (code == HM_CU_SUCCESS) {
        return HOPMLA_OK;
    }
    const char *name = NULL;
    hm_cu.cuGetErrorName(code, &name);
    return hm_fail(error, code == HM_CU_NO_DEVICE ? HOPMLA_ERROR_NO_DEVICE : HOPMLA_ERROR_NO_DRIVER,
                   "the CUDA driver does not start: %s (%d)", name ? name : "unknown", code);
}

hopmla_status hm_driver_load(hopmla_error *error)
{
    pthread_mutex_lock(&load_lock);
    hopmla_status status = start(error);
    pthread_mutex_unlock(&load_lock);
    return status;
}

static hopmla_status status_of(hm_cu_result code)
{
    switch (code) {
    case HM_CU_OUT_OF_MEMORY:
        return HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY;
    case HM_CU_ECC_UNCORRECTABLE:
    case HM_CU_NVLINK_UNCORRECTABLE:
    case HM_CU_CONTAINED:
    case HM_CU_ILLEGAL_ADDRESS:
    case HM_CU_LAUNCH_TIMEOUT:
    case HM_CU_CONTEXT_IS_DESTROYED:
    case HM_CU_ASSERT:
    case HM_CU_HARDWARE_STACK_ERROR:
    case HM_CU_ILLEGAL_INSTRUCTION:
    case HM_CU_MISALIGNED_ADDRESS:
    case HM_CU_INVALID_ADDRESS_SPACE:
    case HM_CU_INVALID_PC:
    case HM_CU_LAUNCH_FAILED:
        return HOPMLA_ERROR_DRIVER_STICKY;
    case HM_CU_STREAM_CAPTURE_UNSUPPORTED:
    case HM_CU_STREAM_CAPTURE_IMPLICIT:
        return HOPMLA_ERROR_CAPTURE;
    default:
        return HOPMLA_ERROR_DRIVER;
    }
}

hopmla_status hm_driver_fail(hopmla_error *error, hm_cu_result code, const char *call)
{
    const char *name = NULL;
    hm_cu.cuGetErrorName(code, &name);
    hopmla_status status = status_of(code);
    int is_drivers = status == HOPMLA_ERROR_DRIVER || status == HOPMLA_ERROR_DRIVER_STICKY;
    return hm_fail_native(error, status, is_drivers ? code : 0, "%s: %s (%d)", call, name ? name : "unknown", code);
}
