/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CUPTI_ACTIVITY_H
#define HM_CUPTI_ACTIVITY_H

/** @file
 * Kernel times by CUPTI's activity interface. CUPTI has one subscriber and one pair of callbacks for the process, so one
 * session at a time can be open in it. Ids of calls are from 1. */

#include "profiling/cupti/library.h"
#include "profiling/cupti/table.h"

typedef struct hm_activity hm_activity;

/** @param calls  a power of two. @return NULL when there is no memory. */
hm_activity *hm_activity_create(hopmla_context *context, const hm_cupti_library *cupti, uint32_t calls);
void hm_activity_destroy(hm_activity *activity);

/** Opens the session. @return 0 with a reason when it cannot be had */
int hm_activity_start(hm_activity *activity, char *reason);

/** Closes it. The device has been synchronised: all kernels have ended. */
void hm_activity_stop(hm_activity *activity);

/** Around a call's launches. The end may be on another thread, or not come at all. */
void hm_activity_begin(hm_activity *activity, uint64_t id);
void hm_activity_end(hm_activity *activity, uint64_t id);

/** Gets in the buffers whose kernels have all ended. Waits for nothing. */
void hm_activity_flush(hm_activity *activity);

/** To be called before and after the device is synchronised: what the calls that had ended before left behind is in. */
uint64_t hm_activity_mark(hm_activity *activity);
void hm_activity_settle(hm_activity *activity, uint64_t mark);

/** As hm_table_get, in ns of the monotonic clock. */
int hm_activity_get(hm_activity *activity, uint64_t id, hm_times *times);

#endif
