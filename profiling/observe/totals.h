/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_TOTALS_H
#define HM_TOTALS_H

/** @file
 * Sums over finished records, by kind: for all of them and for each of the first plans that were seen. */

#include "hopmla/profile.h"
#include "profiling/observe/histogram.h"

enum {
    HM_TOTALS_PLANS = 64,
    HM_TOTALS_KINDS = HOPMLA_CALL_LAUNCH
};

/** The percentiles of `sums` stay 0: the histogram holds them. */
typedef struct hm_totals_of {
    hopmla_totals sums;
    hm_histogram times;
} hm_totals_of;

typedef struct hm_totals {
    uint64_t plan[1 + HM_TOTALS_PLANS]; /* number of the plan; entry 0 is for all */
    uint32_t plans;                     /* entries in use, entry 0 counted */
    uint32_t last;                      /* entry that was found last */
    hm_totals_of of[1 + HM_TOTALS_PLANS][HM_TOTALS_KINDS];
} hm_totals;

/** On zeroed memory. */
void hm_totals_init(hm_totals *totals);

void hm_totals_add(hm_totals *totals, const hopmla_record *record);

/** Whether the plan's records are, or would be, summed by themselves. */
int hm_totals_keeps(const hm_totals *totals, uint64_t plan);

/** @param plan  number, or 0 for all; zeroes for one that is not among the first ones */
void hm_totals_get(hm_totals *totals, int32_t kind, uint64_t plan, hopmla_totals *own);

#endif
