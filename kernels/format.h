/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_FORMAT_H
#define HM_FORMAT_H

/** @file
 * What each HOPMLA_KV_* says of a cached token: the one place that knows. */

#include "hopmla/pool.h"

enum {
    HM_VALUE_BYTES = 2 /* of a cached value, of q and of out */
};

static inline int hm_format_is_known(int32_t format)
{
    return format >= HOPMLA_KV_BF16 && format <= HOPMLA_KV_FP16_NOPE;
}

/** Element type: HOPMLA_DTYPE_BF16 or _FP16. */
static inline int32_t hm_format_dtype(int32_t format)
{
    return format == HOPMLA_KV_BF16 || format == HOPMLA_KV_BF16_NOPE ? HOPMLA_DTYPE_BF16 : HOPMLA_DTYPE_FP16;
}

/** Values of a token's rope part; 0 where it has none. */
static inline uint32_t hm_format_rope(int32_t format)
{
    return format == HOPMLA_KV_BF16 || format == HOPMLA_KV_FP16 ? HOPMLA_ROPE_DIM : 0;
}

/** Values of a token, and of a row of a joint q. */
static inline uint32_t hm_format_qk(int32_t format)
{
    return HOPMLA_LATENT_DIM + hm_format_rope(format);
}

static inline uint32_t hm_format_row_bytes(int32_t format)
{
    return hm_format_qk(format) * HM_VALUE_BYTES;
}

static inline uint32_t hm_format_page_bytes(int32_t format)
{
    return HOPMLA_PAGE_TOKENS * hm_format_row_bytes(format);
}

#endif
