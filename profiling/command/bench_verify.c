/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_verify.h"

#include "half.h"
#include "reference.h"
#include "tolerance.h"

#include <math.h>
#include <stdlib.h>

static void read_rows(const void *user, uint64_t first, uint64_t count, float *rows)
{
    const uint16_t *kv = user;
    const float *values = half_values(HOPMLA_DTYPE_BF16);
    for (uint64_t i = 0; i < count * HOPMLA_QK_DIM; ++i)
        rows[i] = values[kv[first * HOPMLA_QK_DIM + i]];
}

static uint16_t *gather(const bench_sample *s, uint32_t row)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
    args.layer = s->layer;
    args.row = row;
    args.count = s->shape->lens[row];
    uint64_t bytes = args.count * HOPMLA_QK_DIM * 2;
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
    uint16_t *kv = gather(s, row), q_bits[HOPMLA_QK_DIM], out[HOPMLA_LATENT_DIM];
    float q[HOPMLA_QK_DIM];
    double expected[HOPMLA_LATENT_DIM], lse;
    device_copy(s->device, q_bits, (const char *)s->q + at * sizeof(q_bits), sizeof(q_bits));
    device_copy(s->device, out, (const char *)s->out + at * sizeof(out), sizeof(out));
    device_synchronize(s->device);
    for (int i = 0; i < HOPMLA_QK_DIM; ++i)
        q[i] = half_values(HOPMLA_DTYPE_BF16)[q_bits[i]];
    if (reference_attend(read_rows, kv, c->lens[row], q, 1, 1.0f / sqrtf(HOPMLA_QK_DIM), expected, &lse) != 0)
        die("no memory for the reference");
    free(kv);
    tolerance t = { 0 };
    tolerance_out(&t, HOPMLA_DTYPE_BF16, out, expected, NULL, HOPMLA_LATENT_DIM);
    *error = t.worst_out;
    return tolerance_met(&t);
}
