/* SPDX-License-Identifier: Apache-2.0 */

#include <time.h>

#include "fake_cuda.h"

/** @file
 * Streams, events and graphs. */

hm_cu_result fake_check_stream(struct CUstream_st *stream)
{
    FAKE_NEED_CONTEXT();
    return stream && stream->context != fake_current() ? HM_CU_INVALID_HANDLE : HM_CU_SUCCESS;
}

int fake_record(struct CUstream_st *stream)
{
    if (!stream || !stream->capture) {
        return 0;
    }
    stream->nodes++;
    return 1;
}

/* 0, or why no call can be made with the event: its context need not be the current one. */
static hm_cu_result check_event(struct CUevent_st *event)
{
    FAKE_NEED_CONTEXT();
    return event->context->lost;
}

/* A call that no capture can hold breaks it. */
static hm_cu_result refuse_capture(struct CUstream_st *stream)
{
    if (!stream || !stream->capture) {
        return HM_CU_SUCCESS;
    }
    stream->capture = 2;
    return HM_CU_STREAM_CAPTURE_UNSUPPORTED;
}

hm_cu_result fake_cuStreamCreate(struct CUstream_st **stream, unsigned flags)
{
    FAKE_ENTER(cuStreamCreate);
    FAKE_NEED_CONTEXT();
    if (flags != HM_CU_STREAM_NON_BLOCKING) {
        return HM_CU_INVALID_VALUE;
    }
    *stream = fake_new(sizeof(**stream));
    (*stream)->context = fake_current();
    fake.streams++;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuStreamDestroy(struct CUstream_st *stream)
{
    fake_delete(stream);
    fake.streams--;
    return fake_fault("cuStreamDestroy");
}

hm_cu_result fake_cuStreamSynchronize(struct CUstream_st *stream)
{
    FAKE_ENTER(cuStreamSynchronize);
    FAKE_NEED_STREAM(stream);
    return refuse_capture(stream);
}

hm_cu_result fake_cuStreamWaitEvent(struct CUstream_st *stream, struct CUevent_st *event, unsigned flags)
{
    FAKE_ENTER(cuStreamWaitEvent);
    FAKE_NEED_STREAM(stream);
    hm_cu_result bad_event = check_event(event);
    if (bad_event) {
        return bad_event;
    }
    int external = (flags & HM_CU_EVENT_WAIT_EXTERNAL) != 0;
    return fake_record(stream) == external ? HM_CU_SUCCESS : external ? HM_CU_INVALID_VALUE : 905;
}

hm_cu_result fake_cuStreamGetCtx(struct CUstream_st *stream, hm_cu_context *context)
{
    FAKE_ENTER(cuStreamGetCtx);
    FAKE_NEED_CONTEXT();
    *context = stream ? stream->context : fake_current();
    return (*context)->lost;
}

hm_cu_result fake_cuStreamIsCapturing(struct CUstream_st *stream, int *status)
{
    FAKE_ENTER(cuStreamIsCapturing);
    FAKE_NEED_CONTEXT();
    *status = stream ? stream->capture : 0;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuStreamBeginCapture(struct CUstream_st *stream, int mode)
{
    FAKE_ENTER(cuStreamBeginCapture);
    if (!stream) {
        return HM_CU_STREAM_CAPTURE_UNSUPPORTED;
    }
    FAKE_NEED_STREAM(stream);
    if (stream->capture || mode != HM_CU_STREAM_CAPTURE_MODE_RELAXED) {
        return HM_CU_ILLEGAL_STATE;
    }
    stream->capture = 1;
    stream->nodes = 0;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuStreamEndCapture(struct CUstream_st *stream, hm_cu_graph *graph)
{
    int was = stream->capture;
    *graph = NULL;
    stream->capture = 0;
    FAKE_ENTER(cuStreamEndCapture);
    if (was != 1) {
        return was ? HM_CU_STREAM_CAPTURE_INVALIDATED : HM_CU_ILLEGAL_STATE;
    }
    *graph = fake_new(sizeof(**graph));
    (*graph)->nodes = stream->nodes;
    fake.graphs++;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuStreamWriteValue64(struct CUstream_st *stream, hm_cu_address address, uint64_t value,
                                       unsigned flags)
{
    FAKE_ENTER(cuStreamWriteValue64);
    FAKE_NEED_STREAM(stream);
    hm_cu_result code = refuse_capture(stream);
    if (code || flags || address % 8) {
        return code ? code : HM_CU_INVALID_VALUE;
    }
    atomic_store_explicit((_Atomic uint64_t *)(uintptr_t)address, value, memory_order_release);
    return HM_CU_SUCCESS;
}

/* Everything has run already, so the value is there, or it never comes. */
hm_cu_result fake_cuStreamWaitValue64(struct CUstream_st *stream, hm_cu_address address, uint64_t value, unsigned flags)
{
    FAKE_ENTER(cuStreamWaitValue64);
    FAKE_NEED_STREAM(stream);
    hm_cu_result code = refuse_capture(stream);
    if (code || flags != HM_CU_STREAM_WAIT_VALUE_GEQ || address % 8) {
        return code ? code : HM_CU_INVALID_VALUE;
    }
    uint64_t there = atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)address, memory_order_acquire);
    return there >= value ? HM_CU_SUCCESS : HM_CU_NOT_READY;
}

hm_cu_result fake_cuEventCreate(struct CUevent_st **event, unsigned flags)
{
    FAKE_ENTER(cuEventCreate);
    FAKE_NEED_CONTEXT();
    (void)flags;
    *event = fake_new(sizeof(**event));
    (*event)->context = fake_current();
    fake.events++;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuEventDestroy(struct CUevent_st *event)
{
    fake_delete(event);
    fake.events--;
    return fake_fault("cuEventDestroy");
}

hm_cu_result fake_cuEventRecord(struct CUevent_st *event, struct CUstream_st *stream)
{
    FAKE_ENTER(cuEventRecord);
    FAKE_NEED_STREAM(stream);
    hm_cu_result bad_event = check_event(event);
    if (bad_event || event->context != fake_current()) {
        return bad_event ? bad_event : HM_CU_INVALID_HANDLE;
    }
    if (stream && stream->capture) {
        stream->nodes++;
        return HM_CU_SUCCESS;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    event->recorded = 1;
    return HM_CU_SUCCESS;
}

/* Captures begun in global mode are broken by a query of any thread that has not made itself exempt. */
static _Thread_local int capture_mode;

hm_cu_result fake_cuThreadExchangeStreamCaptureMode(int *mode)
{
    FAKE_ENTER(cuThreadExchangeStreamCaptureMode);
    int former = capture_mode;
    capture_mode = *mode;
    *mode = former;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuEventQuery(struct CUevent_st *event)
{
    FAKE_ENTER(cuEventQuery);
    hm_cu_result bad_event = check_event(event);
    if (bad_event) {
        return bad_event;
    }
    if (capture_mode != HM_CU_STREAM_CAPTURE_MODE_RELAXED) {
        return HM_CU_STREAM_CAPTURE_UNSUPPORTED;
    }
    return fake.slow ? HM_CU_NOT_READY : HM_CU_SUCCESS;
}

hm_cu_result fake_cuEventSynchronize(struct CUevent_st *event)
{
    FAKE_ENTER(cuEventSynchronize);
    return check_event(event);
}

hm_cu_result fake_cuEventElapsedTime(float *milliseconds, struct CUevent_st *begin, struct CUevent_st *end)
{
    FAKE_ENTER(cuEventElapsedTime);
    hm_cu_result bad_event = check_event(begin);
    bad_event = bad_event ? bad_event : check_event(end);
    if (bad_event) {
        return bad_event;
    }
    if (begin->context != end->context || !begin->recorded || !end->recorded) {
        return HM_CU_INVALID_HANDLE;
    }
    *milliseconds = fake.clocked ? (float)((double)(end->time - begin->time) * 1e-6) : 1.5f;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuGraphInstantiateWithFlags(struct CUgraphExec_st **exec, hm_cu_graph graph, unsigned long long flags)
{
    FAKE_ENTER(cuGraphInstantiateWithFlags);
    (void)flags;
    *exec = fake_new(sizeof(**exec));
    (*exec)->nodes = graph->nodes;
    fake.graphs++;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuGraphDestroy(hm_cu_graph graph)
{
    fake_delete(graph);
    fake.graphs--;
    return fake_fault("cuGraphDestroy");
}

hm_cu_result fake_cuGraphLaunch(struct CUgraphExec_st *exec, struct CUstream_st *stream)
{
    FAKE_ENTER(cuGraphLaunch);
    FAKE_NEED_STREAM(stream);
    (void)exec;
    fake.graph_launches++;
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuGraphExecDestroy(struct CUgraphExec_st *exec)
{
    fake_delete(exec);
    fake.graphs--;
    return fake_fault("cuGraphExecDestroy");
}
