/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_OBSERVE_H
#define HM_OBSERVE_H

/** @file
 * What lib/ knows of observers: it describes a call in plain numbers, before and after. Around a call that enqueues work:
 *
 *     hm_observation seen = hm_observe(&context->observers);   one relaxed load, and nothing else where nobody observes
 *     ... the arguments' checks ...
 *     if (seen.bits) {
 *         hm_call call = …;
 *         hm_observe_begin(&seen, &context->observers, &call, stream, capturing);
 *     }
 *     status = context->backend->…;
 *     if (seen.bits) {
 *         hm_observe_end(&seen, stream, status);
 *     }
 *
 * Nothing here fails, waits, allocates or takes a lock. */

#include <stdatomic.h>
#include <time.h>

#include "hopmla/context.h"

struct hm_recorder;

/** Bits of hm_observers.bits. */
enum {
    HM_OBSERVE_NVTX = 1,  /* a tool listens to ranges */
    HM_OBSERVE_RECORD = 2 /* a profiler is started */
};

#define HM_DOOR_OPEN (UINT64_C(1) << 63)

/** Who observes a context; a part of it.
 *
 * A call that enters is counted by the same operation that tells it whether the door is open. Whoever closes the door
 * learns in one operation too how many calls have entered his recorder, and waits until it has counted as many that left:
 * calls that another recorder sees meanwhile or later are none of his. */
typedef struct hm_observers {
    atomic_uint bits;
    _Atomic(struct hm_recorder *) recorder; /* claimed by a profiler from its start until its stop is through */
    _Atomic uint64_t door; /* HM_DOOR_OPEN while calls may enter the recorder; and how many have since */
    atomic_uint captures;  /* under way, of those that hopmla_graph_begin began */
    _Atomic int64_t
        captured; /* when a call was last captured while a profiler was started, ns of the monotonic clock */
} hm_observers;

/** Bits of hm_call.flags. */
enum {
    HM_CALL_GRAPH = 1, /* as HOPMLA_RECORD_GRAPH and _RAW */
    HM_CALL_RAW = 2,
    HM_CALL_WORK = 4 /* the last four figures are known */
};

/** A call, as the record will have it. Small, since a ring holds many: a batch has at most 65,535 rows, a pool as many
 * layers, a row at most 256 heads. */
typedef struct hm_call {
    uint8_t kind; /* HOPMLA_CALL_* */
    uint8_t format;
    uint16_t flags;
    uint16_t layer;
    uint16_t batch;
    uint16_t heads;
    uint16_t reserved;
    uint32_t rows;
    uint32_t calls;
    uint32_t page_bytes;
    uint64_t plan;
    uint64_t step;
    uint64_t kv_tokens;
    uint64_t flops;
    uint64_t bytes;
    uint64_t unique_bytes;
} hm_call;

/** A call while it runs. */
typedef struct hm_observation {
    unsigned bits;
    int64_t came;                 /* when it came, ns of the monotonic clock; only with bits */
    struct hm_recorder *recorder; /* held, or NULL */
    uint64_t position;            /* of its record */
} hm_observation;

/** A launch of a graph between its begin and its end, which the recorder is not held across. */
typedef struct hm_observed_launch {
    unsigned ranges;  /* 1: an NVTX range is open */
    uint64_t session; /* of the recorder; 0: no record */
    uint64_t position;
} hm_observed_launch;

static inline int64_t hm_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline hm_observation hm_observe(hm_observers *observers)
{
    hm_observation seen = { .bits = atomic_load_explicit(&observers->bits, memory_order_relaxed) };
    if (seen.bits) {
        seen.came = hm_now();
    }
    return seen;
}

/** At a context's creation. */
void hm_observers_init(hm_observers *observers);

/** Makes the recorder the one that a profiler starts with, behind a closed door. @return 0 when there is one */
int hm_observers_claim(hm_observers *observers, struct hm_recorder *recorder);

/** Lets calls enter the claimed recorder, which is ready. */
void hm_observers_open(hm_observers *observers);

/** Lets nobody enter and waits until those inside have left: as long as a call takes that is being recorded,
 * microseconds on CUDA. The recorder stays claimed. */
void hm_observers_close(hm_observers *observers);

/** After a close, or without an open. */
void hm_observers_release(hm_observers *observers);

/** In a forked child, where those inside are not there: all of it, when the recorder is the claimed one. */
void hm_observers_forget(hm_observers *observers, struct hm_recorder *recorder);

/** What is known of captures in the context, for meters that would break them. An engine may begin them itself. */
void hm_observe_capture_begin(hm_observers *observers);
void hm_observe_capture_end(hm_observers *observers);

void hm_observe_begin(hm_observation *seen, hm_observers *observers, const hm_call *call, hopmla_stream stream,
                      int32_t capturing);
void hm_observe_end(hm_observation *seen, hopmla_stream stream, hopmla_status status);

void hm_observe_launch_begin(hm_observed_launch *launch, const hm_observation *seen, hm_observers *observers,
                             const hm_call *call, hopmla_stream stream);
void hm_observe_launch_end(const hm_observed_launch *launch, hm_observers *observers, hopmla_stream stream,
                           int launched);

/** Of a launch whose end will not come. On another thread its range stays open. */
void hm_observe_launch_drop(const hm_observed_launch *launch, hm_observers *observers);

#endif
