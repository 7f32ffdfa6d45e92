/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The tolerances of `hopmla check`: they let float32 arithmetic pass, and nothing that is wrong. */

#include "profiling/command/half.h"
#include "profiling/command/reference.h"
#include "profiling/command/tolerance.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum {
    TOKENS = 64
};

static const double scale = 1.0 / 24; /* 576^-1/2 */

typedef struct fixture {
    float q[REFERENCE_QK];
    float rows[TOKENS][REFERENCE_QK];
    double out[REFERENCE_V];
    double lse;
    double terms;
    double sizes[REFERENCE_V];
} fixture;

static void read_rows(const void *user, uint64_t first, uint64_t count, float *rows)
{
    const fixture *f = user;
    memcpy(rows, f->rows[first], count * sizeof(f->rows[0]));
}

static void attend(fixture *f, uint64_t tokens, double factor)
{
    assert_int_equal(reference_attend(read_rows, f, tokens, f->q, 1, factor, f->out, &f->lse), 0);
    assert_int_equal(reference_terms(read_rows, f, tokens, f->q, factor, f->lse, &f->terms), 0);
    assert_int_equal(reference_sizes(read_rows, f, tokens, f->q, factor, f->lse, f->sizes), 0);
}

/** Near enough N(0, 1) / 10: the sum of twelve uniform numbers. */
static float random_value(uint64_t *state)
{
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(*state >> 11) * 0x1p-53;
    }
    return (float)(sum / 10);
}

static void make_usual(fixture *f)
{
    uint64_t state = 1;
    for (int i = 0; i < REFERENCE_QK; ++i)
        f->q[i] = random_value(&state);
    for (int t = 0; t < TOKENS; ++t) {
        for (int i = 0; i < REFERENCE_QK; ++i)
            f->rows[t][i] = random_value(&state);
    }
}

/** One token whose score is −0.12, a sum of terms of 460 together. */
static void make_cancelling(fixture *f)
{
    memset(f, 0, sizeof(*f));
    for (int i = 0; i < REFERENCE_QK; ++i) {
        f->q[i] = 1.0f;
        f->rows[0][i] = i % 2 == 0 ? 19.0f : -19.0f;
    }
    f->rows[0][0] = 19.0f - 2.88f;
    attend(f, 1, scale);
    assert_true(fabs(f->lse + 0.12) < 1e-6);
    assert_true(fabs(f->terms - 456) < 1);
}

static bool near(const fixture *f, double error)
{
    return tolerance_lse_near(HOPMLA_LSE_NATURAL, (float)(f->lse + error), f->lse, f->terms);
}

static void terms_are_a_mean_by_probability(void **state)
{
    (void)state;
    static fixture f;
    memset(&f, 0, sizeof(f));
    f.q[3] = 2.0f;
    f.q[575] = -1.0f;
    f.rows[0][3] = 1.0f; /* score 2 − 1, terms 2 + 1 */
    f.rows[0][575] = 1.0f;
    f.rows[1][3] = -0.5f; /* score −1, terms 1 */
    attend(&f, 2, 1.0);
    double p = exp(1.0) / (exp(1.0) + exp(-1.0));
    assert_true(fabs(f.lse - log(exp(1.0) + exp(-1.0))) < 1e-12);
    assert_true(fabs(f.terms - (3 * p + 1 * (1 - p))) < 1e-12);
    attend(&f, 2, 0.5);
    p = exp(0.5) / (exp(0.5) + exp(-0.5));
    assert_true(fabs(f.terms - 0.5 * (3 * p + 1 * (1 - p))) < 1e-12);
    attend(&f, 0, 1.0);
    assert_true(f.terms == 0.0 && isinf(f.lse));
    assert_true(f.sizes[3] == 0.0);
}

