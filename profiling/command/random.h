/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_RANDOM_H
#define COMMAND_RANDOM_H

/** @file
 * Seeded random numbers, the same on every machine: xoshiro256**, started by splitmix64. */

#include <stdint.h>

typedef struct random_state {
    uint64_t s[4];
} random_state;

void random_seed(random_state *r, uint64_t seed);
uint64_t random_next(random_state *r);

/** 0 … n − 1; n at least 1. */
uint64_t random_below(random_state *r, uint64_t n);

/** low … high. */
uint64_t random_between(random_state *r, uint64_t low, uint64_t high);

/** Mixes two numbers into one, well enough for a hash table or a seed. */
uint64_t random_mix(uint64_t a, uint64_t b);

/** Fills with 16-bit values that are distributed as N(0, 1) / 10, rounded to the element type. */
void random_fill(random_state *r, int32_t dtype, uint16_t *values, uint64_t count);

#endif
