/* SPDX-License-Identifier: Apache-2.0 */
/* Making, sizing, describing and destroying a pool, and every wrong way to ask for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/pool.h"
#include "tests/fake_backend.h"

enum {
    ROW = 1152,
    PAGE = 64 * ROW
};

static int set_up(void **state)
{
    hm_device *device;
    *state = fake_context(&device);
    return 0;
}

static int tear_down(void **state)
{
    hopmla_context_destroy(*state);
    return 0;
}

static hopmla_pool_options small(void)
{
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 3;
    options.pages = 5;
    return options;
}

/* Both query and create refuse it, and the message names the field. */
static void assert_refused(hopmla_context *context, const hopmla_pool_options *options, hopmla_status status,
                           const char *named)
{
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_pool *pool = NULL;
    assert_int_equal(hopmla_pool_create(context, options, &pool, &error), status);
    assert_null(pool);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.message, named));
    memset(&error.message, 0, sizeof(error.message));
    assert_int_equal(hopmla_pool_query(context, options, &layout, &error), status);
    assert_non_null(strstr(error.message, named));
    assert_int_equal(layout.pages, 0);
}

static void test_layout(void **state)
{
    hopmla_pool_options options = small();
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    assert_int_equal(hopmla_pool_query(*state, &options, &layout, NULL), HOPMLA_OK);
    assert_int_equal(layout.struct_size, sizeof(layout));
    assert_int_equal(layout.format, HOPMLA_KV_BF16);
    assert_int_equal(layout.storage, HOPMLA_STORAGE_LIBRARY);
    assert_int_equal(layout.device, -1);
    assert_int_equal(layout.layers, 3);
    assert_int_equal(layout.page_tokens, 64);
    assert_int_equal(layout.row_stride, ROW);
    assert_int_equal(layout.pages, 5);
    assert_int_equal(layout.page_stride, PAGE);
    assert_int_equal(layout.layer_stride, 5 * PAGE);
    assert_int_equal(layout.bytes, 15 * PAGE);
    assert_true(layout.host_bytes > 0);
    assert_null(layout.base);

    hopmla_pool *pool;
    hopmla_pool_layout described = HOPMLA_POOL_LAYOUT_INIT;
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_describe(pool, &described, NULL), HOPMLA_OK);
    assert_non_null(described.base);
    assert_int_equal((uintptr_t)described.base % 1024, 0);
    memset(described.base, 1, described.bytes);
    described.base = NULL;
    assert_memory_equal(&described, &layout, sizeof(layout));
    assert_int_equal(hopmla_pool_describe(NULL, &layout, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_pool_describe(pool, NULL, NULL), HOPMLA_ERROR_NULL);
    layout.struct_size = 8;
    assert_int_equal(hopmla_pool_describe(pool, &layout, NULL), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(hopmla_pool_query(*state, &options, &layout, NULL), HOPMLA_ERROR_STRUCT_SIZE);
    hopmla_pool_destroy(pool);
}

static void test_capacity_in_bytes(void **state)
{
    hopmla_pool_options options = small();
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    options.pages = 0;
    options.bytes = 3 * PAGE * 7 + 3 * PAGE - 1;
    assert_int_equal(hopmla_pool_query(*state, &options, &layout, NULL), HOPMLA_OK);
    assert_int_equal(layout.pages, 7);
    assert_int_equal(layout.bytes, 3 * PAGE * 7);
    options.bytes = 3 * PAGE - 1;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "bytes");
    options.bytes = UINT64_MAX;
    assert_refused(*state, &options, HOPMLA_ERROR_OVERFLOW, "bytes");
    options.bytes = 0;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "pages");
    options.bytes = options.pages = 1 << 20;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "pages");
}

/* Sizes follow from the format. */
static void test_formats(void **state)
{
    for (int32_t format = HOPMLA_KV_BF16; format <= HOPMLA_KV_FP16_NOPE; format++) {
        const uint64_t row = format < HOPMLA_KV_BF16_NOPE ? 1152 : 1024;
        hopmla_pool_options options = small();
        hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
        options.format = format;
        assert_int_equal(hopmla_pool_query(*state, &options, &layout, NULL), HOPMLA_OK);
        assert_int_equal(layout.format, format);
        assert_int_equal(layout.row_stride, row);
        assert_int_equal(layout.page_stride, 64 * row);
        assert_int_equal(layout.layer_stride, 5 * 64 * row);
        assert_int_equal(layout.bytes, 15 * 64 * row);
        options.pages = 0;
        options.bytes = 3 * 64 * row * 8 - 1;
        assert_int_equal(hopmla_pool_query(*state, &options, &layout, NULL), HOPMLA_OK);
        assert_int_equal(layout.pages, 7);
        options.bytes = 3 * 64 * row - 1;
        assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "bytes");
    }
}

