/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include "bench_lens.h"

#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The default suite: the shapes at which FlashMLA and FlashAttention-3 were measured, so that times can be compared row
 * by row; the counts of heads that they were not measured with, and that no tile has by itself; and caches without a rope
 * part. */

static const struct {
    uint32_t b;
    uint32_t len;
} fixed[] = { { 1, 1024 },  { 1, 4096 },  { 1, 32768 },  { 1, 131072 }, { 4, 8192 },
              { 16, 4096 }, { 32, 1024 }, { 128, 1024 }, { 128, 4096 }, { 64, 16384 } };

static const uint32_t fixed_heads[] = { 16, 32, 64, 128 };

static const struct {
    uint32_t s_q;
    uint32_t h;
} mtp[] = { { 2, 16 }, { 4, 16 }, { 2, 128 }, { 4, 128 } };

static const uint32_t skewed[] = { 4641, 45118, 1730, 1696 };

static const uint32_t other_heads[] = { 8, 20, 96 };

static const struct {
    uint32_t b;
    uint32_t s_q;
    uint32_t h;
    uint32_t len;
} nope[] = { { 1, 1, 16, 4096 },   { 1, 1, 128, 4096 },   { 1, 1, 16, 32768 },
             { 1, 1, 128, 32768 }, { 32, 1, 128, 1024 },  { 128, 1, 16, 4096 },
             { 128, 1, 64, 4096 }, { 128, 1, 128, 4096 }, { 128, 2, 128, 4096 } };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bench_case *bench_add(bench_suite *suite, const char *kind, uint32_t b, uint32_t s_q, uint32_t h)
{
    suite->cases = must_grow(suite->cases, suite->count, &suite->capacity, sizeof(bench_case));
    bench_case *c = &suite->cases[suite->count++];
    *c = (bench_case){ .format = HOPMLA_KV_BF16, .b = b, .s_q = s_q, .h = h, .lens = must_alloc(b * sizeof(uint32_t)) };
    c->kind = must_alloc(strlen(kind) + 1);
    strcpy(c->kind, kind);
    return c;
}

static void set_all(bench_case *c, uint32_t len)
{
    for (uint32_t i = 0; i < c->b; ++i)
        c->lens[i] = len;
}

static void add_fixed(bench_suite *suite, const uint32_t *heads, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        for (size_t j = 0; j < COUNT(fixed); ++j)
            set_all(bench_add(suite, "fixed", fixed[j].b, 1, heads[i]), fixed[j].len);
    }
}

static void add_varlen(bench_suite *suite, uint32_t s_q, uint32_t h, const uint16_t *lens)
{
    bench_case *c = bench_add(suite, "varlen", BENCH_LENS_ROWS, s_q, h);
    for (uint32_t i = 0; i < c->b; ++i)
        c->lens[i] = lens[i];
}

void bench_peers_suite(bench_suite *suite)
{
    suite->name = "peers";
    add_fixed(suite, fixed_heads, COUNT(fixed_heads));
    for (size_t i = 0; i < COUNT(mtp); ++i)
        set_all(bench_add(suite, "mtp", 128, mtp[i].s_q, mtp[i].h), 4096);
    for (uint32_t i = 0; i < BENCH_LENS; ++i)
        add_varlen(suite, 1 + i % 2, i < BENCH_LENS / 2 ? 16 : 128, bench_lens[i]);
    for (uint32_t s_q = 1; s_q <= 4; s_q += 3)
        memcpy(bench_add(suite, "skewed", COUNT(skewed), s_q, 16)->lens, skewed, sizeof(skewed));
}

void bench_heads_suite(bench_suite *suite)
{
    suite->name = "heads";
    add_fixed(suite, other_heads, COUNT(other_heads));
}

void bench_nope_suite(bench_suite *suite)
{
    suite->name = "nope";
    for (size_t i = 0; i < COUNT(nope); ++i)
        set_all(bench_add(suite, nope[i].s_q > 1 ? "mtp" : "fixed", nope[i].b, nope[i].s_q, nope[i].h), nope[i].len);
    for (size_t i = 0; i < 2; ++i) /* mean lengths near 4000, one query token */
        add_varlen(suite, 1, i == 0 ? 16 : 128, bench_lens[2 + i * BENCH_LENS / 2]);
    memcpy(bench_add(suite, "skewed", COUNT(skewed), 1, 16)->lens, skewed, sizeof(skewed));
    for (uint64_t i = 0; i < suite->count; ++i)
        suite->cases[i].format = HOPMLA_KV_BF16_NOPE;
}

char *bench_name(const char *kind, int32_t format, uint64_t b, uint64_t s_q, uint64_t h, double mean_len)
{
    const bool usual = format == HOPMLA_KV_BF16;
    char *name;
    if (asprintf(&name, "%s-b%llu-q%llu-h%llu-l%.0f%s%s", kind, (unsigned long long)b, (unsigned long long)s_q,
                 (unsigned long long)h, floor(mean_len), usual ? "" : "-", usual ? "" : format_name(format)) < 0)
        die("no memory for a name");
    return name;
}

double bench_mean_len(const bench_case *c)
{
    double tokens = 0;
    for (uint32_t i = 0; i < c->b; ++i)
        tokens += c->lens[i];
    return tokens / c->b;
}

void bench_suite_free(bench_suite *suite)
{
    for (uint64_t i = 0; i < suite->count; ++i) {
        free(suite->cases[i].kind);
        free(suite->cases[i].lens);
    }
    free(suite->cases);
}
