/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_FINISH_H
#define HM_FINISH_H

/** @file
 * The reader's side of the recorder: takes written slots in, in the order of positions, and makes records of them. By one
 * thread at a time. */

#include "profiling/observe/recorder.h"
#include "profiling/observe/totals.h"

typedef struct hm_finisher {
    hm_recorder *recorder;
    hm_totals *totals;
    hm_counts *counts; /* [capacity], what the meter said of each slot; NULL without counters */
    hopmla_ceilings ceilings;
    int32_t has_ceilings;
    int32_t totals_only; /* records are not kept */
    int32_t time_source; /* HOPMLA_SOURCE_*: what records are promised */
    uint64_t untimed;
    uint64_t failed; /* among the positions taken in that were given or skipped */
    uint64_t gone;   /* records whose slots are free again */
    uint64_t last_id;
} hm_finisher;

/** Takes in whatever has finished: their times, their counts, the totals. Makes driver calls and does not wait. */
void hm_finish(hm_finisher *finisher);

/** The next finished record. @return 0 when there is none */
int hm_finish_next(hm_finisher *finisher, hopmla_record *record);

#endif
