/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_METER_H
#define HM_METER_H

/** @file
 * Clocks and counters beside events: the seam behind which CUPTI is. A meter is opened with a profiler that asks for
 * activity times or counters; the recorder tells it of every call, and asks it for what it measured when the record is
 * taken in. A record is named by its position, which no two records of a profiler share. */

#include "hopmla/profile.h"
#include "profiling/observe/observe.h"

typedef struct hm_meter hm_meter;

enum {
    HM_MISSING_BYTES = 256
};

/** What a meter gives, and why it does not give the rest. */
typedef struct hm_meter_offer {
    int32_t activity; /* 1 or 0 */
    int32_t counters; /* HOPMLA_COUNTERS_* */
    char activity_missing[HM_MISSING_BYTES];
    char counters_missing[HM_MISSING_BYTES];
} hm_meter_offer;

/** What counters said of one record. */
typedef struct hm_counts {
    uint32_t valid; /* HOPMLA_VALID_DRAM, _TENSOR, _CUSTOM */
    uint32_t reserved;
    uint64_t dram_read_bytes;
    uint64_t dram_write_bytes;
    uint64_t l2_bytes;
    uint64_t elapsed_cycles;
    uint64_t tensor_flops;
    double active_cycles;
    double tensor_cycles;
    double custom[HOPMLA_CUSTOM_METRICS];
} hm_counts;

/** How a question about a record is answered. */
typedef enum hm_answer {
    HM_ANSWER_LATER,
    HM_ANSWER_NEVER,
    HM_ANSWER_KNOWN
} hm_answer;

/** Opens what the options ask for: clocks has HOPMLA_CLOCK_ACTIVITY, or counters are not NONE. options->metrics and
 * ->cupti_path are valid during the call only. At most `capacity` records are under way at one time.
 *
 * @param offer  filled on every return
 * @param meter  receives the meter, or NULL when it would give nothing
 * @return OK also when nothing is there; ARGUMENT for metrics that cannot be, OUT_OF_HOST_MEMORY */
hopmla_status hm_meter_open(hopmla_context *context, const hopmla_profiler_options *options, uint32_t capacity,
                            hm_meter_offer *offer, hm_meter **meter, hopmla_error *error);

/** A stopped one. */
void hm_meter_close(hm_meter *meter);

/** What it gives now, which a start, and a later failure, may have changed. */
void hm_meter_describe(const hm_meter *meter, hm_meter_offer *offer);

/** @return OK, also where it gives less than was offered; BUSY, CAPTURE, and the driver's */
hopmla_status hm_meter_start(hm_meter *meter, hopmla_error *error);

/** No call is being recorded. What was measured can be asked for afterwards; what is not there then never will be. */
void hm_meter_stop(hm_meter *meter);

/** Around the backend's call, on the calling thread, outside capture. The end comes for every begin of a session, for a
 * launch possibly on another thread or, where the session stopped meanwhile, not at all. */
void hm_meter_begin(hm_meter *meter, uint64_t position, const hm_call *call);
void hm_meter_end(hm_meter *meter, uint64_t position);

/** Gets in what the tool has ready, before a run of questions. Does not wait for the device, but for counters, whose
 * buffer is emptied when it is full: some 30 ms, in which the device is synchronised. */
void hm_meter_collect(hm_meter *meter);

/** Called before and after the device is synchronised: gets in all that is left of the calls that had ended before. */
uint64_t hm_meter_mark(hm_meter *meter);
void hm_meter_settle(hm_meter *meter, uint64_t mark);

/** When the record's work ran, ns of the monotonic clock. */
hm_answer hm_meter_time(hm_meter *meter, uint64_t position, int64_t *begin, int64_t *end);

/** What the counters said; NEVER also for a call that was not sampled. Asked in the order of positions until the answer
 * is not LATER, after the time, and then no more of the record. */
hm_answer hm_meter_counts(hm_meter *meter, uint64_t position, hm_counts *counts);

#endif
