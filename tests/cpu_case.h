/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPU_CASE_H
#define CPU_CASE_H

/** @file
 * A batch for the CPU kernels, the same batch in float64, and their comparison. Everything that a decode must not read
 * is poisoned: page tails, unused pages and padding between rows hold NaN, unused table slots hold garbage, and what it
 * must not write is checked afterwards. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/cpu.h"

enum {
    CASE_ROWS = 8,
    DIM = HOPMLA_QK_DIM,
    LATENT = HOPMLA_LATENT_DIM,
    ROPE = HOPMLA_ROPE_DIM,
    GARBAGE = 2147480000
};

/** What is asked for. */
typedef struct cpu_case {
    uint64_t seed;
    int32_t format;
    int32_t lse;
    uint32_t heads;
    uint32_t batch;
    uint32_t max_q;
    int32_t kv_lens[CASE_ROWS];
    int32_t q_lens[CASE_ROWS];
    uint32_t spare_rows; /* decode->rows beyond the batch's query tokens */
    float scale;
    float outlier; /* one key of every request is this many times as large; 0: none */
    int split;     /* q, latent and rope each an array of its own, with padded strides */
    int no_lse;
} cpu_case;

/** What it is made of. */
typedef struct cpu_batch {
    cpu_case c;
    hm_envelope envelope;
    hm_kv kv;
    hm_tables tables;
    hm_decode decode;
    int32_t *table;
    uint16_t *q, *q_rope, *out;
    uint64_t rows, out_values;
    float *lse;
    void *workspace;
    uint64_t workspace_bytes;
    uint64_t random;
} cpu_batch;

/* Values of the rope part; 0 of a format that has none. */
static inline int case_rope(const cpu_case *c)
{
    return (int)hm_format_rope(c->format);
}

static inline uint64_t case_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* About N(0, 1)/10, clamped to ±1. */
static inline float case_value(uint64_t *state)
{
    double sum = 0.0;
    for (int i = 0; i < 4; i++) {
        sum += (double)(case_random(state) >> 11) * 0x1p-53 - 0.5;
    }
    double value = sum * 1.7320508 / 10.0;
    return (float)(value > 1.0 ? 1.0 : value < -1.0 ? -1.0 : value);
}

static inline uint16_t case_pack(int32_t format, float value)
{
    return hm_format_dtype(format) == HOPMLA_DTYPE_BF16 ? hm_bf16_from_float(value) : hm_fp16_from_float(value);
}

static inline double case_unpack(int32_t format, uint16_t value)
{
    const int bf16 = hm_format_dtype(format) == HOPMLA_DTYPE_BF16;
    return (double)(bf16 ? hm_bf16_to_float(value) : hm_fp16_to_float(value));
}

static inline void *case_alloc(uint64_t bytes, int byte)
{
    void *memory = aligned_alloc(1024, (bytes + 1023) / 1024 * 1024);
    if (!memory) {
        abort();
    }
    memset(memory, byte, bytes);
    return memory;
}

/* The values of a cached token; NULL when its page or its rope part does not exist. */
static inline uint16_t *case_row(const cpu_batch *b, uint32_t request, int32_t token, int rope)
{
    int32_t page = b->table[request * b->tables.table_stride + (uint32_t)token / 64];
    if (page < 0 || (uint64_t)page >= b->kv.pages || (rope && !b->kv.rope)) {
        return NULL;
    }
    uint64_t p = (uint64_t)page, t = (uint64_t)token % 64;
    return rope ? (uint16_t *)(b->kv.rope + p * b->kv.rope_page_stride + t * b->kv.rope_row_stride)
                : (uint16_t *)(b->kv.latent + p * b->kv.latent_page_stride + t * b->kv.latent_row_stride);
}

