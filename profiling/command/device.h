/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_DEVICE_H
#define COMMAND_DEVICE_H

/** @file
 * A context with one stream, and calls on it that end the program when they fail. Memory is handled as if host and
 * device were apart, whatever the backend. */

#include "command.h"

typedef struct device {
    hopmla_context *context;
    hopmla_stream stream;
    hopmla_context_info info;
} device;

void device_open(device *d, int32_t backend);
void device_close(device *d);

/** "cpu" or "cuda". */
const char *device_backend(const device *d);

/** Device memory at a multiple of 1024; `block` remembers what to free. */
typedef struct block {
    void *start; /* as allocated */
    uint64_t bytes;
    void *memory; /* aligned */
} block;

block device_alloc(device *d, uint64_t bytes);
void device_free(device *d, block *b);

/** Host memory that the device reads and writes. Free it with device_free_pinned and the same bytes. */
void *device_alloc_pinned(device *d, uint64_t bytes);
void device_free_pinned(device *d, void *memory, uint64_t bytes);

/** Enqueues a copy in any direction. */
void device_copy(device *d, void *destination, const void *source, uint64_t bytes);
void device_fill(device *d, void *destination, uint8_t value, uint64_t bytes);
void device_synchronize(device *d);

/** A pool's options over caller-supplied or library memory, with the defaults of this command.
 * @param format  HOPMLA_KV_* */
hopmla_pool_options device_pool_options(int32_t format, uint32_t layers, uint64_t pages);

#endif
