/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_DEVICE_H
#define HOPMLA_DEVICE_H

#include "context.h"

/** @file
 * Memory, streams, events and graphs, for callers that bring no CUDA binding of their own. Nothing here is needed by a
 * program that has one: its CUstream goes wherever a hopmla_stream is asked for.
 *
 * Every function is thread-safe on distinct objects. NULL as stream is the default stream (of the context on CUDA, the
 * calling thread on CPU). On CPU everything has finished when the call returns; a stream there exists so that capture
 * works the same. Statuses common to all: OK, NULL, MISMATCH for an object of another context, and the driver's. Streams
 * are told apart always; events and graphs always on CPU, and on CUDA where the driver tells: it waits for another
 * context's event, and launches its graph. */

#ifdef __cplusplus
extern "C" {
#endif

struct CUevent_st;
struct CUgraphExec_st;
typedef struct CUevent_st *hopmla_event;
typedef struct CUgraphExec_st *hopmla_graph;

/** Allocates memory that the library's kernels can use, through the context's allocator.
 *
 * @param bytes   1 … 2^47
 * @param kind    HOPMLA_MEMORY_WORKSPACE (device) or HOPMLA_MEMORY_PINNED (host, readable by the device)
 * @param memory  receives the address, aligned to 1024 bytes, as memory for pools and plans is;
 *                free it with hopmla_memory_free and the same bytes and kind
 * Not capturable. @return also ARGUMENT, ENUM. */
HOPMLA_API hopmla_status hopmla_memory_alloc(hopmla_context *context, uint64_t bytes, int32_t kind, void **memory,
                                             hopmla_error *error);

/** Frees it. NULL memory is allowed. Work that uses it must have finished. Not capturable. */
HOPMLA_API void hopmla_memory_free(hopmla_context *context, void *memory, uint64_t bytes, int32_t kind);

/** Enqueues a copy in any direction between host and device. Pageable host memory is read before the call returns;
 * a copy to pageable host memory has finished when it returns; pinned memory must stay valid until the stream is there.
 * Capturable with pinned and device memory. @return also ARGUMENT for more than 2^47 bytes, CAPTURE for pageable memory
 * while the stream is captured. */
HOPMLA_API hopmla_status hopmla_memory_copy(hopmla_context *context, void *destination, const void *source,
                                            uint64_t bytes, hopmla_stream stream, hopmla_error *error);

/** Enqueues a fill of device memory with one byte value. Capturable. @return also ARGUMENT for more than 2^47 bytes. */
HOPMLA_API hopmla_status hopmla_memory_fill(hopmla_context *context, void *destination, uint8_t value, uint64_t bytes,
                                            hopmla_stream stream, hopmla_error *error);

/** Creates a stream that does not wait for the default stream. Destroy it before the context's last reference goes. */
HOPMLA_API hopmla_status hopmla_stream_create(hopmla_context *context, hopmla_stream *stream, hopmla_error *error);

/** Destroys a stream; work in it still finishes. NULL is allowed. */
HOPMLA_API void hopmla_stream_destroy(hopmla_context *context, hopmla_stream stream);

/** Waits until the stream's work has finished, and reports what failed in it. Not capturable. */
HOPMLA_API hopmla_status hopmla_stream_synchronize(hopmla_context *context, hopmla_stream stream, hopmla_error *error);

/** Makes later work of the stream wait for the event. Capturable: the event is then one from outside the capture. */
HOPMLA_API hopmla_status hopmla_stream_wait_event(hopmla_context *context, hopmla_stream stream, hopmla_event event,
                                                  hopmla_error *error);

/** Creates an event with a time stamp. */
HOPMLA_API hopmla_status hopmla_event_create(hopmla_context *context, hopmla_event *event, hopmla_error *error);

/** Destroys an event. NULL is allowed. */
HOPMLA_API void hopmla_event_destroy(hopmla_context *context, hopmla_event event);

/** Enqueues the event. Not capturable. */
HOPMLA_API hopmla_status hopmla_event_record(hopmla_context *context, hopmla_event event, hopmla_stream stream,
                                             hopmla_error *error);

/** Waits until the event has happened. */
HOPMLA_API hopmla_status hopmla_event_synchronize(hopmla_context *context, hopmla_event event, hopmla_error *error);

/** Microseconds between two events that have happened. @return also STATE when one has not, or has no time stamp. */
HOPMLA_API hopmla_status hopmla_event_elapsed(hopmla_context *context, hopmla_event begin, hopmla_event end,
                                              double *microseconds, hopmla_error *error);

/** Starts capture: calls on the stream are recorded instead of run, until hopmla_graph_end. @return also CAPTURE when
 * the stream is being captured already, ARGUMENT for the default stream. */
HOPMLA_API hopmla_status hopmla_graph_begin(hopmla_context *context, hopmla_stream stream, hopmla_error *error);

/** Ends capture and makes a graph that can be launched any number of times.
 *
 * @param graph  receives the graph; destroy it with hopmla_graph_destroy. Plans captured in it must outlive its launches
 * @return also STATE when the stream is not being captured, or its capture was broken. */
HOPMLA_API hopmla_status hopmla_graph_end(hopmla_context *context, hopmla_stream stream, hopmla_graph *graph,
                                          hopmla_error *error);

/** Enqueues one run of the graph. */
HOPMLA_API hopmla_status hopmla_graph_launch(hopmla_context *context, hopmla_graph graph, hopmla_stream stream,
                                             hopmla_error *error);

/** Destroys a graph whose launches have finished. NULL is allowed. */
HOPMLA_API void hopmla_graph_destroy(hopmla_context *context, hopmla_graph graph);

#ifdef __cplusplus
}
#endif

#endif
