/* SPDX-License-Identifier: Apache-2.0 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "profiling/cupti/library.h"
#include "tests/cupti/fake_cupti.h"

/** @file
 * The activity interface. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CUpti_BuffersCallbackRequestFunc ask;
static CUpti_BuffersCallbackCompleteFunc give;
static uint32_t enabled; /* bits of kinds */
static uint8_t *buffer;
static size_t buffer_bytes, valid_bytes;
static size_t dropped;
static uint32_t correlation;
static _Thread_local uint64_t stack[16]; /* of external ids */
static _Thread_local int depth;

void fake_cupti_forget_ids(void)
{
    depth = 0;
}

CUptiResult cuptiSubscribe(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *user)
{
    (void)callback;
    (void)user;
    FAKE_CUPTI_ENTER(cuptiSubscribe);
    *subscriber = (CUpti_SubscriberHandle)&enabled;
    fake_cupti.live[FAKE_SUBSCRIBERS]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiSubscribe_v2(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *user,
                              CUpti_SubscriberParams *params)
{
    FAKE_CUPTI_ENTER(cuptiSubscribe_v2);
    if (fake_cupti.subscriber || fake_cupti.live[FAKE_SUBSCRIBERS]) {
        snprintf(params->oldSubscriberName, params->oldSubscriberSize, "%s",
                 fake_cupti.subscriber ? fake_cupti.subscriber : "hopmla");
        return CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
    }
    return cuptiSubscribe(subscriber, callback, user);
}

CUptiResult cuptiUnsubscribe(CUpti_SubscriberHandle subscriber)
{
    if (subscriber != (CUpti_SubscriberHandle)&enabled || !fake_cupti.live[FAKE_SUBSCRIBERS]) {
        fake_cupti_broken("a subscriber that is none");
    }
    fake_cupti.live[FAKE_SUBSCRIBERS]--;
    return (CUptiResult)fake_cupti_fault("cuptiUnsubscribe");
}

CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc request,
                                           CUpti_BuffersCallbackCompleteFunc complete)
{
    FAKE_CUPTI_ENTER(cuptiActivityRegisterCallbacks);
    ask = request;
    give = complete;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivitySetAttribute(CUpti_ActivityAttribute attribute, size_t *bytes, void *value)
{
    (void)attribute;
    (void)bytes;
    (void)value;
    FAKE_CUPTI_ENTER(cuptiActivitySetAttribute);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind)
{
    FAKE_CUPTI_ENTER(cuptiActivityEnable);
    enabled |= 1u << kind % 32;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityDisable(CUpti_ActivityKind kind)
{
    enabled &= ~(1u << kind % 32);
    return (CUptiResult)fake_cupti_fault("cuptiActivityDisable");
}

CUptiResult cuptiActivityEnableDriverApi(CUpti_CallbackId id, uint8_t enable)
{
    (void)id;
    (void)enable;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityEnableRuntimeApi(CUpti_CallbackId id, uint8_t enable)
{
    (void)id;
    (void)enable;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiGetTimestamp(uint64_t *timestamp)
{
    FAKE_CUPTI_ENTER(cuptiGetTimestamp);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *timestamp = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    return CUPTI_SUCCESS;
}

static void hand_over(void)
{
    uint8_t *full = buffer;
    const size_t valid = valid_bytes;
    buffer = NULL;
    valid_bytes = 0;
    if (full) {
        give(NULL, 0, full, buffer_bytes, valid);
    }
}

static void *add_record(size_t bytes)
{
    if (buffer && valid_bytes + bytes > buffer_bytes) {
        hand_over();
    }
    if (!buffer) {
        size_t most = 0;
        ask(&buffer, &buffer_bytes, &most);
        if (buffer && fake_cupti.drops) {
            give(NULL, 0, buffer, buffer_bytes, 0);
            buffer = NULL;
            fake_cupti.drops = 0;
        }
    }
    if (!buffer) {
        dropped++;
        return NULL;
    }
    valid_bytes += bytes;
    return buffer + valid_bytes - bytes;
}

static void add_launch(uint64_t id, uint64_t start)
{
    correlation++;
    CUpti_ActivityExternalCorrelation *external = add_record(sizeof(*external));
    if (external) {
        *external = (CUpti_ActivityExternalCorrelation){ .kind = CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
                                                         .externalKind = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM2,
                                                         .externalId = id,
                                                         .correlationId = correlation };
    }
    CUpti_ActivityKernel10 *kernel = add_record(sizeof(*kernel));
    if (kernel) {
        memset(kernel, 0, sizeof(*kernel));
        kernel->kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
        kernel->start = start;
        kernel->end = start + FAKE_KERNEL_NS;
        kernel->correlationId = correlation;
    }
    CUpti_ActivityAPI *api = add_record(sizeof(*api));
    if (api) {
        memset(api, 0, sizeof(*api));
        api->kind = CUPTI_ACTIVITY_KIND_DRIVER;
        api->correlationId = correlation;
    }
}

CUptiResult cuptiActivityPushExternalCorrelationId(CUpti_ExternalCorrelationKind kind, uint64_t id)
{
    (void)kind;
    FAKE_CUPTI_ENTER(cuptiActivityPushExternalCorrelationId);
    if (depth == (int)(sizeof(stack) / sizeof(stack[0]))) {
        fake_cupti_broken("external ids are pushed and not popped");
    }
    stack[depth++] = id;
    fake_cupti.externals_left++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityPopExternalCorrelationId(CUpti_ExternalCorrelationKind kind, uint64_t *last)
{
    (void)kind;
    FAKE_CUPTI_ENTER(cuptiActivityPopExternalCorrelationId);
    if (depth == 0) {
        return CUPTI_ERROR_QUEUE_EMPTY;
    }
    *last = stack[--depth];
    fake_cupti.externals_left--;
    pthread_mutex_lock(&lock);
    if (enabled) {
        uint64_t now = 0;
        struct timespec time;
        clock_gettime(CLOCK_REALTIME, &time);
        now = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
        add_launch(*last, now);
        add_launch(*last, now + FAKE_KERNEL_NS);
    }
    pthread_mutex_unlock(&lock);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityFlushAll(uint32_t flag)
{
    FAKE_CUPTI_ENTER(cuptiActivityFlushAll);
    pthread_mutex_lock(&lock);
    if (flag || !fake_cupti.kernels_run) {
        hand_over();
    }
    pthread_mutex_unlock(&lock);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityGetNextRecord(uint8_t *from, size_t bytes, CUpti_Activity **record)
{
    FAKE_CUPTI_ENTER(cuptiActivityGetNextRecord);
    uint8_t *next = from;
    if (*record) {
        const CUpti_ActivityKind kind = (*record)->kind;
        next = (uint8_t *)*record + (kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL ? sizeof(CUpti_ActivityKernel10)
                                     : kind == CUPTI_ACTIVITY_KIND_DRIVER          ? sizeof(CUpti_ActivityAPI)
                                                                          : sizeof(CUpti_ActivityExternalCorrelation));
    }
    if (next >= from + bytes) {
        return CUPTI_ERROR_MAX_LIMIT_REACHED;
    }
    *record = (CUpti_Activity *)next;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityGetNumDroppedRecords(CUcontext context, uint32_t stream, size_t *count)
{
    (void)context;
    (void)stream;
    FAKE_CUPTI_ENTER(cuptiActivityGetNumDroppedRecords);
    *count = dropped;
    dropped = 0;
    return CUPTI_SUCCESS;
}
