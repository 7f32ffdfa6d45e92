/* SPDX-License-Identifier: Apache-2.0 */
/* Profilers: what they refuse, what they record, and that they go at any time. Over a backend that does nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/cpu_context.h"
#include "tests/fake_backend.h"
#include "tests/observed.h"

typedef struct world {
    observed o;
    hm_device *device;
} world;

static int set_up(void **state)
{
    world *w = calloc(1, sizeof(*w));
    hopmla_context *context = fake_context(&w->device);
    observed_create(&w->o, context);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    observed_destroy(&w->o);
    free(w);
    return 0;
}

/* Creation. */

static void create_fails(world *w, const hopmla_profiler_options *options, hopmla_status status, const char *words)
{
    hopmla_profiler *profiler = NULL;
    assert_fails(hopmla_profiler_create(w->o.context, options, &profiler, &error), status, words);
    assert_null(profiler);
}

static void test_wrong_options(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = NULL;
    assert_fails(hopmla_profiler_create(NULL, NULL, &profiler, &error), HOPMLA_ERROR_NULL, "context");
    assert_fails(hopmla_profiler_create(w->o.context, NULL, NULL, &error), HOPMLA_ERROR_NULL, "profiler");
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.struct_size = 8;
    create_fails(w, &options, HOPMLA_ERROR_STRUCT_SIZE, "options.struct_size");
    struct {
        hopmla_profiler_options options;
        uint64_t beyond;
    } newer = { .options = HOPMLA_PROFILER_OPTIONS_INIT, .beyond = 1 };
    newer.options.struct_size = sizeof(newer);
    create_fails(w, &newer.options, HOPMLA_ERROR_STRUCT_TAIL, "options");
    options = (hopmla_profiler_options)HOPMLA_PROFILER_OPTIONS_INIT;
    options.clocks = 4;
    create_fails(w, &options, HOPMLA_ERROR_ENUM, "options.clocks");
    options.clocks = 0;
    options.counters = 4;
    create_fails(w, &options, HOPMLA_ERROR_ENUM, "options.counters");
    options.counters = -1;
    create_fails(w, &options, HOPMLA_ERROR_ENUM, "options.counters");
    options.counters = 0;
    options.flags = 2;
    create_fails(w, &options, HOPMLA_ERROR_ENUM, "options.flags");
    options.flags = 0;
    options.capacity = (1 << 24) + 1;
    create_fails(w, &options, HOPMLA_ERROR_ARGUMENT, "options.capacity");
    options.capacity = 4;
    options.metrics = "a";
    create_fails(w, &options, HOPMLA_ERROR_ARGUMENT, "options.metrics");
    options.counters = HOPMLA_COUNTERS_CUSTOM;
    const char *bad[] = { "", ",a", "a,", "a,,b", "a,b,c,d,e,f,g,h,i" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        options.metrics = bad[i];
        create_fails(w, &options, HOPMLA_ERROR_ARGUMENT, "options.metrics");
    }
    options.metrics = NULL;
    create_fails(w, &options, HOPMLA_ERROR_ARGUMENT, "options.metrics");
}

