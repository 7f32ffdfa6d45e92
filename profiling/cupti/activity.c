/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/cupti/activity.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/context.h"
#include "profiling/observe/observe.h"

/* A buffer is handed over when every kernel in it has ended, so small ones bring times in soon: this one holds some 220
 * launches. All of them together hold what a graph of 61 layers launches in 100 steps and more. */
enum {
    BUFFER_BYTES = 64 * 1024,
    BUFFERS = 128
};

struct hm_activity {
    hopmla_context *context;
    const hm_cupti_library *cupti;
    hm_table *table;
    CUpti_SubscriberHandle subscriber;
    atomic_int open;
    int readers; /* callbacks at work; under the lock below */
};

/* CUPTI's callbacks carry no pointer of ours. The lock is not held across CUPTI's functions. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static hm_activity *current;
static uint8_t *buffers; /* mapped once and kept: CUPTI may still hold some after a session */
static uint8_t *free_buffers[BUFFERS];
static uint32_t free_count;

static int make_buffers(void)
{
    if (buffers) {
        return 1;
    }
    void *memory =
        mmap(NULL, (size_t)BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return 0;
    }
    buffers = memory;
    for (free_count = 0; free_count < BUFFERS; free_count++) {
        free_buffers[free_count] = buffers + (size_t)free_count * BUFFER_BYTES;
    }
    return 1;
}

/* Where there is none left CUPTI drops records, and counts them. */
static void CUPTIAPI buffer_requested(uint8_t **buffer, size_t *bytes, size_t *most_records)
{
    pthread_mutex_lock(&lock);
    *buffer = free_count ? free_buffers[--free_count] : NULL;
    pthread_mutex_unlock(&lock);
    *bytes = *buffer ? BUFFER_BYTES : 0;
    *most_records = 0;
}

static void take_record(hm_table *table, const CUpti_Activity *record, int64_t shift)
{
    switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
        /* The fields have been where they are since CUDA 11: later structs only go on behind them. */
        const CUpti_ActivityKernel10 *kernel = (const CUpti_ActivityKernel10 *)record;
        hm_table_kernel(table, kernel->correlationId, kernel->start, kernel->end, shift);
        break;
    }
    case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: {
        const CUpti_ActivityExternalCorrelation *external = (const CUpti_ActivityExternalCorrelation *)record;
        if (external->externalKind == CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM2) {
            hm_table_launch(table, external->correlationId, external->externalId);
        }
        break;
    }
    case CUPTI_ACTIVITY_KIND_DRIVER:
    case CUPTI_ACTIVITY_KIND_RUNTIME:
        hm_table_returned(table, ((const CUpti_ActivityAPI *)record)->correlationId);
        break;
    default:
        break;
    }
}

/* Whatever clock CUPTI uses, it tells its time now: the distance to ours holds for records of a moment ago. */
static int64_t clock_shift(const hm_cupti_library *cupti)
{
    uint64_t theirs = 0;
    if (cupti->cuptiGetTimestamp(&theirs) != CUPTI_SUCCESS) {
        return 0;
    }
    return hm_now() - (int64_t)theirs;
}

static void take_buffer(const hm_activity *activity, uint8_t *buffer, size_t bytes)
{
    const int64_t shift = clock_shift(activity->cupti);
    CUpti_Activity *record = NULL;
    while (activity->cupti->cuptiActivityGetNextRecord(buffer, bytes, &record) == CUPTI_SUCCESS) {
        take_record(activity->table, record, shift);
    }
}

/* On a thread of CUPTI, or of whoever flushes. */
static void CUPTIAPI buffer_completed(CUcontext context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid)
{
    (void)context;
    (void)stream;
    (void)bytes;
    pthread_mutex_lock(&lock);
    hm_activity *activity = current;
    if (activity) {
        activity->readers++;
    }
    pthread_mutex_unlock(&lock);
    if (activity && valid) {
        take_buffer(activity, buffer, valid);
    }
    memset(buffer, 0, BUFFER_BYTES); /* as promised by ZEROED_OUT_ACTIVITY_BUFFER, and not on a launching thread */
    pthread_mutex_lock(&lock);
    if (activity && --activity->readers == 0) {
        pthread_cond_broadcast(&idle);
    }
    free_buffers[free_count++] = buffer;
    pthread_mutex_unlock(&lock);
}

