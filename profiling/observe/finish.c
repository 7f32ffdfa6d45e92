/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/finish.h"

#include <math.h>

/* Records. */

static int32_t source_of(uint8_t clock)
{
    switch (clock) {
    case HM_CLOCK_HOST:
        return HOPMLA_SOURCE_HOST;
    case HM_CLOCK_EVENTS_READ:
        return HOPMLA_SOURCE_EVENT;
    case HM_CLOCK_METER_READ:
        return HOPMLA_SOURCE_ACTIVITY;
    default:
        return HOPMLA_SOURCE_NONE;
    }
}

static void set_call(hopmla_record *record, const hm_call *call)
{
    record->kind = call->kind;
    record->plan = call->plan;
    record->step = call->step;
    record->calls = call->calls;
    record->layer = call->layer;
    record->batch = call->batch;
    record->rows = call->rows;
    record->heads = call->heads;
    record->format = call->format;
    record->page_bytes = call->page_bytes;
    record->flags =
        (call->flags & HM_CALL_GRAPH ? HOPMLA_RECORD_GRAPH : 0) | (call->flags & HM_CALL_RAW ? HOPMLA_RECORD_RAW : 0);
}

static void set_work(hopmla_record *record, const hm_call *call)
{
    record->valid |= HOPMLA_VALID_WORK;
    record->kv_tokens = call->kv_tokens;
    record->flops = call->flops;
    record->bytes = call->bytes;
    record->unique_bytes = call->unique_bytes;
    record->intensity = call->bytes ? (double)call->flops / (double)call->bytes : 0.0;
}

static void set_bound(hopmla_record *record, const hopmla_ceilings *ceilings)
{
    const double peak = fmax(ceilings->flops_burst, ceilings->flops_sustained);
    record->valid |= HOPMLA_VALID_BOUND;
    record->bound_ns =
        1e9 * fmax((double)record->unique_bytes / ceilings->read_bytes_per_second, (double)record->flops / peak);
}

static void set_rates(hopmla_record *record)
{
    const double ns = (double)record->device_ns;
    if (!(record->valid & HOPMLA_VALID_TIME) || record->device_ns <= 0) {
        return;
    }
    if (record->valid & HOPMLA_VALID_WORK) {
        record->bytes_per_second = (double)record->bytes / ns * 1e9;
        record->flops_per_second = (double)record->flops / ns * 1e9;
    }
    if (record->valid & HOPMLA_VALID_BOUND) {
        record->fraction = record->bound_ns / ns;
    }
}

static void set_counts(hopmla_record *record, const hm_counts *counts)
{
    record->valid |= counts->valid;
    record->dram_read_bytes = counts->dram_read_bytes;
    record->dram_write_bytes = counts->dram_write_bytes;
    record->l2_bytes = counts->l2_bytes;
    record->elapsed_cycles = counts->elapsed_cycles;
    record->tensor_flops = counts->tensor_flops;
    record->active_cycles = counts->active_cycles;
    record->tensor_cycles = counts->tensor_cycles;
    for (int i = 0; i < HOPMLA_CUSTOM_METRICS; i++) {
        record->custom[i] = counts->custom[i];
    }
}

/* All but the id. */
static void make_record(const hm_finisher *finisher, const hm_slot *slot, const hm_counts *counts,
                        hopmla_record *record)
{
    *record = (hopmla_record){ .struct_size = sizeof(*record), .host_begin_ns = slot->came, .host_ns = slot->host_ns };
    set_call(record, &slot->call);
    if (slot->call.flags & HM_CALL_WORK) {
        set_work(record, &slot->call);
        if (finisher->has_ceilings) {
            set_bound(record, &finisher->ceilings);
        }
    }
    record->time_source = source_of(slot->clock);
    if (record->time_source) {
        record->valid |= HOPMLA_VALID_TIME;
        record->device_begin_ns = slot->device_begin;
        record->device_ns = slot->device_ns;
    }
    set_rates(record);
    if (counts) {
        set_counts(record, counts);
    }
}

/* Taking in. */