static void test_options_init(void **state)
{
    (void)state;
    hopmla_profiler_options options;
    const hopmla_profiler_options defaults = HOPMLA_PROFILER_OPTIONS_INIT;
    memset(&options, 0x55, sizeof(options));
    assert_int_equal(hopmla_profiler_options_init(NULL, sizeof(options)), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_profiler_options_init(&options, 4), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(hopmla_profiler_options_init(&options, sizeof(options)), HOPMLA_OK);
    assert_memory_equal(&options, &defaults, sizeof(options));
}

/* What is asked for and not there is said, and the profiler works. */
static void test_what_is_missing_is_said(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler;
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.clocks = HOPMLA_CLOCK_EVENTS | HOPMLA_CLOCK_ACTIVITY;
    options.counters = HOPMLA_COUNTERS_CUSTOM;
    options.metrics = "dram__bytes_read.sum,dram__bytes_write.sum";
    options.capacity = 5;
    assert_int_equal(hopmla_profiler_create(w->o.context, &options, &profiler, NULL), HOPMLA_OK);
    const hopmla_profiler_info info = observed_info(profiler);
    assert_int_equal(info.started, 0);
    assert_int_equal(info.capacity, 8);
    assert_int_equal(info.time_source, HOPMLA_SOURCE_HOST);
    assert_int_equal(info.counters, HOPMLA_COUNTERS_NONE);
    assert_int_equal(info.nvtx, 0);
    assert_non_null(strstr(info.activity_missing, "CPU"));
    assert_non_null(strstr(info.counters_missing, "CPU"));
    hopmla_profiler_destroy(profiler);
    assert_int_equal(hopmla_profiler_create(w->o.context, NULL, &profiler, NULL), HOPMLA_OK);
    assert_int_equal(observed_info(profiler).capacity, 65536);
    assert_string_equal(observed_info(profiler).activity_missing, "");
    assert_string_equal(observed_info(profiler).counters_missing, "");
    hopmla_profiler_destroy(profiler);
    hopmla_profiler_destroy(NULL);
}

/* Starting. */

static void test_start_and_stop(void **state)
{
    world *w = *state;
    hopmla_profiler *first;
    hopmla_profiler *second;
    assert_int_equal(hopmla_profiler_create(w->o.context, NULL, &first, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_create(w->o.context, NULL, &second, NULL), HOPMLA_OK);
    assert_fails(hopmla_profiler_start(NULL, &error), HOPMLA_ERROR_NULL, "profiler");
    assert_fails(hopmla_profiler_stop(NULL, &error), HOPMLA_ERROR_NULL, "profiler");
    assert_int_equal(hopmla_profiler_stop(first, NULL), HOPMLA_OK);
    observed_update(&w->o);
    assert_int_equal(observed_info(first).recorded, 0);
    assert_int_equal(hopmla_profiler_start(first, NULL), HOPMLA_OK);
    assert_fails(hopmla_profiler_start(first, &error), HOPMLA_ERROR_STATE, "started already");
    assert_fails(hopmla_profiler_start(second, &error), HOPMLA_ERROR_STATE, "another profiler");
    assert_int_equal(hopmla_profiler_stop(second, NULL), HOPMLA_OK); /* was not started: the first goes on */
    assert_int_equal(observed_info(first).started, 1);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_stop(first, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_stop(first, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_start(second, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(&w->o, 1), HOPMLA_OK);
    hopmla_record record;
    assert_int_equal(observed_read(first, &record, 1), 1); /* a stopped one can still be read */
    assert_int_equal(record.layer, 0);
    assert_int_equal(observed_read(second, &record, 1), 1);
    assert_int_equal(record.layer, 1);
    assert_int_equal(record.id, 1);
    hopmla_profiler_destroy(first);
    assert_int_equal(observed_decode(&w->o, 1), HOPMLA_OK);
    hopmla_profiler_destroy(second); /* started */
    assert_int_equal(observed_decode(&w->o, 1), HOPMLA_OK);
}

/* Recording. */

static void check_common(const hopmla_record *record, int32_t kind, uint64_t id, uint64_t plan)
{
    assert_int_equal(record->struct_size, sizeof(*record));
    assert_int_equal(record->kind, kind);
    assert_int_equal(record->id, id);
    assert_int_equal(record->plan, plan);
    assert_int_equal(record->step, 1);
    assert_int_equal(record->calls, 1);
    assert_int_equal(record->batch, 2);
    assert_int_equal(record->heads, OBSERVED_HEADS);
    assert_int_equal(record->format, HOPMLA_KV_BF16);
    assert_int_equal(record->page_bytes, 64 * 1152);
    assert_int_equal(record->flags, 0);
    assert_int_equal(record->time_source, HOPMLA_SOURCE_HOST);
    assert_true(record->host_ns >= record->device_ns);
    assert_true(record->device_ns >= 0);
    assert_true(record->device_begin_ns >= record->host_begin_ns);
}

static void test_a_record_of_each_kind(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    observed_update(&w->o);
    assert_int_equal(observed_append(&w->o, 1), HOPMLA_OK);
    assert_int_equal(observed_decode(&w->o, 1), HOPMLA_OK);
    assert_int_equal(observed_gather(&w->o, 10), HOPMLA_OK);
    assert_int_equal(observed_gather(&w->o, 0), HOPMLA_OK); /* enqueues nothing */
    hopmla_record records[8];
    assert_int_equal(observed_info(profiler).waiting, 4);
    assert_int_equal(observed_read(profiler, records, 8), 4);
    const uint64_t plan = records[0].plan;
    hopmla_plan_tables tables = HOPMLA_PLAN_TABLES_INIT;
    assert_int_equal(hopmla_plan_get_tables(w->o.plan, &tables, NULL), HOPMLA_OK);
    assert_int_equal(tables.number, plan);
    assert_true(plan > 0);
    const int32_t kinds[] = { HOPMLA_CALL_UPDATE, HOPMLA_CALL_APPEND, HOPMLA_CALL_DECODE, HOPMLA_CALL_GATHER };
    const uint32_t rows[] = { 2, 1, 3, 10 };
    const uint64_t query = 3 * OBSERVED_HEADS * (1152 + 1024);
    /* Arrays of two rows, two runs, of two pages and of one; nothing is copied. */
    const uint64_t bytes[] = { (4 * 2 + 2 + 3) * 4 + 2 * 16, 2 * 1152, (101 + 60) * 1152 + query, 10 * 2 * 1152 };
    for (uint32_t i = 0; i < 4; i++) {
        check_common(&records[i], kinds[i], i + 1, plan);
        assert_int_equal(records[i].rows, rows[i]);
        assert_int_equal(records[i].valid, HOPMLA_VALID_WORK | HOPMLA_VALID_TIME);
        assert_int_equal(records[i].bytes, bytes[i]);
        assert_int_equal(records[i].unique_bytes, bytes[i]);
        assert_true(i == 0 || records[i].host_begin_ns >= records[i - 1].host_begin_ns + records[i - 1].host_ns);
    }
    assert_int_equal(records[2].kv_tokens, 161);
    assert_int_equal(records[2].flops, (101 + 60 + 59) * OBSERVED_HEADS * 2 * 1088);
    assert_int_equal(records[2].layer, 1);
    assert_true(records[2].intensity == (double)records[2].flops / (double)records[2].bytes);
    assert_true(records[2].fraction == 0.0);
    const hopmla_profiler_info info = observed_info(profiler);
    assert_int_equal(info.recorded, 4);
    assert_int_equal(info.waiting, 0);
    assert_int_equal(info.dropped, 0);
    assert_int_equal(info.untimed, 0);
    assert_int_equal(observed_read(profiler, records, 8), 0);
    hopmla_profiler_destroy(profiler);
}

/* What did not run, because it failed or was captured, leaves no record and no gap. */
static void test_no_record_of_what_did_not_run(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 16);
    observed_update(&w->o);
    for (int i = 0; i < 3; i++) {
        w->device->fail_in = 0;
        assert_int_equal(observed_decode(&w->o, 0), HOPMLA_ERROR_DRIVER);
    }
    assert_int_equal(observed_info(profiler).recorded, 1);
    assert_int_equal(observed_info(profiler).waiting, 1);
    hopmla_record records[4];
    assert_int_equal(observed_read(profiler, records, 1), 1);
    fake_capture(w->device, w->o.stream, 1);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    assert_int_equal(observed_append(&w->o, 0), HOPMLA_OK);
    assert_int_equal(observed_gather(&w->o, 2), HOPMLA_OK);
    fake_capture(w->device, w->o.stream, 0);
    w->device->fail_in = 2; /* apply and schedule go through, the fence does not */
    const uint32_t q_len = 1;
    assert_int_equal(hopmla_plan_update(w->o.plan, w->o.seqs, NULL, &q_len, 1, w->o.stream, NULL), HOPMLA_ERROR_DRIVER);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 4), 1);
    assert_int_equal(records[0].id, 2);
    assert_int_equal(records[0].step, 2);
    assert_int_equal(records[0].kv_tokens, 100);
    assert_int_equal(observed_totals(profiler, HOPMLA_CALL_DECODE, NULL).records, 1);
    hopmla_profiler_destroy(profiler);
}

static void test_a_full_ring_drops_and_counts(void **state)
{
    world *w = *state;
    for (uint32_t capacity = 1; capacity <= 8; capacity *= 2) {
        hopmla_profiler *profiler = observed_profiler(w->o.context, 0, capacity);
        observed_update(&w->o);
        for (uint32_t i = 0; i < 3 * capacity; i++) {
            assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
        }
        hopmla_profiler_info info = observed_info(profiler);
        assert_int_equal(info.recorded, 1 + 3 * capacity);
        assert_int_equal(info.dropped, 1 + 2 * capacity);
        assert_int_equal(info.waiting, capacity);
        hopmla_record records[16];
        assert_int_equal(observed_read(profiler, records, 16), capacity);
        assert_int_equal(records[0].kind, HOPMLA_CALL_UPDATE);
        assert_int_equal(records[capacity - 1].id, capacity);
        assert_int_equal(observed_append(&w->o, 0), HOPMLA_OK);
        assert_int_equal(observed_read(profiler, records, 16), 1);
        assert_int_equal(records[0].id, 2 + 3 * capacity); /* the gap is what was dropped */
        const hopmla_totals decodes = observed_totals(profiler, HOPMLA_CALL_DECODE, NULL);
        assert_int_equal(decodes.records, capacity - 1);
        assert_int_equal(decodes.dropped, 1 + 2 * capacity);
        assert_int_equal(observed_totals(profiler, HOPMLA_CALL_APPEND, NULL).dropped, 0);
        assert_int_equal(observed_totals(profiler, HOPMLA_CALL_DECODE, w->o.plan).dropped, 0);
        hopmla_profiler_destroy(profiler);
    }
}

/* Reading. */

static void test_records_of_another_size(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    observed_update(&w->o);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    struct newer {
        hopmla_record record;
        uint64_t beyond[2];
    } newer[2];
    uint32_t count = 7;
    hopmla_record record;
    assert_fails(hopmla_profiler_read(NULL, &record, sizeof(record), 1, &count, &error), HOPMLA_ERROR_NULL, "profiler");
    assert_fails(hopmla_profiler_read(profiler, NULL, sizeof(record), 1, &count, &error), HOPMLA_ERROR_NULL, "records");
    assert_fails(hopmla_profiler_read(profiler, &record, sizeof(record), 1, NULL, &error), HOPMLA_ERROR_NULL, "count");
    const uint64_t sizes[] = { 0, sizeof(record) - 8, sizeof(record) + 4, 4104, UINT64_MAX };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_fails(hopmla_profiler_read(profiler, &record, sizes[i], 1, &count, &error), HOPMLA_ERROR_STRUCT_SIZE,
                     "record_size");
    }
    assert_int_equal(count, 7);
    assert_int_equal(hopmla_profiler_read(profiler, NULL, sizeof(record), 0, &count, NULL), HOPMLA_OK);
    assert_int_equal(count, 0);
    memset(newer, 0x77, sizeof(newer));
    assert_int_equal(hopmla_profiler_read(profiler, &newer[0].record, sizeof(newer[0]), 2, &count, NULL), HOPMLA_OK);
    assert_int_equal(count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(newer[i].record.struct_size, sizeof(newer[0]));
        assert_int_equal(newer[i].record.id, i + 1);
        assert_int_equal(newer[i].beyond[0] | newer[i].beyond[1], 0);
    }
    hopmla_profiler_destroy(profiler);
}

