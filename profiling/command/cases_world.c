/* SPDX-License-Identifier: Apache-2.0 */
#include "half.h"
#include "world.h"

#include <string.h>

/** Rows behind the bank that match a query of their sequence overwhelmingly. */
static void make_outliers(check *c, world *w)
{
    const shape *s = c->shape;
    uint32_t row = 0;
    for (uint32_t i = 0; i < s->batch; row += s->q[i++]) {
        uint64_t to = (uint64_t)(BANK_ROWS + i) * HOPMLA_QK_DIM;
        const float *q = w->tensors.q_values + (uint64_t)row * s->heads * HOPMLA_QK_DIM;
        for (uint32_t j = 0; j < HOPMLA_QK_DIM; ++j) {
            c->bank->bits[to + j] = half_from_float(s->dtype, 100.0f * q[j]);
            c->bank->values[to + j] = half_values(s->dtype)[c->bank->bits[to + j]];
        }
        if (s->kv[i] == 0 || s->q[i] == 0)
            continue;
        mirror *m = &w->seqs[i];
        m->ids = case_host(c, (uint64_t)(s->kv[i] + 2) * sizeof(*m->ids));
        m->capacity = s->kv[i] + 2;
        m->ids[s->kv[i] / 2] = BANK_ROWS + i;
    }
}

typedef struct totals {
    uint32_t rows;
    uint64_t pages;
    uint64_t max_kv;
    uint64_t tokens;
} totals;

