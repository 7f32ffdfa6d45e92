/* SPDX-License-Identifier: Apache-2.0 */
/* Exports to callbacks and paths, and every argument that they refuse: what they hold is read by export.py, and how files
 * are written is test_export_file.c's. The linker sends allocations of the exporters here: --wrap in meson.build. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/cpu_context.h"
#include "tests/export_world.h"

/* Allocations that fail. */

static int fail_at = -1;
static int allocations;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return allocations++ == fail_at ? NULL : __real_calloc(count, size);
}

static void test_a_path_and_a_callback_get_the_same(void **state)
{
    (void)state;
    for (int32_t format = HOPMLA_EXPORT_JSONL; format <= HOPMLA_EXPORT_TIMELINE; format++) {
        hopmla_export_options options = to_callback();
        assert_int_equal(export_all(format, &options, NULL), HOPMLA_OK);
        assert_true(received.bytes > 1000);
        assert_true(received.most <= 16384); /* a piece is small however much there is */

        const hopmla_export_options file = to_path(file_path);
        assert_int_equal(export_all(format, &file, NULL), HOPMLA_OK);
        assert_int_equal(size_of(file_path), received.bytes);
        static char text[TEXT];
        FILE *written = fopen(file_path, "r");
        assert_int_equal(fread(text, 1, sizeof(text), written), received.bytes);
        fclose(written);
        assert_memory_equal(text, received.text, received.bytes);
    }
}

static void test_a_callback_may_end_it(void **state)
{
    (void)state;
    for (int32_t format = HOPMLA_EXPORT_JSONL; format <= HOPMLA_EXPORT_TIMELINE; format++) {
        for (uint64_t at = 1; at <= 3; at++) {
            hopmla_export_options options = to_callback();
            assert_int_equal(export_all(format, &options, NULL), HOPMLA_OK);
            const uint64_t calls = received.calls;
            options = to_callback();
            received.ends_at = at;
            if (at <= calls) {
                assert_fails(export_all(format, &options, &error), HOPMLA_ERROR_IO, "options.write");
                assert_int_equal(received.calls, at); /* and is not called again */
            }
        }
    }
}

/* Fails every allocation of an export to a path in turn. @return how many there are */
static int fail_each(int32_t format, const char *path, uint64_t size_before)
{
    const hopmla_export_options options = to_path(path);
    for (int failures = 0;; failures++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        allocations = 0;
        fail_at = failures;
        const hopmla_status status = export_all(format, &options, &error);
        fail_at = -1;
        if (status == HOPMLA_OK) {
            assert_true(size_of(path) > 1000);
            return failures;
        }
        assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
        assert_int_equal(error.status, status);
        assert_int_equal(size_of(path), size_before);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int32_t format = HOPMLA_EXPORT_JSONL; format <= HOPMLA_EXPORT_TIMELINE; format++) {
        const int own = format >= HOPMLA_EXPORT_ROOFLINE; /* pictures sort */
        put_old_file();
        assert_int_equal(fail_each(format, file_path, OLD), 1 + own);
        unlink(file_path);
        assert_int_equal(fail_each(format, file_path, UINT64_MAX), 1 + own);
    }
}

static void test_arguments(void **state)
{
    (void)state;
    hopmla_export_options options = to_callback();
    const uint64_t size = sizeof(records[0]);
    assert_fails(hopmla_export_records(0, records, size, 1, &options, &error), HOPMLA_ERROR_ENUM, "format");
    assert_fails(hopmla_export_records(6, records, size, 1, &options, &error), HOPMLA_ERROR_ENUM, "format is 6");
    assert_fails(hopmla_export_records(1, records, size, 1, NULL, &error), HOPMLA_ERROR_NULL, "options");
    assert_fails(hopmla_export_records(1, NULL, size, 1, &options, &error), HOPMLA_ERROR_NULL, "records");
    assert_int_equal(hopmla_export_records(1, NULL, size, 0, &options, NULL), HOPMLA_OK);
    assert_fails(hopmla_export_records(1, records, size, UINT64_MAX, &options, &error), HOPMLA_ERROR_ARGUMENT, "count");
    assert_fails(hopmla_export_records(1, records, size, UINT64_MAX / size, &options, &error), HOPMLA_ERROR_ARGUMENT,
                 "count");
    options.path = "/tmp/x";
    assert_fails(export_all(1, &options, &error), HOPMLA_ERROR_ARGUMENT, "both given");
    options.path = NULL;
    options.write = NULL;
    assert_fails(export_all(1, &options, &error), HOPMLA_ERROR_ARGUMENT, "both NULL");
    options = to_callback();
    options.reserved = 1;
    assert_fails(export_all(1, &options, &error), HOPMLA_ERROR_ARGUMENT, "reserved");
    assert_int_equal(received.calls, 0);
}