static inline void case_make_kv(cpu_batch *b)
{
    const cpu_case *c = &b->c;
    uint32_t needed = 0;
    for (uint32_t i = 0; i < c->batch; i++) {
        needed += (uint32_t)(c->kv_lens[i] + 63) / 64;
    }
    b->kv.pages = needed + 3;
    b->kv.layers = 1;
    b->kv.format = c->format;
    b->kv.latent_row_stride = c->split ? 1024 + 48 : hm_format_row_bytes(c->format);
    b->kv.latent_page_stride = 64 * b->kv.latent_row_stride + (c->split ? 32 : 0);
    b->kv.latent = case_alloc(b->kv.pages * b->kv.latent_page_stride, 0xff);
    if (case_rope(c) && !c->split) {
        b->kv.rope = b->kv.latent + 1024;
        b->kv.rope_row_stride = b->kv.latent_row_stride;
        b->kv.rope_page_stride = b->kv.latent_page_stride;
    } else if (case_rope(c)) {
        b->kv.rope_row_stride = 128 + 16;
        b->kv.rope_page_stride = 64 * b->kv.rope_row_stride;
        b->kv.rope = case_alloc(b->kv.pages * b->kv.rope_page_stride, 0xff);
    }
    /* Page ids in random order. */
    int32_t *ids = malloc(b->kv.pages * sizeof *ids);
    for (uint64_t i = 0; i < b->kv.pages; i++) {
        uint64_t j = case_random(&b->random) % (i + 1);
        ids[i] = ids[j];
        ids[j] = (int32_t)i;
    }
    b->tables.table_stride = (b->envelope.max_kv_tokens + 63) / 64 + 1;
    b->table = malloc(c->batch * b->tables.table_stride * sizeof *b->table);
    const int32_t *next = ids;
    for (uint32_t i = 0; i < c->batch; i++) {
        for (uint32_t p = 0; p < b->tables.table_stride; p++) {
            b->table[i * b->tables.table_stride + p] = (int32_t)p * 64 < c->kv_lens[i] ? *next++ : GARBAGE;
        }
        int32_t special = c->kv_lens[i] ? (int32_t)(case_random(&b->random) % (uint32_t)c->kv_lens[i]) : 0;
        for (int32_t t = 0; t < c->kv_lens[i]; t++) {
            float factor = t == special && c->outlier > 0.0f ? c->outlier : 1.0f;
            uint16_t *latent = case_row(b, i, t, 0), *rope = case_row(b, i, t, 1);
            for (int d = 0; d < LATENT; d++) {
                latent[d] = case_pack(c->format, factor * case_value(&b->random));
            }
            for (int d = 0; d < case_rope(c); d++) {
                rope[d] = case_pack(c->format, factor * case_value(&b->random));
            }
        }
    }
    free(ids);
}

static inline void case_make_q(cpu_batch *b)
{
    const cpu_case *c = &b->c;
    hm_decode *d = &b->decode;
    int64_t heads = c->heads;
    d->q_head_stride = LATENT + (c->split ? 8 : case_rope(c));
    d->q_token_stride = heads * d->q_head_stride + (c->split ? 16 : 0);
    if (case_rope(c)) {
        d->qr_head_stride = c->split ? ROPE : DIM;
        d->qr_token_stride = c->split ? heads * ROPE + 8 : d->q_token_stride;
    }
    /* Split: the transposed output that a V-up projection wants. */
    d->out_token_stride = c->split ? LATENT + 24 : heads * LATENT;
    d->out_head_stride = c->split ? (int64_t)b->rows * d->out_token_stride : LATENT;
    d->lse_token_stride = c->split ? 1 : heads;
    d->lse_head_stride = c->split ? (int64_t)b->rows : 1;
    b->q = case_alloc((b->rows * (uint64_t)d->q_token_stride + 1) * 2, 0xff);
    if (case_rope(c)) {
        b->q_rope = c->split ? case_alloc((b->rows * (uint64_t)d->qr_token_stride + 1) * 2, 0xff) : b->q + LATENT;
    }
    b->out_values = b->rows * c->heads * (c->split ? LATENT + 24 : LATENT);
    b->out = case_alloc(b->out_values * 2 + 2, 0xee);
    b->lse = case_alloc(b->rows * c->heads * sizeof(float) + 4, 0xee);
    for (int64_t t = 0; t < (int64_t)(b->rows - c->spare_rows); t++) {
        for (int64_t h = 0; h < heads; h++) {
            for (int i = 0; i < LATENT; i++) {
                b->q[t * d->q_token_stride + h * d->q_head_stride + i] = case_pack(c->format, case_value(&b->random));
            }
            for (int i = 0; i < case_rope(c); i++) {
                b->q_rope[t * d->qr_token_stride + h * d->qr_head_stride + i] =
                    case_pack(c->format, case_value(&b->random));
            }
        }
    }
    d->q = b->q;
    d->q_rope = b->q_rope;
    d->out = b->out;
    d->lse = c->no_lse ? NULL : b->lse;
    d->rows = (uint32_t)b->rows;
    d->softmax_scale = c->scale;
}

