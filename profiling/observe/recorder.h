/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_RECORDER_H
#define HM_RECORDER_H

/** @file
 * Where calls are written down: a ring of slots that any number of threads fill without a lock, and one at a time empties.
 *
 *     free ──begin──▶ under way ──end──▶ written ──take in──▶ finished ──read──▶ free
 *
 * A position counts records; slot position % capacity. begin takes the next position by compare-and-swap when its slot is
 * free, else the record is dropped and counted: a call never waits for a reader. What comes after `end` is done by whoever
 * reads (finish.c), in the order of positions. */

#include "kernels/backend.h"
#include "profiling/observe/clock.h"
#include "profiling/observe/meter.h"
#include "profiling/observe/observe.h"

#define HM_NO_POSITION UINT64_MAX

/** What is known of a record's device time; hm_slot.clock. */
enum {
    HM_CLOCK_NONE = 0,
    HM_CLOCK_HOST,        /* it is the call's own */
    HM_CLOCK_EVENTS,      /* its pair of events will tell */
    HM_CLOCK_EVENTS_READ, /* and has told */
    HM_CLOCK_METER,       /* the meter will tell */
    HM_CLOCK_METER_READ
};

typedef struct hm_slot {
    _Alignas(128) _Atomic uint64_t turn; /* 2 × position: free for it; and 1 more: written */
    uint64_t dropped;                    /* before it */
    hm_call call;
    int64_t came;
    int64_t host_ns;
    int64_t device_begin;
    int64_t device_ns;
    uint8_t clock;   /* HM_CLOCK_* */
    uint8_t failed;  /* the call enqueued nothing: not a record after all */
    uint8_t counted; /* the meter was told */
    uint8_t reserved[5];
} hm_slot;

_Static_assert(sizeof(hm_slot) == 128, "what the header says that a record costs");

typedef struct hm_recorder {
    /* Constant. */
    hm_slot *slots;
    uint64_t mask; /* capacity − 1 */
    const hm_backend *backend;
    hm_device *device;
    int32_t host_clock;     /* a call ends with its work: the host's clock times it */
    hm_event_clock *events; /* or NULL */
    hm_meter *meter;        /* or NULL */
    int32_t meter_times;    /* it gives times: in the place of events. Of a session */
    /* Written by calls. */
    _Alignas(64) _Atomic uint64_t tail; /* positions taken */
    _Atomic uint64_t left;              /* calls, of those that entered by hm_observers.door since it opened */
    _Atomic uint64_t dropped;
    _Atomic uint64_t failed;
    _Atomic uint64_t dropped_kind[HOPMLA_CALL_LAUNCH + 1];
    /* Written by readers, one at a time. */
    _Alignas(64) _Atomic uint64_t taken; /* positions taken in; event pairs before it are free again */
    _Atomic uint64_t session;            /* another one after each stop; never 0 */
    uint64_t head;                       /* positions whose slots are free again */
} hm_recorder;

void hm_recorder_init(hm_recorder *recorder, hm_slot *slots, uint64_t capacity);

static inline uint64_t hm_recorder_session(hm_recorder *recorder)
{
    return atomic_load_explicit(&recorder->session, memory_order_relaxed);
}

static inline hm_slot *hm_recorder_slot(const hm_recorder *recorder, uint64_t position)
{
    return &recorder->slots[position & recorder->mask];
}

/** Starts a record. @return its position, or HM_NO_POSITION when it was dropped, which the end may be told too */
uint64_t hm_recorder_begin(hm_recorder *recorder, const hm_call *call, int64_t came, hopmla_stream stream);

/** Ends it. @param succeeded  0: nothing was enqueued, and there is no record */
void hm_recorder_end(hm_recorder *recorder, uint64_t position, hopmla_stream stream, int succeeded);

/** Nobody else is at it any more: closes what was begun and not ended, and begins another session. */
void hm_recorder_close_session(hm_recorder *recorder);

#endif
