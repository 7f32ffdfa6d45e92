/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_SM90_H
#define HM_SM90_SM90_H

/** @file
 * The functions behind the backend's table; kernels/backend.h says what each does. */

#include "kernels/sm90/device.h"

/* memory.c, stream.c: these make the device's context current by themselves. */
hopmla_status hm_sm90_alloc(hm_device *device, uint64_t bytes, uint64_t alignment, int32_t kind, hopmla_stream stream,
                            void **memory, hopmla_error *error);
void hm_sm90_free(hm_device *device, void *memory, uint64_t bytes, int32_t kind, hopmla_stream stream);
hopmla_status hm_sm90_copy(hm_device *device, void *destination, const void *source, uint64_t bytes,
                           hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_fill(hm_device *device, void *destination, uint8_t value, uint64_t bytes, hopmla_stream stream,
                           hopmla_error *error);
hopmla_status hm_sm90_synchronize(hm_device *device, hopmla_error *error);
hopmla_status hm_sm90_stream_check(hm_device *device, hopmla_stream stream, int32_t *capturing, hopmla_error *error);
hopmla_status hm_sm90_stream_create(hm_device *device, hopmla_stream *stream, hopmla_error *error);
void hm_sm90_stream_destroy(hm_device *device, hopmla_stream stream);
hopmla_status hm_sm90_stream_synchronize(hm_device *device, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_stream_wait_event(hm_device *device, hopmla_stream stream, hopmla_event event,
                                        hopmla_error *error);
hopmla_status hm_sm90_event_create(hm_device *device, hopmla_event *event, hopmla_error *error);
void hm_sm90_event_destroy(hm_device *device, hopmla_event event);
hopmla_status hm_sm90_event_record(hm_device *device, hopmla_event event, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_event_query(hm_device *device, hopmla_event event, int32_t *happened, hopmla_error *error);
hopmla_status hm_sm90_event_synchronize(hm_device *device, hopmla_event event, hopmla_error *error);
hopmla_status hm_sm90_event_elapsed(hm_device *device, hopmla_event begin, hopmla_event end, double *microseconds,
                                    hopmla_error *error);
hopmla_status hm_sm90_graph_begin(hm_device *device, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_graph_end(hm_device *device, hopmla_stream stream, hopmla_graph *graph, hopmla_error *error);
hopmla_status hm_sm90_graph_launch(hm_device *device, hopmla_graph graph, hopmla_stream stream, hopmla_error *error);
void hm_sm90_graph_destroy(hm_device *device, hopmla_graph graph);
hopmla_status hm_sm90_fence_signal(hm_device *device, hopmla_stream stream, uint64_t *fence, uint64_t value,
                                   hopmla_error *error);
hopmla_status hm_sm90_fence_wait(hm_device *device, hopmla_stream stream, const uint64_t *fence, uint64_t value,
                                 hopmla_error *error);

/* rows.c, ceilings.c: the context is current. */
hopmla_status hm_sm90_apply(hm_device *device, const hm_kv *kv, const hm_table_memory *memory,
                            const hm_staging *staging, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_append(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                             const hm_append *append, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_gather(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                             const hm_gather *gather, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_measure_ceilings(hm_device *device, hopmla_ceilings *ceilings, hopmla_error *error);

/** Calls one driver function with the device's context current; returns from the enclosing function on failure. */
#define HM_SM90_TRY(device, error, name, ...)                                                                          \
    do {                                                                                                               \
        hopmla_status hm_entered = hm_sm90_enter(device, error);                                                       \
        if (hm_entered != HOPMLA_OK) {                                                                                 \
            return hm_entered;                                                                                         \
        }                                                                                                              \
        hm_cu_result hm_code = hm_cu.name(__VA_ARGS__);                                                                \
        hm_sm90_leave(device);                                                                                         \
        if (hm_code != HM_CU_SUCCESS) {                                                                                \
            return hm_driver_fail(error, hm_code, #name);                                                              \
        }                                                                                                              \
    } while (0)

#endif