static void sizes_are_a_mean_by_probability(void **state)
{
    (void)state;
    static fixture f;
    memset(&f, 0, sizeof(f));
    f.q[575] = 1.0f;
    f.rows[0][3] = 2.0f;
    f.rows[0][575] = 1.0f;
    f.rows[1][3] = -3.0f;
    attend(&f, 2, 1.0);
    double p = exp(1.0) / (exp(1.0) + 1.0);
    assert_true(fabs(f.out[3] - (2 * p - 3 * (1 - p))) < 1e-12);
    assert_true(fabs(f.sizes[3] - (2 * p + 3 * (1 - p))) < 1e-12);
    assert_true(f.sizes[4] == 0.0);
}

static float rounded(double value)
{
    return half_values(HOPMLA_DTYPE_BF16)[half_from_float(HOPMLA_DTYPE_BF16, (float)value)];
}

/** What a backend that rounds probabilities to bfloat16, and the two halves of a split row once more, makes of a row. */
static void attend_rounded(const fixture *f, uint64_t tokens, uint16_t *out)
{
    double top = -INFINITY, scores[TOKENS], sums[2] = { 0, 0 }, means[2][REFERENCE_V] = { { 0 } };
    for (uint64_t t = 0; t < tokens; ++t) {
        scores[t] = 0;
        for (int i = 0; i < REFERENCE_QK; ++i)
            scores[t] += scale * (double)f->q[i] * (double)f->rows[t][i];
        top = fmax(top, scores[t]);
    }
    for (uint64_t t = 0; t < tokens; ++t) {
        double p = exp(scores[t] - top);
        int part = t >= tokens / 2;
        sums[part] += p;
        for (int i = 0; i < REFERENCE_V; ++i)
            means[part][i] += (double)rounded(p) * (double)f->rows[t][i];
    }
    for (int i = 0; i < REFERENCE_V; ++i) {
        double sum = 0;
        for (int part = 0; part < 2; ++part)
            sum += sums[part] > 0 ? sums[part] * (double)rounded(means[part][i] / sums[part]) : 0;
        out[i] = half_from_float(HOPMLA_DTYPE_BF16, (float)(sum / (sums[0] + sums[1])));
    }
}

/** Few tokens of values of some size: what is left when they cancel is off by more than its own size allows. The
 * allowance covers that, and is not much more. */
static void rounded_probabilities_are_covered(void **state)
{
    (void)state;
    static fixture f;
    uint64_t random = 7, beyond = 0;
    double worst = 0;
    for (int trial = 0; trial < 200; ++trial) {
        for (int i = 0; i < REFERENCE_QK; ++i)
            f.q[i] = rounded(10 * random_value(&random));
        uint64_t tokens = 2 + (uint64_t)trial % 7;
        for (uint64_t t = 0; t < tokens; ++t) {
            for (int i = 0; i < REFERENCE_QK; ++i)
                f.rows[t][i] = rounded(10 * random_value(&random));
        }
        attend(&f, tokens, scale);
        uint16_t out[REFERENCE_V];
        attend_rounded(&f, tokens, out);
        for (int i = 0; i < REFERENCE_V; ++i) {
            double error = fabs(half_values(HOPMLA_DTYPE_BF16)[out[i]] - f.out[i]);
            assert_true(tolerance_out_near(HOPMLA_DTYPE_BF16, out[i], f.out[i], f.sizes[i]));
            if (!tolerance_out_near(HOPMLA_DTYPE_BF16, out[i], f.out[i], 0.0)) {
                ++beyond;
                worst = fmax(worst, error / f.sizes[i]);
            }
        }
    }
    print_message("%llu values need the allowance, at most %.2f of 2u\n", (unsigned long long)beyond, worst / 0x1p-7);
    assert_true(beyond > 100 && worst > 0.25 * 0x1p-7);
    assert_false(tolerance_out_near(HOPMLA_DTYPE_BF16, half_from_float(HOPMLA_DTYPE_BF16, 0.02f), 0.0, 1.0));
    assert_false(tolerance_out_near(HOPMLA_DTYPE_FP16, half_from_float(HOPMLA_DTYPE_FP16, 0.003f), 0.0, 1.0));
}

