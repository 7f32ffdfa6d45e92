/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>
#include <string.h>

#include "kernels/sm90/device.h"
#include "kernels/sm90/shape.h"
#include "lib/error.h"

#define DECLARE_CUBIN(name) extern const unsigned char hopmla_cubin_##name[];
HM_CUBINS(DECLARE_CUBIN)
#undef DECLARE_CUBIN

static const unsigned char *const cubins[HM_CUBIN_COUNT] = {
#define CUBIN(name) hopmla_cubin_##name,
    HM_CUBINS(CUBIN)
#undef CUBIN
};

static const struct {
    const char *name;
    hm_cubin cubin;
    uint32_t shared_bytes;
    int32_t big_cluster;
} kernels[HM_KERNEL_COUNT] = {
#define KERNEL(name, cubin, shared_bytes, big_cluster) { "hm_" #name, HM_CUBIN_##cubin, shared_bytes, big_cluster },
    HM_KERNELS(KERNEL)
#undef KERNEL
};

hopmla_status hm_sm90_enter(hm_device *device, hopmla_error *error)
{
    HM_CU_TRY(error, cuCtxPushCurrent, device->context);
    return HOPMLA_OK;
}

void hm_sm90_leave(hm_device *device)
{
    (void)device;
    hm_cu_context context;
    hm_cu.cuCtxPopCurrent(&context);
}

/* The device is of the right kind (read_device checked), so a driver that rejects the image is older than the compiler
 * that made it. */
static hopmla_status fail_load(hm_cu_result code, hopmla_error *error)
{
    if (code == HM_CU_INVALID_IMAGE || code == HM_CU_NO_BINARY_FOR_GPU || code == HM_CU_UNSUPPORTED_PTX_VERSION ||
        code == HM_CU_INVALID_SOURCE) {
        return hm_fail(error, HOPMLA_ERROR_OLD_DRIVER,
                       "the driver supports CUDA %d.%d and rejects kernels that were compiled by CUDA %s (%d)",
                       hm_cu.version / 1000, hm_cu.version % 1000 / 10, HOPMLA_NVCC_VERSION, code);
    }
    return hm_driver_fail(error, code, "cuLibraryLoadData");
}

/* Under lazy loading, the driver's default, a kernel would be loaded by its first launch, which may be inside somebody's
 * stream capture, where that is an error. */
static hopmla_status load_now(hm_cu_function function, hopmla_error *error)
{
    if (hm_cu.cuFuncLoad) {
        HM_CU_TRY(error, cuFuncLoad, function);
    } else { /* before CUDA 12.4: what is asked here is known of a loaded kernel only */
        int local_bytes = 0;
        HM_CU_TRY(error, cuFuncGetAttribute, &local_bytes, HM_CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, function);
    }
    return HOPMLA_OK;
}

static hopmla_status load_kernel(hm_device *device, hm_kernel number, hopmla_error *error)
{
    hm_cu_kernel kernel;
    hm_cu_function *function = &device->functions[number];
    HM_CU_TRY(error, cuLibraryGetKernel, &kernel, device->libraries[kernels[number].cubin], kernels[number].name);
    HM_CU_TRY(error, cuKernelGetFunction, function, kernel);
    if (kernels[number].shared_bytes > 0) {
        HM_CU_TRY(error, cuFuncSetAttribute, *function, HM_CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                  (int)kernels[number].shared_bytes);
    }
    if (kernels[number].big_cluster) {
        HM_CU_TRY(error, cuFuncSetAttribute, *function, HM_CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1);
    }
    return load_now(*function, error);
}

static hopmla_status load_kernels(hm_device *device, hopmla_error *error)
{
    for (int i = 0; i < HM_CUBIN_COUNT; i++) {
        int preserved = HM_CU_LIBRARY_BINARY_IS_PRESERVED;
        void *yes = (void *)(uintptr_t)1;
        hm_cu_result code =
            hm_cu.cuLibraryLoadData(&device->libraries[i], cubins[i], NULL, NULL, 0, &preserved, &yes, 1);
        if (code != HM_CU_SUCCESS) {
            device->libraries[i] = NULL;
            return fail_load(code, error);
        }
    }
    for (int i = 0; i < HM_KERNEL_COUNT; i++) {
        hopmla_status status = load_kernel(device, (hm_kernel)i, error);
        if (status != HOPMLA_OK) {
            return status;
        }
    }
    return HOPMLA_OK;
}

static void unload_kernels(hm_device *device)
{
    for (int i = 0; i < HM_CUBIN_COUNT; i++) {
        if (device->libraries[i]) {
            hm_cu.cuLibraryUnload(device->libraries[i]);
        }
    }
}

