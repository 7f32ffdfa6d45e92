/* SPDX-License-Identifier: Apache-2.0 */
/* What a profiler has to tell. */
#include <string.h>

#include "lib/abi.h"
#include "lib/error.h"
#include "lib/plan.h"
#include "profiling/observe/profiler.h"

/* Of a moment when no call is under way they are exact; else a call may be in one and not yet in another. */
static void count_records(hopmla_profiler *profiler, hopmla_profiler_info *info)
{
    hm_recorder *recorder = &profiler->recorder;
    const uint64_t failed = atomic_load_explicit(&recorder->failed, memory_order_acquire);
    const uint64_t made = atomic_load_explicit(&recorder->tail, memory_order_acquire) - failed;
    info->dropped = atomic_load_explicit(&recorder->dropped, memory_order_relaxed);
    info->recorded = made + info->dropped;
    info->waiting = made - profiler->finisher.gone;
    info->untimed = profiler->finisher.untimed;
}

static void describe_meter(hopmla_profiler *profiler, hopmla_profiler_info *info)
{
    if (profiler->recorder.meter) {
        hm_meter_describe(profiler->recorder.meter, &profiler->offer);
    }
    info->counters = profiler->offer.counters;
    memcpy(info->activity_missing, profiler->offer.activity_missing, sizeof(info->activity_missing));
    memcpy(info->counters_missing, profiler->offer.counters_missing, sizeof(info->counters_missing));
}

hopmla_status hopmla_profiler_describe(hopmla_profiler *profiler, hopmla_profiler_info *info, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(profiler, error);
    HM_CHECK_NULL(info, error);
    const hopmla_status status =
        hm_abi_check_output(info, HM_SIZE_THROUGH(hopmla_profiler_info, counters_missing), "info", error);
    if (status) {
        return status;
    }
    const unsigned bits = atomic_load_explicit(&profiler->context->observers.bits, memory_order_relaxed);
    hopmla_profiler_info own = HOPMLA_PROFILER_INFO_INIT;
    own.nvtx = (bits & HM_OBSERVE_NVTX) != 0;
    own.capacity = profiler->options.capacity;
    if (!hm_profiler_is_forked(profiler)) {
        pthread_mutex_lock(&profiler->mutex);
        hm_finish(&profiler->finisher);
        own.started = profiler->started;
        own.time_source = profiler->finisher.time_source;
        describe_meter(profiler, &own);
        count_records(profiler, &own);
        pthread_mutex_unlock(&profiler->mutex);
    }
    hm_abi_write(info, &own, sizeof(own));
    return HOPMLA_OK;
}

static uint32_t read_records(hm_finisher *finisher, hopmla_record *records, uint64_t record_size, uint32_t capacity)
{
    uint32_t n = 0;
    char *at = (char *)records;
    hopmla_record own;
    for (; n < capacity && hm_finish_next(finisher, &own); n++, at += record_size) {
        const uint32_t size = (uint32_t)record_size;
        memcpy(at, &size, sizeof(size));
        hm_abi_write(at, &own, sizeof(own));
    }
    return n;
}

hopmla_status hopmla_profiler_read(hopmla_profiler *profiler, hopmla_record *records, uint64_t record_size,
                                   uint32_t capacity, uint32_t *count, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(profiler, error);
    HM_CHECK_NULL(count, error);
    if (capacity > 0) {
        HM_CHECK_NULL(records, error);
    }
    if (record_size < HM_SIZE_THROUGH(hopmla_record, custom) || record_size > HM_LARGEST_STRUCT || record_size % 8) {
        return hm_fail_value(error, HOPMLA_ERROR_STRUCT_SIZE, (int64_t)record_size,
                             "record_size is %llu, must be sizeof(hopmla_record)", (unsigned long long)record_size);
    }
    *count = 0;
    if (!hm_profiler_is_forked(profiler)) {
        pthread_mutex_lock(&profiler->mutex);
        hm_finish(&profiler->finisher);
        *count = read_records(&profiler->finisher, records, record_size, capacity);
        pthread_mutex_unlock(&profiler->mutex);
    }
    return HOPMLA_OK;
}

hopmla_status hopmla_profiler_finish(hopmla_profiler *profiler, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(profiler, error);
    if (hm_profiler_is_forked(profiler)) {
        return HOPMLA_OK;
    }
    const hopmla_context *context = profiler->context;
    hm_meter *meter = profiler->recorder.meter;
    const uint64_t mark = meter ? hm_meter_mark(meter) : 0;
    const hopmla_status status = context->backend->synchronize(context->device, error);
    if (status) {
        return status;
    }
    pthread_mutex_lock(&profiler->mutex);
    if (meter) {
        hm_meter_settle(meter, mark);
    }
    hm_finish(&profiler->finisher);
    pthread_mutex_unlock(&profiler->mutex);
    return HOPMLA_OK;
}

static uint64_t dropped_of(hopmla_profiler *profiler, int32_t kind)
{
    return atomic_load_explicit(&profiler->recorder.dropped_kind[kind], memory_order_relaxed);
}

hopmla_status hopmla_profiler_get_totals(hopmla_profiler *profiler, int32_t kind, hopmla_plan *plan,
                                         hopmla_totals *totals, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(profiler, error);
    HM_CHECK_NULL(totals, error);
    hopmla_status status = hm_abi_check_output(totals, HM_SIZE_THROUGH(hopmla_totals, timed_work_ns), "totals", error);
    if (status) {
        return status;
    }
    if (kind < HOPMLA_CALL_APPEND || kind > HOPMLA_CALL_LAUNCH) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "kind is %d, must be HOPMLA_CALL_*", (int)kind);
    }
    if (plan && plan->pool->context != profiler->context) {
        return hm_fail(error, HOPMLA_ERROR_MISMATCH, "plan is of another context than profiler");
    }
    const uint64_t number = plan ? plan->number : 0;
    hopmla_totals own = HOPMLA_TOTALS_INIT;
    if (hm_profiler_is_forked(profiler)) {
        own.kind = kind;
        own.plan = number;
    } else {
        pthread_mutex_lock(&profiler->mutex);
        hm_finish(&profiler->finisher);
        hm_totals_get(profiler->totals, kind, number, &own);
        own.dropped = plan ? 0 : dropped_of(profiler, kind);
        if (!hm_totals_keeps(profiler->totals, number)) {
            status =
                hm_fail(error, HOPMLA_ERROR_TOO_MANY,
                        "plan came after %d others: its records are in the totals of all plans only", HM_TOTALS_PLANS);
        }
        pthread_mutex_unlock(&profiler->mutex);
    }
    if (status == HOPMLA_OK) {
        hm_abi_write(totals, &own, sizeof(own));
    }
    return status;
}
