/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_HALF_H
#define COMMAND_HALF_H

/** @file
 * bfloat16 and IEEE half precision on the host. The element type is HOPMLA_DTYPE_BF16 or HOPMLA_DTYPE_FP16. */

#include <stdint.h>

/** Rounds to nearest, ties to even. */
uint16_t half_from_float(int32_t dtype, float value);

/** Value of each of the 65536 bit patterns; made on first use, kept for ever. Thread-safe. */
const float *half_values(int32_t dtype);

#endif
