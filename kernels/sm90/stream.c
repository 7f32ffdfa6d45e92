/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/sm90/sm90.h"
#include "lib/error.h"

/** @file
 * Streams, events, graphs and fences. */

hopmla_status hm_sm90_synchronize(hm_device *device, hopmla_error *error)
{
    hopmla_status status = hm_sm90_enter(device, error);
    if (status != HOPMLA_OK) {
        return status;
    }
    hm_cu_result code = hm_cu.cuCtxSynchronize();
    hm_sm90_leave(device);
    return code == HM_CU_SUCCESS ? HOPMLA_OK : hm_driver_fail(error, code, "cuCtxSynchronize");
}

/* Why a call failed that was given a handle of the caller's, the public argument `what`. A handle of another context is
 * refused as invalid, one of a context that is gone like a call in that context; the latter is also what every call gets
 * when the device's own context is gone, which is then what the caller must hear. The device's context is current. */
static hopmla_status fail_handle(hm_cu_result code, const char *call, const char *what, hopmla_error *error)
{
    if (code != HM_CU_INVALID_HANDLE && code != HM_CU_INVALID_CONTEXT && code != HM_CU_CONTEXT_IS_DESTROYED) {
        return hm_driver_fail(error, code, call);
    }
    hm_cu_context own;
    hm_cu_result lost = hm_cu.cuStreamGetCtx(NULL, &own);
    if (lost != HM_CU_SUCCESS) {
        return hm_driver_fail(error, lost, call);
    }
    return hm_fail(error, HOPMLA_ERROR_MISMATCH, "%s is not of the library's CUDA context, or gone (%s: %d)", what,
                   call, code);
}

/* Calls one driver function that gets a handle of the caller's, in the device's context; returns from the enclosing
 * function on failure. */
