/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles against sorted times, and the sums that totals keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "profiling/observe/totals.h"

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33;
}

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void assert_near(int64_t value, int64_t exact)
{
    const int64_t off = value > exact ? value - exact : exact - value;
    if ((double)off > 0.05 * (double)exact) {
        fail_msg("%lld is more than 5 %% from %lld", (long long)value, (long long)exact);
    }
}

static hopmla_record record_of(int64_t ns)
{
    return (hopmla_record){
        .kind = HOPMLA_CALL_DECODE,
        .plan = 9,
        .calls = 2,
        .valid = HOPMLA_VALID_WORK | HOPMLA_VALID_TIME | HOPMLA_VALID_BOUND,
        .flops = 10,
        .bytes = 20,
        .unique_bytes = 15,
        .bound_ns = 1.5,
        .device_ns = ns,
    };
}

/* Times of all sizes, each a few times as large as the one before. */
static void test_percentiles(void **state)
{
    (void)state;
    enum {
        COUNT = 5000
    };
    static int64_t times[COUNT];
    uint64_t seed = 1;
    for (int bits = 1; bits <= 40; bits++) {
        hm_totals *totals = calloc(1, sizeof(*totals));
        hm_totals_init(totals);
        for (int i = 0; i < COUNT; i++) {
            times[i] = (int64_t)((next_random(&seed) << 20 ^ next_random(&seed)) & ((UINT64_C(1) << bits) - 1));
            const hopmla_record record = record_of(times[i]);
            hm_totals_add(totals, &record);
        }
        qsort(times, COUNT, sizeof(times[0]), ascending);
        hopmla_totals own;
        hm_totals_get(totals, HOPMLA_CALL_DECODE, 0, &own);
        assert_int_equal(own.time_min_ns, times[0]);
        assert_int_equal(own.time_max_ns, times[COUNT - 1]);
        assert_near(own.time_p50_ns, times[COUNT / 2 - 1]);
        assert_near(own.time_p90_ns, times[COUNT / 10 * 9 - 1]);
        assert_near(own.time_p99_ns, times[COUNT / 100 * 99 - 1]);
        free(totals);
    }
}

static void test_extremes(void **state)
{
    (void)state;
    const int64_t values[] = { 0, 1, 31, 32, 33, 1000, INT64_C(1) << 40, INT64_MAX, -5 };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        hm_totals *totals = calloc(1, sizeof(*totals));
        hm_totals_init(totals);
        const hopmla_record record = record_of(values[i]);
        hm_totals_add(totals, &record);
        hopmla_totals own;
        hm_totals_get(totals, HOPMLA_CALL_DECODE, 9, &own);
        assert_int_equal(own.time_p50_ns, values[i] > 0 ? values[i] : own.time_max_ns); /* one time is all of them */
        assert_int_equal(own.time_p99_ns, own.time_p50_ns);
        free(totals);
    }
}

/* A sum holds what is known of a record and nothing else. */
static void test_sums(void **state)
{
    (void)state;
    hm_totals *totals = calloc(1, sizeof(*totals));
    hm_totals_init(totals);
    hopmla_record record = record_of(100);
    hm_totals_add(totals, &record);
    record.valid = HOPMLA_VALID_WORK;
    hm_totals_add(totals, &record);
    record.valid = HOPMLA_VALID_TIME;
    hm_totals_add(totals, &record);
    record.valid = HOPMLA_VALID_WORK | HOPMLA_VALID_DRAM | HOPMLA_VALID_TENSOR;
    record.dram_read_bytes = 30;
    record.dram_write_bytes = 4;
    record.l2_bytes = 50;
    record.tensor_flops = 11;
    hm_totals_add(totals, &record);
    hopmla_totals own;
    hm_totals_get(totals, HOPMLA_CALL_DECODE, 9, &own);
    assert_int_equal(own.struct_size, sizeof(own));
    assert_int_equal(own.kind, HOPMLA_CALL_DECODE);
    assert_int_equal(own.plan, 9);
    assert_int_equal(own.records, 4);
    assert_int_equal(own.calls, 8);
    assert_int_equal(own.timed, 2);
    assert_int_equal(own.flops, 30);
    assert_int_equal(own.bytes, 60);
    assert_int_equal(own.timed_flops, 10);
    assert_int_equal(own.timed_bytes, 20);
    assert_int_equal(own.time_ns, 200);
    assert_true(own.bound_ns == 1.5 && own.bound_time_ns == 100.0);
    assert_int_equal(own.counted, 1);
    assert_int_equal(own.counted_bytes, 20);
    assert_int_equal(own.dram_read_bytes, 30);
    assert_int_equal(own.dram_write_bytes, 4);
    assert_int_equal(own.l2_bytes, 50);
    assert_int_equal(own.counted_flops, 10);
    assert_int_equal(own.tensor_flops, 11);
    assert_int_equal(own.unique_bytes, 45);
    assert_int_equal(own.timed_unique_bytes, 15);
    assert_int_equal(own.timed_work_ns, 100); /* of 200 */
    hm_totals_get(totals, HOPMLA_CALL_APPEND, 0, &own);
    assert_int_equal(own.records, 0);
    assert_int_equal(own.time_p99_ns, 0);
    free(totals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_sums),
    };
    return cmocka_run_group_tests_name("totals", tests, NULL, NULL) ? 1 : 0;
}
