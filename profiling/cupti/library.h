/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CUPTI_LIBRARY_H
#define HM_CUPTI_LIBRARY_H

/** @file
 * libcupti.so, opened at run time: its functions as a table, and its codes as texts. */

#include <cupti.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>

enum {
    HM_REASON_BYTES = 256
};

/** What a function is needed for; 0: it is used where it is there. */
enum {
    HM_NEED_ACTIVITY = 1,
    HM_NEED_COUNTERS = 2
};

/** Every function in use: X(name, needed for). */
#define HM_CUPTI_FUNCTIONS(X)                                                                                          \
    X(cuptiGetVersion, HM_NEED_ACTIVITY | HM_NEED_COUNTERS)                                                            \
    X(cuptiGetResultString, HM_NEED_ACTIVITY | HM_NEED_COUNTERS)                                                       \
    X(cuptiSubscribe, HM_NEED_ACTIVITY)                                                                                \
    X(cuptiSubscribe_v2, 0) /* tells who is there already; not in CUPTI 12 */                                          \
    X(cuptiUnsubscribe, HM_NEED_ACTIVITY)                                                                              \
    X(cuptiActivityRegisterCallbacks, HM_NEED_ACTIVITY)                                                                \
    X(cuptiActivitySetAttribute, HM_NEED_ACTIVITY)                                                                     \
    X(cuptiActivityEnable, HM_NEED_ACTIVITY)                                                                           \
    X(cuptiActivityDisable, HM_NEED_ACTIVITY)                                                                          \
    X(cuptiActivityEnableDriverApi, 0)                                                                                 \
    X(cuptiActivityEnableRuntimeApi, 0)                                                                                \
    X(cuptiActivityFlushAll, HM_NEED_ACTIVITY)                                                                         \
    X(cuptiActivityGetNextRecord, HM_NEED_ACTIVITY)                                                                    \
    X(cuptiActivityGetNumDroppedRecords, HM_NEED_ACTIVITY)                                                             \
    X(cuptiActivityPushExternalCorrelationId, HM_NEED_ACTIVITY)                                                        \
    X(cuptiActivityPopExternalCorrelationId, HM_NEED_ACTIVITY)                                                         \
    X(cuptiGetTimestamp, HM_NEED_ACTIVITY)                                                                             \
    X(cuptiProfilerInitialize, HM_NEED_COUNTERS)                                                                       \
    X(cuptiDeviceGetChipName, HM_NEED_COUNTERS)                                                                        \
    X(cuptiProfilerGetCounterAvailability, HM_NEED_COUNTERS)                                                           \
    X(cuptiProfilerHostInitialize, HM_NEED_COUNTERS)                                                                   \
    X(cuptiProfilerHostDeinitialize, HM_NEED_COUNTERS)                                                                 \
    X(cuptiProfilerHostConfigAddMetrics, HM_NEED_COUNTERS)                                                             \
    X(cuptiProfilerHostGetConfigImageSize, HM_NEED_COUNTERS)                                                           \
    X(cuptiProfilerHostGetConfigImage, HM_NEED_COUNTERS)                                                               \
    X(cuptiProfilerHostGetNumOfPasses, HM_NEED_COUNTERS)                                                               \
    X(cuptiProfilerHostEvaluateToGpuValues, HM_NEED_COUNTERS)                                                          \
    X(cuptiRangeProfilerEnable, HM_NEED_COUNTERS)                                                                      \
    X(cuptiRangeProfilerDisable, HM_NEED_COUNTERS)                                                                     \
    X(cuptiRangeProfilerGetCounterDataSize, HM_NEED_COUNTERS)                                                          \
    X(cuptiRangeProfilerCounterDataImageInitialize, HM_NEED_COUNTERS)                                                  \
    X(cuptiRangeProfilerSetConfig, HM_NEED_COUNTERS)                                                                   \
    X(cuptiRangeProfilerStart, HM_NEED_COUNTERS)                                                                       \
    X(cuptiRangeProfilerStop, HM_NEED_COUNTERS)                                                                        \
    X(cuptiRangeProfilerPushRange, HM_NEED_COUNTERS)                                                                   \
    X(cuptiRangeProfilerPopRange, HM_NEED_COUNTERS)                                                                    \
    X(cuptiRangeProfilerDecodeData, HM_NEED_COUNTERS)                                                                  \
    X(cuptiRangeProfilerGetCounterDataInfo, HM_NEED_COUNTERS)                                                          \
    X(cuptiRangeProfilerCounterDataGetRangeInfo, HM_NEED_COUNTERS)

/** CUPTI's functions under their own names. */
typedef struct hm_cupti_library {
#define HM_CUPTI_FIELD(name, need) __typeof__(name) *name;
    HM_CUPTI_FUNCTIONS(HM_CUPTI_FIELD)
#undef HM_CUPTI_FIELD
    uint32_t version;
    char path[512];
} hm_cupti_library;

/** The one library of the process, opened by the first call that succeeds and never closed: CUPTI has threads, and copies
 * of it do not see each other. Thread-safe.
 *
 * @param path    the only file that will do, or NULL: that of HOPMLA_CUPTI_PATH, else one that the process has already,
 *                the loader's, the toolkit's
 * @param reason  [HM_REASON_BYTES] receives why there is none
 * @return NULL when there is none. */
const hm_cupti_library *hm_cupti_open(const char *path, char *reason);

/** @return 1 when all is there that `need` needs; counters open libnvperf_host.so, too. Else 0, with a reason. */
int hm_cupti_has(const hm_cupti_library *cupti, int need, char *reason);

/** Says what a code of `call` means, and what can be done. */
void hm_cupti_explain(const hm_cupti_library *cupti, CUptiResult code, const char *call, char *reason);

/** 1 in the child after a fork() that came after the library was opened: CUPTI hangs there. */
int hm_cupti_forked(void);

#endif
