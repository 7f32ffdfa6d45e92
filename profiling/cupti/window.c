/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/cupti/window.h"

#include "lib/context.h"

/* Calls one function with its struct of parameters. */
#define TRY(window, name, params)                                                                                      \
    do {                                                                                                               \
        const CUptiResult try_code = (window)->cupti->name(params);                                                    \
        if (try_code != CUPTI_SUCCESS) {                                                                               \
            (window)->failed = #name;                                                                                  \
            return (int)try_code;                                                                                      \
        }                                                                                                              \
    } while (0)

/* Preparing. */

static int add_metrics(hm_window *window, CUpti_Profiler_Host_Object *host, const char **names, size_t count)
{
    CUpti_Profiler_Host_ConfigAddMetrics_Params add = { .structSize =
                                                            CUpti_Profiler_Host_ConfigAddMetrics_Params_STRUCT_SIZE,
                                                        .pHostObject = host,
                                                        .ppMetricNames = names,
                                                        .numMetrics = count };
    TRY(window, cuptiProfilerHostConfigAddMetrics, &add);
    return CUPTI_SUCCESS;
}

static int make_host(hm_window *window, const char *chip, CUpti_Profiler_Host_Object **host)
{
    CUpti_Profiler_Host_Initialize_Params make = { .structSize = CUpti_Profiler_Host_Initialize_Params_STRUCT_SIZE,
                                                   .profilerType = CUPTI_PROFILER_TYPE_RANGE_PROFILER,
                                                   .pChipName = chip };
    TRY(window, cuptiProfilerHostInitialize, &make);
    *host = make.pHostObject;
    return CUPTI_SUCCESS;
}

static void drop_host(const hm_window *window, CUpti_Profiler_Host_Object *host)
{
    CUpti_Profiler_Host_Deinitialize_Params drop = { .structSize = CUpti_Profiler_Host_Deinitialize_Params_STRUCT_SIZE,
                                                     .pHostObject = host };
    window->cupti->cuptiProfilerHostDeinitialize(&drop);
}

/* CUPTI does not say which one of several names it does not know. */
static int name_culprit(hm_window *window, const char *chip, int code)
{
    const char *failed = window->failed;
    for (uint32_t i = 0; i < window->metrics.count; i++) {
        CUpti_Profiler_Host_Object *host = NULL;
        if (make_host(window, chip, &host) != CUPTI_SUCCESS) {
            break;
        }
        const int alone = add_metrics(window, host, &window->metrics.names[i], 1);
        drop_host(window, host);
        if (alone != CUPTI_SUCCESS) {
            window->failed = window->metrics.names[i];
            return HM_WINDOW_METRIC;
        }
    }
    window->failed = failed;
    return code;
}

static int make_config(hm_window *window)
{
    CUpti_Profiler_Host_GetConfigImageSize_Params size = {
        .structSize = CUpti_Profiler_Host_GetConfigImageSize_Params_STRUCT_SIZE, .pHostObject = window->host
    };
    TRY(window, cuptiProfilerHostGetConfigImageSize, &size);
    window->config = hm_host_zalloc(window->context, 1, size.configImageSize);
    if (!window->config) {
        window->failed = "the configuration";
        return HM_WINDOW_OUT_OF_MEMORY;
    }
    window->config_bytes = size.configImageSize;
    CUpti_Profiler_Host_GetConfigImage_Params get = { .structSize =
                                                          CUpti_Profiler_Host_GetConfigImage_Params_STRUCT_SIZE,
                                                      .pHostObject = window->host,
                                                      .configImageSize = window->config_bytes,
                                                      .pConfigImage = window->config };
    TRY(window, cuptiProfilerHostGetConfigImage, &get);
    CUpti_Profiler_Host_GetNumOfPasses_Params passes = { .structSize =
                                                             CUpti_Profiler_Host_GetNumOfPasses_Params_STRUCT_SIZE,
                                                         .configImageSize = window->config_bytes,
                                                         .pConfigImage = window->config };
    TRY(window, cuptiProfilerHostGetNumOfPasses, &passes);
    window->failed = "cuptiProfilerHostGetNumOfPasses";
    return passes.numOfPasses == 1 ? (int)CUPTI_SUCCESS : (int)HM_WINDOW_PASSES;
}

