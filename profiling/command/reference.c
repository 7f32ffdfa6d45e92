/* SPDX-License-Identifier: Apache-2.0 */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANES = 16
};

/* Both loops keep LANES independent sums so that a compiler can vectorise them without being allowed to reorder. */

static inline __attribute__((always_inline)) void scores_of(const double *q, const float *rows, uint64_t n,
                                                            double scale, double *scores)
{
    for (uint64_t t = 0; t < n; ++t) {
        const float *row = rows + t * REFERENCE_QK;
        double sums[LANES] = { 0.0 };
        for (int i = 0; i < REFERENCE_QK; i += LANES) {
            for (int j = 0; j < LANES; ++j)
                sums[j] += q[i + j] * (double)row[i + j];
        }
        double sum = 0.0;
        for (int j = 0; j < LANES; ++j)
            sum += sums[j];
        scores[t] = scale * sum;
    }
}

static inline __attribute__((always_inline)) void add_values(const double *p, const float *rows, uint64_t n,
                                                             double *out)
{
    for (uint64_t t = 0; t < n; ++t) {
        for (int i = 0; i < REFERENCE_V; ++i)
            out[i] += p[t] * (double)rows[t * REFERENCE_QK + (uint64_t)i];
    }
}

static void scores_plain(const double *q, const float *rows, uint64_t n, double scale, double *scores)
{
    scores_of(q, rows, n, scale, scores);
}

static void add_plain(const double *p, const float *rows, uint64_t n, double *out)
{
    add_values(p, rows, n, out);
}

typedef struct loops {
    void (*scores)(const double *q, const float *rows, uint64_t n, double scale, double *scores);
    void (*add)(const double *p, const float *rows, uint64_t n, double *out);
} loops;

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void scores_avx2(const double *q, const float *rows, uint64_t n, double scale,
                                                        double *scores)
{
    scores_of(q, rows, n, scale, scores);
}

__attribute__((target("avx2"))) static void add_avx2(const double *p, const float *rows, uint64_t n, double *out)
{
    add_values(p, rows, n, out);
}

static loops pick(void)
{
    return __builtin_cpu_supports("avx2") ? (loops){ scores_avx2, add_avx2 } : (loops){ scores_plain, add_plain };
}
#else
static loops pick(void)
{
    return (loops){ scores_plain, add_plain };
}
#endif

/** The running softmax of one head. */
typedef struct softmax {
    double max;
    double sum;
} softmax;

static void take_block(const loops *l, softmax *state, const double *q, const float *rows, uint64_t n, double scale,
                       double *out)
{
    double scores[REFERENCE_BLOCK], max = state->max;
    l->scores(q, rows, n, scale, scores);
    for (uint64_t t = 0; t < n; ++t)
        max = fmax(max, scores[t]);
    if (max > state->max) {
        double shrink = exp(state->max - max); /* 0 for the first block */
        state->sum *= shrink;
        for (int i = 0; i < REFERENCE_V; ++i)
            out[i] *= shrink;
        state->max = max;
    }
    for (uint64_t t = 0; t < n; ++t) {
        scores[t] = exp(scores[t] - max);
        state->sum += scores[t];
    }
    l->add(scores, rows, n, out);
}

int reference_attend(reference_rows rows, const void *user, uint64_t tokens, const float *q, uint32_t heads,
                     double scale, double *out, double *lse)
{
    const loops l = pick();
    float *block = malloc(sizeof(float) * REFERENCE_BLOCK * REFERENCE_QK);
    double *wide = malloc(sizeof(double) * heads * REFERENCE_QK);
    softmax *states = malloc(sizeof(softmax) * heads);
    int result = -1;
    if (block == NULL || wide == NULL || states == NULL)
        goto release;
    for (uint64_t i = 0; i < (uint64_t)heads * REFERENCE_QK; ++i)
        wide[i] = q[i];
    for (uint32_t h = 0; h < heads; ++h)
        states[h] = (softmax){ -INFINITY, 0.0 };
    memset(out, 0, sizeof(double) * heads * REFERENCE_V);
    for (uint64_t first = 0; first < tokens; first += REFERENCE_BLOCK) {
        uint64_t n = tokens - first < REFERENCE_BLOCK ? tokens - first : REFERENCE_BLOCK;
        rows(user, first, n, block);
        for (uint32_t h = 0; h < heads; ++h)
            take_block(&l, &states[h], wide + (uint64_t)h * REFERENCE_QK, block, n, scale,
                       out + (uint64_t)h * REFERENCE_V);
    }
    for (uint32_t h = 0; h < heads; ++h) {
        lse[h] = tokens > 0 ? states[h].max + log(states[h].sum) : -INFINITY;
        for (int i = 0; tokens > 0 && i < REFERENCE_V; ++i)
            out[(uint64_t)h * REFERENCE_V + (uint64_t)i] /= states[h].sum;
    }
    result = 0;
release:
    free(block);
    free(wide);
    free(states);
    return result;
}

int reference_terms(reference_rows rows, const void *user, uint64_t tokens, const float *q, double scale, double lse,
                    double *terms)
{
    float *block = malloc(sizeof(float) * REFERENCE_BLOCK * REFERENCE_QK);
    if (block == NULL)
        return -1;
    *terms = 0.0;
    for (uint64_t first = 0; first < tokens; first += REFERENCE_BLOCK) {
        uint64_t n = tokens - first < REFERENCE_BLOCK ? tokens - first : REFERENCE_BLOCK;
        rows(user, first, n, block);
        for (uint64_t t = 0; t < n; ++t) {
            double score = 0.0, sizes = 0.0;
            for (int i = 0; i < REFERENCE_QK; ++i) {
                double term = (double)q[i] * (double)block[t * REFERENCE_QK + (uint64_t)i];
                score += term;
                sizes += fabs(term);
            }
            *terms += exp(scale * score - lse) * scale * sizes;
        }
    }
    free(block);
    return 0;
}
