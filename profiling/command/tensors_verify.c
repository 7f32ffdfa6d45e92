/* SPDX-License-Identifier: Apache-2.0 */
#include "reference.h"
#include "team.h"
#include "tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t bank_row(uint32_t id, uint32_t layer)
{
    return id < BANK_ROWS ? (id + 977 * layer) % BANK_ROWS : id;
}

/** Some heads of one query row in one layer. */
typedef struct task {
    const tensors *t;
    const query *query;
    uint32_t row;
    uint32_t layer;
    uint32_t first;
    uint32_t heads;
    tolerance errors;
} task;

static void read_rows(const void *user, uint64_t first, uint64_t count, float *rows)
{
    const task *k = user;
    for (uint64_t i = 0; i < count; ++i)
        memcpy(rows + i * HOPMLA_QK_DIM,
               k->t->check->bank->values + (uint64_t)bank_row(k->query->ids[first + i], k->layer) * HOPMLA_QK_DIM,
               sizeof(float) * HOPMLA_QK_DIM);
}

/** The terms of the scores are asked for only where they decide. @param q  of the head */
static void compare_lse(task *k, float lse, double expected, const float *q)
{
    const shape *s = k->t->check->shape;
    double terms = 0.0;
    if (!tolerance_lse_near(s->lse, lse, expected, 0.0) &&
        reference_terms(read_rows, k, k->query->visible, q, s->scale, expected, &terms) != 0)
        die("no memory for the reference");
    tolerance_lse(&k->errors, s->lse, lse, expected, terms);
}

static void compare(void *user, uint64_t index)
{
    task *k = (task *)user + index;
    const tensors *t = k->t;
    const shape *s = t->check->shape;
    double *out = must_alloc(sizeof(double) * k->heads * HOPMLA_LATENT_DIM),
           *lse = must_alloc(sizeof(double) * k->heads);
    const float *q = t->q_values + ((uint64_t)k->row * s->heads + k->first) * HOPMLA_QK_DIM;
    if (reference_attend(read_rows, k, k->query->visible, q, k->heads, s->scale, out, lse) != 0)
        die("no memory for the reference");
    for (uint32_t i = 0; i < k->heads; ++i) {
        uint64_t token = k->row, head = k->first + i;
        uint64_t o =
            k->layer * t->out.elements + token * (uint64_t)t->out.token_stride + head * (uint64_t)t->out.head_stride;
        uint64_t l =
            k->layer * t->lse.elements + token * (uint64_t)t->lse.token_stride + head * (uint64_t)t->lse.head_stride;
        tolerance_out(&k->errors, s->dtype, t->out_host + o, out + (uint64_t)i * HOPMLA_LATENT_DIM, HOPMLA_LATENT_DIM);
        if (t->lse_host != NULL)
            compare_lse(k, t->lse_host[l], lse[i], q + (uint64_t)i * HOPMLA_QK_DIM);
    }
    free(out);
    free(lse);
}

typedef struct task_list {
    task *tasks;
    uint64_t count;
    uint64_t capacity;
} task_list;

static void add(task_list *list, const tensors *t, const query *q, uint32_t row, uint32_t layer, uint32_t first,
                uint32_t heads)
{
    list->tasks = must_grow(list->tasks, list->count, &list->capacity, sizeof(task));
    list->tasks[list->count++] =
        (task){ .t = t, .query = q, .row = row, .layer = layer, .first = first, .heads = heads };
}

/** Everything in pieces of at most 16 heads, or single heads by chance until the budget is spent. */
static void choose(task_list *list, tensors *t, const query *queries)
{
    check *c = t->check;
    uint32_t heads = c->shape->heads;
    uint64_t cost = 0, spent = 0;
    for (uint32_t row = 0; row < t->rows; ++row)
        cost += queries[row].visible * heads * t->layers;
    bool all = cost <= c->budget;
    for (uint32_t layer = 0; layer < t->layers; ++layer) {
        for (uint32_t row = 0; row < t->rows; ++row) {
            for (uint32_t first = 0; first < heads && (all || queries[row].visible == 0); first += 16)
                add(list, t, &queries[row], row, layer, first, heads - first < 16 ? heads - first : 16);
        }
    }
    for (uint64_t picked = 0; !all && (spent < c->budget || picked < 4); ++picked) {
        uint32_t row = (uint32_t)random_below(&c->random, t->rows);
        uint32_t head = (uint32_t)random_below(&c->random, heads);
        add(list, t, &queries[row], row, (uint32_t)random_below(&c->random, t->layers), head, 1);
        spent += queries[row].visible + 1;
    }
}

void tensors_verify(tensors *t, const query *queries)
{
    task_list list = { 0 };
    choose(&list, t, queries);
    team_run(list.count, compare, list.tasks);
    for (uint64_t i = 0; i < list.count; ++i)
        tolerance_merge(&t->check->errors, &list.tasks[i].errors);
    free(list.tasks);
}
