/* SPDX-License-Identifier: Apache-2.0 */
/* A plan's options, what it refuses, and its memory. */
#include "tests/plan_world.h"

static void assert_refused(world *w, const hopmla_plan_options *options, hopmla_status status, const char *named)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_plan *plan = NULL;
    uint64_t device_bytes = 7;
    uint64_t pinned_bytes = 7;
    assert_int_equal(hopmla_plan_create(w->pool, options, &plan, &error), status);
    assert_null(plan);
    assert_non_null(strstr(error.message, named));
    assert_int_equal(hopmla_plan_query(w->pool, options, &device_bytes, &pinned_bytes, &error), status);
    assert_int_equal(device_bytes, 7);
    assert_int_equal(pinned_bytes, 7);
}

static void test_wrong_options(void **state)
{
    world *w = *state;
    const struct {
        const char *name;
        size_t at;
        uint32_t too_large;
    } fields[] = {
        { "max_batch", offsetof(hopmla_plan_options, max_batch), 65536 },
        { "max_q_tokens", offsetof(hopmla_plan_options, max_q_tokens), 1025 },
        { "heads", offsetof(hopmla_plan_options, heads), 257 },
        { "max_kv_tokens", offsetof(hopmla_plan_options, max_kv_tokens), (1 << 20) + 1 },
        { "staging_depth", offsetof(hopmla_plan_options, staging_depth), 65 },
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        hopmla_plan_options options = small();
        memset((char *)&options + fields[i].at, 0, sizeof(uint32_t));
        assert_refused(w, &options, HOPMLA_ERROR_ARGUMENT, fields[i].name);
        memcpy((char *)&options + fields[i].at, &fields[i].too_large, sizeof(uint32_t));
        assert_refused(w, &options, HOPMLA_ERROR_ARGUMENT, fields[i].name);
    }
    hopmla_plan_options options = small();
    options.max_kv_tokens = UINT64_MAX;
    assert_refused(w, &options, HOPMLA_ERROR_ARGUMENT, "max_kv_tokens");
    options = small();
    options.lse = 3;
    assert_refused(w, &options, HOPMLA_ERROR_ENUM, "lse");
    options.lse = -1;
    assert_refused(w, &options, HOPMLA_ERROR_ENUM, "lse");
    options = small();
    options.reserved = 1;
    assert_refused(w, &options, HOPMLA_ERROR_ARGUMENT, "reserved");
    options = small();
    options.memory_bytes = 1;
    assert_refused(w, &options, HOPMLA_ERROR_ARGUMENT, "memory");
    options = small();
    options.struct_size--;
    assert_refused(w, &options, HOPMLA_ERROR_STRUCT_SIZE, "struct_size");
    struct {
        hopmla_plan_options options;
        uint64_t tail;
    } newer = { small(), 1 };
    newer.options.struct_size = sizeof(newer);
    assert_refused(w, &newer.options, HOPMLA_ERROR_STRUCT_TAIL, "options");
    assert_int_equal(hopmla_plan_options_init(&options, 8), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(hopmla_plan_options_init(NULL, sizeof(options)), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_options_init(&options, sizeof(options)), HOPMLA_OK);
    assert_int_equal(options.staging_depth, 4);
}

static void test_nulls(void **state)
{
    world *w = *state;
    const hopmla_plan_options options = small();
    hopmla_plan *plan;
    uint64_t bytes;
    int32_t done;
    assert_int_equal(hopmla_plan_create(NULL, &options, &plan, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_create(w->pool, NULL, &plan, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_create(w->pool, &options, NULL, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_query(w->pool, &options, NULL, &bytes, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_query(w->pool, &options, &bytes, NULL, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_query(NULL, &options, &bytes, &bytes, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_query(w->pool, NULL, &bytes, &bytes, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_update(NULL, NULL, NULL, NULL, 0, NULL, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_update(w->plan, NULL, NULL, NULL, 1, NULL, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_end(NULL, NULL, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_done(NULL, &done, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_done(w->plan, NULL, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_plan_get_tables(w->plan, NULL, NULL), HOPMLA_ERROR_NULL);
    hopmla_plan_tables tables = HOPMLA_PLAN_TABLES_INIT;
    assert_int_equal(hopmla_plan_get_tables(NULL, &tables, NULL), HOPMLA_ERROR_NULL);
    tables.struct_size = 16;
    assert_int_equal(hopmla_plan_get_tables(w->plan, &tables, NULL), HOPMLA_ERROR_STRUCT_SIZE);
    hopmla_plan_destroy(NULL);
}

static void test_no_storage(void **state)
{
    world *w = *state;
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.storage = HOPMLA_STORAGE_NONE;
    options.layers = 1;
    options.pages = PAGES;
    const hopmla_plan_options plan_options = small();
    hopmla_pool *pool;
    hopmla_plan *plan = NULL;
    uint64_t device_bytes;
    uint64_t pinned_bytes;
    assert_int_equal(hopmla_pool_create(w->context, &options, &pool, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_query(pool, &plan_options, &device_bytes, &pinned_bytes, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_create(pool, &plan_options, &plan, NULL), HOPMLA_ERROR_NO_STORAGE);
    assert_null(plan);
    hopmla_pool_destroy(pool);
}

static void test_caller_memory(void **state)
{
    world *w = *state;
    hopmla_plan_options options = small();
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_plan *plan = NULL;
    uint64_t bytes;
    uint64_t pinned;
    assert_int_equal(hopmla_plan_query(w->pool, &options, &bytes, &pinned, NULL), HOPMLA_OK);
    char *memory = aligned_alloc(1024, (bytes + 2047) / 1024 * 1024);
    options.memory = memory + 256;
    options.memory_bytes = bytes;
    assert_int_equal(hopmla_plan_create(w->pool, &options, &plan, &error), HOPMLA_ERROR_ALIGNMENT);
    options.memory = memory;
    options.memory_bytes = bytes - 1;
    assert_int_equal(hopmla_plan_create(w->pool, &options, &plan, &error), HOPMLA_ERROR_ARGUMENT);
    assert_int_equal(error.value, bytes);
    assert_null(plan);
    options.memory_bytes = bytes;
    assert_int_equal(hopmla_plan_create(w->pool, &options, &plan, &error), HOPMLA_OK);
    hopmla_plan_tables tables = HOPMLA_PLAN_TABLES_INIT;
    assert_int_equal(hopmla_plan_get_tables(plan, &tables, NULL), HOPMLA_OK);
    const char *last = (const char *)&tables.block_table[BATCH * tables.table_stride];
    assert_true((const char *)tables.count >= memory && last <= memory + bytes);
    assert_ptr_equal((char *)plan->workspace + plan->sizes.workspace, memory + bytes);
    hopmla_plan_destroy(plan);
    memset(memory, 0, bytes);
    free(memory);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_wrong_options),
        TEST(test_nulls),
        TEST(test_no_storage),
        TEST(test_caller_memory),
    };
    return cmocka_run_group_tests_name("plan options", tests, NULL, NULL) ? 1 : 0;
}
