/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CUPTI_WINDOW_H
#define HM_CUPTI_WINDOW_H

/** @file
 * The range profiler's calls in their order, for one set of metrics on one context, which is current in all of them:
 *
 *     prepare   once: the chip, whether its counters may be read, the set in one pass
 *     open      enable, room for ranges, configuration, start
 *     push, pop around what is counted; pushing and popping outside an open window leaves CUPTI broken
 *     close     stop, decode; then values of each range
 *     disable   gives the device's counters back
 *
 * Every function returns CUPTI_SUCCESS, or a code with window->failed naming the call. */

#include "profiling/cupti/library.h"
#include "profiling/cupti/metrics.h"

typedef struct hm_window {
    const hm_cupti_library *cupti;
    hopmla_context *context; /* whose memory is used */
    CUcontext cuda;
    hm_metrics metrics;
    uint32_t most_ranges;
    uint32_t ranges;  /* after close */
    uint64_t dropped; /* after close: ranges that were pushed and are not there */
    CUpti_Profiler_Host_Object *host;
    uint8_t *config;
    size_t config_bytes;
    CUpti_RangeProfiler_Object *profiler; /* NULL: not enabled */
    uint8_t *image;
    size_t image_bytes;
    const char *failed;
} hm_window;

enum {
    HM_WINDOW_OUT_OF_MEMORY = -1, /* beside CUPTI's codes */
    HM_WINDOW_PASSES = -2,        /* the set does not fit one pass */
    HM_WINDOW_METRIC = -3         /* window->failed is a metric that the chip does not have */
};

int hm_window_prepare(hm_window *window, size_t device_ordinal);

/** The part of it that needs no device: the set for a chip's name. */
int hm_window_configure(hm_window *window, const char *chip);
void hm_window_discard(hm_window *window);

int hm_window_open(hm_window *window);
int hm_window_push(hm_window *window, const char *name);
int hm_window_pop(hm_window *window);
int hm_window_close(hm_window *window);
int hm_window_read(hm_window *window, uint32_t range, const char **name, double *values);
void hm_window_disable(hm_window *window);

#endif
