/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_PAGES_ONCE_H
#define COMMAND_PAGES_ONCE_H

/** @file
 * How many cached tokens a batch reads when a page that several rows share counts once. */

#include "scheduler.h"

typedef struct pages_once {
    hopmla_pool *pool;
    uint64_t pages;
    uint32_t step;
    uint32_t *seen; /* [pages] the last step that read the page */
    uint32_t *most; /* [pages] of its tokens, the most that a row of that step saw */
    int32_t *list;  /* [pages] of one row */
} pages_once;

void pages_once_make(pages_once *p, hopmla_pool *pool, uint64_t pages);
void pages_once_free(pages_once *p);

/** Tokens of all distinct pages that the rows which decode read; their last tokens are in the pages already. */
uint64_t pages_once_tokens(pages_once *p, const batch *b);

#endif
