/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/sm90/decode.h"
#include "kernels/sm90/sm90.h"

/** @file
 * The backend's table. What launches kernels or measures is wrapped here, so that it finds the context current. */

/* Evaluates `call` with the device's context current and returns its status. */
#define IN_CONTEXT(device, error, call)                                                                                \
    do {                                                                                                               \
        hopmla_status status = hm_sm90_enter(device, error);                                                           \
        if (status == HOPMLA_OK) {                                                                                     \
            status = (call);                                                                                           \
            hm_sm90_leave(device);                                                                                     \
        }                                                                                                              \
        return status;                                                                                                 \
    } while (0)

static hopmla_status measure_ceilings(hm_device *device, hopmla_ceilings *ceilings, hopmla_error *error)
{
    IN_CONTEXT(device, error, hm_sm90_measure_ceilings(device, ceilings, error));
}

static hopmla_status bind(hm_device *device, const hm_kv *kv, hm_binding *binding, hopmla_error *error)
{
    IN_CONTEXT(device, error, hm_sm90_bind(device, kv, binding, error));
}

static hopmla_status apply(hm_device *device, const hm_kv *kv, const hm_table_memory *memory, const hm_staging *staging,
                           hopmla_stream stream, hopmla_error *error)
{
    IN_CONTEXT(device, error, hm_sm90_apply(device, kv, memory, staging, stream, error));
}

static hopmla_status schedule(hm_device *device, const hm_envelope *envelope, const hm_tables *tables, void *workspace,
                              hopmla_stream stream, hopmla_error *error)
{
    IN_CONTEXT(device, error, hm_sm90_schedule(device, envelope, tables, workspace, stream, error));
}

static hopmla_status append(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                            const hm_append *args, hopmla_stream stream, hopmla_error *error)
{
    IN_CONTEXT(device, error, hm_sm90_append(device, envelope, kv, tables, args, stream, error));
}

static hopmla_status gather(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                            const hm_gather *args, hopmla_stream stream, hopmla_error *error)
{
    IN_CONTEXT(device, error, hm_sm90_gather(device, envelope, kv, tables, args, stream, error));
}

static hopmla_status decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_binding *binding,
                            const hm_tables *tables, const hm_decode *args, void *workspace, hopmla_stream stream,
                            hopmla_error *error)
{
    IN_CONTEXT(device, error, hm_sm90_decode(device, envelope, kv, binding, tables, args, workspace, stream, error));
}

const hm_backend hm_sm90_backend = {
    .kind = HOPMLA_BACKEND_CUDA,
    .open = hm_sm90_open,
    .close = hm_sm90_close,
    .describe = hm_sm90_describe,
    .measure_ceilings = measure_ceilings,
    .alloc = hm_sm90_alloc,
    .free = hm_sm90_free,
    .enter = hm_sm90_enter,
    .leave = hm_sm90_leave,
    .synchronize = hm_sm90_synchronize,
    .copy = hm_sm90_copy,
    .fill = hm_sm90_fill,
    .stream_check = hm_sm90_stream_check,
    .stream_create = hm_sm90_stream_create,
    .stream_destroy = hm_sm90_stream_destroy,
    .stream_synchronize = hm_sm90_stream_synchronize,
    .stream_wait_event = hm_sm90_stream_wait_event,
    .event_create = hm_sm90_event_create,
    .event_destroy = hm_sm90_event_destroy,
    .event_record = hm_sm90_event_record,
    .event_query = hm_sm90_event_query,
    .event_synchronize = hm_sm90_event_synchronize,
    .event_elapsed = hm_sm90_event_elapsed,
    .graph_begin = hm_sm90_graph_begin,
    .graph_end = hm_sm90_graph_end,
    .graph_launch = hm_sm90_graph_launch,
    .graph_destroy = hm_sm90_graph_destroy,
    .fence_signal = hm_sm90_fence_signal,
    .fence_wait = hm_sm90_fence_wait,
    .bind = bind,
    .apply = apply,
    .workspace_bytes = hm_sm90_workspace_bytes,
    .schedule = schedule,
    .append = append,
    .gather = gather,
    .decode = decode,
};