#define TRY_HANDLE(device, what, error, name, ...)                                                                     \
    do {                                                                                                               \
        hopmla_status hm_status = hm_sm90_enter(device, error);                                                        \
        if (hm_status != HOPMLA_OK) {                                                                                  \
            return hm_status;                                                                                          \
        }                                                                                                              \
        hm_cu_result hm_code = hm_cu.name(__VA_ARGS__);                                                                \
        if (hm_code != HM_CU_SUCCESS) {                                                                                \
            hm_status = fail_handle(hm_code, #name, what, error);                                                      \
        }                                                                                                              \
        hm_sm90_leave(device);                                                                                         \
        if (hm_status != HOPMLA_OK) {                                                                                  \
            return hm_status;                                                                                          \
        }                                                                                                              \
    } while (0)

static hopmla_status check(hm_device *device, hopmla_stream stream, int32_t *capturing, hopmla_error *error)
{
    hm_cu_context context = NULL;
    int capture = HM_CU_STREAM_CAPTURE_STATUS_NONE;

    hm_cu_result code = hm_cu.cuStreamGetCtx(stream, &context);
    if (code != HM_CU_SUCCESS) {
        return fail_handle(code, "cuStreamGetCtx", "stream", error);
    }
    if (context != device->context) {
        return hm_fail(error, HOPMLA_ERROR_MISMATCH, "stream is of another CUDA context");
    }
    HM_CU_TRY(error, cuStreamIsCapturing, stream, &capture);
    *capturing = capture != HM_CU_STREAM_CAPTURE_STATUS_NONE;
    return HOPMLA_OK;
}

hopmla_status hm_sm90_stream_check(hm_device *device, hopmla_stream stream, int32_t *capturing, hopmla_error *error)
{
    hopmla_status status = hm_sm90_enter(device, error); /* the default stream is the current context's */
    if (status == HOPMLA_OK) {
        status = check(device, stream, capturing, error);
        hm_sm90_leave(device);
    }
    return status;
}

hopmla_status hm_sm90_stream_create(hm_device *device, hopmla_stream *stream, hopmla_error *error)
{
    HM_SM90_TRY(device, error, cuStreamCreate, stream, HM_CU_STREAM_NON_BLOCKING);
    return HOPMLA_OK;
}

void hm_sm90_stream_destroy(hm_device *device, hopmla_stream stream)
{
    if (stream && hm_sm90_enter(device, NULL) == HOPMLA_OK) {
        hm_cu.cuStreamDestroy(stream);
        hm_sm90_leave(device);
    }
}

hopmla_status hm_sm90_stream_synchronize(hm_device *device, hopmla_stream stream, hopmla_error *error)
{
    HM_SM90_TRY(device, error, cuStreamSynchronize, stream);
    return HOPMLA_OK;
}

hopmla_status hm_sm90_stream_wait_event(hm_device *device, hopmla_stream stream, hopmla_event event,
                                        hopmla_error *error)
{
    int capture = HM_CU_STREAM_CAPTURE_STATUS_NONE;
    HM_SM90_TRY(device, error, cuStreamIsCapturing, stream, &capture);
    /* Events are never recorded inside a capture, so in one the wait is for something outside it: a node that waits for
     * the event as it stands at replay. Without the flag that is an isolation error, which breaks the capture. */
    unsigned flags = capture == HM_CU_STREAM_CAPTURE_STATUS_NONE ? HM_CU_EVENT_WAIT_DEFAULT : HM_CU_EVENT_WAIT_EXTERNAL;
    TRY_HANDLE(device, "event", error, cuStreamWaitEvent, stream, event, flags);
    return HOPMLA_OK;
}

hopmla_status hm_sm90_event_create(hm_device *device, hopmla_event *event, hopmla_error *error)
{
    HM_SM90_TRY(device, error, cuEventCreate, event, HM_CU_EVENT_DEFAULT);
    return HOPMLA_OK;
}

void hm_sm90_event_destroy(hm_device *device, hopmla_event event)
{
    if (event && hm_sm90_enter(device, NULL) == HOPMLA_OK) {
        hm_cu.cuEventDestroy(event);
        hm_sm90_leave(device);
    }
}

hopmla_status hm_sm90_event_record(hm_device *device, hopmla_event event, hopmla_stream stream, hopmla_error *error)
{
    TRY_HANDLE(device, "event", error, cuEventRecord, event, stream);
    return HOPMLA_OK;
}

/* A query is among the calls that break a capture in global mode, of any stream, unless this thread says that it does not
 * mean it. */
hopmla_status hm_sm90_event_query(hm_device *device, hopmla_event event, int32_t *happened, hopmla_error *error)
{
    hopmla_status status = hm_sm90_enter(device, error);
    if (status != HOPMLA_OK) {
        return status;
    }
    int mode = HM_CU_STREAM_CAPTURE_MODE_RELAXED;
    hm_cu_result code = hm_cu.cuThreadExchangeStreamCaptureMode(&mode);
    if (code == HM_CU_SUCCESS) {
        code = hm_cu.cuEventQuery(event);
        hm_cu.cuThreadExchangeStreamCaptureMode(&mode);
    }
    if (code != HM_CU_SUCCESS && code != HM_CU_NOT_READY) {
        status = fail_handle(code, "cuEventQuery", "event", error);
    } else {
        *happened = code == HM_CU_SUCCESS;
    }
    hm_sm90_leave(device);
    return status;
}

hopmla_status hm_sm90_event_synchronize(hm_device *device, hopmla_event event, hopmla_error *error)
{
    TRY_HANDLE(device, "event", error, cuEventSynchronize, event);
    return HOPMLA_OK;
}

/* An event that was recorded, has happened and carries a time stamp, of whichever context. */
static int has_time(hopmla_event event)
{
    float none;
    return hm_cu.cuEventElapsedTime(&none, event, event) == HM_CU_SUCCESS;
}

static hopmla_status elapsed(hopmla_event begin, hopmla_event end, double *microseconds, hopmla_error *error)
{
    float milliseconds = 0.0f;
    hm_cu_result code = hm_cu.cuEventElapsedTime(&milliseconds, begin, end);
    /* The driver has one code for an event that was never recorded and for events of two contexts. */
    if (code == HM_CU_NOT_READY || (code == HM_CU_INVALID_HANDLE && !(has_time(begin) && has_time(end)))) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "an event has not happened yet, or keeps no time");
    }
    if (code != HM_CU_SUCCESS) {
        return fail_handle(code, "cuEventElapsedTime", "begin or end", error);
    }
    *microseconds = (double)milliseconds * 1e3;
    return HOPMLA_OK;
}

