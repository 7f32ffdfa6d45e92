/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

enum {
    ALIGNMENT = 1024
};

void device_open(device *d, int32_t backend)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    *d = (device){ .info = HOPMLA_CONTEXT_INFO_INIT };
    options.backend = backend;
    must(hopmla_context_create(&options, &d->context, &error), &error, "hopmla_context_create");
    must(hopmla_context_describe(d->context, &d->info, &error), &error, "hopmla_context_describe");
    must(hopmla_stream_create(d->context, &d->stream, &error), &error, "hopmla_stream_create");
}

void device_close(device *d)
{
    hopmla_stream_destroy(d->context, d->stream);
    hopmla_context_destroy(d->context);
}

const char *device_backend(const device *d)
{
    return d->info.backend == HOPMLA_BACKEND_CUDA ? "cuda" : "cpu";
}

block device_alloc(device *d, uint64_t bytes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    block b = { NULL, bytes + ALIGNMENT, NULL };
    must(hopmla_memory_alloc(d->context, b.bytes, HOPMLA_MEMORY_WORKSPACE, &b.start, &error), &error,
         "hopmla_memory_alloc");
    uintptr_t over = (uintptr_t)b.start % ALIGNMENT;
    b.memory = (char *)b.start + (over > 0 ? ALIGNMENT - over : 0);
    return b;
}

void device_free(device *d, block *b)
{
    hopmla_memory_free(d->context, b->start, b->bytes, HOPMLA_MEMORY_WORKSPACE);
    *b = (block){ 0 };
}

void *device_alloc_pinned(device *d, uint64_t bytes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    void *memory = NULL;
    must(hopmla_memory_alloc(d->context, bytes, HOPMLA_MEMORY_PINNED, &memory, &error), &error, "hopmla_memory_alloc");
    return memory;
}

void device_free_pinned(device *d, void *memory, uint64_t bytes)
{
    hopmla_memory_free(d->context, memory, bytes, HOPMLA_MEMORY_PINNED);
}

void device_copy(device *d, void *destination, const void *source, uint64_t bytes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (bytes > 0)
        must(hopmla_memory_copy(d->context, destination, source, bytes, d->stream, &error), &error,
             "hopmla_memory_copy");
}

void device_fill(device *d, void *destination, uint8_t value, uint64_t bytes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    must(hopmla_memory_fill(d->context, destination, value, bytes, d->stream, &error), &error, "hopmla_memory_fill");
}

void device_synchronize(device *d)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    must(hopmla_stream_synchronize(d->context, d->stream, &error), &error, "hopmla_stream_synchronize");
}

hopmla_pool_options device_pool_options(int32_t format, uint32_t layers, uint64_t pages)
{
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = format;
    options.layers = layers;
    options.pages = pages;
    return options;
}
