/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/stream.h"
#include "lib/error.h"

/* Operations. */

static void run(hm_device *device, const hm_cpu_op *op)
{
    switch (op->kind) {
    case HM_CPU_COPY:
        memmove(op->as.memory.destination, op->as.memory.source, (size_t)op->as.memory.bytes);
        break;
    case HM_CPU_FILL:
        memset(op->as.memory.destination, op->as.memory.value, (size_t)op->as.memory.bytes);
        break;
    case HM_CPU_SCHEDULE:
        hm_cpu_schedule(device, &op->envelope, &op->tables, op->workspace);
        break;
    case HM_CPU_APPEND:
        hm_cpu_append(device, &op->envelope, &op->kv, &op->tables, &op->as.append);
        break;
    case HM_CPU_GATHER:
        hm_cpu_gather(device, &op->envelope, &op->kv, &op->tables, &op->as.gather);
        break;
    case HM_CPU_DECODE:
        hm_cpu_decode(device, &op->envelope, &op->kv, &op->tables, &op->as.decode, op->workspace);
        break;
    }
}

static hopmla_status keep(const hm_device *device, hm_cpu_graph *capture, const hm_cpu_op *ops, uint64_t count,
                          hopmla_error *error)
{
    if (!capture->broken && capture->capacity - capture->count < count) {
        uint64_t capacity = capture->capacity ? capture->capacity : 16;
        while (capacity - capture->count < count) {
            capacity *= 2;
        }
        hm_cpu_op *grown = device->grow(capture->ops, (size_t)capacity * sizeof(*grown));
        if (grown) {
            capture->ops = grown;
            capture->capacity = capacity;
        } else {
            capture->broken = 1;
        }
    }
    if (capture->broken) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY,
                       "the capture is broken: no memory for one more operation");
    }
    for (uint64_t i = 0; i < count; i++) {
        capture->ops[capture->count++] = ops[i];
    }
    return HOPMLA_OK;
}

hopmla_status hm_cpu_submit(hm_device *device, hopmla_stream handle, const hm_cpu_op *op, hopmla_error *error)
{
    hm_cpu_stream *stream;
    int run_now = 0;
    pthread_mutex_lock(&device->lock);
    hopmla_status status = hm_cpu_find_stream(device, handle, &stream, error);
    if (status == HOPMLA_OK) {
        run_now = !stream || !stream->capture;
        status = run_now ? HOPMLA_OK : keep(device, stream->capture, op, 1, error);
    }
    pthread_mutex_unlock(&device->lock);
    if (run_now) {
        run(device, op);
    }
    return status;
}

/* Capture. */

static hopmla_status begin(hm_cpu_stream *stream, hopmla_error *error)
{
    if (!stream) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "stream is the default stream, which cannot be captured");
    }
    if (stream->capture) {
        return hm_fail(error, HOPMLA_ERROR_CAPTURE, "stream is being captured already");
    }
    /* Made now, so that the end of a capture cannot fail for want of memory. */
    hm_cpu_graph *capture = calloc(1, sizeof(*capture));
    if (!capture) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a graph");
    }
    capture->object.kind = HM_CPU_GRAPH;
    stream->capture = capture;
    return HOPMLA_OK;
}

hopmla_status hm_cpu_graph_begin(hm_device *device, hopmla_stream handle, hopmla_error *error)
{
    hm_cpu_stream *stream;
    pthread_mutex_lock(&device->lock);
    hopmla_status status = hm_cpu_find_stream(device, handle, &stream, error);
    if (status == HOPMLA_OK) {
        status = begin(stream, error);
    }
    pthread_mutex_unlock(&device->lock);
    return status;
}

static hopmla_status end(hm_device *device, hm_cpu_stream *stream, hopmla_graph *graph, hopmla_error *error)
{
    hm_cpu_graph *capture = stream ? stream->capture : NULL;
    if (!capture) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "stream is not being captured");
    }
    stream->capture = NULL;
    if (capture->broken) {
        hm_cpu_graph_free(capture);
        return hm_fail(error, HOPMLA_ERROR_STATE, "the capture was broken: there was no memory for all its operations");
    }
    hm_cpu_list(device, &capture->object);
    *graph = (hopmla_graph)capture;
    return HOPMLA_OK;
}

hopmla_status hm_cpu_graph_end(hm_device *device, hopmla_stream handle, hopmla_graph *graph, hopmla_error *error)
{
    hm_cpu_stream *stream;
    pthread_mutex_lock(&device->lock);
    hopmla_status status = hm_cpu_find_stream(device, handle, &stream, error);
    if (status == HOPMLA_OK) {
        status = end(device, stream, graph, error);
    }
    pthread_mutex_unlock(&device->lock);
    return status;
}

/* Graphs. */

hopmla_status hm_cpu_graph_launch(hm_device *device, hopmla_graph handle, hopmla_stream stream_handle,
                                  hopmla_error *error)
{
    hm_cpu_stream *stream;
    const hm_cpu_graph *graph = NULL;
    int run_now = 0;
    pthread_mutex_lock(&device->lock);
    hopmla_status status = hm_cpu_find_stream(device, stream_handle, &stream, error);
    if (status == HOPMLA_OK) {
        graph = hm_cpu_find(device, handle, HM_CPU_GRAPH);
        run_now = graph && (!stream || !stream->capture);
        if (!graph) {
            status = hm_fail(error, HOPMLA_ERROR_MISMATCH, "graph is none of this context's");
        } else if (!run_now) {
            status = keep(device, stream->capture, graph->ops, graph->count, error);
        }
    }
    pthread_mutex_unlock(&device->lock);
    for (uint64_t i = 0; run_now && i < graph->count; i++) {
        run(device, &graph->ops[i]);
    }
    return status;
}

void hm_cpu_graph_destroy(hm_device *device, hopmla_graph graph)
{
    hm_cpu_destroy(device, graph, HM_CPU_GRAPH);
}

void hm_cpu_graph_free(hm_cpu_graph *graph)
{
    if (graph) {
        free(graph->ops);
        free(graph);
    }
}