static void test_ceilings(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    assert_fails(hopmla_profiler_set_ceilings(NULL, &ceilings, &error), HOPMLA_ERROR_NULL, "profiler");
    assert_fails(hopmla_profiler_set_ceilings(profiler, &ceilings, &error), HOPMLA_ERROR_ARGUMENT, "read_bytes");
    ceilings.read_bytes_per_second = 1e9;
    ceilings.flops_burst = -1.0;
    assert_fails(hopmla_profiler_set_ceilings(profiler, &ceilings, &error), HOPMLA_ERROR_ARGUMENT, "flops_burst");
    ceilings.flops_burst = 1e12;
    ceilings.flops_sustained = 1.0 / 0.0;
    assert_fails(hopmla_profiler_set_ceilings(profiler, &ceilings, &error), HOPMLA_ERROR_ARGUMENT, "flops_sustained");
    ceilings.flops_sustained = 5e11;
    ceilings.reserved = 1;
    assert_fails(hopmla_profiler_set_ceilings(profiler, &ceilings, &error), HOPMLA_ERROR_ARGUMENT, "reserved");
    ceilings.reserved = 0;
    ceilings.struct_size = 8;
    assert_fails(hopmla_profiler_set_ceilings(profiler, &ceilings, &error), HOPMLA_ERROR_STRUCT_SIZE, "ceilings");
    ceilings.struct_size = sizeof(ceilings);
    assert_int_equal(hopmla_profiler_set_ceilings(profiler, &ceilings, NULL), HOPMLA_OK);
    observed_update(&w->o);
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    hopmla_record records[2];
    assert_int_equal(observed_read(profiler, records, 2), 2);
    assert_int_equal(records[1].valid, HOPMLA_VALID_WORK | HOPMLA_VALID_TIME | HOPMLA_VALID_BOUND);
    assert_true(records[1].bound_ns == (double)records[1].unique_bytes); /* a byte a nanosecond; FLOPs are faster */
    if (records[1].device_ns > 0) {
        assert_true(records[1].fraction == records[1].bound_ns / (double)records[1].device_ns);
        assert_true(records[1].bytes_per_second > 0.0 && records[1].flops_per_second > 0.0);
    }
    assert_int_equal(hopmla_profiler_set_ceilings(profiler, NULL, NULL), HOPMLA_OK); /* none again */
    assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 2), 1);
    assert_int_equal(records[0].valid, HOPMLA_VALID_WORK | HOPMLA_VALID_TIME);
    assert_true(records[0].bound_ns == 0.0 && records[0].fraction == 0.0);
    hopmla_profiler_destroy(profiler);
}

