/* SPDX-License-Identifier: Apache-2.0 */
/* The meter of a library without CUPTI: there is none. */
#include "profiling/observe/meter.h"

#include <stdio.h>

hopmla_status hm_meter_open(hopmla_context *context, const hopmla_profiler_options *options, uint32_t capacity,
                            hm_meter_offer *offer, hm_meter **meter, hopmla_error *error)
{
    (void)context;
    (void)capacity;
    (void)error;
    static const char *const missing = "the library was built without CUPTI: its headers come with CUDA 13";
    *offer = (hm_meter_offer){ .counters = HOPMLA_COUNTERS_NONE };
    *meter = NULL;
    if (options->clocks & HOPMLA_CLOCK_ACTIVITY) {
        snprintf(offer->activity_missing, sizeof(offer->activity_missing), "%s", missing);
    }
    if (options->counters != HOPMLA_COUNTERS_NONE) {
        snprintf(offer->counters_missing, sizeof(offer->counters_missing), "%s", missing);
    }
    return HOPMLA_OK;
}

void hm_meter_close(hm_meter *meter)
{
    (void)meter;
}

void hm_meter_describe(const hm_meter *meter, hm_meter_offer *offer)
{
    (void)meter;
    (void)offer;
}

hopmla_status hm_meter_start(hm_meter *meter, hopmla_error *error)
{
    (void)meter;
    (void)error;
    return HOPMLA_OK;
}

void hm_meter_stop(hm_meter *meter)
{
    (void)meter;
}

void hm_meter_begin(hm_meter *meter, uint64_t position, const hm_call *call)
{
    (void)meter;
    (void)position;
    (void)call;
}

void hm_meter_end(hm_meter *meter, uint64_t position)
{
    (void)meter;
    (void)position;
}

void hm_meter_collect(hm_meter *meter)
{
    (void)meter;
}

uint64_t hm_meter_mark(hm_meter *meter)
{
    (void)meter;
    return 0;
}

void hm_meter_settle(hm_meter *meter, uint64_t mark)
{
    (void)meter;
    (void)mark;
}

hm_answer hm_meter_time(hm_meter *meter, uint64_t position, int64_t *begin, int64_t *end)
{
    (void)meter;
    (void)position;
    (void)begin;
    (void)end;
    return HM_ANSWER_NEVER;
}

hm_answer hm_meter_counts(hm_meter *meter, uint64_t position, hm_counts *counts)
{
    (void)meter;
    (void)position;
    (void)counts;
    return HM_ANSWER_NEVER;
}