/* @return 0 when the time is not there yet */
static int read_time(hm_recorder *recorder, hm_slot *slot, uint64_t position)
{
    if (slot->clock == HM_CLOCK_HOST) {
        slot->device_begin = slot->came;
        slot->device_ns = slot->host_ns;
        return 1;
    }
    if (slot->clock == HM_CLOCK_EVENTS) {
        int64_t begin = 0;
        const int told = hm_event_clock_read(recorder->events, position, &begin, &slot->device_ns);
        slot->device_begin = begin ? begin : slot->came;
        slot->clock = told > 0 ? HM_CLOCK_EVENTS_READ : told < 0 ? HM_CLOCK_NONE : HM_CLOCK_EVENTS;
        return told != 0;
    }
    if (slot->clock == HM_CLOCK_METER) {
        int64_t end = 0;
        const hm_answer answer = hm_meter_time(recorder->meter, position, &slot->device_begin, &end);
        slot->device_ns = end - slot->device_begin;
        slot->clock = answer == HM_ANSWER_KNOWN   ? HM_CLOCK_METER_READ
                      : answer == HM_ANSWER_NEVER ? HM_CLOCK_NONE
                                                  : HM_CLOCK_METER;
        return answer != HM_ANSWER_LATER;
    }
    return 1;
}

static hm_counts *counts_of(const hm_finisher *finisher, uint64_t position)
{
    return finisher->counts ? &finisher->counts[position & finisher->recorder->mask] : NULL;
}

/* @return 0 when they are not there yet */
static int read_counts(const hm_finisher *finisher, const hm_slot *slot, uint64_t position)
{
    hm_counts *counts = counts_of(finisher, position);
    if (!counts) {
        return 1;
    }
    *counts = (hm_counts){ 0 };
    return !slot->counted || hm_meter_counts(finisher->recorder->meter, position, counts) != HM_ANSWER_LATER;
}

static void free_slot(hm_finisher *finisher, hm_slot *slot)
{
    hm_recorder *recorder = finisher->recorder;
    const uint64_t next = recorder->head + recorder->mask + 1;
    if (slot->failed) {
        finisher->failed++;
    } else {
        finisher->gone++;
    }
    recorder->head++;
    atomic_store_explicit(&slot->turn, 2 * next, memory_order_release);
}

/* @return 0 when it has not finished */
static int take_in(hm_finisher *finisher, uint64_t position)
{
    hm_recorder *recorder = finisher->recorder;
    hm_slot *slot = hm_recorder_slot(recorder, position);
    if (atomic_load_explicit(&slot->turn, memory_order_acquire) != 2 * position + 1) {
        return 0;
    }
    if (!slot->failed) {
        if (!read_time(recorder, slot, position) || !read_counts(finisher, slot, position)) {
            return 0;
        }
        hopmla_record record;
        make_record(finisher, slot, counts_of(finisher, position), &record);
        finisher->untimed += finisher->time_source != HOPMLA_SOURCE_NONE && !record.time_source;
        hm_totals_add(finisher->totals, &record);
    }
    return 1;
}

void hm_finish(hm_finisher *finisher)
{
    hm_recorder *recorder = finisher->recorder;
    if (recorder->meter) {
        hm_meter_collect(recorder->meter);
    }
    if (recorder->events) {
        hm_event_clock_anchor(recorder->events);
    }
    uint64_t taken = atomic_load_explicit(&recorder->taken, memory_order_relaxed);
    const uint64_t tail = atomic_load_explicit(&recorder->tail, memory_order_relaxed);
    while (taken < tail && take_in(finisher, taken)) {
        hm_slot *slot = hm_recorder_slot(recorder, taken++);
        atomic_store_explicit(&recorder->taken, taken, memory_order_release);
        if (finisher->totals_only) {
            free_slot(finisher, slot);
        }
    }
}

int hm_finish_next(hm_finisher *finisher, hopmla_record *record)
{
    hm_recorder *recorder = finisher->recorder;
    const uint64_t taken = atomic_load_explicit(&recorder->taken, memory_order_relaxed);
    while (recorder->head < taken) {
        const uint64_t position = recorder->head;
        hm_slot *slot = hm_recorder_slot(recorder, position);
        const int is_record = !slot->failed;
        if (is_record) {
            make_record(finisher, slot, counts_of(finisher, position), record);
            /* Two threads may have looked at the count of dropped ones in another order than they took positions. */
            const uint64_t id = position + 1 - finisher->failed + slot->dropped;
            finisher->last_id = id > finisher->last_id ? id : finisher->last_id + 1;
            record->id = finisher->last_id;
        }
        free_slot(finisher, slot);
        if (is_record) {
            return 1;
        }
    }
    return 0;
}
