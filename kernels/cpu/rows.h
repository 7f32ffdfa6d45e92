/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_ROWS_H
#define HM_CPU_ROWS_H

/** @file
 * Where a token's cached row is. */

#include <stddef.h>

#include "kernels/backend.h"

typedef struct hm_row {
    char *latent; /* NULL when the page id is outside the pages */
    char *rope;   /* NULL when there is no rope part, too */
} hm_row;

static inline hm_row hm_row_of(const hm_kv *kv, const hm_tables *tables, uint32_t layer, uint64_t batch_row,
                               uint64_t token)
{
    int64_t page = tables->block_table[batch_row * tables->table_stride + token / HOPMLA_PAGE_TOKENS];
    if (page < 0 || (uint64_t)page >= kv->pages) {
        return (hm_row){ NULL, NULL };
    }
    uint64_t at = token % HOPMLA_PAGE_TOKENS, p = (uint64_t)page, base = layer * kv->layer_stride;
    return (hm_row){ kv->latent + base + p * kv->latent_page_stride + at * kv->latent_row_stride,
                     kv->rope ? kv->rope + base + p * kv->rope_page_stride + at * kv->rope_row_stride : NULL };
}

#endif
