/* SPDX-License-Identifier: Apache-2.0 */
#include "random.h"

#include "half.h"
#include "hopmla/hopmla.h"

#include <math.h>
#include <pthread.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

void random_seed(random_state *r, uint64_t seed)
{
    for (int i = 0; i < 4; ++i)
        r->s[i] = splitmix(&seed);
}

uint64_t random_next(random_state *r)
{
    uint64_t *s = r->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t random_below(random_state *r, uint64_t n)
{
    return random_next(r) % n;
}

uint64_t random_between(random_state *r, uint64_t low, uint64_t high)
{
    return low + random_below(r, high - low + 1);
}

uint64_t random_mix(uint64_t a, uint64_t b)
{
    uint64_t state = a ^ rotate(b, 32) * 0xd6e8feb86659fd93;
    return splitmix(&state);
}

/* 65536 equally likely values of N(0, 1) / 10: the middle of each slice of the distribution. One look-up a value is
 * what makes gigabytes of random numbers affordable. The largest is 4.3 / 10. */
static uint16_t quantiles[2][65536];

static void make_quantiles(void)
{
    double z = 0.0;
    for (uint32_t i = 0; i < 32768; ++i) {
        double upper = 0.5 - (i + 0.5) / 65536; /* the wanted tail; Newton's method from the neighbour's value */
        for (int step = 0; step < 6; ++step) {
            double tail = 0.5 * erfc(z * M_SQRT1_2), density = exp(-0.5 * z * z) * 0.39894228040143268;
            z += (tail - upper) / density;
        }
        for (int32_t dtype = HOPMLA_DTYPE_BF16; dtype <= HOPMLA_DTYPE_FP16; ++dtype) {
            uint16_t value = half_from_float(dtype, (float)(z / 10));
            quantiles[dtype == HOPMLA_DTYPE_FP16][32768 + i] = value;
            quantiles[dtype == HOPMLA_DTYPE_FP16][32767 - i] = value | 0x8000;
        }
    }
}

void random_fill(random_state *r, int32_t dtype, uint16_t *values, uint64_t count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_quantiles);
    const uint16_t *table = quantiles[dtype == HOPMLA_DTYPE_FP16];
    uint64_t bits = 0;
    for (uint64_t i = 0; i < count; ++i, bits >>= 16) {
        if (i % 4 == 0)
            bits = random_next(r);
        values[i] = table[bits & 0xffff];
    }
}
