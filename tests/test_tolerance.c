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
    tolerance_out(&t, HOPMLA_DTYPE_BF16, out, f->out, REFERENCE_V);
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
    tolerance_out(&t, HOPMLA_DTYPE_BF16, out, f.out, REFERENCE_V);
    assert_int_equal(t.bad, 0);
    assert_false(tolerance_met(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_a_mean_by_probability),
        cmocka_unit_test(usual_rows_get_no_allowance),
        cmocka_unit_test(cancelling_scores_get_what_float32_needs),
        cmocka_unit_test(cut_sums_are_covered),
        cmocka_unit_test(empty_rows_stay_exact),
        cmocka_unit_test(wrong_results_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