hm_activity *hm_activity_create(hopmla_context *context, const hm_cupti_library *cupti, uint32_t calls)
{
    hm_activity *activity = hm_host_zalloc(context, 1, sizeof(*activity));
    if (!activity) {
        return NULL;
    }
    activity->context = context;
    activity->cupti = cupti;
    atomic_init(&activity->open, 0);
    activity->table = hm_table_create(context, calls);
    if (!activity->table) {
        hm_free(context, activity, sizeof(*activity), HOPMLA_MEMORY_HOST, NULL);
        return NULL;
    }
    return activity;
}

void hm_activity_destroy(hm_activity *activity)
{
    if (activity) {
        hm_table_destroy(activity->context, activity->table);
        hm_free(activity->context, activity, sizeof(*activity), HOPMLA_MEMORY_HOST, NULL);
    }
}

/* Opening. */

static void CUPTIAPI no_callback(void *user, CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *data)
{
    (void)user;
    (void)domain;
    (void)id;
    (void)data;
}

static int subscribe(hm_activity *activity, char *reason)
{
    const hm_cupti_library *cupti = activity->cupti;
    char other[128] = "";
    CUptiResult code;
    if (cupti->cuptiSubscribe_v2) {
        CUpti_SubscriberParams params = { .structSize = CUpti_SubscriberParams_STRUCT_SIZE,
                                          .subscriberName = "hopmla",
                                          .oldSubscriberName = other,
                                          .oldSubscriberSize = sizeof(other) };
        code = cupti->cuptiSubscribe_v2(&activity->subscriber, no_callback, NULL, &params);
    } else {
        code = cupti->cuptiSubscribe(&activity->subscriber, no_callback, NULL);
    }
    other[sizeof(other) - 1] = 0;
    if (code == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED && other[0]) {
        snprintf(reason, HM_REASON_BYTES,
                 "CUPTI is held by \"%s\", and has room for one: run without it (cuptiSubscribe: %d)", other,
                 (int)code);
    } else if (code != CUPTI_SUCCESS) {
        hm_cupti_explain(cupti, code, "cuptiSubscribe", reason);
    }
    return code == CUPTI_SUCCESS;
}

static int is_launch(CUpti_CallbackId id)
{
    return id == CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx || id == CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx_ptsz ||
           id == CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch || id == CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch_ptsz;
}

static int is_runtime_launch(CUpti_CallbackId id)
{
    return id == CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_v10000 ||
           id == CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_ptsz_v10000;
}

/* There are records of external ids for functions only of which there are records too: the kinds DRIVER, for the library's
 * own launches, and RUNTIME, for graphs that an engine launches through it. Of all others none are needed. */
static void silence(const hm_cupti_library *cupti)
{
    for (CUpti_CallbackId id = 1; cupti->cuptiActivityEnableDriverApi && id < CUPTI_DRIVER_TRACE_CBID_SIZE; id++) {
        if (!is_launch(id)) {
            cupti->cuptiActivityEnableDriverApi(id, 0);
        }
    }
    for (CUpti_CallbackId id = 1; cupti->cuptiActivityEnableRuntimeApi && id < CUPTI_RUNTIME_TRACE_CBID_SIZE; id++) {
        if (!is_runtime_launch(id)) {
            cupti->cuptiActivityEnableRuntimeApi(id, 0);
        }
    }
}

static const CUpti_ActivityKind kinds[] = { CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                            CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, CUPTI_ACTIVITY_KIND_DRIVER,
                                            CUPTI_ACTIVITY_KIND_RUNTIME };

enum {
    KINDS = sizeof(kinds) / sizeof(kinds[0])
};

static void disable(const hm_cupti_library *cupti, uint32_t count)
{
    while (count > 0) {
        cupti->cuptiActivityDisable(kinds[--count]);
    }
}

