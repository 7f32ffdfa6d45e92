/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/context.h"
#include "lib/error.h"

/* HOST memory is asked for under the pool's mutex, where no driver call may be made; and the context's own struct before
 * there is a device. */
static int needs_device_context(const hopmla_context *context, int32_t kind)
{
    return kind != HOPMLA_MEMORY_HOST && context->device;
}

/* The callbacks are promised a size of at least 1, the same one both ways. */
static uint64_t at_least_one(uint64_t bytes)
{
    return bytes ? bytes : 1;
}

/* The caller's allocator; what it misaligned goes back to it. NULL when there is none. */
static void *call_allocator(hopmla_context *context, uint64_t bytes, uint64_t alignment, int32_t kind,
                            hopmla_stream stream)
{
    void *memory = context->alloc(context->alloc_user, bytes, alignment, kind, stream);
    if (((uintptr_t)memory & (alignment - 1)) == 0) {
        return memory;
    }
    context->free(context->alloc_user, memory, bytes, kind, stream);
    if (kind != HOPMLA_MEMORY_HOST || !context->device) { /* else under the pool's mutex, where nothing may be logged */
        hm_log(context, HOPMLA_LOG_ERROR, "the caller's allocator returned %p for kind %d, not aligned to %llu bytes",
               memory, (int)kind, (unsigned long long)alignment);
    }
    return NULL;
}

static void *allocate_host(uint64_t bytes, uint64_t alignment)
{
    if (alignment <= _Alignof(max_align_t)) {
        return malloc((size_t)bytes);
    }
    void *memory = NULL;
    return posix_memalign(&memory, (size_t)alignment, (size_t)bytes) ? NULL : memory;
}

hopmla_status hm_alloc(hopmla_context *context, uint64_t bytes, uint64_t alignment, int32_t kind, hopmla_stream stream,
                       void **memory, hopmla_error *error)
{
    const hm_backend *backend = context->backend;
    if (!context->alloc) {
        return backend->alloc(context->device, bytes, alignment, kind, stream, memory, error);
    }
    const hopmla_status status = backend->enter(context->device, error);
    if (status) {
        return status;
    }
    void *made = call_allocator(context, bytes, alignment, kind, stream);
    backend->leave(context->device);
    if (!made) {
        return hm_fail_memory(error, kind, bytes);
    }
    *memory = made;
    return HOPMLA_OK;
}

void *hm_host_alloc(hopmla_context *context, uint64_t bytes, uint64_t alignment)
{
    return context->alloc ? call_allocator(context, bytes, alignment, HOPMLA_MEMORY_HOST, NULL)
                          : allocate_host(bytes, alignment);
}

void hm_free(hopmla_context *context, void *memory, uint64_t bytes, int32_t kind, hopmla_stream stream)
{
    if (!memory) {
        return;
    }
    if (context->free) {
        /* Even where the device's context is lost its memory goes back to whoever gave it. */
        const int entered =
            needs_device_context(context, kind) && context->backend->enter(context->device, NULL) == HOPMLA_OK;
        context->free(context->alloc_user, memory, at_least_one(bytes), kind, stream);
        if (entered) {
            context->backend->leave(context->device);
        }
    } else if (kind == HOPMLA_MEMORY_HOST) {
        free(memory);
    } else {
        context->backend->free(context->device, memory, bytes, kind, stream);
    }
}

void *hm_host_zalloc(hopmla_context *context, uint64_t count, uint64_t size)
{
    if (size && count > SIZE_MAX / size) {
        return NULL;
    }
    if (!context->alloc) {
        return calloc(count ? (size_t)count : 1, size ? (size_t)size : 1); /* pages of large books stay untouched */
    }
    const uint64_t bytes = at_least_one(count * size);
    void *memory = hm_host_alloc(context, bytes, _Alignof(max_align_t));
    if (memory) {
        memset(memory, 0, (size_t)bytes);
    }
    return memory;
}
