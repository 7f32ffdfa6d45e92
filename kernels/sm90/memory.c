/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/sm90/sm90.h"
#include "lib/error.h"

/** @file
 * Memory of the device and of the host. Addresses are unified: what the host calls pinned memory has the same address on
 * the device, and one copy call serves every direction. */

/* What the driver knows of an address: all 0 for memory of malloc, stacks and files, which is pageable. */
typedef struct allocation {
    hm_cu_address start;
    unsigned type;
} allocation;

static allocation ask_driver(const void *address)
{
    allocation found = { 0, 0 };
    int attributes[] = { HM_CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, HM_CU_POINTER_ATTRIBUTE_MEMORY_TYPE };
    void *values[] = { &found.start, &found.type };
    /* Its sister for one attribute returns an error for such memory, which tools report as the program's. */
    hm_cu.cuPointerGetAttributes(2, attributes, values, (uintptr_t)address);
    return found;
}

static hopmla_status allocate(uint64_t bytes, int32_t kind, char **memory, hopmla_error *error)
{
    const int pinned = kind == HOPMLA_MEMORY_PINNED;
    void *host = NULL;
    hm_cu_address address = 0;
    hm_cu_result code =
        pinned ? hm_cu.cuMemHostAlloc(&host, bytes, HM_CU_MEMHOSTALLOC_PORTABLE | HM_CU_MEMHOSTALLOC_DEVICEMAP)
               : hm_cu.cuMemAlloc(&address, bytes);
    if (code == HM_CU_OUT_OF_MEMORY) {
        return hm_fail_memory(error, kind, bytes);
    }
    if (code != HM_CU_SUCCESS) {
        return hm_driver_fail(error, code, pinned ? "cuMemHostAlloc" : "cuMemAlloc");
    }
    *memory = pinned ? host : (void *)(uintptr_t)address;
    return HOPMLA_OK;
}

static void release(void *memory, int32_t kind)
{
    if (kind == HOPMLA_MEMORY_PINNED) {
        hm_cu.cuMemFreeHost(memory);
    } else {
        hm_cu.cuMemFree((uintptr_t)memory);
    }
}

static hopmla_status allocate_aligned(uint64_t bytes, uint64_t alignment, int32_t kind, char **memory,
                                      hopmla_error *error)
{
    hopmla_status status = allocate(bytes, kind, memory, error);
    if (status != HOPMLA_OK || (uintptr_t)*memory % alignment == 0) {
        return status;
    }
    /* The driver promises 256 bytes and has no call that takes an alignment. */
    release(*memory, kind);
    status = allocate(bytes + alignment, kind, memory, error);
    if (status == HOPMLA_OK) {
        *memory += (alignment - (uintptr_t)*memory % alignment) % alignment;
    }
    return status;
}

hopmla_status hm_sm90_alloc(hm_device *device, uint64_t bytes, uint64_t alignment, int32_t kind, hopmla_stream stream,
                            void **memory, hopmla_error *error)
{
    (void)stream;
    hopmla_status status = hm_sm90_enter(device, error);
    if (status != HOPMLA_OK) {
        return status;
    }
    char *made = NULL;
    status = allocate_aligned(bytes, alignment, kind, &made, error);
    hm_sm90_leave(device);
    if (status == HOPMLA_OK) {
        *memory = made;
    }
    return status;
}

void hm_sm90_free(hm_device *device, void *memory, uint64_t bytes, int32_t kind, hopmla_stream stream)
{
    (void)bytes;
    (void)stream;
    if (!memory || hm_sm90_enter(device, NULL) != HOPMLA_OK) {
        return;
    }
    /* hm_sm90_alloc may have moved it up to the alignment; the driver remembers where the allocation starts. */
    hm_cu_address start = ask_driver(memory).start;
    release(start ? (void *)(uintptr_t)start : memory, kind);
    hm_sm90_leave(device);
}

/* cuMemcpyAsync may or may not have read pageable memory when it returns, depending on driver and machine; only waiting
 * makes it certain. A graph would read it at every replay. */
static hopmla_status copy_pageable(void *destination, const void *source, uint64_t bytes, hopmla_stream stream,
                                   hopmla_error *error)
{
    int capture = HM_CU_STREAM_CAPTURE_STATUS_NONE;
    HM_CU_TRY(error, cuStreamIsCapturing, stream, &capture);
    if (capture != HM_CU_STREAM_CAPTURE_STATUS_NONE) {
        return hm_fail(error, HOPMLA_ERROR_CAPTURE, "a copy with pageable host memory cannot be captured");
    }
    HM_CU_TRY(error, cuMemcpyAsync, (uintptr_t)destination, (uintptr_t)source, bytes, stream);
    HM_CU_TRY(error, cuStreamSynchronize, stream);
    return HOPMLA_OK;
}

static hopmla_status copy(void *destination, const void *source, uint64_t bytes, hopmla_stream stream,
                          hopmla_error *error)
{
    if (ask_driver(destination).type == 0 || ask_driver(source).type == 0) {
        return copy_pageable(destination, source, bytes, stream, error);
    }
    HM_CU_TRY(error, cuMemcpyAsync, (uintptr_t)destination, (uintptr_t)source, bytes, stream);
    return HOPMLA_OK;
}

hopmla_status hm_sm90_copy(hm_device *device, void *destination, const void *source, uint64_t bytes,
                           hopmla_stream stream, hopmla_error *error)
{
    if (bytes == 0) {
        return HOPMLA_OK;
    }
    hopmla_status status = hm_sm90_enter(device, error);
    if (status == HOPMLA_OK) {
        status = copy(destination, source, bytes, stream, error);
        hm_sm90_leave(device);
    }
    return status;
}

hopmla_status hm_sm90_fill(hm_device *device, void *destination, uint8_t value, uint64_t bytes, hopmla_stream stream,
                           hopmla_error *error)
{
    if (bytes > 0) {
        HM_SM90_TRY(device, error, cuMemsetD8Async, (uintptr_t)destination, value, bytes, stream);
    }
    return HOPMLA_OK;
}
