/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_BENCH_LENS_H
#define COMMAND_BENCH_LENS_H

/** @file
 * Lengths of the default suite's rows of kind varlen: data, which the peers were measured with, and which no rule makes. */

#include <stdint.h>

enum {
    BENCH_LENS = 12,
    BENCH_LENS_ROWS = 128
};

/** Mean lengths near 1000, 4000 and 16000, each with one and two query tokens; first for 16 heads, then for 128. */
extern const uint16_t bench_lens[BENCH_LENS][BENCH_LENS_ROWS];

#endif
