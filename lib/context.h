/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CONTEXT_H
#define HM_CONTEXT_H

/** @file
 * The context inside: backend, device, callbacks, and the one way to memory. */

#include <stdatomic.h>

#include "kernels/backend.h"
#include "profiling/observe/observe.h"

struct hopmla_context {
    atomic_uint references;
    const hm_backend *backend;
    hm_device *device;
    hopmla_log_fn log;
    void *log_user;
    int32_t log_level;
    hopmla_alloc_fn alloc;
    hopmla_free_fn free;
    void *alloc_user;
    hm_observers observers;
};

void hm_context_retain(hopmla_context *context);
void hm_context_release(hopmla_context *context);

/** Memory of any kind but HOST, through the caller's allocator where there is one. bytes > 0.
 * @return OK, OUT_OF_DEVICE_MEMORY, OUT_OF_HOST_MEMORY (PINNED), DRIVER, DRIVER_STICKY; *memory is set when OK. */
hopmla_status hm_alloc(hopmla_context *context, uint64_t bytes, uint64_t alignment, int32_t kind, hopmla_stream stream,
                       void **memory, hopmla_error *error);

/** HOST memory, likewise, not cleared; NULL when there is none. Makes no driver call. */
void *hm_host_alloc(hopmla_context *context, uint64_t bytes, uint64_t alignment);

/** Frees memory of any kind. NULL is fine. */
void hm_free(hopmla_context *context, void *memory, uint64_t bytes, int32_t kind, hopmla_stream stream);

/** HOST memory, cleared; NULL when there is none or count × size overflows. */
void *hm_host_zalloc(hopmla_context *context, uint64_t count, uint64_t size);

/** Formats a line for the caller's log callback when its level is wanted. */
__attribute__((format(printf, 3, 4))) void hm_log(hopmla_context *context, int32_t level, const char *format, ...);

#endif