int hm_window_configure(hm_window *window, const char *chip)
{
    int code = make_host(window, chip, &window->host);
    if (code != CUPTI_SUCCESS) {
        return code;
    }
    code = add_metrics(window, window->host, window->metrics.names, window->metrics.count);
    return code == CUPTI_SUCCESS ? make_config(window) : name_culprit(window, chip, code);
}

int hm_window_prepare(hm_window *window, size_t device_ordinal)
{
    CUpti_Profiler_Initialize_Params initialize = { .structSize = CUpti_Profiler_Initialize_Params_STRUCT_SIZE };
    TRY(window, cuptiProfilerInitialize, &initialize);
    CUpti_Device_GetChipName_Params chip = { .structSize = CUpti_Device_GetChipName_Params_STRUCT_SIZE,
                                             .deviceIndex = device_ordinal };
    TRY(window, cuptiDeviceGetChipName, &chip);
    /* Of the image, which tells what is available, only that it may be had is of interest. */
    CUpti_Profiler_GetCounterAvailability_Params available = {
        .structSize = CUpti_Profiler_GetCounterAvailability_Params_STRUCT_SIZE, .ctx = window->cuda
    };
    TRY(window, cuptiProfilerGetCounterAvailability, &available);
    return hm_window_configure(window, chip.pChipName);
}

void hm_window_discard(hm_window *window)
{
    if (window->host) {
        drop_host(window, window->host);
        window->host = NULL;
    }
    hm_free(window->context, window->config, window->config_bytes, HOPMLA_MEMORY_HOST, NULL);
    window->config = NULL;
}

/* Opening. */

static int make_image(hm_window *window)
{
    CUpti_RangeProfiler_GetCounterDataSize_Params size = {
        .structSize = CUpti_RangeProfiler_GetCounterDataSize_Params_STRUCT_SIZE,
        .pRangeProfilerObject = window->profiler,
        .pMetricNames = window->metrics.names,
        .numMetrics = window->metrics.count,
        .maxNumOfRanges = window->most_ranges,
        .maxNumRangeTreeNodes = window->most_ranges
    };
    TRY(window, cuptiRangeProfilerGetCounterDataSize, &size);
    window->image = hm_host_alloc(window->context, size.counterDataSize, 16);
    if (!window->image) {
        window->failed = "counters";
        return HM_WINDOW_OUT_OF_MEMORY;
    }
    window->image_bytes = size.counterDataSize;
    return CUPTI_SUCCESS;
}

static int clear_image(hm_window *window)
{
    CUpti_RangeProfiler_CounterDataImage_Initialize_Params clear = {
        .structSize = CUpti_RangeProfiler_CounterDataImage_Initialize_Params_STRUCT_SIZE,
        .pRangeProfilerObject = window->profiler,
        .counterDataSize = window->image_bytes,
        .pCounterData = window->image
    };
    TRY(window, cuptiRangeProfilerCounterDataImageInitialize, &clear);
    return CUPTI_SUCCESS;
}

static int set_config(hm_window *window)
{
    CUpti_RangeProfiler_SetConfig_Params set = { .structSize = CUpti_RangeProfiler_SetConfig_Params_STRUCT_SIZE,
                                                 .pRangeProfilerObject = window->profiler,
                                                 .configSize = window->config_bytes,
                                                 .pConfig = window->config,
                                                 .counterDataImageSize = window->image_bytes,
                                                 .pCounterDataImage = window->image,
                                                 .range = CUPTI_UserRange,
                                                 .replayMode = CUPTI_UserReplay,
                                                 .maxRangesPerPass = window->most_ranges,
                                                 .numNestingLevels = 1,
                                                 .minNestingLevel = 1,
                                                 .targetNestingLevel = 1 };
    TRY(window, cuptiRangeProfilerSetConfig, &set);
    return CUPTI_SUCCESS;
}

/* The number of ranges is fixed by the first configuration after enabling, and what an image needs to be cleared is known
 * only after its size was asked for: so all of it comes once for each enabling, in this order. */
static int enable(hm_window *window)
{
    CUpti_RangeProfiler_Enable_Params on = { .structSize = CUpti_RangeProfiler_Enable_Params_STRUCT_SIZE,
                                             .ctx = window->cuda };
    TRY(window, cuptiRangeProfilerEnable, &on);
    window->profiler = on.pRangeProfilerObject;
    int code = make_image(window);
    if (code == CUPTI_SUCCESS) {
        code = clear_image(window);
    }
    return code == CUPTI_SUCCESS ? set_config(window) : code;
}

