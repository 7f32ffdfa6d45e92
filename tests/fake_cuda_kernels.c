/* SPDX-License-Identifier: Apache-2.0 */

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "fake_cuda.h"

/** @file
 * Libraries, launches and tensor maps. */

struct CUfunc_st {
    char name[64];
    hm_cu_context context;
    int shared_limit;
    int big_cluster;
};

/* A kernel is used in the one context that it was asked for in. */
struct CUkern_st {
    struct CUfunc_st function;
};

struct CUlib_st {
    const unsigned char *code;
    struct CUkern_st kernels[64];
    unsigned kernel_count;
};

hm_cu_result fake_cuLibraryLoadData(hm_cu_library *library, const void *code, int *jit_options, void **jit_values,
                                    unsigned jit_count, int *options, void **values, unsigned count)
{
    FAKE_ENTER(cuLibraryLoadData);
    FAKE_NEED_CONTEXT();
    if (fake.load_result || memcmp(code, ELFMAG, SELFMAG) != 0 || jit_options || jit_values || jit_count) {
        return fake.load_result ? fake.load_result : HM_CU_INVALID_IMAGE;
    }
    if (count != 1 || options[0] != HM_CU_LIBRARY_BINARY_IS_PRESERVED || !values[0]) {
        return HM_CU_INVALID_VALUE;
    }
    *library = fake_new(sizeof(**library));
    (*library)->code = code;
    fake.libraries++;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuLibraryUnload(hm_cu_library library)
{
    fake_delete(library);
    fake.libraries--;
    return fake_fault("cuLibraryUnload");
}

/* Is there a kernel of this name in the cubin? Names stand in its string table, and section headers come last. */
static int cubin_has(const unsigned char *code, const char *name)
{
    Elf64_Ehdr header;
    memcpy(&header, code, sizeof(header));
    size_t bytes = header.e_shoff + (size_t)header.e_shnum * header.e_shentsize;
    return memmem(code, bytes, name, strlen(name) + 1) != NULL;
}

hm_cu_result fake_cuLibraryGetKernel(hm_cu_kernel *kernel, hm_cu_library library, const char *name)
{
    FAKE_ENTER(cuLibraryGetKernel);
    if (!cubin_has(library->code, name) || library->kernel_count == sizeof(library->kernels) / sizeof(**kernel)) {
        return HM_CU_NOT_FOUND;
    }
    *kernel = &library->kernels[library->kernel_count++];
    strncpy((*kernel)->function.name, name, sizeof((*kernel)->function.name) - 1);
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuKernelGetFunction(hm_cu_function *function, hm_cu_kernel kernel)
{
    FAKE_ENTER(cuKernelGetFunction);
    FAKE_NEED_CONTEXT();
    *function = &kernel->function;
    (*function)->context = fake_current();
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuFuncSetAttribute(hm_cu_function function, int attribute, int value)
{
    FAKE_ENTER(cuFuncSetAttribute);
    if (attribute == HM_CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && value <= 232448) {
        function->shared_limit = value;
        return HM_CU_SUCCESS;
    }
    if (attribute == HM_CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED) {
        function->big_cluster = value;
        return HM_CU_SUCCESS;
    }
    return HM_CU_INVALID_VALUE;
}

hm_cu_result fake_cuFuncGetAttribute(int *value, int attribute, hm_cu_function function)
{
    FAKE_ENTER(cuFuncGetAttribute);
    *value = 0;
    return attribute == HM_CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES && function ? HM_CU_SUCCESS : HM_CU_INVALID_VALUE;
}

hm_cu_result fake_cuFuncLoad(hm_cu_function function)
{
    FAKE_ENTER(cuFuncLoad);
    return function->context == fake_current() ? HM_CU_SUCCESS : HM_CU_INVALID_CONTEXT;
}

/* Clusters of an H200 whose CTAs have a processor each. */
hm_cu_result fake_cuOccupancyMaxActiveClusters(int *clusters, hm_cu_function function,
                                               const hm_cu_launch_config *config)
{
    FAKE_ENTER(cuOccupancyMaxActiveClusters);
    unsigned size = 1;
    for (unsigned i = 0; i < config->attribute_count; i++) {
        if (config->attributes[i].id == HM_CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
            size = config->attributes[i].value.cluster.x * config->attributes[i].value.cluster.y;
        }
    }
    if (function->context != fake_current() || (size > 8 && !function->big_cluster) || size > 16) {
        return HM_CU_INVALID_VALUE;
    }
    *clusters = size == 1 ? 132 : size == 2 ? 66 : size == 4 ? 30 : size == 8 ? 15 : 7;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuLaunchKernelEx(const hm_cu_launch_config *config, hm_cu_function function, void **parameters,
                                   void **extra)
{
    FAKE_ENTER(cuLaunchKernelEx);
    FAKE_NEED_STREAM(config->stream);
    if (function->context != fake_current() || extra || !parameters) {
        return HM_CU_INVALID_HANDLE;
    }
    fake_launch launch = {
        .grid = { config->grid_x, config->grid_y, config->grid_z },
        .block = config->block_x * config->block_y * config->block_z,
        .shared_bytes = config->shared_bytes,
        .stream = config->stream,
        .cluster = { 1, 1 },
    };
    memcpy(launch.kernel, function->name, sizeof(launch.kernel));
    for (unsigned i = 0; i < config->attribute_count; i++) {
        const hm_cu_launch_attribute *attribute = &config->attributes[i];
        if (attribute->id == HM_CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
            launch.cluster[0] = attribute->value.cluster.x;
            launch.cluster[1] = attribute->value.cluster.y;
        } else if (attribute->id == HM_CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) {
            launch.programmatic = attribute->value.programmatic;
        } else {
            return HM_CU_INVALID_VALUE;
        }
    }
    int limit = function->shared_limit > 49152 ? function->shared_limit : 49152;
    if (launch.block == 0 || launch.block > 1024 || (int)launch.shared_bytes > limit || !launch.grid[0] ||
        !launch.grid[1] || launch.grid[1] > 65535 || !launch.grid[2] || launch.grid[2] > 65535 ||
        (launch.cluster[0] * launch.cluster[1] > 8 && !function->big_cluster) || launch.grid[0] % launch.cluster[0] ||
        launch.grid[1] % launch.cluster[1]) {
        return HM_CU_INVALID_VALUE;
    }
    fake_record(config->stream);
    fake.history[fake.launches++ % FAKE_HISTORY] = launch;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuTensorMapEncodeTiled(hm_tensor_map *map, int type, uint32_t rank, void *address,
                                         const uint64_t *sizes, const uint64_t *strides, const uint32_t *box,
                                         const uint32_t *element_strides, int interleave, int swizzle, int l2_promotion,
                                         int fill)
{
    FAKE_ENTER(cuTensorMapEncodeTiled);
    (void)type;
    (void)interleave;
    (void)swizzle;
    (void)l2_promotion;
    (void)fill;
    if ((uintptr_t)map % 64 || (uintptr_t)address % 16 || rank < 1 || rank > 5) {
        return HM_CU_INVALID_VALUE;
    }
    for (uint32_t i = 0; i < rank; i++) {
        if (sizes[i] < 1 || sizes[i] > 1ull << 32 || box[i] < 1 || box[i] > 256 || element_strides[i] != 1 ||
            (i > 0 && (strides[i - 1] % 16 || strides[i - 1] >= 1ull << 40))) {
            return HM_CU_INVALID_VALUE;
        }
    }
    memset(map, 0xA5, sizeof(*map));
    return HM_CU_SUCCESS;
}
