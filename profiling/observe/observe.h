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
 *         hm_observe_end(&seen, &context->observers, stream, status);
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

/** Who observes a context; a part of it. */
typedef struct hm_observers {
    atomic_uint bits;
    atomic_uint inside; /* calls that may hold the recorder: it is let go of only when there are none */
    _Atomic(struct hm_recorder *) recorder;
    atomic_uint captures; /* under way, of those that hopmla_graph_begin began */
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

/** What is known of captures in the context, for meters that would break them. An engine may begin them itself. */
void hm_observe_capture_begin(hm_observers *observers);
void hm_observe_capture_end(hm_observers *observers);

void hm_observe_begin(hm_observation *seen, hm_observers *observers, const hm_call *call, hopmla_stream stream,
                      int32_t capturing);
void hm_observe_end(hm_observation *seen, hm_observers *observers, hopmla_stream stream, hopmla_status status);

void hm_observe_launch_begin(hm_observed_launch *launch, const hm_observation *seen, hm_observers *observers,
                             const hm_call *call, hopmla_stream stream);
void hm_observe_launch_end(const hm_observed_launch *launch, hm_observers *observers, hopmla_stream stream);

/** Of a launch whose end will not come. On another thread its range stays open. */
void hm_observe_launch_drop(const hm_observed_launch *launch, hm_observers *observers);

#endif
