/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPU_CHECK_H
#define CPU_CHECK_H

/** @file
 * What the CPU kernels' tests share: the environment, devices, and the comparison of a batch with its float64 twin. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/cpu_case.h"

static int quick;        /* HOPMLA_TEST_QUICK: fewer and smaller cases */
static int32_t best_isa; /* what this machine has, or HOPMLA_TEST_ISA: portable, avx2 */

static inline void read_environment(void)
{
    const char *limit = getenv("HOPMLA_TEST_ISA");
    quick = getenv("HOPMLA_TEST_QUICK") != NULL;
    best_isa = hm_cpu_detect_isa();
    if (limit && !strcmp(limit, "portable")) {
        best_isa = HOPMLA_CPU_ISA_PORTABLE;
    } else if (limit && !strcmp(limit, "avx2") && best_isa > HOPMLA_CPU_ISA_AVX2) {
        best_isa = HOPMLA_CPU_ISA_AVX2;
    }
}

static inline hm_device device_with(int threads, int32_t isa)
{
    hm_device device = { .thread_count = threads, .isa = isa };
    assert_int_equal(hm_threads_create(&device.threads, threads, NULL), HOPMLA_OK);
    return device;
}

static inline void close_device(hm_device *device)
{
    hm_threads_destroy(device->threads);
}

static inline void check_close(double value, double expected, double absolute, double relative, const char *what,
                               const cpu_batch *b)
{
    if (value == expected) {
        return;
    }
    double error = fabs(value - expected);
    if (!(error <= absolute || error <= relative * fabs(expected))) {
        print_error("seed %llu, %u heads, format %d: %s %.9g, expected %.9g\n", (unsigned long long)b->c.seed,
                    b->c.heads, (int)b->c.format, what, value, expected);
        fail();
    }
}

/* One row; adds to what the comparison of the whole output needs. */
static inline void check_row(const cpu_batch *b, int64_t token, uint32_t head, const double *o, double lse,
                             double sums[2])
{
    const hm_decode *d = &b->decode;
    const uint16_t *out = b->out + token * d->out_token_stride + head * d->out_head_stride;
    for (int i = 0; i < LATENT; i++) {
        double value = case_unpack(b->c.format, out[i]);
        check_close(value, o[i], 8e-4, 2.01 / 128, "out", b);
        sums[0] += 2.0 * value * o[i];
        sums[1] += value * value + o[i] * o[i];
    }
    if (!b->c.no_lse) {
        double value = (double)b->lse[token * d->lse_token_stride + head * d->lse_head_stride];
        check_close(value, lse, 1e-6, 8.01 / 65536, "lse", b);
    }
}

/* Padding behind rows is as it was. */
static inline void check_untouched(const cpu_batch *b)
{
    int64_t stride = b->decode.out_token_stride;
    if (b->c.split) {
        for (int64_t row = 0; row < (int64_t)(b->rows * b->c.heads); row++) {
            for (int64_t i = LATENT; i < stride; i++) {
                assert_int_equal(b->out[row * stride + i], 0xeeee);
            }
        }
    }
    assert_int_equal(b->out[b->out_values], 0xeeee);
    assert_memory_equal(&b->lse[b->rows * b->c.heads], "\xee\xee\xee\xee", 4);
}

static inline void check(const cpu_batch *b)
{
    double *s = malloc(b->envelope.max_kv_tokens * sizeof *s), o[LATENT], sums[2] = { 0.0, 0.0 };
    int64_t token = 0;
    for (uint32_t i = 0; i < b->c.batch; i++) {
        for (int32_t j = 0; j < b->c.q_lens[i]; j++, token++) {
            for (uint32_t head = 0; head < b->c.heads; head++) {
                int32_t visible = b->c.kv_lens[i] - (b->c.q_lens[i] - 1 - j);
                double lse = case_reference(b, i, token, head, visible, s, o);
                check_row(b, token, head, o, lse, sums);
            }
        }
    }
    double empty = b->c.lse == HOPMLA_LSE_NATURAL_POSINF ? INFINITY : -INFINITY;
    memset(o, 0, sizeof o);
    for (; token < (int64_t)b->rows; token++) {
        for (uint32_t head = 0; head < b->c.heads; head++) {
            check_row(b, token, head, o, empty, sums);
        }
    }
    free(s);
    if (sums[1] > 0.0) {
        assert_true(1.0 - sums[0] / sums[1] <= 5e-6);
    }
    check_untouched(b);
    assert_int_equal(*(uint32_t *)b->workspace, 0);
}

#endif
