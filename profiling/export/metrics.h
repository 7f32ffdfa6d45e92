/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_METRICS_H
#define HM_METRICS_H

/** @file
 * OpenMetrics text of figures that were read before. */

#include "profiling/export/records.h"

/** What there is to tell. */
typedef struct hm_metrics {
    const hopmla_profiler_info *profiler; /* or NULL */
    const hopmla_totals *totals;          /* [HM_KINDS] by kind, with profiler */
    const hopmla_pool_stats *pool;        /* or NULL */
    const char *device;                   /* or NULL */
    const hopmla_ceilings *ceilings;      /* or NULL */
} hm_metrics;

void hm_write_metrics(hm_out *out, const hm_metrics *m);

#endif
