/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_REPLAY_H
#define COMMAND_REPLAY_H

/** @file
 * `hopmla replay`: what is counted on the way, checked and reported at the end. */

#include "engine.h"
#include "numbers.h"
#include "random.h"
#include "tolerance.h"

#include <stdbool.h>

typedef struct counters {
    uint64_t steps;
    double *step_us; /* [steps] of the host's clock, checking left out */
    uint64_t capacity;
    double decode_us;
    double bound_us;   /* sum of each step's bound */
    work work;         /* of all decodes */
    double bytes_once; /* what work.bytes would be if each step read shared pages once */
    uint64_t verified; /* rows */
    uint64_t wrong;
    tolerance errors;
    double seconds; /* from the first step to the last */
    uint64_t pages;
    uint64_t high_water;
    uint64_t leaked;
} counters;

/** Checks `samples` random (query row, head, layer) of the step that just ran. */
void replay_verify(const engine *e, const batch *b, uint32_t samples, random_state *r, counters *c);

/** The closing table, or one JSON object. */
void replay_report(const engine *e, const scheduler *s, counters *c, bool json);

#endif
