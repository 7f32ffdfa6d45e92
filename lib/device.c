/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "lib/context.h"
#include "lib/error.h"

/* Checked here, carried out by the backend. The backend itself knows its events and graphs from foreign ones. */

static const uint64_t max_bytes = UINT64_C(1) << 47;
enum {
    MEMORY_ALIGNMENT = 1024 /* what caller-supplied pool and plan memory needs */
};

static hopmla_status check_stream(hopmla_context *context, hopmla_stream stream, hopmla_error *error)
{
    int32_t capturing;
    return context->backend->stream_check(context->device, stream, &capturing, error);
}

static hopmla_status refuse_capture(hopmla_context *context, hopmla_stream stream, const char *what,
                                    hopmla_error *error)
{
    int32_t capturing = 0;
    const hopmla_status status = context->backend->stream_check(context->device, stream, &capturing, error);
    if (status == HOPMLA_OK && capturing) {
        return hm_fail(error, HOPMLA_ERROR_CAPTURE, "stream is being captured and cannot %s", what);
    }
    return status;
}

static int is_helper_kind(int32_t kind)
{
    return kind == HOPMLA_MEMORY_WORKSPACE || kind == HOPMLA_MEMORY_PINNED;
}

hopmla_status hopmla_memory_alloc(hopmla_context *context, uint64_t bytes, int32_t kind, void **memory,
                                  hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(memory, error);
    if (!is_helper_kind(kind)) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "kind is %d, must be HOPMLA_MEMORY_WORKSPACE or HOPMLA_MEMORY_PINNED",
                       (int)kind);
    }
    if (bytes < 1 || bytes > max_bytes) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "bytes is %llu, must be 1 … 2^47", (unsigned long long)bytes);
    }
    return hm_alloc(context, bytes, MEMORY_ALIGNMENT, kind, NULL, memory, error);
}

void hopmla_memory_free(hopmla_context *context, void *memory, uint64_t bytes, int32_t kind)
{
    if (context && memory && is_helper_kind(kind)) {
        hm_free(context, memory, bytes, kind, NULL);
    }
}

static hopmla_status check_bytes(uint64_t bytes, hopmla_error *error)
{
    if (bytes > max_bytes) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "bytes is %llu, must be 0 … 2^47", (unsigned long long)bytes);
    }
    return HOPMLA_OK;
}

hopmla_status hopmla_memory_copy(hopmla_context *context, void *destination, const void *source, uint64_t bytes,
                                 hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    hopmla_status status = check_stream(context, stream, error);
    if (status == HOPMLA_OK) {
        status = check_bytes(bytes, error);
    }
    if (status || bytes == 0) { /* an empty slice of a binding may have no address */
        return status;
    }
    HM_CHECK_NULL(destination, error);
    HM_CHECK_NULL(source, error);
    return context->backend->copy(context->device, destination, source, bytes, stream, error);
}

hopmla_status hopmla_memory_fill(hopmla_context *context, void *destination, uint8_t value, uint64_t bytes,
                                 hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    hopmla_status status = check_stream(context, stream, error);
    if (status == HOPMLA_OK) {
        status = check_bytes(bytes, error);
    }
    if (status || bytes == 0) {
        return status;
    }
    HM_CHECK_NULL(destination, error);
    return context->backend->fill(context->device, destination, value, bytes, stream, error);
}

hopmla_status hopmla_stream_create(hopmla_context *context, hopmla_stream *stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(stream, error);
    return context->backend->stream_create(context->device, stream, error);
}

void hopmla_stream_destroy(hopmla_context *context, hopmla_stream stream)
{
    if (context && stream) {
        context->backend->stream_destroy(context->device, stream);
    }
}

hopmla_status hopmla_stream_synchronize(hopmla_context *context, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    const hopmla_status status = refuse_capture(context, stream, "be waited for", error);
    return status ? status : context->backend->stream_synchronize(context->device, stream, error);
}

hopmla_status hopmla_stream_wait_event(hopmla_context *context, hopmla_stream stream, hopmla_event event,
                                       hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(event, error);
    const hopmla_status status = check_stream(context, stream, error);
    return status ? status : context->backend->stream_wait_event(context->device, stream, event, error);
}

hopmla_status hopmla_event_create(hopmla_context *context, hopmla_event *event, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(event, error);
    return context->backend->event_create(context->device, event, error);
}

void hopmla_event_destroy(hopmla_context *context, hopmla_event event)
{
    if (context && event) {
        context->backend->event_destroy(context->device, event);
    }
}

hopmla_status hopmla_event_record(hopmla_context *context, hopmla_event event, hopmla_stream stream,
                                  hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(event, error);
    const hopmla_status status = refuse_capture(context, stream, "record an event", error);
    return status ? status : context->backend->event_record(context->device, event, stream, error);
}

hopmla_status hopmla_event_synchronize(hopmla_context *context, hopmla_event event, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(event, error);
    return context->backend->event_synchronize(context->device, event, error);
}

hopmla_status hopmla_event_elapsed(hopmla_context *context, hopmla_event begin, hopmla_event end, double *microseconds,
                                   hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(begin, error);
    HM_CHECK_NULL(end, error);
    HM_CHECK_NULL(microseconds, error);
    double elapsed = 0;
    const hopmla_status status = context->backend->event_elapsed(context->device, begin, end, &elapsed, error);
    if (status == HOPMLA_OK) {
        *microseconds = elapsed;
    }
    return status;
}

hopmla_status hopmla_graph_begin(hopmla_context *context, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    if (!stream) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "stream is the default stream, which cannot be captured");
    }
    hopmla_status status = refuse_capture(context, stream, "begin another capture", error);
    if (status == HOPMLA_OK) {
        status = context->backend->graph_begin(context->device, stream, error);
    }
    if (status == HOPMLA_OK) {
        hm_observe_capture_begin(&context->observers);
    }
    return status;
}

hopmla_status hopmla_graph_end(hopmla_context *context, hopmla_stream stream, hopmla_graph *graph, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(graph, error);
    int32_t capturing = 0;
    const hopmla_status status = context->backend->stream_check(context->device, stream, &capturing, error);
    if (status) {
        return status;
    }
    if (!capturing) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "stream is not being captured");
    }
    hm_observe_capture_end(&context->observers);
    return context->backend->graph_end(context->device, stream, graph, error);
}

hopmla_status hopmla_graph_launch(hopmla_context *context, hopmla_graph graph, hopmla_stream stream,
                                  hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(graph, error);
    const hopmla_status status = check_stream(context, stream, error);
    return status ? status : context->backend->graph_launch(context->device, graph, stream, error);
}

void hopmla_graph_destroy(hopmla_context *context, hopmla_graph graph)
{
    if (context && graph) {
        context->backend->graph_destroy(context->device, graph);
    }
}
