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

void tolerance_out(tolerance *t, int32_t dtype, const uint16_t *out, const double *reference, uint64_t count)
{
    const float *values = half_values(dtype);
    for (uint64_t i = 0; i < count; ++i) {
        double x = values[out[i]], y = reference[i], error = fabs(x - y);
        t->bad += !(error <= 8e-4 || error <= 2.01 / 128 * fabs(y));
        raise_to(&t->worst_out, scaled(error, y));
        t->product += 2 * x * y;
        t->squares += x * x + y * y;
    }
}

float tolerance_empty_lse(int32_t convention)
{
    return convention == HOPMLA_LSE_NATURAL_POSINF ? INFINITY : -INFINITY;
}

void tolerance_lse(tolerance *t, int32_t convention, float lse, double reference)
{
    if (isinf(reference)) {
        bool same = lse == tolerance_empty_lse(convention);
        t->bad += !same;
        raise_to(&t->worst_lse, same ? 0.0 : INFINITY);
        return;
    }
    double y = convention == HOPMLA_LSE_BASE2 ? reference * M_LOG2E : reference, error = fabs(lse - y);
    t->bad += !(error <= 1e-6 || error <= 8.01 / 65536 * fabs(y));
    raise_to(&t->worst_lse, scaled(error, y));
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