/* Totals. */

static void test_totals(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    observed_update(&w->o);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
    }
    hopmla_totals totals = observed_totals(profiler, HOPMLA_CALL_DECODE, NULL);
    hopmla_record records[11];
    assert_int_equal(observed_read(profiler, records, 11), 11);
    int64_t sum = 0;
    for (int i = 1; i < 11; i++) {
        sum += records[i].device_ns;
    }
    assert_int_equal(totals.records, 10);
    assert_int_equal(totals.calls, 10);
    assert_int_equal(totals.timed, 10);
    assert_int_equal(totals.flops, 10 * records[1].flops);
    assert_int_equal(totals.bytes, 10 * records[1].bytes);
    assert_int_equal(totals.timed_bytes, totals.bytes);
    assert_int_equal(totals.time_ns, sum);
    assert_true(totals.time_min_ns <= totals.time_p50_ns && totals.time_p50_ns <= totals.time_p90_ns);
    assert_true(totals.time_p90_ns <= totals.time_p99_ns && totals.time_p99_ns <= totals.time_max_ns);
    assert_int_equal(totals.counted, 0);
    const hopmla_totals same = observed_totals(profiler, HOPMLA_CALL_DECODE, w->o.plan); /* and after they were read */
    assert_int_equal(same.plan, records[1].plan);
    assert_int_equal(same.records, 10);
    assert_int_equal(same.time_ns, sum);
    hopmla_plan *other;
    observed_plan(w->o.pool, &other);
    assert_int_equal(observed_totals(profiler, HOPMLA_CALL_DECODE, other).records, 0);
    hopmla_plan_destroy(other);
    assert_fails(hopmla_profiler_get_totals(NULL, 1, NULL, &totals, &error), HOPMLA_ERROR_NULL, "profiler");
    assert_fails(hopmla_profiler_get_totals(profiler, 1, NULL, NULL, &error), HOPMLA_ERROR_NULL, "totals");
    assert_fails(hopmla_profiler_get_totals(profiler, 0, NULL, &totals, &error), HOPMLA_ERROR_ENUM, "kind");
    assert_fails(hopmla_profiler_get_totals(profiler, 6, NULL, &totals, &error), HOPMLA_ERROR_ENUM, "kind");
    totals.struct_size = 16;
    assert_fails(hopmla_profiler_get_totals(profiler, 1, NULL, &totals, &error), HOPMLA_ERROR_STRUCT_SIZE, "totals");
    hopmla_profiler_destroy(profiler);
}