static totals sum(const shape *s)
{
    totals t = { s->more_rows, 3, 1, 0 };
    for (uint32_t i = 0; i < s->batch; ++i) {
        t.rows += s->q[i];
        t.pages += (s->kv[i] + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS;
        t.max_kv = s->kv[i] > t.max_kv ? s->kv[i] : t.max_kv;
        t.tokens += s->kv[i];
    }
    t.rows = t.rows > 0 ? t.rows : 1;
    t.max_kv = s->max_kv > 0 ? s->max_kv : t.max_kv;
    return t;
}

/** Appends in steps, then decodes with the last tokens appended in the same step, as an engine does. */
static void fill_and_decode(world *w, check *c)
{
    enum {
        STEP_TOKENS = 16384
    };
    const shape *s = c->shape;
    totals t = sum(s);
    world_make(w, c, t.pages, t.max_kv, t.rows, (uint32_t)(t.tokens < STEP_TOKENS ? t.tokens + 1 : STEP_TOKENS));
    uint32_t rows[CASE_ROWS], appended[CASE_ROWS], last[CASE_ROWS];
    for (uint32_t i = 0; i < s->batch; ++i) {
        rows[i] = world_add(w);
        last[i] = s->q[i] < s->kv[i] ? s->q[i] : s->kv[i];
    }
    if (s->outlier)
        make_outliers(c, w);
    for (bool more = true; more;) {
        uint32_t room = w->source_tokens;
        more = false;
        for (uint32_t i = 0; i < s->batch; ++i) {
            uint32_t missing = s->kv[i] - last[i] - w->seqs[i].tokens;
            appended[i] = missing < room ? missing : room;
            room -= appended[i];
            more = more || appended[i] > 0;
        }
        if (more)
            world_step(w, rows, appended, NULL, s->batch);
    }
    world_step(w, rows, last, s->q, s->batch);
}

void case_pool_decode(check *c)
{
    world w;
    fill_and_decode(&w, c);
    world_end(&w);
}

void case_repeat(check *c)
{
    random_state start = c->random;
    world first, second;
    fill_and_decode(&first, c);
    c->random = start;
    c->junk = 0x7f;
    fill_and_decode(&second, c);
    const tensors *a = &first.tensors, *b = &second.tensors;
    if (memcmp(a->out_host, b->out_host, a->layers * a->out.elements * 2) != 0 ||
        memcmp(a->lse_host, b->lse_host, a->layers * a->lse.elements * 4) != 0)
        case_fail(c, "two runs over the same data gave different bits");
    /* And again in place: what the first run left in the workspace must not matter either. */
    uint64_t bytes = b->layers * b->out.elements * 2;
    uint16_t *before = case_host(c, bytes);
    uint32_t rows[CASE_ROWS];
    for (uint32_t i = 0; i < c->shape->batch; ++i)
        rows[i] = i;
    memcpy(before, b->out_host, bytes);
    world_step(&second, rows, NULL, c->shape->q, c->shape->batch);
    if (memcmp(before, b->out_host, bytes) != 0)
        case_fail(c, "the same call again gave different bits");
}

/** One random change of the population. Sequences stay below `most` tokens. */
static void disturb(check *c, world *w, uint32_t most)
{
    uint32_t any = w->count > 0 ? (uint32_t)random_below(&c->random, w->count) : 0;
    uint32_t tokens = w->count > 0 ? w->seqs[any].tokens : 0;
    switch (random_below(&c->random, 6)) {
    case 0:
    case 1:
        if (w->count < 2 * w->max_batch)
            world_add(w);
        break;
    case 2:
        if (w->count > 0 && w->count < 2 * w->max_batch)
            world_fork(w, any, (uint32_t)random_between(&c->random, 0, tokens));
        break;
    case 3:
        if (w->count > 0)
            world_truncate(w, any, (uint32_t)random_between(&c->random, tokens > 80 ? tokens - 80 : 0, tokens));
        break;
    default:
        if (w->count > 0 && (tokens > most / 2 || random_below(&c->random, 3) == 0))
            world_release(w, any);
        break;
    }
}

void case_graph(check *c)
{
    enum {
        MOST = 700
    };
    const shape *s = c->shape;
    uint32_t batch = s->batch + s->more_batch, max_q = s->q[0], none = 0;
    world w;
    world_make(&w, c, 2 * batch * (MOST / HOPMLA_PAGE_TOKENS + 2), s->max_kv > 0 ? s->max_kv : MOST, batch * max_q,
               4 * 160);
    world_capture(&w);
    world_step(&w, &none, &none, &none, 0);
    for (uint32_t round = 0; round < s->rounds; ++round) {
        for (uint64_t n = random_between(&c->random, 0, 4); n > 0; --n)
            disturb(c, &w, MOST);
        uint32_t rows[CASE_ROWS], appended[CASE_ROWS], q_lens[CASE_ROWS], count = 0, room = w.source_tokens;
        uint32_t start = (uint32_t)random_below(&c->random, w.count + 1), stop = w.count;
        for (uint32_t k = 0; k < stop && count < batch; ++k) {
            uint32_t i = (start + k) % stop, free = MOST - w.seqs[i].tokens;
            if (random_below(&c->random, 5) == 0)
                continue;
            bool prefill = random_below(&c->random, 4) == 0;
            uint32_t n = (uint32_t)random_between(&c->random, 0, prefill ? 160 : max_q);
            n = n < free ? n : free;
            n = n < room ? n : room;
            room -= n;
            rows[count] = i;
            appended[count] = n;
            q_lens[count++] = (uint32_t)random_between(&c->random, 0, max_q);
        }
        world_step(&w, rows, appended, q_lens, count);
    }
    for (uint32_t i = 0; i < w.count; ++i)
        world_gather(&w, i);
    world_end(&w);
}

void case_family(check *c)
{
    const uint32_t one = 1;
    world w;
    world_make(&w, c, 64, 1024, 3, 512);
    uint32_t parent = world_add(&w), n = 100;
    world_step(&w, &parent, &n, NULL, 1);
    uint32_t child = world_fork(&w, parent, 70); /* shares the first page and part of the second */
    uint32_t both[2] = { parent, child }, grow[2] = { 10, 30 }, ones[3] = { 1, 1, 1 };
    world_step(&w, both, grow, ones, 2);
    uint32_t twin = world_fork(&w, child, 100), third = world_fork(&w, twin, 64);
    world_truncate(&w, child, 65);
    uint32_t three[3] = { child, twin, third }, grow_three[3] = { 5, 70, 1 };
    world_step(&w, three, grow_three, ones, 3);
    for (uint32_t i = 0; i < w.count; ++i)
        world_gather(&w, i);
    world_truncate(&w, twin, 0);
    uint32_t empty = world_fork(&w, twin, 0);
    uint32_t four[3] = { twin, empty, third }, grow_four[3] = { 1, 63, 0 };
    world_step(&w, four, grow_four, ones, 3);
    world_release(&w, parent); /* the others must not notice */
    for (uint32_t i = 0; i < w.count; ++i) {
        world_step(&w, &i, &one, &one, 1);
        world_gather(&w, i);
    }
    world_end(&w);
}
