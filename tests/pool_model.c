/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/pool_model.h"

#include <string.h>

enum {
    P = HOPMLA_PAGE_TOKENS
};

void model_init(model *m, int no_storage)
{
    memset(m, 0, sizeof(*m));
    m->no_storage = no_storage;
    m->n_free = MODEL_PAGES;
    for (int i = 0; i < MODEL_PAGES; i++) {
        m->queue[i] = i;
    }
}

static uint32_t pages_of(uint32_t tokens)
{
    return (tokens + P - 1) / P;
}

uint32_t model_owners(const model *m, int32_t page)
{
    uint32_t owners = 0;
    for (int s = 0; s < MODEL_SEQS; s++) {
        for (uint32_t i = 0; m->seq[s].alive && i < m->seq[s].n; i++) {
            owners += m->seq[s].pages[i] == page;
        }
    }
    return owners;
}

uint32_t model_sources(const model *m, int32_t page)
{
    uint32_t sources = 0;
    for (int s = 0; s < MODEL_SEQS; s++) {
        sources += m->seq[s].alive && m->seq[s].copy != MODEL_NO_COPY && m->seq[s].source == page;
    }
    return sources;
}

static void settle(model *m, int32_t page)
{
    if (model_sources(m, page) == 0) {
        m->page[page].guard = 0;
        if (model_owners(m, page) == 0) {
            m->queue[m->n_free++] = page;
        }
    }
}

static int32_t take(model *m, model_seq *s, uint32_t *missing)
{
    if (m->n_free == 0) {
        ++*missing;
        return -1;
    }
    const int32_t page = m->queue[0];
    memmove(&m->queue[0], &m->queue[1], --m->n_free * sizeof(m->queue[0]));
    if (MODEL_PAGES - m->n_free > m->high_water) {
        m->high_water = MODEL_PAGES - m->n_free;
    }
    s->former |= m->page[page].plans;
    return page;
}

static void reserve_one(model *m, model_seq *s, uint32_t n_new, uint32_t *missing)
{
    if (n_new <= s->reserved) {
        return;
    }
    const uint32_t row = s->committed % P;
    if (row && !s->may_write && s->reserved == 0) {
        const uint32_t at = s->committed / P;
        const int32_t tail = s->pages[at];
        if (model_owners(m, tail) > 1 || (model_sources(m, tail) && m->page[tail].guard > row)) {
            m->page[tail].plans |= s->plans;
            s->copy = MODEL_OWED;
            s->source = tail;
            s->copy_at = at;
            s->copy_rows = row;
            if (m->page[tail].guard < row) {
                m->page[tail].guard = row;
            }
            s->pages[at] = -1;
            s->pages[at] = take(m, s, missing);
        } else {
            s->former |= m->page[tail].plans;
        }
        s->may_write = 1;
    }
    if (row == 0 && s->reserved == 0) {
        s->may_write = 1;
    }
    const uint32_t n = pages_of(s->committed + n_new);
    while (s->n < n) {
        s->pages[s->n] = take(m, s, missing);
        s->n++;
    }
    for (uint32_t t = s->committed + s->reserved; t < s->committed + n_new; t++) {
        s->tokens[t] = 0;
    }
    s->reserved = n_new;
}

uint32_t model_reserve(model *m, const int *seqs, const uint32_t *n_new, uint32_t count)
{
    static model before;
    before = *m;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < count; i++) {
        reserve_one(m, &m->seq[seqs[i]], n_new[i], &missing);
    }
    if (missing) {
        *m = before;
    }
    return missing;
}

static void drop_copy(model *m, model_seq *s)
{
    m->page[s->source].plans |= s->plans;
    s->copy = MODEL_NO_COPY;
    settle(m, s->source);
}

void model_commit(model *m, int seq, uint32_t n)
{
    model_seq *s = &m->seq[seq];
    s->committed += n;
    s->reserved -= n;
    if (n > 0 && (s->copy == MODEL_COPIED || (s->copy == MODEL_OWED && m->no_storage))) {
        drop_copy(m, s);
    }
}