/* More plans than totals are kept for: those beyond are in the sum alone. */
static void test_totals_of_many_plans(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    for (int i = 0; i < 70; i++) {
        hopmla_plan *plan;
        observed_plan(w->o.pool, &plan);
        assert_int_equal(hopmla_plan_update(plan, NULL, NULL, NULL, 0, w->o.stream, NULL), HOPMLA_OK);
        if (i < 64) {
            assert_int_equal(observed_totals(profiler, HOPMLA_CALL_UPDATE, plan).records, 1);
        } else {
            hopmla_totals totals = HOPMLA_TOTALS_INIT;
            totals.records = 77;
            assert_fails(hopmla_profiler_get_totals(profiler, HOPMLA_CALL_UPDATE, plan, &totals, &error),
                         HOPMLA_ERROR_TOO_MANY, "plan");
            assert_int_equal(totals.records, 77);
        }
        assert_int_equal(hopmla_plan_end(plan, w->o.stream, NULL), HOPMLA_OK);
        hopmla_plan_destroy(plan);
    }
    assert_int_equal(observed_totals(profiler, HOPMLA_CALL_UPDATE, NULL).records, 70);
    hopmla_profiler_destroy(profiler);
}

/* A process that only sums never fills its ring, as long as it sums. */
static void test_totals_only(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler;
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.flags = HOPMLA_PROFILER_TOTALS_ONLY;
    options.capacity = 8;
    assert_int_equal(hopmla_profiler_create(w->o.context, &options, &profiler, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_start(profiler, NULL), HOPMLA_OK);
    observed_update(&w->o);
    for (uint32_t i = 1; i <= 20; i++) {
        for (int k = 0; k < 5; k++) {
            assert_int_equal(observed_decode(&w->o, 0), HOPMLA_OK);
        }
        assert_int_equal(observed_totals(profiler, HOPMLA_CALL_DECODE, NULL).records, 5 * i);
    }
    hopmla_record record;
    assert_int_equal(observed_read(profiler, &record, 1), 0);
    const hopmla_profiler_info info = observed_info(profiler);
    assert_int_equal(info.recorded, 101);
    assert_int_equal(info.dropped, 0);
    assert_int_equal(info.waiting, 0);
    hopmla_profiler_destroy(profiler);
}

/* Lifetimes. */

static void test_a_profiler_keeps_its_context(void **state)
{
    (void)state;
    hm_device *device;
    hopmla_context *context = fake_context(&device);
    observed o;
    observed_create(&o, context);
    hopmla_profiler *profiler = observed_profiler(context, 0, 0);
    observed_update(&o);
    observed_destroy(&o);
    hopmla_record record;
    assert_int_equal(observed_read(profiler, &record, 1), 1);
    assert_fails(hopmla_profiler_finish(NULL, &error), HOPMLA_ERROR_NULL, "profiler");
    assert_int_equal(hopmla_profiler_finish(profiler, NULL), HOPMLA_OK);
    hopmla_profiler_destroy(profiler);
}

static void test_two_contexts(void **state)
{
    world *w = *state;
    hm_device *device;
    observed other;
    observed_create(&other, fake_context(&device));
    hopmla_profiler *first = observed_profiler(w->o.context, 0, 0);
    hopmla_profiler *second = observed_profiler(other.context, 0, 0);
    observed_update(&w->o);
    assert_int_equal(observed_info(first).recorded, 1);
    assert_int_equal(observed_info(second).recorded, 0);
    observed_update(&other);
    observed_update(&other);
    assert_int_equal(observed_info(first).recorded, 1);
    assert_int_equal(observed_info(second).recorded, 2);
    hopmla_totals totals = HOPMLA_TOTALS_INIT;
    assert_fails(hopmla_profiler_get_totals(first, HOPMLA_CALL_UPDATE, other.plan, &totals, &error),
                 HOPMLA_ERROR_MISMATCH, "plan");
    hopmla_profiler_destroy(first);
    hopmla_profiler_destroy(second);
    observed_destroy(&other);
}

static void test_wrong_describe(void **state)
{
    world *w = *state;
    hopmla_profiler *profiler = observed_profiler(w->o.context, 0, 0);
    hopmla_profiler_info info = HOPMLA_PROFILER_INFO_INIT;
    assert_fails(hopmla_profiler_describe(NULL, &info, &error), HOPMLA_ERROR_NULL, "profiler");
    assert_fails(hopmla_profiler_describe(profiler, NULL, &error), HOPMLA_ERROR_NULL, "info");
    info.struct_size = 3;
    assert_fails(hopmla_profiler_describe(profiler, &info, &error), HOPMLA_ERROR_STRUCT_SIZE, "info");
    hopmla_profiler_destroy(profiler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wrong_options, set_up, tear_down),
        cmocka_unit_test(test_options_init),
        cmocka_unit_test_setup_teardown(test_what_is_missing_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_start_and_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_record_of_each_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_record_of_what_did_not_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_ring_drops_and_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_of_another_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ceilings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_totals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_totals_of_many_plans, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_totals_only, set_up, tear_down),
        cmocka_unit_test(test_a_profiler_keeps_its_context),
        cmocka_unit_test_setup_teardown(test_two_contexts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_describe, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("profiler", tests, NULL, NULL) ? 1 : 0;
}
