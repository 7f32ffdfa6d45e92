/* SPDX-License-Identifier: Apache-2.0 */
#include "numbers.h"

#include "format.h"

#include <math.h>
#include <stdlib.h>

enum {
    VALUE_BYTES = 2
};

void work_add(work *w, int32_t format, uint32_t heads, uint32_t q_tokens, uint64_t kv_tokens)
{
    const uint32_t values = format_values(format);
    double pairs = 0.0;
    for (uint32_t j = 0; j < q_tokens; ++j) {
        uint64_t hidden = q_tokens - 1 - j;
        pairs += kv_tokens > hidden ? (double)(kv_tokens - hidden) : 0.0;
    }
    w->flops += 2.0 * heads * pairs * (values + HOPMLA_LATENT_DIM);
    w->bytes += (double)kv_tokens * values * VALUE_BYTES;
    w->bytes += (double)q_tokens * heads * (values + HOPMLA_LATENT_DIM) * VALUE_BYTES;
}

double work_bound(work w, double bytes_per_second, double flops_per_second)
{
    return fmax(w.bytes / bytes_per_second, w.flops / flops_per_second);
}

double peak_flops(const hopmla_ceilings *ceilings)
{
    return fmax(ceilings->flops_burst, ceilings->flops_sustained);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double percentile_of(double *values, uint64_t count, double share)
{
    if (count == 0)
        return 0.0;
    qsort(values, count, sizeof(*values), ascending);
    uint64_t rank = (uint64_t)ceil(share * (double)count);
    return values[rank > 0 ? rank - 1 : 0];
}

double median_of(double *values, uint64_t count)
{
    return percentile_of(values, count, 0.5);
}