static int enable(const hm_activity *activity, char *reason)
{
    const hm_cupti_library *cupti = activity->cupti;
    uint8_t zeroed = 1;
    size_t bytes = sizeof(zeroed);
    /* Where it is refused CUPTI clears buffers itself. */
    cupti->cuptiActivitySetAttribute(CUPTI_ACTIVITY_ATTR_ZEROED_OUT_ACTIVITY_BUFFER, &bytes, &zeroed);
    CUptiResult code = cupti->cuptiActivityRegisterCallbacks(buffer_requested, buffer_completed);
    if (code != CUPTI_SUCCESS) {
        hm_cupti_explain(cupti, code, "cuptiActivityRegisterCallbacks", reason);
        return 0;
    }
    for (uint32_t i = 0; i < KINDS; i++) {
        code = cupti->cuptiActivityEnable(kinds[i]);
        if (code != CUPTI_SUCCESS) {
            disable(cupti, i);
            hm_cupti_explain(cupti, code, "cuptiActivityEnable", reason);
            return 0;
        }
    }
    silence(cupti);
    return 1;
}

static int claim(hm_activity *activity, char *reason)
{
    pthread_mutex_lock(&lock);
    const int is_free = !current;
    const int has_memory = is_free && make_buffers();
    if (has_memory) {
        current = activity;
    }
    pthread_mutex_unlock(&lock);
    if (!is_free) {
        snprintf(reason, HM_REASON_BYTES, "another profiler of the process takes kernel times: CUPTI has room for one");
    } else if (!has_memory) {
        snprintf(reason, HM_REASON_BYTES, "no memory for CUPTI's buffers, %d bytes", BUFFERS * BUFFER_BYTES);
    }
    return has_memory;
}

static void release(hm_activity *activity)
{
    pthread_mutex_lock(&lock);
    current = NULL;
    while (activity->readers) {
        pthread_cond_wait(&idle, &lock);
    }
    pthread_mutex_unlock(&lock);
}

int hm_activity_start(hm_activity *activity, char *reason)
{
    if (!claim(activity, reason)) {
        return 0;
    }
    hm_table_restart(activity->table);
    if (!subscribe(activity, reason)) {
        release(activity);
        return 0;
    }
    if (!enable(activity, reason)) {
        activity->cupti->cuptiUnsubscribe(activity->subscriber);
        release(activity);
        return 0;
    }
    atomic_store(&activity->open, 1);
    return 1;
}

static void count_dropped(hm_activity *activity)
{
    size_t dropped = 0;
    if (activity->cupti->cuptiActivityGetNumDroppedRecords(NULL, 0, &dropped) == CUPTI_SUCCESS && dropped) {
        hm_table_dropped(activity->table);
    }
}

void hm_activity_stop(hm_activity *activity)
{
    const hm_cupti_library *cupti = activity->cupti;
    if (!atomic_exchange(&activity->open, 0)) {
        return;
    }
    const uint64_t mark = hm_table_mark(activity->table);
    disable(cupti, KINDS);
    cupti->cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    count_dropped(activity);
    cupti->cuptiUnsubscribe(activity->subscriber);
    release(activity);
    hm_table_settle(activity->table, mark);
}

/* Calls. */

static void pop(const hm_activity *activity)
{
    uint64_t last = 0;
    activity->cupti->cuptiActivityPopExternalCorrelationId(CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM2, &last);
}

void hm_activity_begin(hm_activity *activity, uint64_t id)
{
    if (!atomic_load_explicit(&activity->open, memory_order_relaxed)) {
        return;
    }
    for (uint32_t stale = hm_table_begin(activity->table, id); stale > 0; stale--) {
        pop(activity);
    }
    const uint64_t name = hm_table_name(activity->table, id);
    if (activity->cupti->cuptiActivityPushExternalCorrelationId(CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM2, name) !=
        CUPTI_SUCCESS) {
        hm_table_not_pushed(activity->table, id);
    }
}

void hm_activity_end(hm_activity *activity, uint64_t id)
{
    if (hm_table_end(activity->table, id)) {
        pop(activity);
    }
}

/* Results. */

void hm_activity_flush(hm_activity *activity)
{
    if (atomic_load_explicit(&activity->open, memory_order_relaxed)) {
        activity->cupti->cuptiActivityFlushAll(0);
        count_dropped(activity);
    }
}

uint64_t hm_activity_mark(hm_activity *activity)
{
    return hm_table_mark(activity->table);
}

void hm_activity_settle(hm_activity *activity, uint64_t mark)
{
    hm_activity_flush(activity);
    hm_table_settle(activity->table, mark);
}

int hm_activity_get(hm_activity *activity, uint64_t id, hm_times *times)
{
    return hm_table_get(activity->table, id, times);
}
