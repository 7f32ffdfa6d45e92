/* SPDX-License-Identifier: Apache-2.0 */
#include "tolerance.h"

#include "half.h"

#include <math.h>

static double scaled(double error, double reference)
{
    return error / fmax(1.0, fabs(reference));
}

/** fmax would lose a NaN, and a NaN is the worst error there is. */
static void raise_to(double *worst, double error)
{
    if (!(error <= *worst))
        *worst = isnan(error) ? INFINITY : error;
}

bool tolerance_out_near(int32_t dtype, uint16_t out, double reference, double sizes)
{
    double error = fabs(half_values(dtype)[out] - reference), u = dtype == HOPMLA_DTYPE_BF16 ? 0x1p-8 : 0x1p-11;
    return error <= 8e-4 || error <= 2.01 / 128 * fabs(reference) || error <= 2 * u * sizes;
}

void tolerance_out(tolerance *t, int32_t dtype, const uint16_t *out, const double *reference, const double *sizes,
                   uint64_t count)
{
    const float *values = half_values(dtype);
    for (uint64_t i = 0; i < count; ++i) {
        double x = values[out[i]], y = reference[i], error = fabs(x - y);
        t->bad += !tolerance_out_near(dtype, out[i], y, sizes ? sizes[i] : 0.0);
        raise_to(&t->worst_out, scaled(error, y));
        t->product += 2 * x * y;
        t->squares += x * x + y * y;
    }
}

float tolerance_empty_lse(int32_t convention)
{
    return convention == HOPMLA_LSE_NATURAL_POSINF ? INFINITY : -INFINITY;
}

/** In the unit that the convention counts in. */
static double in_unit(int32_t convention, double natural)
{
    return convention == HOPMLA_LSE_BASE2 ? natural * M_LOG2E : natural;
}

bool tolerance_lse_near(int32_t convention, float lse, double reference, double terms)
{
    if (isinf(reference))
        return lse == tolerance_empty_lse(convention);
    double y = in_unit(convention, reference), error = fabs(lse - y);
    return error <= 1e-6 || error <= 8.01 / 65536 * fabs(y) || error <= 8 * 0x1p-24 * in_unit(convention, terms);
}

void tolerance_lse(tolerance *t, int32_t convention, float lse, double reference, double terms)
{
    bool near = tolerance_lse_near(convention, lse, reference, terms);
    t->bad += !near;
    if (isinf(reference)) {
        raise_to(&t->worst_lse, near ? 0.0 : INFINITY);
        return;
    }
    double y = in_unit(convention, reference);
    raise_to(&t->worst_lse, scaled(fabs(lse - y), y));
}

void tolerance_merge(tolerance *into, const tolerance *other)
{
    raise_to(&into->worst_out, other->worst_out);
    raise_to(&into->worst_lse, other->worst_lse);
    into->product += other->product;
    into->squares += other->squares;
    into->bad += other->bad;
}

double tolerance_difference(const tolerance *t)
{
    return t->squares > 0 ? 1 - t->product / t->squares : t->squares;
}

bool tolerance_met(const tolerance *t)
{
    return t->bad == 0 && tolerance_difference(t) <= 5e-6;
}

bool tolerance_met_alone(const tolerance *row)
{
    return row->bad == 0 && tolerance_difference(row) <= 1e-5;
}