int hm_window_open(hm_window *window)
{
    int code = window->profiler ? clear_image(window) : enable(window);
    if (code == CUPTI_SUCCESS) {
        CUpti_RangeProfiler_Start_Params start = { .structSize = CUpti_RangeProfiler_Start_Params_STRUCT_SIZE,
                                                   .pRangeProfilerObject = window->profiler };
        code = (int)window->cupti->cuptiRangeProfilerStart(&start);
        window->failed = "cuptiRangeProfilerStart";
    }
    if (code != CUPTI_SUCCESS) {
        hm_window_disable(window);
    }
    return code;
}

void hm_window_disable(hm_window *window)
{
    if (window->profiler) {
        CUpti_RangeProfiler_Disable_Params off = { .structSize = CUpti_RangeProfiler_Disable_Params_STRUCT_SIZE,
                                                   .pRangeProfilerObject = window->profiler };
        window->cupti->cuptiRangeProfilerDisable(&off);
        window->profiler = NULL;
    }
    hm_free(window->context, window->image, window->image_bytes, HOPMLA_MEMORY_HOST, NULL);
    window->image = NULL;
}

/* Counting. */

int hm_window_push(hm_window *window, const char *name)
{
    CUpti_RangeProfiler_PushRange_Params push = { .structSize = CUpti_RangeProfiler_PushRange_Params_STRUCT_SIZE,
                                                  .pRangeProfilerObject = window->profiler,
                                                  .pRangeName = name };
    TRY(window, cuptiRangeProfilerPushRange, &push);
    return CUPTI_SUCCESS;
}

int hm_window_pop(hm_window *window)
{
    CUpti_RangeProfiler_PopRange_Params pop = { .structSize = CUpti_RangeProfiler_PopRange_Params_STRUCT_SIZE,
                                                .pRangeProfilerObject = window->profiler };
    TRY(window, cuptiRangeProfilerPopRange, &pop);
    return CUPTI_SUCCESS;
}

int hm_window_close(hm_window *window)
{
    window->ranges = 0;
    CUpti_RangeProfiler_Stop_Params stop = { .structSize = CUpti_RangeProfiler_Stop_Params_STRUCT_SIZE,
                                             .pRangeProfilerObject = window->profiler };
    TRY(window, cuptiRangeProfilerStop, &stop);
    CUpti_RangeProfiler_DecodeData_Params decode = { .structSize = CUpti_RangeProfiler_DecodeData_Params_STRUCT_SIZE,
                                                     .pRangeProfilerObject = window->profiler };
    TRY(window, cuptiRangeProfilerDecodeData, &decode);
    CUpti_RangeProfiler_GetCounterDataInfo_Params info = {
        .structSize = CUpti_RangeProfiler_GetCounterDataInfo_Params_STRUCT_SIZE,
        .pCounterDataImage = window->image,
        .counterDataImageSize = window->image_bytes
    };
    TRY(window, cuptiRangeProfilerGetCounterDataInfo, &info);
    window->ranges = (uint32_t)info.numTotalRanges;
    window->dropped += decode.numOfRangeDropped;
    return CUPTI_SUCCESS;
}

int hm_window_read(hm_window *window, uint32_t range, const char **name, double *values)
{
    CUpti_RangeProfiler_CounterData_GetRangeInfo_Params info = {
        .structSize = CUpti_RangeProfiler_CounterData_GetRangeInfo_Params_STRUCT_SIZE,
        .pCounterDataImage = window->image,
        .counterDataImageSize = window->image_bytes,
        .rangeIndex = range,
        .rangeDelimiter = "/"
    };
    TRY(window, cuptiRangeProfilerCounterDataGetRangeInfo, &info);
    CUpti_Profiler_Host_EvaluateToGpuValues_Params evaluate = {
        .structSize = CUpti_Profiler_Host_EvaluateToGpuValues_Params_STRUCT_SIZE,
        .pHostObject = window->host,
        .pCounterDataImage = window->image,
        .counterDataImageSize = window->image_bytes,
        .rangeIndex = range,
        .ppMetricNames = window->metrics.names,
        .numMetrics = window->metrics.count,
        .pMetricValues = values
    };
    TRY(window, cuptiProfilerHostEvaluateToGpuValues, &evaluate);
    *name = info.rangeName;
    return CUPTI_SUCCESS;
}
