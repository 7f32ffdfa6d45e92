/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_HISTOGRAM_H
#define HM_HISTOGRAM_H

/** @file
 * How often times of which length came, in buckets that are 1/16 of a power of two wide: a percentile is right to 3.1 %.
 * Below 32 ns each nanosecond has its own; what is longer than 2^40 ns (18 minutes) is in the last. */

#include <stdint.h>

enum {
    HM_HISTOGRAM_BUCKETS = 32 + 35 * 16
};

typedef struct hm_histogram {
    uint64_t count[HM_HISTOGRAM_BUCKETS];
} hm_histogram;

void hm_histogram_add(hm_histogram *histogram, int64_t ns);

/** The time that a share of `total` times does not exceed, 0 < share <= 1; 0 when total is 0. */
int64_t hm_histogram_percentile(const hm_histogram *histogram, uint64_t total, double share);

#endif
