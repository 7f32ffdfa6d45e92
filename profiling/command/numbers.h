/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_NUMBERS_H
#define COMMAND_NUMBERS_H

/** @file
 * What a decode moves and computes, and the time it cannot go below. */

#include "hopmla/hopmla.h"

typedef struct work {
    double flops;
    double bytes;
} work;

/** Adds a batch row's work in one layer, of a cache of HOPMLA_KV_* `format`. FLOPs: 2 · (576 + 512), without a rope part
 * 2 · (512 + 512), for every query row and cached token that it sees. Bytes: the row's cached tokens read once, its
 * queries and its outputs. */
void work_add(work *w, int32_t format, uint32_t heads, uint32_t q_tokens, uint64_t kv_tokens);

/** Seconds that the work takes at least: the longer of reading its bytes and computing its FLOPs. */
double work_bound(work w, double bytes_per_second, double flops_per_second);

/** The peak that bounds are made with: the better of burst and sustained. (Noise can turn them round on a CPU.) */
double peak_flops(const hopmla_ceilings *ceilings);

/** Middle value; sorts the array. */
double median_of(double *values, uint64_t count);

/** The smallest value that at least `share` (0 … 1) of the values do not exceed; sorts the array. 0 of none. */
double percentile_of(double *values, uint64_t count, double share);

#endif
