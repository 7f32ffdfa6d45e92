/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_verify.h"

#include "half.h"
#include "reference.h"
#include "tolerance.h"

#include <math.h>
#include <stdlib.h>

typedef struct cached {
    uint16_t *bits; /* [tokens, width] */
    uint32_t width; /* values of a token */
} cached;

/** The reference knows 576 columns: those that are not there are 0. */
static void widen(const uint16_t *bits, uint32_t width, float *row)
{
    const float *values = half_values(HOPMLA_DTYPE_BF16);
    for (uint32_t i = 0; i < REFERENCE_QK; ++i)
        row[i] = i < width ? values[bits[i]] : 0.0f;
}

static void read_rows(const void *user, uint64_t first, uint64_t count, float *rows)
{
    const cached *kv = user;
    for (uint64_t i = 0; i < count; ++i)
        widen(kv->bits + (first + i) * kv->width, kv->width, rows + i * REFERENCE_QK);
}

static uint16_t *gather(const bench_sample *s, uint32_t row)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
    args.layer = s->layer;
    args.row = row;
    args.count = s->shape->lens[row];
    uint64_t bytes = args.count * format_row_bytes(s->shape->format);
    uint16_t *host = must_alloc(bytes);
    block memory = device_alloc(s->device, bytes);
    if (args.count > 0)
        must(hopmla_gather(s->plan, &args, memory.memory, s->device->stream, &error), &error, "hopmla_gather");
    device_copy(s->device, host, memory.memory, bytes);
    device_synchronize(s->device);
    device_free(s->device, &memory);
    return host;
}

bool bench_verify(const bench_sample *s, double *error)
{
    const bench_case *c = s->shape;
    uint32_t row = c->b - 1, head = c->h / 2; /* the last query token of the last row */
    uint64_t at = ((uint64_t)c->b * c->s_q - 1) * c->h + head;
    const cached kv = { gather(s, row), format_values(c->format) };
    uint16_t q_bits[REFERENCE_QK], out[HOPMLA_LATENT_DIM];
    float q[REFERENCE_QK];
    double expected[HOPMLA_LATENT_DIM], lse;
    device_copy(s->device, q_bits, (const uint16_t *)s->q + at * kv.width, kv.width * sizeof(q_bits[0]));
    device_copy(s->device, out, (const char *)s->out + at * sizeof(out), sizeof(out));
    device_synchronize(s->device);
    widen(q_bits, kv.width, q);
    if (reference_attend(read_rows, &kv, c->lens[row], q, 1, 1.0f / sqrtf((float)kv.width), expected, &lse) != 0)
        die("no memory for the reference");
    free(kv.bits);
    tolerance t = { 0 };
    tolerance_out(&t, HOPMLA_DTYPE_BF16, out, expected, NULL, HOPMLA_LATENT_DIM);
    *error = t.worst_out;
    return tolerance_met(&t);
}