static void test_wrong_options(void **state)
{
    hopmla_pool_options options = small();
    options.format = 0;
    assert_refused(*state, &options, HOPMLA_ERROR_ENUM, "format");
    options.format = 5;
    assert_refused(*state, &options, HOPMLA_ERROR_ENUM, "format");
    options = small();
    options.storage = 0;
    assert_refused(*state, &options, HOPMLA_ERROR_ENUM, "storage");
    options.storage = 4;
    assert_refused(*state, &options, HOPMLA_ERROR_ENUM, "storage");
    options = small();
    options.layers = 0;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "layers");
    options.layers = 65536;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "layers");
    options = small();
    options.pages = UINT64_C(1) << 31;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "pages");
    options.pages--;
    options.layers = 65535;
    assert_refused(*state, &options, HOPMLA_ERROR_OVERFLOW, "layers");
    options = small();
    options.max_sequences = 0;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "max_sequences");
    options.max_sequences = 1 << 24;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "max_sequences");
    options = small();
    options.page_tokens = 32;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "page_tokens");
    options = small();
    options.memory_bytes = 1;
    assert_refused(*state, &options, HOPMLA_ERROR_ARGUMENT, "memory");
    options = small();
    options.struct_size = 8;
    assert_refused(*state, &options, HOPMLA_ERROR_STRUCT_SIZE, "struct_size");
}

static void test_newer_struct(void **state)
{
    struct {
        hopmla_pool_options options;
        uint64_t tail[2];
    } newer = { .options = small(), .tail = { 0, 1 } };
    newer.options.struct_size = sizeof(newer);
    assert_refused(*state, &newer.options, HOPMLA_ERROR_STRUCT_TAIL, "options");
    newer.tail[1] = 0;
    hopmla_pool *pool;
    assert_int_equal(hopmla_pool_create(*state, &newer.options, &pool, NULL), HOPMLA_OK);
    hopmla_pool_destroy(pool);
}

static void test_nulls(void **state)
{
    const hopmla_pool_options options = small();
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    hopmla_pool *pool = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(hopmla_pool_create(NULL, &options, &pool, &error), HOPMLA_ERROR_NULL);
    assert_non_null(strstr(error.message, "context"));
    assert_int_equal(hopmla_pool_create(*state, NULL, &pool, &error), HOPMLA_ERROR_NULL);
    assert_non_null(strstr(error.message, "options"));
    assert_int_equal(hopmla_pool_create(*state, &options, NULL, &error), HOPMLA_ERROR_NULL);
    assert_non_null(strstr(error.message, "pool"));
    assert_int_equal(hopmla_pool_query(NULL, &options, &layout, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_pool_query(*state, NULL, &layout, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_pool_query(*state, &options, NULL, NULL), HOPMLA_ERROR_NULL);
    error.struct_size = 4;
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, &error), HOPMLA_ERROR_STRUCT_SIZE);
    assert_null(pool);
    hopmla_pool_destroy(NULL);
    assert_int_equal(hopmla_pool_options_init(NULL, sizeof(options)), HOPMLA_ERROR_NULL);
    hopmla_pool_options made;
    assert_int_equal(hopmla_pool_options_init(&made, 8), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(hopmla_pool_options_init(&made, sizeof(made)), HOPMLA_OK);
    const hopmla_pool_options defaults = HOPMLA_POOL_OPTIONS_INIT;
    assert_memory_equal(&made, &defaults, sizeof(made));
}

static void test_caller_memory(void **state)
{
    hopmla_pool_options options = small();
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_pool *pool = NULL;
    options.storage = HOPMLA_STORAGE_CALLER;
    assert_int_equal(hopmla_pool_query(*state, &options, &layout, NULL), HOPMLA_OK); /* the size, before there is any */
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, &error), HOPMLA_ERROR_NULL);
    assert_non_null(strstr(error.message, "memory"));
    char *memory = aligned_alloc(1024, layout.bytes + 1024);
    options.memory = memory + 512;
    options.memory_bytes = layout.bytes;
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, &error), HOPMLA_ERROR_ALIGNMENT);
    options.memory = memory;
    options.memory_bytes--;
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, &error), HOPMLA_ERROR_ARGUMENT);
    assert_int_equal(error.value, layout.bytes);
    options.memory_bytes++;
    assert_null(pool);
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, &error), HOPMLA_OK);
    assert_int_equal(hopmla_pool_describe(pool, &layout, NULL), HOPMLA_OK);
    assert_ptr_equal(layout.base, memory);
    hopmla_pool_destroy(pool);
    memset(memory, 0, layout.bytes);
    free(memory);
}

