/* SPDX-License-Identifier: Apache-2.0 */

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cupti/fake_cupti.h"
#include "profiling/cupti/library.h"

/** @file
 * Starting up, faults, and the range profiler. */

fake_cupti_state fake_cupti;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t process;

void fake_cupti_broken(const char *what)
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
    fake_cupti_forget_ids();
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
    for (int i = 0; i < FAKE_LIVE_KINDS; i++) {
        live += fake_cupti.live[i];
    }
    return live;
}

int fake_cupti_fault(const char *name)
{
    fake_cupti.all_calls++;
    if (getpid() != process) {
        fake_cupti_broken("a call in a child after fork()");
    }
    if (fake_cupti.fail_name && strcmp(name, fake_cupti.fail_name) != 0) {
        return CUPTI_SUCCESS;
    }
    const int call = fake_cupti.calls++;
    if (fake_cupti.fail_code &&
        (call == fake_cupti.fail_at || (fake_cupti.fail_for_good && call > fake_cupti.fail_at))) {
        fake_cupti.faults++;
        return fake_cupti.fail_code;
    }
    return CUPTI_SUCCESS;
}

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
    int is_used;
};

static struct CUpti_Profiler_Host_Object hosts[16]; /* not on the heap: in a child nobody may free them */

static struct CUpti_RangeProfiler_Object ranges; /* those of one that is enabled, decoded ones until it is cleared */

