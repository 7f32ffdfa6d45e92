/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The shapes of `hopmla bench`: most take a GPU to run, so that their lengths are looked at here. */

#include "profiling/command/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t total(const bench_case *c)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < c->b; ++i)
        tokens += c->lens[i];
    return tokens;
}

static void check_cases(const bench_suite *suite, int32_t format)
{
    for (uint64_t i = 0; i < suite->count; ++i) {
        const bench_case *c = &suite->cases[i];
        assert_int_equal(c->format, format);
        assert_in_range(c->h, 1, 256);
        assert_in_range(c->s_q, 1, 8);
        for (uint32_t row = 0; row < c->b; ++row)
            assert_in_range(c->lens[row], 1, 131072);
        assert_in_range(total(c), 1024, 128 * 16990);
    }
}

static void suites_hold_plausible_shapes(void **state)
{
    (void)state;
    bench_suite peers = { 0 }, heads = { 0 }, nope = { 0 };
    bench_peers_suite(&peers);
    bench_heads_suite(&heads);
    bench_nope_suite(&nope);
    assert_int_equal(peers.count, 58);
    assert_int_equal(heads.count, 30);
    assert_int_equal(nope.count, 12);
    check_cases(&peers, HOPMLA_KV_BF16);
    check_cases(&heads, HOPMLA_KV_BF16);
    check_cases(&nope, HOPMLA_KV_BF16_NOPE);
    bench_suite_free(&peers);
    bench_suite_free(&heads);
    bench_suite_free(&nope);
}

/* Rows without a rope part have the lengths of those that they are compared with. */
static void nope_rows_have_peers(void **state)
{
    (void)state;
    bench_suite peers = { 0 }, nope = { 0 };
    bench_peers_suite(&peers);
    bench_nope_suite(&nope);
    for (uint64_t i = 0; i < nope.count; ++i) {
        const bench_case *c = &nope.cases[i];
        int alike = 0;
        for (uint64_t j = 0; j < peers.count; ++j) {
            const bench_case *p = &peers.cases[j];
            alike += p->b == c->b && p->s_q == c->s_q && p->h == c->h &&
                     memcmp(p->lens, c->lens, c->b * sizeof(uint32_t)) == 0;
        }
        assert_int_equal(alike, 1);
    }
    bench_suite_free(&peers);
    bench_suite_free(&nope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suites_hold_plausible_shapes),
        cmocka_unit_test(nope_rows_have_peers),
    };
    return cmocka_run_group_tests_name("bench cases", tests, NULL, NULL);
}
