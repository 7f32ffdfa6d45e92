/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include "format.h"
#include "reference.h"
#include "team.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPORTED = 5
}; /* wrong rows that are described one by one */

typedef struct sample {
    const engine *engine;
    uint32_t request;
    uint32_t position; /* the last token that the query sees */
    uint32_t head;
    uint32_t layer;
    uint16_t out[HOPMLA_LATENT_DIM];
    float lse;
    tolerance errors;
} sample;

static const float *window(const sample *s, uint64_t offset)
{
    return s->engine->contents.values + offset + (uint64_t)s->layer * CONTENTS_LAYER_STEP;
}

static void read_rows(const void *user, uint64_t first, uint64_t count, float *rows)
{
    const sample *s = user;
    for (uint64_t i = 0; i < count; ++i)
        memcpy(rows + i * HOPMLA_QK_DIM, window(s, contents_token(s->engine->trace, s->request, (uint32_t)(first + i))),
               sizeof(float) * HOPMLA_QK_DIM);
}

static void compare(void *user, uint64_t i)
{
    sample *s = (sample *)user + i;
    double out[HOPMLA_LATENT_DIM], lse;
    float q[REFERENCE_QK] = { 0 }; /* columns that are not there stay 0 */
    memcpy(q, window(s, contents_query(s->request, s->position, s->head)),
           sizeof(q[0]) * format_values(s->engine->format));
    if (reference_attend(read_rows, s, (uint64_t)s->position + 1, q, 1, s->engine->scale, out, &lse) != 0)
        die("no memory for the reference");
    tolerance_out(&s->errors, HOPMLA_DTYPE_BF16, s->out, out, NULL, HOPMLA_LATENT_DIM);
    tolerance_lse(&s->errors, HOPMLA_LSE_NATURAL, s->lse, lse, 0.0); /* contents are well-conditioned */
}

/** Row of the batch whose query is the n-th one. */
static uint32_t row_of_query(const batch *b, uint32_t n)
{
    for (uint32_t i = 0;; ++i) {
        if (b->q_lens[i] > 0 && n-- == 0)
            return i;
    }
}

static void fetch(const engine *e, const batch *b, random_state *r, sample *s)
{
    uint32_t n = (uint32_t)random_below(r, b->queries), row = row_of_query(b, n);
    *s = (sample){ .engine = e, .request = b->request[row], .position = b->first[row] + b->n_append[row] - 1 };
    s->head = (uint32_t)random_below(r, e->heads);
    s->layer = (uint32_t)random_below(r, e->layers);
    uint64_t at = ((uint64_t)s->layer * e->max_batch + n) * e->heads + s->head;
    device_copy(e->device, s->out, (uint16_t *)e->out.memory + at * HOPMLA_LATENT_DIM, sizeof(s->out));
    device_copy(e->device, &s->lse, (float *)e->lse.memory + at, sizeof(s->lse));
}

/** Counts the rows that are wrong, and describes the first ones. All of a step are held to the tolerance together, and
 * where they meet it, each to what one may be off by alone. */
static void judge(const engine *e, const sample *list, uint32_t samples, counters *c)
{
    tolerance step = { 0 };
    for (uint32_t i = 0; i < samples; ++i)
        tolerance_merge(&step, &list[i].errors);
    tolerance_merge(&c->errors, &step);
    c->verified += samples;
    bool (*const met)(const tolerance *) = tolerance_met(&step) ? tolerance_met_alone : tolerance_met;
    for (uint32_t i = 0; i < samples; ++i) {
        const sample *s = &list[i];
        if (met(&s->errors))
            continue;
        if (++c->wrong <= REPORTED)
            fprintf(stderr,
                    "\nhopmla: step %llu, request of line %llu, token %u, layer %u, head %u: error %.2g, lse %.2g\n",
                    (unsigned long long)c->steps, (unsigned long long)e->trace->requests[s->request].line,
                    (unsigned)s->position, (unsigned)s->layer, (unsigned)s->head, s->errors.worst_out,
                    s->errors.worst_lse);
    }
}

void replay_verify(const engine *e, const batch *b, uint32_t samples, random_state *r, counters *c)
{
    if (b->queries == 0 || samples == 0)
        return;
    sample *list = must_alloc(samples * sizeof(*list));
    for (uint32_t i = 0; i < samples; ++i)
        fetch(e, b, r, &list[i]);
    device_synchronize(e->device);
    team_run(samples, compare, list);
    judge(e, list, samples, c);
    free(list);
}