CUptiResult cuptiProfilerInitialize(CUpti_Profiler_Initialize_Params *params)
{
    (void)params;
    FAKE_CUPTI_ENTER(cuptiProfilerInitialize);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiDeviceGetChipName(CUpti_Device_GetChipName_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiDeviceGetChipName);
    params->pChipName = "GH100";
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerGetCounterAvailability(CUpti_Profiler_GetCounterAvailability_Params *params)
{
    if (!params->ctx) {
        fake_cupti_broken("counter availability of no context");
    }
    FAKE_CUPTI_ENTER(cuptiProfilerGetCounterAvailability);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostInitialize(CUpti_Profiler_Host_Initialize_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiProfilerHostInitialize);
    if (strcmp(params->pChipName, "GH100") != 0) {
        return CUPTI_ERROR_INVALID_CHIP_NAME;
    }
    size_t at = 0;
    while (hosts[at].is_used) {
        if (++at == sizeof(hosts) / sizeof(hosts[0])) {
            fake_cupti_broken("hosts are made and not dropped");
        }
    }
    hosts[at].is_used = 1;
    params->pHostObject = &hosts[at];
    fake_cupti.live[FAKE_HOSTS]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostDeinitialize(CUpti_Profiler_Host_Deinitialize_Params *params)
{
    if (!params->pHostObject->is_used) {
        fake_cupti_broken("a host is dropped twice");
    }
    params->pHostObject->is_used = 0;
    fake_cupti.live[FAKE_HOSTS]--;
    return (CUptiResult)fake_cupti_fault("cuptiProfilerHostDeinitialize");
}

CUptiResult cuptiProfilerHostConfigAddMetrics(CUpti_Profiler_Host_ConfigAddMetrics_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiProfilerHostConfigAddMetrics);
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
    FAKE_CUPTI_ENTER(cuptiProfilerHostGetConfigImageSize);
    params->configImageSize = 100;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostGetConfigImage(CUpti_Profiler_Host_GetConfigImage_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiProfilerHostGetConfigImage);
    memset(params->pConfigImage, 7, params->configImageSize);
    return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostGetNumOfPasses(CUpti_Profiler_Host_GetNumOfPasses_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiProfilerHostGetNumOfPasses);
    params->numOfPasses = fake_cupti.passes;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerEnable(CUpti_RangeProfiler_Enable_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiRangeProfilerEnable);
    memset(&ranges, 0, sizeof(ranges));
    params->pRangeProfilerObject = &ranges;
    fake_cupti.live[FAKE_ENABLED]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerDisable(CUpti_RangeProfiler_Disable_Params *params)
{
    if (params->pRangeProfilerObject != &ranges) {
        fake_cupti_broken("the range profiler is disabled, but not enabled");
    }
    if (ranges.started) {
        fake_cupti.live[FAKE_STARTED]--;
    }
    ranges.started = 0;
    fake_cupti.live[FAKE_ENABLED]--;
    return (CUptiResult)fake_cupti_fault("cuptiRangeProfilerDisable");
}

CUptiResult cuptiRangeProfilerGetCounterDataSize(CUpti_RangeProfiler_GetCounterDataSize_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiRangeProfilerGetCounterDataSize);
    ranges.sized = 1;
    ranges.most = (uint32_t)params->maxNumOfRanges;
    params->counterDataSize = 1000;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerCounterDataImageInitialize(CUpti_RangeProfiler_CounterDataImage_Initialize_Params *params)
{
    if (!ranges.sized) {
        fake_cupti_broken("an image is cleared before its size was asked for");
    }
    FAKE_CUPTI_ENTER(cuptiRangeProfilerCounterDataImageInitialize);
    memset(params->pCounterData, 0, params->counterDataSize);
    ranges.image = params->pCounterData;
    ranges.decoded = 0;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerSetConfig(CUpti_RangeProfiler_SetConfig_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiRangeProfilerSetConfig);
    if (params->pConfig[0] != 7 || params->pCounterDataImage != ranges.image || params->numNestingLevels != 1 ||
        params->range != CUPTI_UserRange || params->replayMode != CUPTI_UserReplay) {
        fake_cupti_broken("a configuration that is none");
    }
    ranges.configured = 1;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerStart(CUpti_RangeProfiler_Start_Params *params)
{
    if (!ranges.configured || ranges.started || ranges.broken || params->pRangeProfilerObject != &ranges) {
        fake_cupti_broken("start without a configuration, twice, or after a stop with a range open");
    }
    FAKE_CUPTI_ENTER(cuptiRangeProfilerStart);
    ranges.started = 1;
    ranges.stored = 0;
    fake_cupti.windows++;
    fake_cupti.live[FAKE_STARTED]++;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerPushRange(CUpti_RangeProfiler_PushRange_Params *params)
{
    pthread_mutex_lock(&lock);
    if (!ranges.started || ranges.open) {
        fake_cupti_broken("a range outside a window, or in another range");
    }
    const CUptiResult code = (CUptiResult)fake_cupti_fault("cuptiRangeProfilerPushRange");
    if (code == CUPTI_SUCCESS) {
        if (ranges.stored == ranges.most) {
            fake_cupti_broken("more ranges than there is room for");
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
        fake_cupti_broken("a pop without a range");
    }
    ranges.open = 0;
    pthread_mutex_unlock(&lock);
    return (CUptiResult)fake_cupti_fault("cuptiRangeProfilerPopRange");
}

CUptiResult cuptiRangeProfilerStop(CUpti_RangeProfiler_Stop_Params *params)
{
    (void)params;
    if (!ranges.started || ranges.open) {
        fake_cupti_broken("a stop with a range open, or without a start");
    }
    FAKE_CUPTI_ENTER(cuptiRangeProfilerStop);
    ranges.started = 0;
    fake_cupti.live[FAKE_STARTED]--;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerDecodeData(CUpti_RangeProfiler_DecodeData_Params *params)
{
    if (ranges.started) {
        fake_cupti_broken("decoding before the stop");
    }
    FAKE_CUPTI_ENTER(cuptiRangeProfilerDecodeData);
    ranges.decoded = ranges.stored;
    if (fake_cupti.most_ranges && ranges.decoded > fake_cupti.most_ranges) {
        params->numOfRangeDropped = ranges.decoded - fake_cupti.most_ranges;
        ranges.decoded = fake_cupti.most_ranges;
    }
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerGetCounterDataInfo(CUpti_RangeProfiler_GetCounterDataInfo_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiRangeProfilerGetCounterDataInfo);
    params->numTotalRanges = ranges.decoded;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiRangeProfilerCounterDataGetRangeInfo(CUpti_RangeProfiler_CounterData_GetRangeInfo_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiRangeProfilerCounterDataGetRangeInfo);
    params->rangeName = ranges.names[params->rangeIndex];
    return CUPTI_SUCCESS;
}

/* Metric i of the range that is called N: 1000 N + i. */
CUptiResult cuptiProfilerHostEvaluateToGpuValues(CUpti_Profiler_Host_EvaluateToGpuValues_Params *params)
{
    FAKE_CUPTI_ENTER(cuptiProfilerHostEvaluateToGpuValues);
    for (size_t i = 0; i < params->numMetrics; i++) {
        params->pMetricValues[i] =
            fake_cupti.not_a_number ? NAN : strtod(ranges.names[params->rangeIndex], NULL) * 1000 + (double)i;
    }
    return CUPTI_SUCCESS;
}
