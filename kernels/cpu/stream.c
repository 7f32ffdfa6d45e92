/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/stream.h"

#include <stdlib.h>
#include <time.h>

#include "lib/error.h"

/* Objects. */

void *hm_cpu_find(hm_device *device, const void *handle, enum hm_cpu_object_kind kind)
{
    for (hm_cpu_object *object = device->objects; object; object = object->next) {
        if (object == handle) {
            return object->kind == kind ? object : NULL;
        }
    }
    return NULL;
}

hopmla_status hm_cpu_find_stream(hm_device *device, hopmla_stream handle, hm_cpu_stream **stream, hopmla_error *error)
{
    *stream = handle ? hm_cpu_find(device, handle, HM_CPU_STREAM) : NULL;
    if (handle && !*stream) {
        return hm_fail(error, HOPMLA_ERROR_MISMATCH, "stream is none of this context's");
    }
    return HOPMLA_OK;
}

void hm_cpu_list(hm_device *device, hm_cpu_object *object)
{
    object->next = device->objects;
    device->objects = object;
}

static void unlist(hm_device *device, const hm_cpu_object *object)
{
    hm_cpu_object **link = &device->objects;
    while (*link != object) {
        link = &(*link)->next;
    }
    *link = object->next;
}

static void *create(hm_device *device, size_t size, enum hm_cpu_object_kind kind)
{
    hm_cpu_object *object = calloc(1, size);
    if (object) {
        object->kind = kind;
        pthread_mutex_lock(&device->lock);
        hm_cpu_list(device, object);
        pthread_mutex_unlock(&device->lock);
    }
    return object;
}

void hm_cpu_destroy(hm_device *device, const void *handle, enum hm_cpu_object_kind kind)
{
    pthread_mutex_lock(&device->lock);
    hm_cpu_object *object = hm_cpu_find(device, handle, kind);
    if (object) {
        unlist(device, object);
    }
    pthread_mutex_unlock(&device->lock);
    if (!object) {
        return;
    }
    if (kind == HM_CPU_GRAPH) {
        hm_cpu_graph_free((hm_cpu_graph *)object);
        return;
    }
    if (kind == HM_CPU_STREAM) {
        hm_cpu_graph_free(((hm_cpu_stream *)object)->capture); /* a capture that never ended */
    }
    free(object);
}

void hm_cpu_destroy_all(hm_device *device)
{
    while (device->objects) {
        hm_cpu_destroy(device, device->objects, device->objects->kind);
    }
}

/* Streams. */

hopmla_status hm_cpu_stream_check(hm_device *device, hopmla_stream handle, int32_t *capturing, hopmla_error *error)
{
    *capturing = 0;
    if (!handle) {
        return HOPMLA_OK;
    }
    hm_cpu_stream *stream;
    pthread_mutex_lock(&device->lock);
    const hopmla_status status = hm_cpu_find_stream(device, handle, &stream, error);
    *capturing = stream && stream->capture;
    pthread_mutex_unlock(&device->lock);
    return status;
}

hopmla_status hm_cpu_stream_create(hm_device *device, hopmla_stream *stream, hopmla_error *error)
{
    hm_cpu_stream *made = create(device, sizeof(*made), HM_CPU_STREAM);
    if (!made) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a stream");
    }
    *stream = (hopmla_stream)made;
    return HOPMLA_OK;
}

void hm_cpu_stream_destroy(hm_device *device, hopmla_stream stream)
{
    hm_cpu_destroy(device, stream, HM_CPU_STREAM);
}

hopmla_status hm_cpu_stream_synchronize(hm_device *device, hopmla_stream stream, hopmla_error *error)
{
    (void)device; /* everything has run */
    (void)stream;
    (void)error;
    return HOPMLA_OK;
}

hopmla_status hm_cpu_stream_wait_event(hm_device *device, hopmla_stream handle, hopmla_event event, hopmla_error *error)
{
    (void)handle; /* whatever was recorded has run; a graph that waits finds the event as it stands at its launch */
    pthread_mutex_lock(&device->lock);
    const int known = hm_cpu_find(device, event, HM_CPU_EVENT) != NULL;
    pthread_mutex_unlock(&device->lock);
    return known ? HOPMLA_OK : hm_fail(error, HOPMLA_ERROR_MISMATCH, "event is none of this context's");
}

/* Events. */

hopmla_status hm_cpu_event_create(hm_device *device, hopmla_event *event, hopmla_error *error)
{
    hm_cpu_event *made = create(device, sizeof(*made), HM_CPU_EVENT);
    if (!made) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for an event");
    }
    *event = (hopmla_event)made;
    return HOPMLA_OK;
}

void hm_cpu_event_destroy(hm_device *device, hopmla_event event)
{
    hm_cpu_destroy(device, event, HM_CPU_EVENT);
}

hopmla_status hm_cpu_event_record(hm_device *device, hopmla_event handle, hopmla_stream stream, hopmla_error *error)
{
    (void)stream; /* never one that is being captured; all its work has run */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&device->lock);
    hm_cpu_event *event = hm_cpu_find(device, handle, HM_CPU_EVENT);
    if (event) {
        event->nanoseconds = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    pthread_mutex_unlock(&device->lock);
    return event ? HOPMLA_OK : hm_fail(error, HOPMLA_ERROR_MISMATCH, "event is none of this context's");
}

static hopmla_status read_event(hm_device *device, hopmla_event handle, const char *name, int64_t *nanoseconds,
                                hopmla_error *error)
{
    pthread_mutex_lock(&device->lock);
    const hm_cpu_event *event = hm_cpu_find(device, handle, HM_CPU_EVENT);
    *nanoseconds = event ? event->nanoseconds : 0;
    pthread_mutex_unlock(&device->lock);
    return event ? HOPMLA_OK : hm_fail(error, HOPMLA_ERROR_MISMATCH, "%s is none of this context's", name);
}

hopmla_status hm_cpu_event_query(hm_device *device, hopmla_event event, int32_t *happened, hopmla_error *error)
{
    int64_t nanoseconds;
    *happened = 1;
    return read_event(device, event, "event", &nanoseconds, error);
}

hopmla_status hm_cpu_event_synchronize(hm_device *device, hopmla_event event, hopmla_error *error)
{
    int64_t nanoseconds;
    return read_event(device, event, "event", &nanoseconds, error);
}

hopmla_status hm_cpu_event_elapsed(hm_device *device, hopmla_event begin, hopmla_event end, double *microseconds,
                                   hopmla_error *error)
{
    int64_t from;
    int64_t to;
    hopmla_status status = read_event(device, begin, "begin", &from, error);
    if (status == HOPMLA_OK) {
        status = read_event(device, end, "end", &to, error);
    }
    if (status) {
        return status;
    }
    if (!from || !to) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "%s has not happened", from ? "end" : "begin");
    }
    *microseconds = (double)(to - from) / 1000.0;
    return HOPMLA_OK;
}
