/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_BENCH_VERIFY_H
#define COMMAND_BENCH_VERIFY_H

#include "bench.h"

/** A row whose last replay left its outputs on the device. */
typedef struct bench_sample {
    device *device;
    hopmla_plan *plan;
    const bench_case *shape;
    uint32_t layer;
    const void *q; /* device, packed */
    const void *out;
} bench_sample;

/** Holds one query row and head of the batch against the reference. A time says nothing when the result is wrong.
 * @param error  receives the largest error  @return whether it is within tolerance */
bool bench_verify(const bench_sample *s, double *error);

#endif
