/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_PROFILE_TABLE_H
#define COMMAND_PROFILE_TABLE_H

/** @file
 * What a profiler found, as a table. */

#include "command.h"

#include <stdbool.h>

enum {
    PROFILE_KINDS = HOPMLA_CALL_LAUNCH + 1
};

typedef struct profile_result {
    hopmla_totals totals[PROFILE_KINDS]; /* by HOPMLA_CALL_* */
    hopmla_profiler_info info;
    bool has_ceilings;
} profile_result;

/** A line for each kind that occurred, and what is missing and why. @param json  as objects instead */
void profile_print(const profile_result *r, bool json);

/** Figures of a kind; NAN where there are none. */
double totals_gbps(const hopmla_totals *t); /* tokens that rows share counted once */
double totals_tflops(const hopmla_totals *t);
double totals_fraction(const hopmla_totals *t);
double totals_read_ratio(const hopmla_totals *t);    /* bytes read by the hardware / analytic bytes, read and written */
double totals_written_ratio(const hopmla_totals *t); /* bytes written by it / the same */
double totals_l2_ratio(const hopmla_totals *t);
double totals_tensor_ratio(const hopmla_totals *t); /* FLOPs counted / analytic FLOPs */

const char *kind_name(int32_t kind);

/** Prints " %*.*f", or a dash where it is NAN. */
void print_figure(int width, int digits, double value);

#endif
