/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CUPTI_METRICS_H
#define HM_CUPTI_METRICS_H

/** @file
 * Which hardware counters a set is made of, by CUPTI's names, and what each one tells of a record. */

#include "profiling/observe/meter.h"

enum {
    HM_METRICS_MOST = 8,
    HM_METRIC_NAME_BYTES = 128
};

typedef struct hm_metrics {
    int32_t set; /* HOPMLA_COUNTERS_* */
    uint32_t count;
    const char *names[HM_METRICS_MOST];
    char custom[HM_METRICS_MOST][HM_METRIC_NAME_BYTES];
} hm_metrics;

/** Fills the names of a set. It must stay where it is: names point into it.
 * @param custom  names of CUSTOM with commas between, else ignored
 * @return OK; ARGUMENT for what can be no name of a metric */
hopmla_status hm_metrics_set(hm_metrics *metrics, int32_t set, const char *custom, hopmla_error *error);

/** Makes counts of the values, in the order of the names; valid are those that are numbers. */
void hm_metrics_read(const hm_metrics *metrics, const double *values, hm_counts *counts);

#endif
