/* SPDX-License-Identifier: Apache-2.0 */
#include "prefix.h"

#include <stdlib.h>
#include <string.h>

#define MUST(call, ...) must(call(__VA_ARGS__, &error), &error, #call)

prefix prefix_make(const trace *t, hopmla_pool *pool)
{
    prefix p = { .trace = t, .pool = pool, .entries = must_zalloc(t->n_chains, sizeof(prefix_entry)) };
    for (uint32_t i = 0; i < t->n_chains; ++i)
        p.entries[i].holder = PREFIX_NONE;
    return p;
}

void prefix_free(prefix *p)
{
    free(p->entries);
    free(p->holders);
    memset(p, 0, sizeof(*p));
}

static uint32_t free_slot(prefix *p)
{
    for (uint32_t i = 0; i < p->count; ++i) {
        if (!p->holders[i].used)
            return i;
    }
    p->holders = must_grow(p->holders, p->count, &p->capacity, sizeof(holder));
    return p->count++;
}

static const uint32_t *chains_of(const prefix *p, uint32_t request)
{
    return p->trace->chains + p->trace->requests[request].first;
}

uint32_t prefix_start(prefix *p, uint32_t request, uint32_t *shared)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const trace_request *q = &p->trace->requests[request];
    uint32_t slot = free_slot(p);
    holder h = { .request = request, .last_use = ++p->clock, .used = true };
    *shared = 0;
    for (uint32_t i = q->blocks; i-- > 0;) {
        const prefix_entry *e = &p->entries[chains_of(p, request)[i]];
        if (e->holder == PREFIX_NONE)
            continue;
        *shared = e->tokens < q->input - 1 ? e->tokens : q->input - 1;
        p->holders[e->holder].last_use = p->clock;
        MUST(hopmla_seq_fork, p->pool, p->holders[e->holder].seq, *shared, &h.seq);
        break;
    }
    if (h.seq == 0)
        MUST(hopmla_seq_create, p->pool, &h.seq, 1);
    p->holders[slot] = h;
    return slot;
}

void prefix_enter(prefix *p, uint32_t index, uint32_t tokens)
{
    holder *h = &p->holders[index];
    const trace_request *q = &p->trace->requests[h->request];
    for (; h->entered < q->blocks; ++h->entered) {
        uint64_t end = (uint64_t)(h->entered + 1) * TRACE_BLOCK;
        uint32_t covered = end < q->input ? (uint32_t)end : q->input;
        if (tokens < covered)
            return;
        p->entries[chains_of(p, h->request)[h->entered]] = (prefix_entry){ index, covered };
    }
}

void prefix_keep(prefix *p, uint32_t index)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    holder *h = &p->holders[index];
    uint64_t prompt = p->trace->requests[h->request].input;
    MUST(hopmla_seq_truncate, p->pool, &h->seq, &prompt, 1);
    h->kept = true;
    h->last_use = ++p->clock;
    ++p->kept;
}

void prefix_drop(prefix *p, uint32_t index)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    holder *h = &p->holders[index];
    for (uint32_t i = 0; i < h->entered; ++i) {
        prefix_entry *e = &p->entries[chains_of(p, h->request)[i]];
        if (e->holder == index)
            e->holder = PREFIX_NONE;
    }
    MUST(hopmla_seq_release, p->pool, &h->seq, 1);
    p->kept -= h->kept;
    h->used = h->kept = false;
}

bool prefix_evict(prefix *p)
{
    uint32_t oldest = PREFIX_NONE;
    for (uint32_t i = 0; i < p->count; ++i) {
        const holder *h = &p->holders[i];
        if (h->kept && (oldest == PREFIX_NONE || h->last_use < p->holders[oldest].last_use))
            oldest = i;
    }
    if (oldest == PREFIX_NONE)
        return false;
    prefix_drop(p, oldest);
    ++p->evicted;
    return true;
}
