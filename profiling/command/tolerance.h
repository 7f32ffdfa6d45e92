/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_TOLERANCE_H
#define COMMAND_TOLERANCE_H

/** @file
 * How far a result may be from the reference. An output value: 8e-4, or 2.01/128 of its size, or 2u of the sizes of the
 * values behind it. The outputs of a case together: 1 − 2Σxy / Σ(x² + y²) at most 5e-6. A log-sum-exp: 1e-6, or
 * 8.01/65536 of its size, or 8·2⁻²⁴ of the terms behind it.
 *
 * The last of an output is for values that cancel. An output is a mean Σ p·v of the rows' values; the header allows a
 * backend to round the probabilities p to the element type, and once more the partial means of a row that is split. u is
 * the type's rounding, 2⁻⁸ of bfloat16 and 2⁻¹¹ of half, so each of the two moves an output by at most u·Σ p·|v|, whatever
 * is left when the values have cancelled. With the usual inputs, N(0, 1) / 10, and more than a few tokens Σ p·|v| is 0.08
 * and 2u of it 6.3e-4: less than 8e-4.
 *
 * The last of a log-sum-exp is for scores that cancel. A score is a sum of 576 products in float32, and its error follows the size of
 * these terms, A = scale · Σ|q·k|, not the size of the sum; the error of a log-sum-exp is the mean of its scores' errors
 * by probability, and the terms behind it are the mean of their A. 2⁻²⁴ of A is between half and one unit in the last
 * place of a number of that size. Products of random numbers, added as tensor cores may do it, 36 times 16 of them, each
 * sum cut off instead of rounded, were off by up to 4.0·2⁻²⁴·A in 200,000 trials (tests/test_tolerance.c makes 2,000);
 * eight leave as much again. Terms of one sign can be off by more, 40 in these trials, but then the sum is as large as
 * its terms and its own size allows 2,000. With the usual inputs, N(0, 1) / 10 and a scale of 576^−½, A is 0.15 and the
 * allowance 7e-8: nothing beside 1e-6.
 *
 * Outputs need no such allowance for their scores: those that are off by d move an output by at most 2d of the mean size
 * of its values, and the largest d in the suite is 2e-4.
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

/** Whether an output is near the reference. @param sizes  reference_sizes of it; 0 when they are not known */
bool tolerance_out_near(int32_t dtype, uint16_t out, double reference, double sizes);

/** Holds `count` outputs against the reference, as tolerance_out_near does. @param sizes  [count], or NULL: not known */
void tolerance_out(tolerance *t, int32_t dtype, const uint16_t *out, const double *reference, const double *sizes,
                   uint64_t count);

/** Whether a log-sum-exp of the given HOPMLA_LSE_* convention is near the reference's natural one, −inf when empty.
 *
 * @param terms  reference_terms of the row; 0 when they are not known, or make no difference */
bool tolerance_lse_near(int32_t convention, float lse, double reference, double terms);

/** Holds a log-sum-exp against the reference, as tolerance_lse_near does. */
void tolerance_lse(tolerance *t, int32_t convention, float lse, double reference, double terms);

/** What an empty row's log-sum-exp is. */
float tolerance_empty_lse(int32_t convention);

void tolerance_merge(tolerance *into, const tolerance *other);

/** 1 − 2Σxy / Σ(x² + y²); 0 when everything is 0. */
double tolerance_difference(const tolerance *t);

bool tolerance_met(const tolerance *t);

/** Whether a row of a case may be as it is if the case meets the tolerance: 1 − 2Σxy / Σ(x² + y²) of one row at most
 * 1e-5. Single rows of a replay differ by 2.8e-6 ± 0.7e-6 (bfloat16, 220,000 rows on an H200), and one of 40,000 by more
 * than 5e-6: the roundings of a row that is split. */
bool tolerance_met_alone(const tolerance *row);

#endif