static void cut(model *m, model_seq *s, uint32_t n)
{
    const uint32_t before = s->n;
    for (uint32_t i = n; i < before; i++) {
        const int32_t page = s->pages[i];
        m->page[page].plans |= s->plans;
        s->pages[i] = -1;
        settle(m, page);
    }
    s->n = n < before ? n : before;
    if (s->copy != MODEL_NO_COPY && s->copy_at >= n) {
        drop_copy(m, s);
    }
}

void model_truncate(model *m, int seq, uint32_t length)
{
    model_seq *s = &m->seq[seq];
    cut(m, s, pages_of(length));
    if (s->copy != MODEL_NO_COPY && length - s->copy_at * P < s->copy_rows) {
        s->copy_rows = length - s->copy_at * P;
    }
    if (length < s->committed) {
        s->may_write = 0;
        s->committed = length;
    }
    s->reserved = length - s->committed;
}

void model_release(model *m, int seq)
{
    cut(m, &m->seq[seq], 0);
    m->seq[seq].alive = 0;
}

int model_create(model *m)
{
    for (int s = 0; s < MODEL_SEQS; s++) {
        if (!m->seq[s].alive) {
            memset(&m->seq[s], 0, sizeof(m->seq[s]));
            m->seq[s].alive = 1;
            return s;
        }
    }
    return -1;
}

int model_fork(model *m, int parent, uint32_t length)
{
    model_seq *p = &m->seq[parent];
    const uint32_t n = pages_of(length);
    int from_source = 0;
    if (length > 0 && p->copy != MODEL_NO_COPY && n - 1 >= p->copy_at) {
        from_source = n - 1 == p->copy_at && length - p->copy_at * P <= p->copy_rows;
        if (!from_source) {
            return -2;
        }
    }
    const int child = model_create(m);
    if (child < 0) {
        return child;
    }
    model_seq *c = &m->seq[child];
    memcpy(c->pages, p->pages, sizeof(c->pages));
    memcpy(c->tokens, p->tokens, sizeof(c->tokens));
    c->n = n;
    c->committed = length;
    c->plans = length ? p->plans : 0;
    if (from_source) {
        c->pages[n - 1] = p->source;
    }
    if (n > p->committed / P) {
        p->may_write = 0;
    }
    return child;
}

int model_is_busy(const model *m, int plan, int seq)
{
    return ((m->seq[seq].plans | m->seq[seq].former) & m->open & ~(1u << plan)) != 0;
}

void model_update(model *m, int plan, int seq)
{
    model_seq *s = &m->seq[seq];
    m->open |= 1u << plan;
    s->plans = 1u << plan;
    s->former = 0;
    if (s->copy == MODEL_OWED) {
        s->copy = MODEL_COPIED;
        if (s->committed > s->copy_at * P + s->copy_rows) {
            drop_copy(m, s);
        }
    }
}

void model_end(model *m, int plan)
{
    const uint32_t others = ~(1u << plan);
    m->open &= others;
    for (int s = 0; s < MODEL_SEQS; s++) {
        m->seq[s].plans &= others;
        m->seq[s].former &= others;
    }
    for (int p = 0; p < MODEL_PAGES; p++) {
        m->page[p].plans &= others;
    }
}

uint32_t model_pinned(const model *m)
{
    uint32_t pinned = 0;
    for (int32_t page = 0; page < MODEL_PAGES; page++) {
        uint32_t plans = m->page[page].plans;
        for (int s = 0; s < MODEL_SEQS; s++) {
            const model_seq *q = &m->seq[s];
            for (uint32_t i = 0; q->alive && i < q->n; i++) {
                plans |= q->pages[i] == page ? q->plans : 0;
            }
            plans |= q->alive && q->copy != MODEL_NO_COPY && q->source == page ? q->plans : 0;
        }
        pinned += (plans & m->open) != 0;
    }
    return pinned;
}

int32_t model_where(const model_seq *s, uint32_t token)
{
    const int in_copy = s->copy == MODEL_OWED && token / P == s->copy_at && token % P < s->copy_rows;
    return in_copy ? s->source : s->pages[token / P];
}
