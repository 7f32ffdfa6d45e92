/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/recorder.h"

static _Atomic uint64_t sessions; /* in the process: a launch must not end in another recorder's session */

static uint64_t next_session(void)
{
    return atomic_fetch_add_explicit(&sessions, 1, memory_order_relaxed) + 1;
}

void hm_recorder_init(hm_recorder *recorder, hm_slot *slots, uint64_t capacity)
{
    recorder->slots = slots;
    recorder->mask = capacity - 1;
    for (uint64_t i = 0; i < capacity; i++) {
        atomic_init(&slots[i].turn, 2 * i);
    }
    atomic_init(&recorder->session, next_session());
}

/* The next position, or HM_NO_POSITION when its slot still holds the record one round before. */
static uint64_t take_position(hm_recorder *recorder)
{
    uint64_t position = atomic_load_explicit(&recorder->tail, memory_order_relaxed);
    for (;;) {
        const uint64_t turn = atomic_load_explicit(&hm_recorder_slot(recorder, position)->turn, memory_order_acquire);
        if (turn == 2 * position) {
            if (atomic_compare_exchange_weak_explicit(&recorder->tail, &position, position + 1, memory_order_relaxed,
                                                      memory_order_relaxed)) {
                return position;
            }
        } else if (turn < 2 * position) {
            return HM_NO_POSITION;
        } else { /* somebody else took it meanwhile */
            position = atomic_load_explicit(&recorder->tail, memory_order_relaxed);
        }
    }
}

static void begin_clock(hm_recorder *recorder, hm_slot *slot, uint64_t position, hopmla_stream stream)
{
    slot->clock = HM_CLOCK_NONE;
    slot->counted = recorder->meter != NULL;
    if (slot->counted) {
        hm_meter_begin(recorder->meter, position, &slot->call);
    }
    if (recorder->meter_times) {
        slot->clock = HM_CLOCK_METER;
    } else if (recorder->host_clock) {
        slot->clock = HM_CLOCK_HOST;
    } else if (recorder->events &&
               hm_event_clock_begin(recorder->events, position,
                                    atomic_load_explicit(&recorder->taken, memory_order_acquire), stream)) {
        slot->clock = HM_CLOCK_EVENTS;
    }
}

uint64_t hm_recorder_begin(hm_recorder *recorder, const hm_call *call, int64_t came, hopmla_stream stream)
{
    const uint64_t position = take_position(recorder);
    if (position == HM_NO_POSITION) {
        atomic_fetch_add_explicit(&recorder->dropped_kind[call->kind], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&recorder->dropped, 1, memory_order_relaxed);
        return HM_NO_POSITION;
    }
    hm_slot *slot = hm_recorder_slot(recorder, position);
    slot->dropped = atomic_load_explicit(&recorder->dropped, memory_order_relaxed);
    slot->call = *call;
    slot->came = came;
    slot->failed = 0;
    begin_clock(recorder, slot, position, stream);
    return position;
}

void hm_recorder_end(hm_recorder *recorder, uint64_t position, hopmla_stream stream, int succeeded)
{
    if (position == HM_NO_POSITION) {
        return;
    }
    hm_slot *slot = hm_recorder_slot(recorder, position);
    if (slot->clock == HM_CLOCK_EVENTS && (!succeeded || !hm_event_clock_end(recorder->events, position, stream))) {
        slot->clock = HM_CLOCK_NONE;
    }
    if (slot->counted) {
        hm_meter_end(recorder->meter, position);
    }
    slot->host_ns = hm_now() - slot->came;
    if (!succeeded) {
        slot->failed = 1;
        atomic_fetch_add_explicit(&recorder->failed, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&slot->turn, 2 * position + 1, memory_order_release);
}

/* What is left are launches: every other call is waited for before. */
void hm_recorder_close_session(hm_recorder *recorder)
{
    const uint64_t tail = atomic_load_explicit(&recorder->tail, memory_order_relaxed);
    for (uint64_t at = atomic_load_explicit(&recorder->taken, memory_order_relaxed); at < tail; at++) {
        hm_slot *slot = hm_recorder_slot(recorder, at);
        if (atomic_load_explicit(&slot->turn, memory_order_relaxed) == 2 * at) {
            slot->failed = 1;
            atomic_fetch_add_explicit(&recorder->failed, 1, memory_order_relaxed);
            atomic_store_explicit(&slot->turn, 2 * at + 1, memory_order_release);
        }
    }
    atomic_store_explicit(&recorder->session, next_session(), memory_order_relaxed);
}