/** What the terms allow must not be felt where scores are well-conditioned. */
static void usual_rows_get_no_allowance(void **state)
{
    (void)state;
    static fixture f;
    make_usual(&f);
    for (uint64_t tokens = 1; tokens <= TOKENS; ++tokens) {
        attend(&f, tokens, scale);
        assert_true(f.terms > 0.05 && 8 * 0x1p-24 * f.terms < 1e-7);
    }
    attend(&f, 1, scale);
    assert_true(fabs(f.lse) < 0.05); /* else its size allows more than 1e-6 */
    double own = fmax(1e-6, 8.01 / 65536 * fabs(f.lse));
    assert_true(near(&f, 0.9 * own) && near(&f, -0.9 * own));
    assert_false(near(&f, 1.2 * own) || near(&f, -1.2 * own));
}

static void cancelling_scores_get_what_float32_needs(void **state)
{
    (void)state;
    static fixture f;
    make_cancelling(&f);
    assert_true(near(&f, 2.8e-5) && near(&f, -2.8e-5));
    assert_false(tolerance_lse_near(HOPMLA_LSE_NATURAL, (float)(f.lse + 2.8e-5), f.lse, 0.0));
    assert_false(near(&f, 2.4e-4) || near(&f, -2.4e-4) || near(&f, NAN));
    const float base2 = (float)(f.lse * M_LOG2E);
    assert_true(tolerance_lse_near(HOPMLA_LSE_BASE2, base2 + 2.9e-4f, f.lse, f.terms));
    assert_false(tolerance_lse_near(HOPMLA_LSE_BASE2, base2 + 3.4e-4f, f.lse, f.terms));
}

/** x without its bits below `step`. */
static double cut(double x, double step)
{
    return trunc(x / step) * step;
}

/** The power of two at or below |x|; x is not 0. */
static double power_below(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1.0, exponent - 1);
}

/** A sum as tensor cores may make it: 16 products and the sum so far are cut off one bit below the last place of the
 * largest, and their sum at float32. */
static double cut_sum(const double *terms)
{
    double sum = 0.0;
    for (int i = 0; i < REFERENCE_QK; i += 16) {
        double largest = fabs(sum);
        for (int j = 0; j < 16; ++j)
            largest = fmax(largest, fabs(terms[i + j]));
        if (largest == 0.0)
            continue;
        const double step = power_below(largest) * 0x1p-24;
        sum = cut(sum, step);
        for (int j = 0; j < 16; ++j)
            sum += cut(terms[i + j], step);
        if (sum != 0.0)
            sum = cut(sum, power_below(sum) * 0x1p-23);
    }
    return sum;
}

/** Random signs need no more than the allowance; one sign needs more than that, and less than its own size allows. */
static void cut_sums_are_covered(void **state)
{
    (void)state;
    uint64_t random = 2;
    double worst = 0.0, worst_of_one_sign = 0.0;
    for (int trial = 0; trial < 2000; ++trial) {
        double terms[REFERENCE_QK], sizes[REFERENCE_QK], sum = 0.0, size = 0.0;
        for (int i = 0; i < REFERENCE_QK; ++i) {
            const float *values = half_values(HOPMLA_DTYPE_BF16);
            terms[i] = (double)values[half_from_float(HOPMLA_DTYPE_BF16, random_value(&random))] *
                       values[half_from_float(HOPMLA_DTYPE_BF16, random_value(&random))];
            sizes[i] = fabs(terms[i]);
            sum += terms[i];
            size += sizes[i];
        }
        worst = fmax(worst, fabs(cut_sum(terms) - sum) / (0x1p-24 * size));
        worst_of_one_sign = fmax(worst_of_one_sign, fabs(cut_sum(sizes) - size) / (0x1p-24 * size));
    }
    print_message("worst errors in 2^-24 of the terms: %.1f with random signs, %.1f with one\n", worst,
                  worst_of_one_sign);
    assert_true(worst > 1 && worst < 8);
    assert_true(worst_of_one_sign > 8 && worst_of_one_sign < 8.01 / 65536 * 0x1p24);
}

