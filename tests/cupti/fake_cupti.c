/* SPDX-License-Identifier: Apache-2.0 */

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/cupti/fake_cupti.h"
#include "profiling/cupti/library.h"

/** @file
 * Starting up, faults, and the range profiler. */

fake_cupti_state fake_cupti;

enum {
    HOSTS,
    ENABLED,
    STARTED,
    SUBSCRIBERS
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t process;
static _Thread_local uint64_t stack[16]; /* of external ids */
static _Thread_local int depth;

static void broken(const char *what)
{
    fprintf(stderr, "fake CUPTI: %s\n", what);
    abort();
}

__attribute__((constructor)) void fake_cupti_reset(void)
{
    process = getpid();
    fake_cupti.passes = 1;
    fake_cupti.no_metric = NULL;
    fake_cupti.subscriber = NULL;
    fake_cupti.kernels_run = 0;
    fake_cupti.drops = 0;
    fake_cupti.most_ranges = 0;
    fake_cupti.not_a_number = 0;
    fake_cupti.fail_for_good = 0;
    fake_cupti.pushes = 0;
    fake_cupti.windows = 0;
    fake_cupti.externals_left = 0;
    depth = 0;
    fake_cupti_fail(NULL, 0, 0);
}

void fake_cupti_fail(const char *name, int32_t at, int32_t code)
{
    fake_cupti.fail_name = name;
    fake_cupti.fail_at = at;
    fake_cupti.fail_code = code;
    fake_cupti.calls = 0;
    fake_cupti.faults = 0;
}

int fake_cupti_live(void)
{
    int live = 0;
    for (int i = 0; i < FAKE_LIVE; i++) {
        live += fake_cupti.live[i];
    }
    return live;
}

static CUptiResult fault(const char *name)
{
    fake_cupti.all_calls++;
    if (getpid() != process) {
        broken("a call in a child after fork()");
    }
    if (fake_cupti.fail_name && strcmp(name, fake_cupti.fail_name) != 0) {
        return CUPTI_SUCCESS;
    }
    const int call = fake_cupti.calls++;
    if (fake_cupti.fail_code &&
        (call == fake_cupti.fail_at || (fake_cupti.fail_for_good && call > fake_cupti.fail_at))) {
        fake_cupti.faults++;
        return (CUptiResult)fake_cupti.fail_code;
    }
    return CUPTI_SUCCESS;
}

#define ENTER(name)                                                                                                    \
    do {                                                                                                               \
        const CUptiResult faulty = fault(#name);                                                                       \
        if (faulty != CUPTI_SUCCESS) {                                                                                 \
            return faulty;                                                                                             \
        }                                                                                                              \
    } while (0)

CUptiResult cuptiGetVersion(uint32_t *version)
{
    *version = CUPTI_API_VERSION;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiGetResultString(CUptiResult code, const char **text)
{
    *text = code == CUPTI_ERROR_UNKNOWN ? "CUPTI_ERROR_UNKNOWN" : "CUPTI_ERROR_OF_A_TEST";
    return CUPTI_SUCCESS;
}

/* The range profiler: one of it can be started. */

struct CUpti_RangeProfiler_Object {
    int sized;
    int configured;
    int started;
    int open;
    int broken;
    uint32_t most;
    uint32_t stored;
    uint32_t decoded;
    uint8_t *image;
    char names[1024][24];
};

struct CUpti_Profiler_Host_Object {
    int metrics;
};

static struct CUpti_RangeProfiler_Object ranges; /* those of one that is enabled, decoded ones until it is cleared */

CUptiResult cuptiProfilerInitialize(CUpti_Profiler_Initialize_Params *params)
{
    (void)params;
    ENTER(cuptiProfilerInitialize);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiDeviceGetChipName(CUpti_Device_GetChipName_Params *params)
{
    ENTER(cuptiDeviceGetChipName);
    params->pChipName = "GH100";
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerGetCounterAvailability(CUpti_Profiler_GetCounterAvailability_Params *params)
{
    if (!params->ctx) {
        broken("counter availability of no context");
    }
    ENTER(cuptiProfilerGetCounterAvailability);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostInitialize(CUpti_Profiler_Host_Initialize_Params *params)
{
    ENTER(cuptiProfilerHostInitialize);
    if (strcmp(params->pChipName, "GH100") != 0) {
        return CUPTI_ERROR_INVALID_CHIP_NAME;
    }
    params->pHostObject = calloc(1, sizeof(*params->pHostObject));
    fake_cupti.live[HOSTS]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostDeinitialize(CUpti_Profiler_Host_Deinitialize_Params *params)
{
    free(params->pHostObject);
    fake_cupti.live[HOSTS]--;
    return fault("cuptiProfilerHostDeinitialize");
}

CUptiResult cuptiProfilerHostConfigAddMetrics(CUpti_Profiler_Host_ConfigAddMetrics_Params *params)
{
    ENTER(cuptiProfilerHostConfigAddMetrics);
    for (size_t i = 0; i < params->numMetrics; i++) {
        if (fake_cupti.no_metric && strcmp(fake_cupti.no_metric, params->ppMetricNames[i]) == 0) {
            return CUPTI_ERROR_INVALID_PARAMETER;
        }
    }
    params->pHostObject->metrics = (int)params->numMetrics;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostGetConfigImageSize(CUpti_Profiler_Host_GetConfigImageSize_Params *params)
{
    ENTER(cuptiProfilerHostGetConfigImageSize);
    params->configImageSize = 100;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostGetConfigImage(CUpti_Profiler_Host_GetConfigImage_Params *params)
{
    ENTER(cuptiProfilerHostGetConfigImage);
    memset(params->pConfigImage, 7, params->configImageSize);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostGetNumOfPasses(CUpti_Profiler_Host_GetNumOfPasses_Params *params)
{
    ENTER(cuptiProfilerHostGetNumOfPasses);
    params->numOfPasses = fake_cupti.passes;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerEnable(CUpti_RangeProfiler_Enable_Params *params)
{
    ENTER(cuptiRangeProfilerEnable);
    memset(&ranges, 0, sizeof(ranges));
    params->pRangeProfilerObject = &ranges;
    fake_cupti.live[ENABLED]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerDisable(CUpti_RangeProfiler_Disable_Params *params)
{
    if (params->pRangeProfilerObject != &ranges) {
        broken("the range profiler is disabled, but not enabled");
    }
    if (ranges.started) {
        fake_cupti.live[STARTED]--;
    }
    ranges.started = 0;
    fake_cupti.live[ENABLED]--;
    return fault("cuptiRangeProfilerDisable");
}

CUptiResult cuptiRangeProfilerGetCounterDataSize(CUpti_RangeProfiler_GetCounterDataSize_Params *params)
{
    ENTER(cuptiRangeProfilerGetCounterDataSize);
    ranges.sized = 1;
    ranges.most = (uint32_t)params->maxNumOfRanges;
    params->counterDataSize = 1000;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerCounterDataImageInitialize(CUpti_RangeProfiler_CounterDataImage_Initialize_Params *params)
{
    if (!ranges.sized) {
        broken("an image is cleared before its size was asked for");
    }
    ENTER(cuptiRangeProfilerCounterDataImageInitialize);
    memset(params->pCounterData, 0, params->counterDataSize);
    ranges.image = params->pCounterData;
    ranges.decoded = 0;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerSetConfig(CUpti_RangeProfiler_SetConfig_Params *params)
{
    ENTER(cuptiRangeProfilerSetConfig);
    if (params->pConfig[0] != 7 || params->pCounterDataImage != ranges.image || params->numNestingLevels != 1 ||
        params->range != CUPTI_UserRange || params->replayMode != CUPTI_UserReplay) {
        broken("a configuration that is none");
    }
    ranges.configured = 1;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerStart(CUpti_RangeProfiler_Start_Params *params)
{
    if (!ranges.configured || ranges.started || ranges.broken || params->pRangeProfilerObject != &ranges) {
        broken("start without a configuration, twice, or after a stop with a range open");
    }
    ENTER(cuptiRangeProfilerStart);
    ranges.started = 1;
    ranges.stored = 0;
    fake_cupti.windows++;
    fake_cupti.live[STARTED]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerPushRange(CUpti_RangeProfiler_PushRange_Params *params)
{
    pthread_mutex_lock(&lock);
    if (!ranges.started || ranges.open) {
        broken("a range outside a window, or in another range");
    }
    const CUptiResult code = fault("cuptiRangeProfilerPushRange");
    if (code == CUPTI_SUCCESS) {
        if (ranges.stored == ranges.most) {
            broken("more ranges than there is room for");
        }
        snprintf(ranges.names[ranges.stored++], sizeof(ranges.names[0]), "%s", params->pRangeName);
        ranges.open = 1;
        fake_cupti.pushes++;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

CUptiResult cuptiRangeProfilerPopRange(CUpti_RangeProfiler_PopRange_Params *params)
{
    (void)params;
    pthread_mutex_lock(&lock);
    if (!ranges.started || !ranges.open) {
        broken("a pop without a range");
    }
    ranges.open = 0;
    pthread_mutex_unlock(&lock);
    return fault("cuptiRangeProfilerPopRange");
}

CUptiResult cuptiRangeProfilerStop(CUpti_RangeProfiler_Stop_Params *params)
{
    (void)params;
    if (!ranges.started || ranges.open) {
        broken("a stop with a range open, or without a start");
    }
    ENTER(cuptiRangeProfilerStop);
    ranges.started = 0;
    fake_cupti.live[STARTED]--;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerDecodeData(CUpti_RangeProfiler_DecodeData_Params *params)
{
    if (ranges.started) {
        broken("decoding before the stop");
    }
    ENTER(cuptiRangeProfilerDecodeData);
    ranges.decoded = ranges.stored;
    if (fake_cupti.most_ranges && ranges.decoded > fake_cupti.most_ranges) {
        params->numOfRangeDropped = ranges.decoded - fake_cupti.most_ranges;
        ranges.decoded = fake_cupti.most_ranges;
    }
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerGetCounterDataInfo(CUpti_RangeProfiler_GetCounterDataInfo_Params *params)
{
    ENTER(cuptiRangeProfilerGetCounterDataInfo);
    params->numTotalRanges = ranges.decoded;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerCounterDataGetRangeInfo(CUpti_RangeProfiler_CounterData_GetRangeInfo_Params *params)
{
    ENTER(cuptiRangeProfilerCounterDataGetRangeInfo);
    params->rangeName = ranges.names[params->rangeIndex];
    return CUPTI_SUCCESS;
}

/* Metric i of the range that is called N: 1000 N + i. */
CUptiResult cuptiProfilerHostEvaluateToGpuValues(CUpti_Profiler_Host_EvaluateToGpuValues_Params *params)
{
    ENTER(cuptiProfilerHostEvaluateToGpuValues);
    for (size_t i = 0; i < params->numMetrics; i++) {
        params->pMetricValues[i] =
            fake_cupti.not_a_number ? NAN : strtod(ranges.names[params->rangeIndex], NULL) * 1000 + (double)i;
    }
    return CUPTI_SUCCESS;
}

/* The activity interface. */

static CUpti_BuffersCallbackRequestFunc ask;
static CUpti_BuffersCallbackCompleteFunc give;
static uint32_t enabled; /* bits of kinds */
static uint8_t *buffer;
static size_t buffer_bytes, valid_bytes;
static size_t dropped;
static uint32_t correlation;

CUptiResult cuptiSubscribe(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *user)
{
    (void)callback;
    (void)user;
    ENTER(cuptiSubscribe);
    *subscriber = (CUpti_SubscriberHandle)&enabled;
    fake_cupti.live[SUBSCRIBERS]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiSubscribe_v2(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *user,
                              CUpti_SubscriberParams *params)
{
    ENTER(cuptiSubscribe_v2);
    if (fake_cupti.subscriber || fake_cupti.live[SUBSCRIBERS]) {
        snprintf(params->oldSubscriberName, params->oldSubscriberSize, "%s",
                 fake_cupti.subscriber ? fake_cupti.subscriber : "hopmla");
        return CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
    }
    return cuptiSubscribe(subscriber, callback, user);
}

CUptiResult cuptiUnsubscribe(CUpti_SubscriberHandle subscriber)
{
    if (subscriber != (CUpti_SubscriberHandle)&enabled || !fake_cupti.live[SUBSCRIBERS]) {
        broken("a subscriber that is none");
    }
    fake_cupti.live[SUBSCRIBERS]--;
    return fault("cuptiUnsubscribe");
}

CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc request,
                                           CUpti_BuffersCallbackCompleteFunc complete)
{
    ENTER(cuptiActivityRegisterCallbacks);
    ask = request;
    give = complete;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivitySetAttribute(CUpti_ActivityAttribute attribute, size_t *bytes, void *value)
{
    (void)attribute;
    (void)bytes;
    (void)value;
    ENTER(cuptiActivitySetAttribute);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind)
{
    ENTER(cuptiActivityEnable);
    enabled |= 1u << kind % 32;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityDisable(CUpti_ActivityKind kind)
{
    enabled &= ~(1u << kind % 32);
    return fault("cuptiActivityDisable");
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
    ENTER(cuptiGetTimestamp);
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
    ENTER(cuptiActivityPushExternalCorrelationId);
    if (depth == (int)(sizeof(stack) / sizeof(stack[0]))) {
        broken("external ids are pushed and not popped");
    }
    stack[depth++] = id;
    fake_cupti.externals_left++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityPopExternalCorrelationId(CUpti_ExternalCorrelationKind kind, uint64_t *last)
{
    (void)kind;
    ENTER(cuptiActivityPopExternalCorrelationId);
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
    ENTER(cuptiActivityFlushAll);
    pthread_mutex_lock(&lock);
    if (flag || !fake_cupti.kernels_run) {
        hand_over();
    }
    pthread_mutex_unlock(&lock);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityGetNextRecord(uint8_t *from, size_t bytes, CUpti_Activity **record)
{
    ENTER(cuptiActivityGetNextRecord);
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
    ENTER(cuptiActivityGetNumDroppedRecords);
    *count = dropped;
    dropped = 0;
    return CUPTI_SUCCESS;
}
