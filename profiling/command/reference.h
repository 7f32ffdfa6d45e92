/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_REFERENCE_H
#define COMMAND_REFERENCE_H

/** @file
 * The attention of one query token in float64, written for plainness: what every backend is held against. */

#include <stdint.h>

enum {
    REFERENCE_QK = 576,  /* values of a query and of a cached row */
    REFERENCE_V = 512,   /* of these, what a value row is: the first ones */
    REFERENCE_BLOCK = 64 /* rows asked for at one time */
};

/** Writes cached rows first … first + count − 1 of the sequence, [count, 576], count at most REFERENCE_BLOCK. Called on
 * the thread that called reference_attend. */
typedef void (*reference_rows)(const void *user, uint64_t first, uint64_t count, float *rows);

/** For every head: s_t = scale · q·k_t over the first `tokens` rows, out = Σ softmax(s)_t · k_t[0:512],
 * lse = log Σ exp(s_t). Without tokens out is 0 and lse −inf.
 *
 * @param q    [heads, 576]
 * @param out  [heads, 512]
 * @param lse  [heads]
 * @return 0, or -1 when there is no memory. Thread-safe. */
int reference_attend(reference_rows rows, const void *user, uint64_t tokens, const float *q, uint32_t heads,
                     double scale, double *out, double *lse);

/** How large the terms are that one head's scores are sums of: the mean of scale · Σ_i |q_i · k_ti| over the rows, weighted
 * with their probabilities. Rounding errors of a log-sum-exp follow it. 0 without tokens.
 *
 * @param q    [576]
 * @param lse  what reference_attend gave for the head
 * @return 0, or -1 when there is no memory. Thread-safe. */
int reference_terms(reference_rows rows, const void *user, uint64_t tokens, const float *q, double scale, double lse,
                    double *terms);

#endif
