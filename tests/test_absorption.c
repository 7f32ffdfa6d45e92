/* SPDX-License-Identifier: Apache-2.0 */
/* The absorption recipe of include/GUIDE.md, followed step by step with a DeepSeek-shaped layer, against golden vectors
 * that tests/absorption.py computed without absorption. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"

enum {
    HEADS = 4,
    TOKENS = 70,
    NOPE = 128,
    ROPE = HOPMLA_ROPE_DIM,
    LATENT = HOPMLA_LATENT_DIM,
    VALUE = 128
};

/* The same numbers as in the script: element i of the array with this seed, in [-1, 1). */
static double uniform(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z = z ^ (z >> 31);
    return (double)(z >> 11) / 4503599627370496.0 - 1.0;
}

static uint16_t to_bf16(double x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

static double from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Rotates neighbouring pairs of `row`, elements first… of the array with this seed, as the checkpoint orders them. */
static void rotate(uint64_t seed, uint64_t first, double position, uint16_t *row)
{
    for (int i = 0; i < ROPE; i += 2) {
        double angle = position * pow(10000.0, -(double)i / ROPE);
        double a = uniform(seed, first + (uint64_t)i);
        double b = uniform(seed, first + (uint64_t)i + 1);
        row[i] = to_bf16(a * cos(angle) - b * sin(angle));
        row[i + 1] = to_bf16(a * sin(angle) + b * cos(angle));
    }
}

static double w_uk(int head, int n, int c)
{
    return 0.375 * uniform(3, ((uint64_t)head * NOPE + (uint64_t)n) * LATENT + (uint64_t)c);
}

static double w_uv(int head, int v, int c)
{
    return 0.125 * uniform(4, ((uint64_t)head * VALUE + (uint64_t)v) * LATENT + (uint64_t)c);
}

static void check(hopmla_status status, const hopmla_error *error)
{
    if (status != HOPMLA_OK) {
        fail_msg("%s: %s", hopmla_status_name(status), error->message);
    }
}

struct tensors {
    _Alignas(16) uint16_t latent[TOKENS][LATENT];
    _Alignas(16) uint16_t k_rope[TOKENS][ROPE];
    _Alignas(16) uint16_t q[HEADS][LATENT];
    _Alignas(16) uint16_t q_rope[HEADS][ROPE];
    _Alignas(16) uint16_t out[HEADS][LATENT];
    _Alignas(16) float lse[HEADS];
};

static void fill(struct tensors *t)
{
    for (int i = 0; i < TOKENS; i++) {
        for (int c = 0; c < LATENT; c++) {
            t->latent[i][c] = to_bf16(uniform(1, (uint64_t)i * LATENT + (uint64_t)c));
        }
        rotate(2, (uint64_t)i * ROPE, i, t->k_rope[i]);
    }
    for (int h = 0; h < HEADS; h++) {
        for (int c = 0; c < LATENT; c++) { /* W_UK goes into the query */
            double sum = 0;
            for (int n = 0; n < NOPE; n++) {
                sum += uniform(5, (uint64_t)h * NOPE + (uint64_t)n) * w_uk(h, n, c);
            }
            t->q[h][c] = to_bf16(sum);
        }
        rotate(6, (uint64_t)h * ROPE, TOKENS - 1, t->q_rope[h]);
    }
}

static void decode(struct tensors *t, float scale)
{
    hopmla_error e = HOPMLA_ERROR_INIT;
    hopmla_context_options co = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options po = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plo = HOPMLA_PLAN_OPTIONS_INIT;
    hopmla_append_args append = HOPMLA_APPEND_ARGS_INIT;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_seq seq;
    uint32_t n = TOKENS, one = 1;

    co.backend = HOPMLA_BACKEND_CPU;
    check(hopmla_context_create(&co, &context, &e), &e);
    po.format = HOPMLA_KV_BF16;
    po.layers = 1;
    po.pages = 2;
    check(hopmla_pool_create(context, &po, &pool, &e), &e);
    plo.max_batch = 1;
    plo.heads = HEADS;
    plo.max_kv_tokens = TOKENS;
    check(hopmla_plan_create(pool, &plo, &plan, &e), &e);
    check(hopmla_seq_create(pool, &seq, 1, &e), &e);
    check(hopmla_seq_reserve(pool, &seq, &n, 1, &e), &e);
    check(hopmla_plan_update(plan, &seq, &n, &one, 1, NULL, &e), &e);
    append.tokens = TOKENS;
    check(hopmla_append(plan, &append, t->latent, t->k_rope, NULL, &e), &e);
    args.rows = 1;
    args.softmax_scale = scale;
    check(hopmla_decode(plan, &args, t->q, t->q_rope, t->out, t->lse, NULL, &e), &e);
    check(hopmla_plan_end(plan, NULL, &e), &e);
    check(hopmla_seq_commit(pool, &seq, &n, 1, &e), &e);
    hopmla_context_destroy(context);
    hopmla_pool_destroy(pool);
    hopmla_plan_destroy(plan);
}

static void absorbed_equals_expanded(void **state)
{
    (void)state;
    const double mscale = 0.1 * log(40.0) + 1.0;
    struct tensors *t = calloc(1, sizeof *t);
    char path[4096];
    const char *data = getenv("HOPMLA_TEST_DATA");
    assert_non_null(t);
    snprintf(path, sizeof path, "%s/absorption.txt", data ? data : "tests/data");
    FILE *golden = fopen(path, "r");
    if (!golden) {
        fail_msg("%s cannot be opened", path);
    }
    assert_int_not_equal(fscanf(golden, "%*[^\n]"), EOF);

    fill(t);
    decode(t, (float)(pow(NOPE + ROPE, -0.5) * mscale * mscale));

    double worst = 0;
    for (int h = 0; h < HEADS; h++) {
        double lse, want;
        assert_int_equal(fscanf(golden, "%lf", &lse), 1);
        assert_true(fabs(lse - t->lse[h]) < 0.02); /* scores carry the bfloat16 rounding of q */
        for (int v = 0; v < VALUE; v++) {          /* W_UV comes after the attention */
            double sum = 0;
            for (int c = 0; c < LATENT; c++) {
                sum += w_uv(h, v, c) * from_bf16(t->out[h][c]);
            }
            assert_int_equal(fscanf(golden, "%lf", &want), 1);
            worst = fmax(worst, fabs(sum - want));
        }
    }
    fclose(golden);
    free(t);
    /* Outputs are of size 1; absorbed q, probabilities and O are rounded to 8 bits of mantissa. */
    if (worst > 0.02) {
        fail_msg("worst difference %g", worst);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(absorbed_equals_expanded) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