/* The device behind the caller's context or ordinal. */
static hopmla_status find_device(hm_device *device, const hm_open_options *options, hopmla_error *error)
{
    if (!options->cu_context) {
        hm_cu_result code = hm_cu.cuDeviceGet(&device->device, options->device);
        if (code == HM_CU_INVALID_DEVICE) {
            return hm_fail_value(error, HOPMLA_ERROR_NO_DEVICE, options->device, "there is no CUDA device %d",
                                 options->device);
        }
        device->ordinal = options->device;
        return code == HM_CU_SUCCESS ? HOPMLA_OK : hm_driver_fail(error, code, "cuDeviceGet");
    }
    hm_cu_result code = hm_cu.cuCtxPushCurrent(options->cu_context);
    if (code == HM_CU_INVALID_CONTEXT || code == HM_CU_CONTEXT_IS_DESTROYED || code == HM_CU_INVALID_VALUE) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "cu_context is not a live CUDA context");
    }
    if (code != HM_CU_SUCCESS) {
        return hm_driver_fail(error, code, "cuCtxPushCurrent");
    }
    device->context = options->cu_context;
    code = hm_cu.cuCtxGetDevice(&device->device);
    device->ordinal = device->device; /* the driver numbers them so */
    hm_sm90_leave(device);
    return code == HM_CU_SUCCESS ? HOPMLA_OK : hm_driver_fail(error, code, "cuCtxGetDevice");
}

static hopmla_status read_device(hm_device *device, hopmla_error *error)
{
    int major = 0, minor = 0, sm_count = 0, shared = 0, l2 = 0;
    size_t memory = 0;

    HM_CU_TRY(error, cuDeviceGetName, device->name, (int)sizeof(device->name), device->device);
    HM_CU_TRY(error, cuDeviceGetAttribute, &major, HM_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device->device);
    HM_CU_TRY(error, cuDeviceGetAttribute, &minor, HM_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device->device);
    if (major != 9 || minor != 0) {
        /* sm_90a code runs on 9.0 alone: neither on 8.9 nor on 10.0. */
        return hm_fail_value(error, HOPMLA_ERROR_DEVICE, major * 10 + minor,
                             "device %d (%s) is of compute capability %d.%d, not 9.0", device->ordinal, device->name,
                             major, minor);
    }
    HM_CU_TRY(error, cuDeviceGetAttribute, &sm_count, HM_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device->device);
    HM_CU_TRY(error, cuDeviceGetAttribute, &shared, HM_CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
              device->device);
    HM_CU_TRY(error, cuDeviceGetAttribute, &l2, HM_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, device->device);
    HM_CU_TRY(error, cuDeviceTotalMem, &memory, device->device);
    device->sm_count = (uint32_t)sm_count;
    device->max_shared_bytes = (uint32_t)shared;
    device->l2_bytes = (uint64_t)l2;
    device->memory_bytes = memory;
    return HOPMLA_OK;
}

static hopmla_status open_device(hm_device *device, const hm_open_options *options, hopmla_error *error)
{
    hopmla_status status = find_device(device, options, error);
    if (status == HOPMLA_OK) {
        status = read_device(device, error);
    }
    if (status != HOPMLA_OK) {
        return status;
    }
    if (!options->cu_context) {
        HM_CU_TRY(error, cuDevicePrimaryCtxRetain, &device->context, device->device);
        device->owns_primary = 1;
    }
    status = hm_sm90_enter(device, error);
    if (status == HOPMLA_OK) {
        status = load_kernels(device, error);
        if (status == HOPMLA_OK) {
            status = hm_sm90_count_clusters(device, error);
        }
        hm_sm90_leave(device);
    }
    return status;
}

hopmla_status hm_sm90_open(const hm_open_options *options, hm_device **device, hopmla_error *error)
{
    hopmla_status status = hm_driver_load(error);
    if (status != HOPMLA_OK) {
        return status;
    }
    hm_device *opened = calloc(1, sizeof(*opened));
    if (!opened) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for the device");
    }
    status = open_device(opened, options, error);
    if (status != HOPMLA_OK) {
        hm_sm90_close(opened);
        return status;
    }
    const char *rows = secure_getenv("HOPMLA_TILE_ROWS");
    opened->forced_rows = rows ? (uint32_t)strtoul(rows, NULL, 10) : 0;
    *device = opened;
    return HOPMLA_OK;
}

void hm_sm90_close(hm_device *device)
{
    /* A context that is lost takes no push; its libraries went with it. */
    if (device->context && hm_sm90_enter(device, NULL) == HOPMLA_OK) {
        unload_kernels(device);
        hm_sm90_leave(device);
    }
    if (device->owns_primary) {
        hm_cu.cuDevicePrimaryCtxRelease(device->device);
    }
    free(device);
}

void hm_sm90_describe(const hm_device *device, hopmla_context_info *info)
{
    info->backend = HOPMLA_BACKEND_CUDA;
    info->device = device->ordinal;
    info->driver_version = hm_cu.version;
    info->compute_major = 9;
    info->compute_minor = 0;
    info->units = (int32_t)device->sm_count;
    info->cpu_isa = 0;
    info->memory_bytes = device->memory_bytes;
    info->l2_bytes = device->l2_bytes;
    memcpy(info->name, device->name, sizeof(info->name));
}
