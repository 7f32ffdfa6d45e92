/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_STREAM_H
#define HM_CPU_STREAM_H

/** @file
 * Streams, events and graphs of the CPU backend. A stream is no queue: what is enqueued runs at once, on the calling
 * thread. It exists for capture: while a stream is being captured its operations are kept by value in a list, which a
 * graph launch runs later. Events are not captured (lib/ refuses to record one), and a wait has nothing to wait for.
 *
 * device->lock guards the list of objects and what is in them. Operations run outside it. */

#include "kernels/cpu/cpu.h"

typedef struct hm_cpu_stream hm_cpu_stream;
typedef struct hm_cpu_event hm_cpu_event;
typedef struct hm_cpu_graph hm_cpu_graph;

enum hm_cpu_object_kind {
    HM_CPU_STREAM = 1,
    HM_CPU_EVENT,
    HM_CPU_GRAPH
};

/** Head of every object behind a handle. Handles are looked up in the device's list before they are followed, so that a
 * stale one, or one of CUDA or of another context, is a status. */
struct hm_cpu_object {
    hm_cpu_object *next;
    enum hm_cpu_object_kind kind;
};

struct hm_cpu_stream {
    hm_cpu_object object;
    hm_cpu_graph *capture; /* what its operations are kept in, or NULL */
};

struct hm_cpu_event {
    hm_cpu_object object;
    int64_t nanoseconds; /* CLOCK_MONOTONIC when it was last recorded, 0: not yet */
};

/** One enqueued operation. */
typedef struct hm_cpu_op {
    enum hm_cpu_op_kind {
        HM_CPU_COPY = 1,
        HM_CPU_FILL,
        HM_CPU_SCHEDULE,
        HM_CPU_APPEND,
        HM_CPU_GATHER,
        HM_CPU_DECODE
    } kind;
    hm_envelope envelope;
    hm_kv kv;
    hm_tables tables;
    void *workspace;
    union {
        struct {
            void *destination;
            const void *source;
            uint64_t bytes;
            uint8_t value;
        } memory;
        hm_append append;
        hm_gather gather;
        hm_decode decode;
    } as;
} hm_cpu_op;

struct hm_cpu_graph {
    hm_cpu_object object; /* in the device's list once its capture has ended; until then its stream owns it */
    hm_cpu_op *ops;
    uint64_t count;
    uint64_t capacity;
    int broken; /* an operation was lost: there was no memory to keep it */
};

/** Runs the operation, or keeps it when the stream is being captured. @return OK, MISMATCH, OUT_OF_HOST_MEMORY */
hopmla_status hm_cpu_submit(hm_device *device, hopmla_stream stream, const hm_cpu_op *op, hopmla_error *error);

/** The stream of a handle; NULL and OK for the default stream. With the lock held. @return OK, MISMATCH */
hopmla_status hm_cpu_find_stream(hm_device *device, hopmla_stream handle, hm_cpu_stream **stream, hopmla_error *error);

/** The object behind a handle of this device, or NULL. With the lock held. */
void *hm_cpu_find(hm_device *device, const void *handle, enum hm_cpu_object_kind kind);

/** Puts an object on the list. With the lock held. */
void hm_cpu_list(hm_device *device, hm_cpu_object *object);

/** Destroys what a handle of this device stands for; nothing when there is no such object. */
void hm_cpu_destroy(hm_device *device, const void *handle, enum hm_cpu_object_kind kind);

/** Destroys everything on the list, when the device closes. */
void hm_cpu_destroy_all(hm_device *device);

/** Frees a graph that is not on the list. NULL is allowed. */
void hm_cpu_graph_free(hm_cpu_graph *graph);

/* Functions of the backend's table. */

hopmla_status hm_cpu_stream_check(hm_device *device, hopmla_stream stream, int32_t *capturing, hopmla_error *error);
hopmla_status hm_cpu_stream_create(hm_device *device, hopmla_stream *stream, hopmla_error *error);
void hm_cpu_stream_destroy(hm_device *device, hopmla_stream stream);
hopmla_status hm_cpu_stream_synchronize(hm_device *device, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_cpu_stream_wait_event(hm_device *device, hopmla_stream stream, hopmla_event event,
                                       hopmla_error *error);
hopmla_status hm_cpu_event_create(hm_device *device, hopmla_event *event, hopmla_error *error);
void hm_cpu_event_destroy(hm_device *device, hopmla_event event);
hopmla_status hm_cpu_event_record(hm_device *device, hopmla_event event, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_cpu_event_query(hm_device *device, hopmla_event event, int32_t *happened, hopmla_error *error);
hopmla_status hm_cpu_event_synchronize(hm_device *device, hopmla_event event, hopmla_error *error);
hopmla_status hm_cpu_event_elapsed(hm_device *device, hopmla_event begin, hopmla_event end, double *microseconds,
                                   hopmla_error *error);
hopmla_status hm_cpu_graph_begin(hm_device *device, hopmla_stream stream, hopmla_error *error);
hopmla_status hm_cpu_graph_end(hm_device *device, hopmla_stream stream, hopmla_graph *graph, hopmla_error *error);
hopmla_status hm_cpu_graph_launch(hm_device *device, hopmla_graph graph, hopmla_stream stream, hopmla_error *error);
void hm_cpu_graph_destroy(hm_device *device, hopmla_graph graph);

#endif
