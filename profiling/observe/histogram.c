/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/histogram.h"

enum {
    EXACT = 32, /* buckets of one nanosecond */
    STEPS = 16  /* buckets of each power of two after them */
};

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < EXACT) {
        return (uint32_t)ns;
    }
    const uint32_t shift = 63 - 4 - (uint32_t)__builtin_clzll(ns); /* ns >> shift is 16 … 31 */
    const uint32_t bucket = EXACT + (shift - 1) * STEPS + (uint32_t)(ns >> shift) - STEPS;
    return bucket < HM_HISTOGRAM_BUCKETS ? bucket : HM_HISTOGRAM_BUCKETS - 1;
}

/* The middle of a bucket. */
static int64_t time_of(uint32_t bucket)
{
    if (bucket < EXACT) {
        return bucket;
    }
    const uint32_t shift = (bucket - EXACT) / STEPS + 1;
    const uint64_t first = (uint64_t)((bucket - EXACT) % STEPS + STEPS) << shift;
    return (int64_t)(first + (UINT64_C(1) << shift) / 2);
}

void hm_histogram_add(hm_histogram *histogram, int64_t ns)
{
    histogram->count[bucket_of(ns > 0 ? (uint64_t)ns : 0)]++;
}

int64_t hm_histogram_percentile(const hm_histogram *histogram, uint64_t total, double share)
{
    if (total == 0) {
        return 0;
    }
    const double wanted = share * (double)total;
    uint64_t seen = 0;
    uint32_t bucket = 0;
    for (; bucket < HM_HISTOGRAM_BUCKETS - 1; bucket++) {
        seen += histogram->count[bucket];
        if (seen > 0 && (double)seen >= wanted) {
            break;
        }
    }
    return time_of(bucket);
}