/** Makes a batch; free it with case_free. The structs of the backend point into *b. */
static inline void case_make(cpu_batch *b, const cpu_case *c)
{
    memset(b, 0, sizeof *b);
    b->c = *c;
    b->random = c->seed;
    int32_t longest = 1;
    for (uint32_t i = 0; i < c->batch; i++) {
        longest = c->kv_lens[i] > longest ? c->kv_lens[i] : longest;
        b->rows += (uint64_t)c->q_lens[i];
    }
    b->rows += c->spare_rows;
    b->envelope = (hm_envelope){ c->batch, c->max_q, c->heads, 0, (uint64_t)longest, c->format, c->lse };
    case_make_kv(b);
    case_make_q(b);
    b->tables.kv_lens = b->c.kv_lens;
    b->tables.q_lens = b->c.q_lens;
    b->tables.block_table = b->table;
}

static inline void case_free(cpu_batch *b)
{
    free(b->kv.latent);
    free(b->q);
    if (b->c.split) {
        free(b->kv.rope);
        free(b->q_rope);
    }
    free(b->table);
    free(b->out);
    free(b->lse);
    free(b->workspace);
}

/** Schedules and decodes. The workspace starts as garbage. */
static inline void case_run(cpu_batch *b, hm_device *device)
{
    free(b->workspace);
    b->workspace_bytes = hm_cpu_workspace_bytes(device, &b->envelope);
    b->workspace = case_alloc(b->workspace_bytes, 0xa5);
    memset(b->out, 0xee, b->out_values * 2);
    memset(b->lse, 0xee, b->rows * b->c.heads * sizeof(float));
    hm_cpu_schedule(device, &b->envelope, &b->tables, b->workspace);
    hm_cpu_decode(device, &b->envelope, &b->kv, &b->tables, &b->decode, b->workspace);
}

/** What one row should be. @return the log-sum-exp in the case's convention. */
static inline double case_reference(const cpu_batch *b, uint32_t request, int64_t token, uint32_t head, int32_t visible,
                                    double *s, double *o)
{
    const cpu_case *c = &b->c;
    const hm_decode *d = &b->decode;
    const uint16_t *q = b->q + token * d->q_token_stride + head * d->q_head_stride;
    const uint16_t *q_rope = b->q_rope ? b->q_rope + token * d->qr_token_stride + head * d->qr_head_stride : NULL;
    const int dim = LATENT + case_rope(c);
    double query[DIM], m = -INFINITY, l = 0.0;
    for (int i = 0; i < dim; i++) {
        query[i] = case_unpack(c->format, i < LATENT ? q[i] : q_rope[i - LATENT]);
    }
    memset(o, 0, LATENT * sizeof *o);
    for (int32_t t = 0; t < visible; t++) {
        const uint16_t *latent = case_row(b, request, t, 0), *rope = case_row(b, request, t, 1);
        s[t] = 0.0;
        for (int i = 0; latent && i < dim; i++) {
            s[t] += query[i] * case_unpack(c->format, i < LATENT ? latent[i] : rope[i - LATENT]);
        }
        s[t] *= (double)c->scale;
        m = s[t] > m ? s[t] : m;
    }
    for (int32_t t = 0; t < visible; t++) {
        const uint16_t *latent = case_row(b, request, t, 0);
        double p = exp(s[t] - m);
        l += p;
        for (int i = 0; latent && i < LATENT; i++) {
            o[i] += p * case_unpack(c->format, latent[i]);
        }
    }
    for (int i = 0; visible > 0 && i < LATENT; i++) {
        o[i] /= l;
    }
    if (visible <= 0) {
        return c->lse == HOPMLA_LSE_NATURAL_POSINF ? INFINITY : -INFINITY;
    }
    return c->lse == HOPMLA_LSE_BASE2 ? (m + log(l)) / log(2.0) : m + log(l);
}

#endif
