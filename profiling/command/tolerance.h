/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_TOLERANCE_H
#define COMMAND_TOLERANCE_H

/** @file
 * How far a result may be from the reference. An output value: 8e-4, or 2.01/128 of its size. The outputs of a case
 * together: 1 − 2Σxy / Σ(x² + y²) at most 5e-6. A log-sum-exp: 1e-6, or 8.01/65536 of its size.
 *
 * Errors are reported as |x − y| / max(1, |y|), so that cases with large values can stand in one table with others. */

#include "hopmla/hopmla.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct tolerance {
    double worst_out;
    double worst_lse;
    double product; /* Σ 2xy */
    double squares; /* Σ x² + y² */
    uint64_t bad;   /* values beyond their own tolerance */
} tolerance;

/** Holds `count` outputs against the reference. */
void tolerance_out(tolerance *t, int32_t dtype, const uint16_t *out, const double *reference, uint64_t count);

/** Holds a log-sum-exp of the given HOPMLA_LSE_* convention against the reference's natural one, −inf when empty. */
void tolerance_lse(tolerance *t, int32_t convention, float lse, double reference);

/** What an empty row's log-sum-exp is. */
float tolerance_empty_lse(int32_t convention);

void tolerance_merge(tolerance *into, const tolerance *other);

/** 1 − 2Σxy / Σ(x² + y²); 0 when everything is 0. */
double tolerance_difference(const tolerance *t);

bool tolerance_met(const tolerance *t);

#endif
