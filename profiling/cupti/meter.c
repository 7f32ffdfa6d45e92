/* SPDX-License-Identifier: Apache-2.0 */
/* The meter of a library with CUPTI. Its ids of calls are positions plus 1. */
#include "profiling/observe/meter.h"

#include <stdatomic.h>
#include <string.h>

#include "lib/context.h"
#include "lib/error.h"
#include "profiling/cupti/activity.h"
#include "profiling/cupti/counters.h"

_Static_assert((int)HM_REASON_BYTES == (int)HM_MISSING_BYTES, "reasons go to the offer as they are");

struct hm_meter {
    hopmla_context *context;
    hm_activity *activity; /* or NULL */
    hm_counters *counters; /* or NULL */
    hm_meter_offer offer;
    int32_t wanted; /* HOPMLA_COUNTERS_* */
    uint32_t period;
    _Atomic uint64_t latest;                                /* id */
    _Atomic uint64_t calls_of_kind[HOPMLA_CALL_LAUNCH + 1]; /* for the period */
};

/* Opening. */

static hopmla_status open_activity(hm_meter *meter, const hm_cupti_library *cupti, uint32_t capacity,
                                   hopmla_error *error)
{
    if (!hm_cupti_has(cupti, HM_NEED_ACTIVITY, meter->offer.activity_missing)) {
        return HOPMLA_OK;
    }
    meter->activity = hm_activity_create(meter->context, cupti, capacity);
    if (!meter->activity) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a profiler's kernel times");
    }
    meter->offer.activity = 1;
    return HOPMLA_OK;
}

static hopmla_status open_counters(hm_meter *meter, const hm_cupti_library *cupti, const hm_metrics *metrics,
                                   uint32_t capacity, hopmla_error *error)
{
    if (!hm_cupti_has(cupti, HM_NEED_COUNTERS, meter->offer.counters_missing)) {
        return HOPMLA_OK;
    }
    const hopmla_status status = hm_counters_create(meter->context, cupti, metrics, capacity, &meter->counters,
                                                    meter->offer.counters_missing, error);
    meter->offer.counters = meter->counters ? metrics->set : HOPMLA_COUNTERS_NONE;
    return status;
}

static hopmla_status open_meter(hm_meter *meter, const hopmla_profiler_options *options, const hm_metrics *metrics,
                                uint32_t capacity, hopmla_error *error)
{
    const int wants_activity = (options->clocks & HOPMLA_CLOCK_ACTIVITY) != 0;
    const int wants_counters = options->counters != HOPMLA_COUNTERS_NONE;
    char reason[HM_REASON_BYTES] = "CUPTI cannot be used in a child after fork()";
    const hm_cupti_library *cupti = hm_cupti_forked() ? NULL : hm_cupti_open(options->cupti_path, reason);
    if (!cupti) {
        memcpy(meter->offer.activity_missing, reason, wants_activity ? sizeof(reason) : 0);
        memcpy(meter->offer.counters_missing, reason, wants_counters ? sizeof(reason) : 0);
        return HOPMLA_OK;
    }
    hopmla_status status = HOPMLA_OK;
    if (wants_activity) {
        status = open_activity(meter, cupti, capacity, error);
    }
    if (status == HOPMLA_OK && wants_counters) {
        status = open_counters(meter, cupti, metrics, capacity, error);
    }
    return status;
}

hopmla_status hm_meter_open(hopmla_context *context, const hopmla_profiler_options *options, uint32_t capacity,
                            hm_meter_offer *offer, hm_meter **meter, hopmla_error *error)
{
    *offer = (hm_meter_offer){ 0 };
    *meter = NULL;
    hm_metrics metrics;
    hopmla_status status = hm_metrics_set(&metrics, options->counters, options->metrics, error);
    if (status) {
        return status;
    }
    hm_meter *made = hm_host_zalloc(context, 1, sizeof(*made));
    if (!made) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a profiler's clocks");
    }
    made->context = context;
    made->wanted = options->counters;
    made->period = options->sample_period ? options->sample_period : 1;
    status = open_meter(made, options, &metrics, capacity, error);
    *offer = made->offer;
    if (status || (!made->activity && !made->counters)) {
        hm_meter_close(made);
        return status;
    }
    *meter = made;
    return HOPMLA_OK;
}

