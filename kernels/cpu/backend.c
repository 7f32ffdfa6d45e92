/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/machine.h"
#include "kernels/cpu/stream.h"
#include "lib/error.h"

enum {
    MAX_THREADS = 1024
};

/* Opening and closing. */

static hopmla_status choose_isa(int32_t wanted, int32_t *isa, hopmla_error *error)
{
    const int32_t best = hm_cpu_detect_isa();
    if (wanted > best) {
        return hm_fail(error, HOPMLA_ERROR_UNSUPPORTED,
                       "options.cpu_isa is %d, but the highest that this processor and build have is %d", (int)wanted,
                       (int)best);
    }
    *isa = wanted == HOPMLA_CPU_ISA_AUTO ? best : wanted;
    return HOPMLA_OK;
}

static int default_threads(void)
{
    const int cores = hm_cpu_usable_cores();
    return cores < MAX_THREADS ? cores : MAX_THREADS;
}

static hopmla_status cpu_open(const hm_open_options *options, hm_device **device, hopmla_error *error)
{
    int32_t isa = HOPMLA_CPU_ISA_PORTABLE;
    hopmla_status status = choose_isa(options->cpu_isa, &isa, error);
    if (status) {
        return status;
    }
    hm_device *made = calloc(1, sizeof(*made));
    if (!made) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for the CPU backend");
    }
    made->grow = realloc;
    made->isa = isa;
    made->thread_count = options->cpu_threads ? options->cpu_threads : default_threads();
    made->memory_bytes = hm_cpu_memory_bytes();
    made->l2_bytes = hm_cpu_l2_bytes();
    hm_cpu_name(made->name, sizeof(made->name));
    status = hm_threads_create(&made->threads, made->thread_count, error);
    if (status) {
        goto free_device;
    }
    if (pthread_mutex_init(&made->lock, NULL)) {
        status = hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a mutex");
        goto destroy_threads;
    }
    *device = made;
    options->log(options->log_user, HOPMLA_LOG_INFO, "CPU backend: %s, %d threads, instruction set %d", made->name,
                 (int)made->thread_count, (int)made->isa);
    return HOPMLA_OK;

destroy_threads:
    hm_threads_destroy(made->threads);
free_device:
    free(made);
    return status;
}

static void cpu_close(hm_device *device)
{
    hm_cpu_destroy_all(device);
    hm_threads_destroy(device->threads);
    pthread_mutex_destroy(&device->lock);
    free(device);
}

static void cpu_describe(const hm_device *device, hopmla_context_info *info)
{
    info->backend = HOPMLA_BACKEND_CPU;
    info->device = -1;
    info->driver_version = 0;
    info->compute_major = 0;
    info->compute_minor = 0;
    info->units = device->thread_count;
    info->cpu_isa = device->isa;
    info->memory_bytes = device->memory_bytes;
    info->l2_bytes = device->l2_bytes;
    memcpy(info->name, device->name, sizeof(info->name));
}

/* Memory: the device's, pinned and ordinary memory are the same. */

static hopmla_status cpu_alloc(hm_device *device, uint64_t bytes, uint64_t alignment, int32_t kind,
                               hopmla_stream stream, void **memory, hopmla_error *error)
{
    (void)device;
    (void)stream;
    const size_t at_least = alignment < sizeof(void *) ? sizeof(void *) : (size_t)alignment;
    void *made = NULL;
    if (posix_memalign(&made, at_least, (size_t)bytes)) {
        return hm_fail_memory(error, kind, bytes);
    }
    *memory = made;
    return HOPMLA_OK;
}

static void cpu_free(hm_device *device, void *memory, uint64_t bytes, int32_t kind, hopmla_stream stream)
{
    (void)device;
    (void)bytes;
    (void)kind;
    (void)stream;
    free(memory);
}

static hopmla_status cpu_enter(hm_device *device, hopmla_error *error)
{
    (void)device;
    (void)error;
    return HOPMLA_OK;
}

static void cpu_leave(hm_device *device)
{
    (void)device;
}

static hopmla_status cpu_synchronize(hm_device *device, hopmla_error *error)
{
    (void)device;
    (void)error;
    return HOPMLA_OK;
}

static hopmla_status cpu_copy(hm_device *device, void *destination, const void *source, uint64_t bytes,
                              hopmla_stream stream, hopmla_error *error)
{
    const hm_cpu_op op = { .kind = HM_CPU_COPY,
                           .as.memory = { .destination = destination, .source = source, .bytes = bytes } };
    return hm_cpu_submit(device, stream, &op, error);
}

static hopmla_status cpu_fill(hm_device *device, void *destination, uint8_t value, uint64_t bytes, hopmla_stream stream,
                              hopmla_error *error)
{
    const hm_cpu_op op = { .kind = HM_CPU_FILL,
                           .as.memory = { .destination = destination, .bytes = bytes, .value = value } };
    return hm_cpu_submit(device, stream, &op, error);
}

