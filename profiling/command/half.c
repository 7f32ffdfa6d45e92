/* SPDX-License-Identifier: Apache-2.0 */
#include "half.h"

#include "hopmla/hopmla.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static uint16_t bf16_from_float(float value)
{
    uint32_t bits = bits_of(value);
    if (isnan(value))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t fp16_from_float(float value)
{
    uint32_t sign = bits_of(value) >> 16 & 0x8000;
    float magnitude = fabsf(value);
    if (isnan(value))
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 65520.0f)
        return (uint16_t)(sign | 0x7c00);
    /* Below 2^-14 the step is 2^-24; above it, 2^-10 of the power of two beneath. rintf rounds ties to even. */
    if (magnitude < 0x1p-14f)
        return (uint16_t)(sign | (uint32_t)rintf(magnitude * 0x1p24f));
    int exponent;
    float mantissa = frexpf(magnitude, &exponent);               /* 0.5 … 1 */
    uint32_t steps = (uint32_t)rintf(mantissa * 0x1p11f) - 1024; /* 0 … 1024; 1024 carries into the exponent */
    return (uint16_t)(sign | (((uint32_t)(exponent + 14) << 10) + steps));
}

uint16_t half_from_float(int32_t dtype, float value)
{
    return dtype == HOPMLA_DTYPE_FP16 ? fp16_from_float(value) : bf16_from_float(value);
}

static float tables[2][65536];

static void make_tables(void)
{
    for (uint32_t i = 0; i < 65536; ++i) {
        uint32_t bits = i << 16;
        memcpy(&tables[0][i], &bits, sizeof(bits));
        int exponent = (int)(i >> 10 & 31);
        float mantissa = (float)(i & 1023);
        float value = exponent == 0    ? ldexpf(mantissa, -24)
                      : exponent == 31 ? (mantissa == 0.0f ? INFINITY : NAN)
                                       : ldexpf(1024.0f + mantissa, exponent - 25);
        tables[1][i] = i & 0x8000 ? -value : value;
    }
}

const float *half_values(int32_t dtype)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tables);
    return tables[dtype == HOPMLA_DTYPE_FP16];
}