static void test_no_storage(void **state)
{
    hopmla_pool_options options = small();
    options.storage = HOPMLA_STORAGE_NONE;
    options.layers = 65535;
    hopmla_pool *pool;
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_describe(pool, &layout, NULL), HOPMLA_OK);
    assert_null(layout.base);
    assert_int_equal(layout.bytes, (uint64_t)65535 * 5 * PAGE);
    hopmla_pool_destroy(pool);
}

static void test_stats(void **state)
{
    const hopmla_pool_options options = small();
    hopmla_pool *pool;
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    assert_int_equal(hopmla_pool_create(*state, &options, &pool, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_OK);
    const hopmla_pool_stats empty = { .struct_size = sizeof(empty), .pages_total = 5, .pages_free = 5 };
    assert_memory_equal(&stats, &empty, sizeof(stats));
    hopmla_seq seqs[2];
    const uint32_t n_new[] = { 100, 64 };
    const uint32_t committed[] = { 70, 0 };
    assert_int_equal(hopmla_seq_create(pool, seqs, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_reserve(pool, seqs, n_new, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_commit(pool, seqs, committed, 2, NULL), HOPMLA_OK);
    hopmla_seq child;
    assert_int_equal(hopmla_seq_fork(pool, seqs[0], 66, &child, NULL), HOPMLA_OK);
    const uint32_t one = 1;
    assert_int_equal(hopmla_seq_reserve(pool, &child, &one, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_OK);
    const hopmla_pool_stats full = { .struct_size = sizeof(full),
                                     .sequences = 3,
                                     .pages_total = 5,
                                     .pages_free = 1,
                                     .pages_used = 4,
                                     .pages_shared = 1,
                                     .pages_high_water = 4,
                                     .tokens_committed = 136,
                                     .tokens_reserved = 95,
                                     .copies_owed = 1 };
    assert_memory_equal(&stats, &full, sizeof(stats));
    assert_int_equal(hopmla_seq_release(pool, seqs, 2, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_seq_release(pool, &child, 1, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_OK);
    const hopmla_pool_stats after = {
        .struct_size = sizeof(after), .pages_total = 5, .pages_free = 5, .pages_high_water = 4
    };
    assert_memory_equal(&stats, &after, sizeof(stats));
    assert_int_equal(hopmla_pool_get_stats(NULL, &stats, NULL), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_pool_get_stats(pool, NULL, NULL), HOPMLA_ERROR_NULL);
    stats.struct_size = 4;
    assert_int_equal(hopmla_pool_get_stats(pool, &stats, NULL), HOPMLA_ERROR_STRUCT_SIZE);
    hopmla_pool_destroy(pool);
}

/* Handles go in any order; sequences go with the pool. */
static void test_context_goes_first(void **state)
{
    (void)state;
    hm_device *device;
    hopmla_context *context = fake_context(&device);
    const hopmla_pool_options options = small();
    hopmla_pool *pool;
    hopmla_seq seqs[40];
    uint32_t n_new[40];
    assert_int_equal(hopmla_pool_create(context, &options, &pool, NULL), HOPMLA_OK);
    hopmla_context_destroy(context);
    assert_int_equal(hopmla_seq_create(pool, seqs, 40, NULL), HOPMLA_OK);
    for (int i = 0; i < 40; i++) {
        n_new[i] = i < 5;
    }
    assert_int_equal(hopmla_seq_reserve(pool, seqs, n_new, 40, NULL), HOPMLA_OK);
    hopmla_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),        cmocka_unit_test(test_capacity_in_bytes),
        cmocka_unit_test(test_formats),       cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_newer_struct),  cmocka_unit_test(test_nulls),
        cmocka_unit_test(test_caller_memory), cmocka_unit_test(test_no_storage),
        cmocka_unit_test(test_stats),         cmocka_unit_test(test_context_goes_first),
    };
    return cmocka_run_group_tests_name("pool", tests, set_up, tear_down) ? 1 : 0;
}