static void empty_rows_stay_exact(void **state)
{
    (void)state;
    assert_true(tolerance_lse_near(HOPMLA_LSE_NATURAL, -INFINITY, -INFINITY, 0.0));
    assert_false(tolerance_lse_near(HOPMLA_LSE_NATURAL, INFINITY, -INFINITY, 0.0));
    assert_true(tolerance_lse_near(HOPMLA_LSE_NATURAL_POSINF, INFINITY, -INFINITY, 0.0));
    assert_false(tolerance_lse_near(HOPMLA_LSE_NATURAL, -1e30f, -INFINITY, 0.0));
    assert_false(tolerance_lse_near(HOPMLA_LSE_NATURAL, -INFINITY, -0.12, 460.0));
}

static bool case_passes(const fixture *f, const uint16_t *out, float lse)
{
    tolerance t = { 0 };
    tolerance_out(&t, HOPMLA_DTYPE_BF16, out, f->out, f->sizes, REFERENCE_V);
    tolerance_lse(&t, HOPMLA_LSE_NATURAL, lse, f->lse, f->terms);
    return tolerance_met(&t);
}

/** One value off fails a case; so do all of them, each by less than it may be. */
static void wrong_results_fail(void **state)
{
    (void)state;
    static fixture f;
    make_usual(&f);
    attend(&f, TOKENS, scale);
    uint16_t out[REFERENCE_V];
    for (int i = 0; i < REFERENCE_V; ++i)
        out[i] = half_from_float(HOPMLA_DTYPE_BF16, (float)f.out[i]);
    assert_true(case_passes(&f, out, (float)f.lse));
    assert_false(case_passes(&f, out, (float)f.lse + 1e-3f));

    const uint16_t kept = out[100];
    out[100] = half_from_float(HOPMLA_DTYPE_BF16, (float)(f.out[100] + 1e-3));
    assert_false(case_passes(&f, out, (float)f.lse));
    out[100] = half_from_float(HOPMLA_DTYPE_BF16, NAN);
    assert_false(case_passes(&f, out, (float)f.lse));
    out[100] = kept;

    tolerance t = { 0 };
    for (int i = 0; i < REFERENCE_V; ++i)
        out[i] = half_from_float(HOPMLA_DTYPE_BF16, (float)(f.out[i] + 7e-4));
    tolerance_out(&t, HOPMLA_DTYPE_BF16, out, f.out, NULL, REFERENCE_V);
    assert_int_equal(t.bad, 0);
    assert_false(tolerance_met(&t));
}

static void a_row_alone_gets_twice_as_much(void **state)
{
    (void)state;
    const double differences[] = { 4e-6, 7e-6, 1.2e-5 };
    for (int i = 0; i < 3; ++i) {
        tolerance t = { .product = 1 - differences[i], .squares = 1 };
        assert_int_equal(tolerance_met(&t), i < 1);
        assert_int_equal(tolerance_met_alone(&t), i < 2);
        t.bad = 1;
        assert_false(tolerance_met_alone(&t));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_a_mean_by_probability),
        cmocka_unit_test(sizes_are_a_mean_by_probability),
        cmocka_unit_test(rounded_probabilities_are_covered),
        cmocka_unit_test(usual_rows_get_no_allowance),
        cmocka_unit_test(cancelling_scores_get_what_float32_needs),
        cmocka_unit_test(cut_sums_are_covered),
        cmocka_unit_test(empty_rows_stay_exact),
        cmocka_unit_test(wrong_results_fail),
        cmocka_unit_test(a_row_alone_gets_twice_as_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