/* Fences. A stream's work has run by the time a later call is made, so a signal is a store; release makes that work
 * visible to whoever reads the fence on another thread. */

static hopmla_status cpu_fence_signal(hm_device *device, hopmla_stream stream, uint64_t *fence, uint64_t value,
                                      hopmla_error *error)
{
    (void)device;
    (void)stream;
    (void)error;
    __atomic_store_n(fence, value, __ATOMIC_RELEASE);
    return HOPMLA_OK;
}

static hopmla_status cpu_fence_wait(hm_device *device, hopmla_stream stream, const uint64_t *fence, uint64_t value,
                                    hopmla_error *error)
{
    (void)device;
    (void)stream;
    (void)error;
    /* Another thread is between booking its signal and making it. */
    while (__atomic_load_n(fence, __ATOMIC_ACQUIRE) < value) {
        sched_yield();
    }
    return HOPMLA_OK;
}

/* Computations. */

static hopmla_status cpu_bind(hm_device *device, const hm_kv *kv, hm_binding *binding, hopmla_error *error)
{
    (void)device;
    (void)kv;
    (void)error;
    memset(binding, 0, sizeof(*binding));
    return HOPMLA_OK;
}

static hopmla_status cpu_apply(hm_device *device, const hm_kv *kv, const hm_table_memory *memory,
                               const hm_staging *staging, hopmla_stream stream, hopmla_error *error)
{
    (void)stream; /* never captured */
    (void)error;
    hm_cpu_apply(device, kv, memory, staging);
    return HOPMLA_OK;
}

static hopmla_status cpu_schedule(hm_device *device, const hm_envelope *envelope, const hm_tables *tables,
                                  void *workspace, hopmla_stream stream, hopmla_error *error)
{
    const hm_cpu_op op = { .kind = HM_CPU_SCHEDULE, .envelope = *envelope, .tables = *tables, .workspace = workspace };
    return hm_cpu_submit(device, stream, &op, error);
}

static hopmla_status cpu_append(hm_device *device, const hm_envelope *envelope, const hm_kv *kv,
                                const hm_tables *tables, const hm_append *append, hopmla_stream stream,
                                hopmla_error *error)
{
    const hm_cpu_op op = {
        .kind = HM_CPU_APPEND, .envelope = *envelope, .kv = *kv, .tables = *tables, .as.append = *append
    };
    return hm_cpu_submit(device, stream, &op, error);
}

static hopmla_status cpu_gather(hm_device *device, const hm_envelope *envelope, const hm_kv *kv,
                                const hm_tables *tables, const hm_gather *gather, hopmla_stream stream,
                                hopmla_error *error)
{
    const hm_cpu_op op = {
        .kind = HM_CPU_GATHER, .envelope = *envelope, .kv = *kv, .tables = *tables, .as.gather = *gather
    };
    return hm_cpu_submit(device, stream, &op, error);
}

static hopmla_status cpu_decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv,
                                const hm_binding *binding, const hm_tables *tables, const hm_decode *decode,
                                void *workspace, hopmla_stream stream, hopmla_error *error)
{
    (void)binding;
    const hm_cpu_op op = { .kind = HM_CPU_DECODE,
                           .envelope = *envelope,
                           .kv = *kv,
                           .tables = *tables,
                           .workspace = workspace,
                           .as.decode = *decode };
    return hm_cpu_submit(device, stream, &op, error);
}

const hm_backend hm_cpu_backend = {
    .kind = HOPMLA_BACKEND_CPU,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .measure_ceilings = hm_cpu_measure_ceilings,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .enter = cpu_enter,
    .leave = cpu_leave,
    .synchronize = cpu_synchronize,
    .copy = cpu_copy,
    .fill = cpu_fill,
    .stream_check = hm_cpu_stream_check,
    .stream_create = hm_cpu_stream_create,
    .stream_destroy = hm_cpu_stream_destroy,
    .stream_synchronize = hm_cpu_stream_synchronize,
    .stream_wait_event = hm_cpu_stream_wait_event,
    .event_create = hm_cpu_event_create,
    .event_destroy = hm_cpu_event_destroy,
    .event_record = hm_cpu_event_record,
    .event_query = hm_cpu_event_query,
    .event_synchronize = hm_cpu_event_synchronize,
    .event_elapsed = hm_cpu_event_elapsed,
    .graph_begin = hm_cpu_graph_begin,
    .graph_end = hm_cpu_graph_end,
    .graph_launch = hm_cpu_graph_launch,
    .graph_destroy = hm_cpu_graph_destroy,
    .fence_signal = cpu_fence_signal,
    .fence_wait = cpu_fence_wait,
    .bind = cpu_bind,
    .apply = cpu_apply,
    .workspace_bytes = hm_cpu_workspace_bytes,
    .schedule = cpu_schedule,
    .append = cpu_append,
    .gather = cpu_gather,
    .decode = cpu_decode,
};
