/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PROBE_H
#define HM_SM90_PROBE_H

/** @file
 * What ceilings.c and probe.cu agree on. */

#include <stdint.h>

enum {
    HM_PROBE_THREADS = 512,
    HM_PROBE_CTAS_PER_SM = 4,
    HM_PROBE_IN_FLIGHT = 8, /* vectors of 16 bytes that a thread reads at a time */

    HM_PROBE_MULTIPLY_THREADS = 256, /* two warpgroups */
    HM_PROBE_A_BYTES = 8192,         /* 64×64 bfloat16, one for each warpgroup */
    HM_PROBE_B_BYTES = 32768,        /* 64×256, four for both */
    HM_PROBE_MULTIPLY_SHARED = 2 * HM_PROBE_A_BYTES + 4 * HM_PROBE_B_BYTES,
    HM_PROBE_PRODUCTS = 16 /* of a warpgroup in a round, each of m64n256k16 */
};

#endif
