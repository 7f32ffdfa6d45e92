/* SPDX-License-Identifier: Apache-2.0 */
#include "pages_once.h"

#include <stdlib.h>
#include <string.h>

void pages_once_make(pages_once *p, hopmla_pool *pool, uint64_t pages)
{
    *p = (pages_once){ .pool = pool, .pages = pages };
    p->seen = must_zalloc(pages, sizeof(*p->seen));
    p->most = must_zalloc(pages, sizeof(*p->most));
    p->list = must_zalloc(pages, sizeof(*p->list));
}

void pages_once_free(pages_once *p)
{
    free(p->seen);
    free(p->most);
    free(p->list);
    memset(p, 0, sizeof(*p));
}

/** Counts what the row sees of its pages beyond what rows before it have seen. */
static uint64_t add_row(pages_once *p, hopmla_seq seq, uint32_t tokens)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint32_t n = 0;
    uint64_t added = 0;
    must(hopmla_seq_pages(p->pool, seq, p->list, (uint32_t)p->pages, &n, &error), &error, "hopmla_seq_pages");
    for (uint32_t i = 0; i * HOPMLA_PAGE_TOKENS < tokens; ++i) {
        uint32_t page = (uint32_t)p->list[i], left = tokens - i * HOPMLA_PAGE_TOKENS;
        uint32_t sees = left < HOPMLA_PAGE_TOKENS ? left : HOPMLA_PAGE_TOKENS;
        if (p->seen[page] != p->step) {
            p->seen[page] = p->step;
            p->most[page] = 0;
        }
        if (sees > p->most[page]) {
            added += sees - p->most[page];
            p->most[page] = sees;
        }
    }
    return added;
}

uint64_t pages_once_tokens(pages_once *p, const batch *b)
{
    uint64_t tokens = 0;
    ++p->step;
    for (uint32_t i = 0; i < b->count; ++i) {
        if (b->q_lens[i] > 0)
            tokens += add_row(p, b->seqs[i], b->first[i] + b->n_append[i]);
    }
    return tokens;
}
