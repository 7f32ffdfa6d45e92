/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CUPTI_COUNTERS_H
#define HM_CUPTI_COUNTERS_H

/** @file
 * Hardware counters of single calls by CUPTI's range profiler, in windows: a window is opened, calls are counted in it
 * one at a time, each as a range, and what they gave is there once it is closed. One window can be open in the process.
 *
 * What a window needs of the device: opening and closing synchronise it, and break every capture that is under way in the
 * context. Ranges of LIGHT are made by the device itself: neither end waits, the device idles for some 40 µs. Those of
 * other sets are made by the host: both ends wait, 0.4 ms and more, and break captures.
 *
 * Ids of calls are from 1. */

#include "profiling/cupti/library.h"
#include "profiling/cupti/metrics.h"

typedef struct hm_counters hm_counters;

/** Prepares a set; touches no stream, and does not disturb captures.
 *
 * @param calls     a power of two: results that are kept
 * @param metrics   copied
 * @param counters  receives NULL, with a reason, when the machine does not give them
 * @return OK, OUT_OF_HOST_MEMORY. */
hopmla_status hm_counters_create(hopmla_context *context, const hm_cupti_library *cupti, const hm_metrics *metrics,
                                 uint32_t calls, hm_counters **counters, char *reason, hopmla_error *error);

/** NULL is allowed. */
void hm_counters_destroy(hm_counters *counters);

/** Opens a window.
 * @return OK; BUSY when another one is open in the process; CAPTURE when one is known to be under way; DRIVER with a reason
 *         and no error when CUPTI refuses */
hopmla_status hm_counters_start(hm_counters *counters, char *reason, hopmla_error *error);

/** Closes it, and takes in what it holds: unless a capture is known to be under way, which it would break. Then the
 * window stays open, unused, until the next start or stop. */
void hm_counters_stop(hm_counters *counters);

/** Around a call's launches. @return 0 when it is not counted: another call is, or the window is full */
int hm_counters_begin(hm_counters *counters, uint64_t id);
void hm_counters_end(hm_counters *counters, uint64_t id);

/** Closes the window, takes in what it holds and opens another, where that is due: when it is full, when its first call
 * is `calls` / 2 calls and more before the latest one, or when `must` is 1. Nothing happens during a capture that is
 * known, and while a call is counted. */
void hm_counters_collect(hm_counters *counters, uint64_t latest, int must);

hm_answer hm_counters_get(const hm_counters *counters, uint64_t id, hm_counts *counts);

/** Why later windows cannot be had, or NULL. */
const char *hm_counters_failure(const hm_counters *counters);

#endif