hopmla_status hm_sm90_event_elapsed(hm_device *device, hopmla_event begin, hopmla_event end, double *microseconds,
                                    hopmla_error *error)
{
    hopmla_status status = hm_sm90_enter(device, error);
    if (status == HOPMLA_OK) {
        status = elapsed(begin, end, microseconds, error);
        hm_sm90_leave(device);
    }
    return status;
}

hopmla_status hm_sm90_graph_begin(hm_device *device, hopmla_stream stream, hopmla_error *error)
{
    hopmla_status status = hm_sm90_enter(device, error);
    if (status != HOPMLA_OK) {
        return status;
    }
    /* Relaxed: in the other modes a capture must end on the thread that began it, and a goroutine may have moved to
     * another one by then. What they would refuse meanwhile, calls that no graph can hold, the library refuses itself. */
    hm_cu_result code = hm_cu.cuStreamBeginCapture(stream, HM_CU_STREAM_CAPTURE_MODE_RELAXED);
    hm_sm90_leave(device);
    if (code == HM_CU_ILLEGAL_STATE) {
        return hm_fail(error, HOPMLA_ERROR_CAPTURE, "the stream is being captured already");
    }
    if (!stream && code == HM_CU_STREAM_CAPTURE_UNSUPPORTED) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "the default stream cannot be captured");
    }
    return code == HM_CU_SUCCESS ? HOPMLA_OK : hm_driver_fail(error, code, "cuStreamBeginCapture");
}

static hopmla_status end_capture(hopmla_stream stream, hopmla_graph *graph, hopmla_error *error)
{
    hm_cu_graph captured = NULL;
    hm_cu_result code = hm_cu.cuStreamEndCapture(stream, &captured);
    if (code == HM_CU_ILLEGAL_STATE) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "the stream is not being captured");
    }
    if (code >= HM_CU_STREAM_CAPTURE_UNSUPPORTED && code <= HM_CU_STREAM_CAPTURE_WRONG_THREAD) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "the capture was broken by a call that cannot be captured (%d)",
                       code);
    }
    if (code != HM_CU_SUCCESS) {
        return hm_driver_fail(error, code, "cuStreamEndCapture");
    }
    hopmla_graph made = NULL;
    code = hm_cu.cuGraphInstantiateWithFlags(&made, captured, 0);
    hm_cu.cuGraphDestroy(captured);
    if (code != HM_CU_SUCCESS) {
        return hm_driver_fail(error, code, "cuGraphInstantiateWithFlags");
    }
    *graph = made;
    return HOPMLA_OK;
}

hopmla_status hm_sm90_graph_end(hm_device *device, hopmla_stream stream, hopmla_graph *graph, hopmla_error *error)
{
    hopmla_status status = hm_sm90_enter(device, error);
    if (status == HOPMLA_OK) {
        status = end_capture(stream, graph, error);
        hm_sm90_leave(device);
    }
    return status;
}

hopmla_status hm_sm90_graph_launch(hm_device *device, hopmla_graph graph, hopmla_stream stream, hopmla_error *error)
{
    TRY_HANDLE(device, "graph", error, cuGraphLaunch, graph, stream);
    return HOPMLA_OK;
}

void hm_sm90_graph_destroy(hm_device *device, hopmla_graph graph)
{
    if (graph && hm_sm90_enter(device, NULL) == HOPMLA_OK) {
        hm_cu.cuGraphExecDestroy(graph);
        hm_sm90_leave(device);
    }
}

/* The stream's earlier work is visible to the whole system before the value is: that is the call's default. */
hopmla_status hm_sm90_fence_signal(hm_device *device, hopmla_stream stream, uint64_t *fence, uint64_t value,
                                   hopmla_error *error)
{
    HM_SM90_TRY(device, error, cuStreamWriteValue64, stream, (uintptr_t)fence, value, 0);
    return HOPMLA_OK;
}

hopmla_status hm_sm90_fence_wait(hm_device *device, hopmla_stream stream, const uint64_t *fence, uint64_t value,
                                 hopmla_error *error)
{
    HM_SM90_TRY(device, error, cuStreamWaitValue64, stream, (uintptr_t)fence, value, HM_CU_STREAM_WAIT_VALUE_GEQ);
    return HOPMLA_OK;
}