void hm_meter_close(hm_meter *meter)
{
    hopmla_context *context = meter->context;
    hm_activity_destroy(meter->activity);
    if (meter->counters) {
        hm_counters_stop(meter->counters); /* once more, if there was a capture */
        hm_counters_destroy(meter->counters);
    }
    hm_free(context, meter, sizeof(*meter), HOPMLA_MEMORY_HOST, NULL);
}

void hm_meter_describe(const hm_meter *meter, hm_meter_offer *offer)
{
    *offer = meter->offer;
    const char *failure = meter->counters ? hm_counters_failure(meter->counters) : NULL;
    if (failure) {
        offer->counters = HOPMLA_COUNTERS_NONE;
        memcpy(offer->counters_missing, failure, sizeof(offer->counters_missing));
    }
}

/* Sessions. */

hopmla_status hm_meter_start(hm_meter *meter, hopmla_error *error)
{
    hm_meter_offer *offer = &meter->offer;
    if (hm_cupti_forked()) {
        return HOPMLA_OK;
    }
    if (meter->counters) {
        char reason[HM_REASON_BYTES] = "";
        const hopmla_status status = hm_counters_start(meter->counters, reason, error);
        if (status && !reason[0]) {
            return status;
        }
        offer->counters = status ? HOPMLA_COUNTERS_NONE : meter->wanted;
        memcpy(offer->counters_missing, reason, sizeof(reason));
    }
    if (meter->activity) {
        char reason[HM_REASON_BYTES] = "";
        offer->activity = hm_activity_start(meter->activity, reason);
        memcpy(offer->activity_missing, reason, sizeof(reason));
    }
    return HOPMLA_OK;
}

void hm_meter_stop(hm_meter *meter)
{
    const hopmla_context *context = meter->context;
    if (hm_cupti_forked()) {
        return;
    }
    if (meter->counters) {
        hm_counters_stop(meter->counters);
    }
    if (meter->activity) {
        context->backend->synchronize(context->device, NULL);
        hm_activity_stop(meter->activity);
    }
}

/* Calls. */

static int is_sampled(hm_meter *meter, const hm_call *call)
{
    const uint64_t n = atomic_fetch_add_explicit(&meter->calls_of_kind[call->kind], 1, memory_order_relaxed);
    return n % meter->period == 0;
}

void hm_meter_begin(hm_meter *meter, uint64_t position, const hm_call *call)
{
    if (hm_cupti_forked()) {
        return;
    }
    atomic_store_explicit(&meter->latest, position + 1, memory_order_relaxed);
    if (meter->counters && is_sampled(meter, call)) {
        hm_counters_begin(meter->counters, position + 1);
    }
    if (meter->activity) { /* after the range's own work, which is none of the call's */
        hm_activity_begin(meter->activity, position + 1);
    }
}

void hm_meter_end(hm_meter *meter, uint64_t position)
{
    if (hm_cupti_forked()) {
        return;
    }
    if (meter->activity) {
        hm_activity_end(meter->activity, position + 1);
    }
    if (meter->counters) {
        hm_counters_end(meter->counters, position + 1);
    }
}

/* Results. */

static void collect(hm_meter *meter, int must)
{
    if (meter->counters && !hm_cupti_forked()) {
        hm_counters_collect(meter->counters, atomic_load_explicit(&meter->latest, memory_order_relaxed), must);
    }
}

void hm_meter_collect(hm_meter *meter)
{
    collect(meter, 0);
    if (meter->activity && !hm_cupti_forked()) {
        hm_activity_flush(meter->activity);
    }
}

uint64_t hm_meter_mark(hm_meter *meter)
{
    return meter->activity ? hm_activity_mark(meter->activity) : 0;
}

void hm_meter_settle(hm_meter *meter, uint64_t mark)
{
    collect(meter, 1);
    if (meter->activity && !hm_cupti_forked()) {
        hm_activity_settle(meter->activity, mark);
    }
}

hm_answer hm_meter_time(hm_meter *meter, uint64_t position, int64_t *begin, int64_t *end)
{
    hm_times times;
    const int found = meter->activity ? hm_activity_get(meter->activity, position + 1, &times) : -1;
    if (found == 1) {
        *begin = (int64_t)times.first;
        *end = (int64_t)times.last;
    }
    return found == 1 ? HM_ANSWER_KNOWN : found == 0 ? HM_ANSWER_LATER : HM_ANSWER_NEVER;
}

hm_answer hm_meter_counts(hm_meter *meter, uint64_t position, hm_counts *counts)
{
    return meter->counters ? hm_counters_get(meter->counters, position + 1, counts) : HM_ANSWER_NEVER;
}
