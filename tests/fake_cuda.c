/* SPDX-License-Identifier: Apache-2.0 */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fake_cuda.h"

/** @file
 * Starting up, devices and contexts. */

fake_cuda fake;

static struct CUctx_st primary_context;
static struct CUctx_st other_context;
static struct CUstream_st foreign_stream = { .context = &other_context };
static struct CUevent_st foreign_event = { .context = &other_context, .recorded = 1 };
static _Thread_local hm_cu_context stack[16];
static _Thread_local int depth;

__attribute__((constructor)) void fake_cuda_reset(void)
{
    const char *version = getenv("FAKE_CUDA_VERSION");
    fake.version = version ? atoi(version) : 13000;
    fake.init_result = 0;
    fake.devices = 1;
    fake.major = 9;
    fake.minor = 0;
    fake.load_result = 0;
    fake.misaligned = 0;
    fake.slow = 0;
    fake.clocked = 0;
    fake.fail_for_good = 0;
    fake_cuda_fail(NULL, 0, 0);
    fake_cuda_lose(0, 0);
}

void fake_cuda_fail(const char *name, int at, int code)
{
    fake.fail_name = name;
    fake.fail_at = at;
    fake.fail_code = code;
    fake.calls = 0;
    fake.faults = 0;
}

int fake_cuda_live(void)
{
    return fake.retains + fake.libraries + fake.streams + fake.events + fake.graphs + fake.blocks;
}

int fake_cuda_depth(void)
{
    return depth;
}

hm_cu_context fake_cuda_context(void)
{
    return &other_context;
}

struct CUstream_st *fake_cuda_foreign_stream(void)
{
    return &foreign_stream;
}

struct CUevent_st *fake_cuda_foreign_event(void)
{
    return &foreign_event;
}

void fake_cuda_lose(int primary_code, int other_code)
{
    primary_context.lost = primary_code;
    other_context.lost = other_code;
}

hm_cu_context fake_current(void)
{
    return depth > 0 ? stack[depth - 1] : NULL;
}

hm_cu_result fake_check_context(void)
{
    return depth > 0 ? stack[depth - 1]->lost : HM_CU_INVALID_CONTEXT;
}

/* Before the object itself, in a list. */
typedef union object {
    struct {
        union object *next;
        union object *previous;
    } links;
    max_align_t alignment;
} object;

static object objects = { .links = { &objects, &objects } };
static pthread_mutex_t object_lock = PTHREAD_MUTEX_INITIALIZER;

void *fake_new(size_t size)
{
    object *made = calloc(1, sizeof(*made) + size);
    pthread_mutex_lock(&object_lock);
    made->links.next = objects.links.next;
    made->links.previous = &objects;
    made->links.next->links.previous = made;
    objects.links.next = made;
    pthread_mutex_unlock(&object_lock);
    return made + 1;
}

void fake_delete(void *pointer)
{
    object *gone = (object *)pointer - 1;
    pthread_mutex_lock(&object_lock);
    gone->links.next->links.previous = gone->links.previous;
    gone->links.previous->links.next = gone->links.next;
    pthread_mutex_unlock(&object_lock);
    free(gone);
}

hm_cu_result fake_fault(const char *name)
{
    if (fake.fail_name && strcmp(name, fake.fail_name) != 0) {
        return HM_CU_SUCCESS;
    }
    int call = fake.calls++;
    if (fake.fail_code && (call == fake.fail_at || (fake.fail_for_good && call > fake.fail_at))) {
        fake.faults++;
        return fake.fail_code;
    }
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuInit(unsigned flags)
{
    (void)flags;
    FAKE_ENTER(cuInit);
    return fake.init_result ? fake.init_result : fake.devices ? HM_CU_SUCCESS : HM_CU_NO_DEVICE;
}

/* The two that are looked up by their own names. */
hm_cu_result cuDriverGetVersion(int *version);
hm_cu_result cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *symbol_status);

hm_cu_result cuDriverGetVersion(int *version)
{
    *version = fake.version;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuDriverGetVersion(int *version)
{
    return cuDriverGetVersion(version);
}

hm_cu_result cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *symbol_status)
{
    (void)flags;
    *function = NULL;
#define FIND(name, first, required, arguments)                                                                         \
    if (strcmp(symbol, #name) == 0 && version == first && fake.version >= first) {                                     \
        hm_cu_result(*found) arguments = fake_##name;                                                                  \
        memcpy(function, &found, sizeof(found));                                                                       \
    }
    HM_CU_FUNCTIONS(FIND)
#undef FIND
    *symbol_status = *function ? 0 : 1;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuGetErrorName(hm_cu_result code, const char **name)
{
    *name = code == HM_CU_LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : NULL;
    return *name ? HM_CU_SUCCESS : HM_CU_INVALID_VALUE;
}

hm_cu_result fake_cuDeviceGet(hm_cu_device *device, int ordinal)
{
    FAKE_ENTER(cuDeviceGet);
    *device = ordinal;
    return ordinal >= 0 && ordinal < fake.devices ? HM_CU_SUCCESS : HM_CU_INVALID_DEVICE;
}

hm_cu_result fake_cuDeviceGetName(char *name, int size, hm_cu_device device)
{
    FAKE_ENTER(cuDeviceGetName);
    (void)device;
    strncpy(name, "Fake H200", (size_t)size);
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuDeviceGetAttribute(int *value, int attribute, hm_cu_device device)
{
    FAKE_ENTER(cuDeviceGetAttribute);
    (void)device;
    switch (attribute) {
    case HM_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = fake.major;
        return HM_CU_SUCCESS;
    case HM_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *value = fake.minor;
        return HM_CU_SUCCESS;
    case HM_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *value = 132;
        return HM_CU_SUCCESS;
    case HM_CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        *value = 232448;
        return HM_CU_SUCCESS;
    case HM_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
        *value = 52428800;
        return HM_CU_SUCCESS;
    default:
        return HM_CU_INVALID_VALUE;
    }
}

hm_cu_result fake_cuDeviceTotalMem(size_t *bytes, hm_cu_device device)
{
    FAKE_ENTER(cuDeviceTotalMem);
    (void)device;
    *bytes = 150754820096;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuDevicePrimaryCtxRetain(hm_cu_context *context, hm_cu_device device)
{
    FAKE_ENTER(cuDevicePrimaryCtxRetain);
    (void)device;
    fake.retains++;
    *context = &primary_context;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuDevicePrimaryCtxRelease(hm_cu_device device)
{
    (void)device;
    fake.retains--;
    return fake_fault("cuDevicePrimaryCtxRelease");
}

hm_cu_result fake_cuCtxPushCurrent(hm_cu_context context)
{
    FAKE_ENTER(cuCtxPushCurrent);
    if (context != &primary_context && context != &other_context) {
        return HM_CU_INVALID_CONTEXT;
    }
    if (depth == (int)(sizeof(stack) / sizeof(stack[0]))) {
        abort(); /* nobody nests that deep: pops are missing */
    }
    stack[depth++] = context;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuCtxPopCurrent(hm_cu_context *context)
{
    if (depth == 0) {
        return HM_CU_INVALID_CONTEXT;
    }
    *context = stack[--depth];
    return fake_fault("cuCtxPopCurrent");
}

hm_cu_result fake_cuCtxGetDevice(hm_cu_device *device)
{
    FAKE_ENTER(cuCtxGetDevice);
    FAKE_NEED_CONTEXT();
    *device = 0;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuCtxSynchronize(void)
{
    FAKE_ENTER(cuCtxSynchronize);
    FAKE_NEED_CONTEXT();
    return HM_CU_SUCCESS;
}
