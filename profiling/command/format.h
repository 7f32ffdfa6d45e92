/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_FORMAT_H
#define COMMAND_FORMAT_H

/** @file
 * What each HOPMLA_KV_* says of a cached token, and what this command calls it. */

#include "hopmla/hopmla.h"

#include <stdbool.h>

/** HOPMLA_KV_* of an element type, with a rope part or without. */
int32_t format_of(int32_t dtype, bool nope);

/** HOPMLA_DTYPE_BF16 or _FP16. */
int32_t format_dtype(int32_t format);

bool format_is_nope(int32_t format);

/** Values of a token, and of a query: 576, or 512 without a rope part. */
uint32_t format_values(int32_t format);

/** Bytes of a token, and of a page of one layer. */
uint32_t format_row_bytes(int32_t format);
uint32_t format_page_bytes(int32_t format);

/** bf16, fp16, bf16-nope or fp16-nope. */
const char *format_name(int32_t format);

/** @return whether there is one of that name */
bool format_named(const char *name, int32_t *format);

#endif