static void test_ceilings(void **state)
{
    (void)state;
    hopmla_export_options options = to_callback();
    hopmla_ceilings ceilings = export_ceilings();
    options.ceilings = &ceilings;
    double *rates[] = { &ceilings.read_bytes_per_second, &ceilings.flops_burst, &ceilings.flops_sustained };
    const double wrong[] = { 0.0, -1.0, 1.0 / 0.0, 0.0 / 0.0 };
    for (size_t r = 0; r < 3; r++) {
        for (size_t w = 0; w < 4; w++) {
            ceilings = export_ceilings();
            *rates[r] = wrong[w];
            assert_fails(export_all(HOPMLA_EXPORT_ROOFLINE, &options, &error), HOPMLA_ERROR_ARGUMENT, "ceilings");
        }
    }
    ceilings = export_ceilings();
    ceilings.reserved = 1;
    assert_fails(export_all(HOPMLA_EXPORT_ROOFLINE, &options, &error), HOPMLA_ERROR_ARGUMENT,
                 "ceilings has a reserved");
    ceilings = export_ceilings();
    ceilings.struct_size = 8;
    assert_fails(export_all(HOPMLA_EXPORT_ROOFLINE, &options, &error), HOPMLA_ERROR_STRUCT_SIZE, "ceilings");
    assert_int_equal(received.calls, 0);
}

/* Records of a newer and of an older header, and of none. */
static void test_records_of_another_size(void **state)
{
    (void)state;
    enum {
        LARGER = sizeof(hopmla_record) + 24
    };
    static unsigned char wide[3][LARGER];
    hopmla_export_options options = to_callback();
    assert_int_equal(hopmla_export_records(HOPMLA_EXPORT_CSV, records, sizeof(records[0]), 3, &options, NULL),
                     HOPMLA_OK);
    static sink narrow;
    narrow = received;
    for (int i = 0; i < 3; i++) {
        const uint32_t size = i == 1 ? (uint32_t)LARGER : (uint32_t)sizeof(hopmla_record);
        memcpy(wide[i], &records[i], sizeof(records[i]));
        memcpy(wide[i], &size, sizeof(size));
    }
    options = to_callback();
    const hopmla_record *first = (const hopmla_record *)(const void *)wide;
    assert_int_equal(hopmla_export_records(HOPMLA_EXPORT_CSV, first, LARGER, 3, &options, NULL), HOPMLA_OK);
    assert_int_equal(received.bytes, narrow.bytes);
    assert_memory_equal(received.text, narrow.text, narrow.bytes);

    options = to_callback();
    wide[1][LARGER - 1] = 1;
    assert_fails(hopmla_export_records(HOPMLA_EXPORT_CSV, first, LARGER, 3, &options, &error), HOPMLA_ERROR_STRUCT_TAIL,
                 "records[]");
    wide[1][LARGER - 1] = 0;
    const uint32_t wrong[] = { 0, 4, sizeof(hopmla_record) - 1, LARGER + 1, UINT32_MAX };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memcpy(wide[2], &wrong[i], sizeof(wrong[i]));
        assert_fails(hopmla_export_records(HOPMLA_EXPORT_CSV, first, LARGER, 3, &options, &error),
                     HOPMLA_ERROR_STRUCT_SIZE, "struct_size");
    }
    const uint64_t sizes[] = { 0, sizeof(hopmla_record) - 8, 4097, UINT64_MAX };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_fails(hopmla_export_records(HOPMLA_EXPORT_CSV, records, sizes[i], 3, &options, &error),
                     HOPMLA_ERROR_STRUCT_SIZE, "record_size");
    }
    assert_int_equal(received.calls, 0);
}

/* Of a profiler and a pool that exist, of either, of none, and of two contexts. */
static void test_metrics(void **state)
{
    (void)state;
    hopmla_context *context = make_context(), *other = make_context();
    hopmla_profiler *profiler = NULL;
    hopmla_pool *pool = NULL, *strange = NULL;
    hopmla_pool_options made = HOPMLA_POOL_OPTIONS_INIT;
    made.format = HOPMLA_KV_BF16;
    made.layers = 1;
    made.pages = 17;
    assert_int_equal(hopmla_pool_create(context, &made, &pool, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_create(other, &made, &strange, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_create(context, NULL, &profiler, NULL), HOPMLA_OK);
    for (int which = 0; which < 4; which++) {
        hopmla_export_options options = to_callback();
        hopmla_profiler *given = which & 1 ? profiler : NULL;
        assert_int_equal(hopmla_export_metrics(given, which & 2 ? pool : NULL, &options, NULL), HOPMLA_OK);
        assert_int_equal(strstr(received.text, "\nhopmla_pool_pages 17\n") != NULL, (which & 2) != 0);
        assert_int_equal(strstr(received.text, "hopmla_calls_total{kind=\"decode\"} 0\n") != NULL, which & 1);
        assert_string_equal(received.text + received.bytes - 6, "# EOF\n");
    }
    hopmla_export_options options = to_callback();
    assert_fails(hopmla_export_metrics(profiler, strange, &options, &error), HOPMLA_ERROR_MISMATCH, "pool");
    assert_fails(hopmla_export_metrics(profiler, pool, NULL, &error), HOPMLA_ERROR_NULL, "options");
    assert_int_equal(received.calls, 0);
    received.ends_at = 1;
    assert_fails(hopmla_export_metrics(profiler, pool, &options, &error), HOPMLA_ERROR_IO, "options.write");
    fail_at = allocations = 0;
    const hopmla_export_options file = to_path(file_path);
    const hopmla_status status = hopmla_export_metrics(profiler, pool, &file, NULL);
    fail_at = -1;
    assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
    hopmla_profiler_destroy(profiler);
    hopmla_pool_destroy(pool);
    hopmla_pool_destroy(strange);
    hopmla_context_destroy(context);
    hopmla_context_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_path_and_a_callback_get_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_callback_may_end_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ceilings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_of_another_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_metrics, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("exports", tests, NULL, NULL) ? 1 : 0;
}
