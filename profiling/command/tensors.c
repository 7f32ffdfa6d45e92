/* SPDX-License-Identifier: Apache-2.0 */
#include "tensors.h"

#include "half.h"

#include <string.h>

enum {
    PATTERN = 0xee
};

static view view_make(layout l, uint32_t rows, uint32_t heads, uint32_t dim)
{
    switch (l) {
    case LAYOUT_STRIDED:
        return (view){ (int64_t)heads * (dim + 16) + 24, dim + 16, (uint64_t)rows * (heads * (dim + 16) + 24) };
    case LAYOUT_TRANSPOSED:
        return (view){ dim, (int64_t)rows * dim, (uint64_t)rows * heads * dim };
    default:
        return (view){ (int64_t)heads * dim, dim, (uint64_t)rows * heads * dim };
    }
}

static uint64_t at(const view *v, uint32_t row, uint32_t head)
{
    return (uint64_t)(row * v->token_stride + head * v->head_stride);
}

/** Puts columns first … first + count − 1 of every q row where the view wants them; gaps are NaN. */
static void *upload(tensors *t, const view *v, const uint16_t *bits, uint32_t first, uint32_t count)
{
    uint32_t heads = t->check->shape->heads;
    uint16_t *host = case_host(t->check, v->elements * 2);
    memset(host, 0xff, v->elements * 2);
    for (uint32_t row = 0; row < t->rows; ++row) {
        for (uint32_t head = 0; head < heads; ++head)
            memcpy(host + at(v, row, head), bits + ((uint64_t)row * heads + head) * HOPMLA_QK_DIM + first,
                   (size_t)count * 2);
    }
    void *memory = case_device(t->check, v->elements * 2);
    case_copy(t->check, memory, host, v->elements * 2);
    return memory;
}

void tensors_make(tensors *t, check *c, uint32_t rows, uint32_t layers)
{
    const shape *s = c->shape;
    uint64_t count = (uint64_t)rows * s->heads * HOPMLA_QK_DIM;
    uint16_t *bits = case_host(c, count * 2);
    const float *values = half_values(s->dtype);
    *t = (tensors){ .check = c, .rows = rows, .layers = layers };
    t->q_values = case_host(c, count * sizeof(float));
    random_fill(&c->random, s->dtype, bits, count);
    for (uint64_t i = 0; i < count; ++i) {
        if (i % HOPMLA_QK_DIM >= shape_values(s))
            bits[i] = 0; /* so that the reference sees nothing of what is left out */
        if (s->gain != 1.0f)
            bits[i] = half_from_float(s->dtype, s->gain * values[bits[i]]);
        t->q_values[i] = values[bits[i]];
    }
    if (s->split) {
        /* The way engines bring it: the rope part has its own, packed tensor. */
        t->q = view_make(s->q_layout, rows, s->heads, HOPMLA_LATENT_DIM);
        t->qr =
            view_make(s->q_layout == LAYOUT_STRIDED ? LAYOUT_STRIDED : LAYOUT_PACKED, rows, s->heads, HOPMLA_ROPE_DIM);
        t->q_device = upload(t, &t->q, bits, 0, HOPMLA_LATENT_DIM);
        t->qr_device = upload(t, &t->qr, bits, HOPMLA_LATENT_DIM, HOPMLA_ROPE_DIM);
    } else {
        t->q = view_make(s->q_layout, rows, s->heads, shape_values(s));
        t->q_device = upload(t, &t->q, bits, 0, shape_values(s));
    }
    t->out = view_make(s->out_layout, rows, s->heads, HOPMLA_LATENT_DIM);
    t->lse = view_make(s->lse_layout, rows, s->heads, 1);
    t->out_device = case_device(c, layers * t->out.elements * 2);
    t->out_host = case_host(c, layers * t->out.elements * 2);
    if (!s->no_lse) {
        t->lse_device = case_device(c, layers * t->lse.elements * 4);
        t->lse_host = case_host(c, layers * t->lse.elements * 4);
    }
}

hopmla_decode_args tensors_args(const tensors *t, uint32_t layer)
{
    const shape *s = t->check->shape;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.layer = layer;
    args.rows = t->rows;
    args.softmax_scale = s->scale;
    /* 0 stands for packed, and has to be tried too. */
    if (s->q_layout != LAYOUT_PACKED) {
        args.q_token_stride = t->q.token_stride;
        args.q_head_stride = t->q.head_stride;
    }
    if (s->split && s->q_layout == LAYOUT_STRIDED) {
        args.qr_token_stride = t->qr.token_stride;
        args.qr_head_stride = t->qr.head_stride;
    }
    if (s->out_layout != LAYOUT_PACKED) {
        args.out_token_stride = t->out.token_stride;
        args.out_head_stride = t->out.head_stride;
    }
    if (s->lse_layout != LAYOUT_PACKED) {
        args.lse_token_stride = t->lse.token_stride;
        args.lse_head_stride = t->lse.head_stride;
    }
    return args;
}

/* Outputs of later layers start behind the earlier ones; every span is a multiple of 16 bytes by its last gap or its
 * 512 columns. An lse needs only 4. */

void *tensors_out(const tensors *t, uint32_t layer)
{
    return t->out_device + layer * t->out.elements * 2;
}

void *tensors_lse(const tensors *t, uint32_t layer)
{
    return t->lse_device != NULL ? t->lse_device + layer * t->lse.elements * 4 : NULL;
}

static void fill(tensors *t, void *memory, uint64_t bytes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    device *d = t->check->device;
    case_expect(t->check, hopmla_memory_fill(d->context, memory, PATTERN, bytes, d->stream, &error), &error,
                "hopmla_memory_fill");
}

void tensors_reset(tensors *t)
{
    fill(t, t->out_device, t->layers * t->out.elements * 2);
    if (t->lse_device != NULL)
        fill(t, t->lse_device, t->layers * t->lse.elements * 4);
}

/** Bytes of a fetched tensor that belong to no row must still hold the pattern. */
static void check_gaps(tensors *t, const view *v, const void *host, uint32_t size, uint32_t dim, const char *what)
{
    uint32_t heads = t->check->shape->heads;
    const unsigned char *bytes = host;
    uint8_t *owned = case_host(t->check, v->elements);
    for (uint32_t row = 0; row < t->rows; ++row) {
        for (uint32_t head = 0; head < heads; ++head)
            memset(owned + at(v, row, head), 1, dim);
    }
    for (uint64_t i = 0; i < t->layers * v->elements; ++i) {
        for (uint32_t j = 0; owned[i % v->elements] == 0 && j < size; ++j) {
            if (bytes[i * size + j] != PATTERN)
                case_fail(t->check, "%s was written between its rows, at element %llu", what, (unsigned long long)i);
        }
    }
}

void tensors_fetch(tensors *t)
{
    const shape *s = t->check->shape;
    case_copy(t->check, t->out_host, t->out_device, t->layers * t->out.elements * 2);
    if (s->out_layout == LAYOUT_STRIDED)
        check_gaps(t, &t->out, t->out_host, 2, HOPMLA_LATENT_DIM, "out");
    if (t->lse_device == NULL)
        return;
    case_copy(t->check, t->lse_host, t->lse_device, t->layers * t->lse.elements * 4);
    if (s->lse_layout == LAYOUT_STRIDED)
        check_gaps(t, &t->lse, t->lse_host, 4, 1, "lse");
}
