/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, describing and sharing a context. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"
#include "lib/context.h"
#include "tests/failing_alloc.h"

static hopmla_context_options cpu_options(void)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 2;
    return options;
}

static void test_cpu_context(void **state)
{
    (void)state;
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_context_options options = cpu_options();
    options.device = -1; /* as info gives it */
    assert_int_equal(hopmla_context_create(&options, &context, &error), HOPMLA_OK);
    assert_int_equal(error.status, 0);

    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    assert_int_equal(hopmla_context_describe(context, &info, NULL), HOPMLA_OK);
    assert_int_equal(info.struct_size, sizeof(info));
    assert_int_equal(info.backend, HOPMLA_BACKEND_CPU);
    assert_int_equal(info.device, -1);
    assert_int_equal(info.driver_version, 0);
    assert_int_equal(info.units, 2);
    assert_true(info.cpu_isa >= HOPMLA_CPU_ISA_PORTABLE && info.cpu_isa <= HOPMLA_CPU_ISA_AVX512);
    assert_true(info.memory_bytes > 0);
    assert_true(strlen(info.name) > 0 && strlen(info.name) < sizeof(info.name));

    assert_int_equal(hopmla_context_describe(NULL, &info, &error), HOPMLA_ERROR_NULL);
    assert_non_null(strstr(error.message, "context"));
    assert_int_equal(hopmla_context_describe(context, NULL, &error), HOPMLA_ERROR_NULL);
    assert_non_null(strstr(error.message, "info"));
    hopmla_context_destroy(context);
    hopmla_context_destroy(NULL);
}

static void test_defaults(void **state)
{
    (void)state;
    hopmla_context *context = NULL;
    assert_int_equal(hopmla_context_create(NULL, &context, NULL), HOPMLA_OK);
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    assert_int_equal(hopmla_context_describe(context, &info, NULL), HOPMLA_OK);
    assert_true(info.units >= 1);
    hopmla_context_destroy(context);
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(hopmla_context_create(NULL, NULL, &error), HOPMLA_ERROR_NULL);
    assert_string_equal(error.message, "context is NULL");
}

static void test_bad_options(void **state)
{
    (void)state;
    static const struct {
        size_t field;
        int32_t value;
        hopmla_status status;
        const char *message;
    } cases[] = {
#define FIELD(name) offsetof(hopmla_context_options, name)
        { FIELD(backend), 3, HOPMLA_ERROR_ENUM, "options.backend is 3" },
        { FIELD(backend), -1, HOPMLA_ERROR_ENUM, "options.backend is -1" },
        { FIELD(cpu_isa), 4, HOPMLA_ERROR_ENUM, "options.cpu_isa is 4" },
        { FIELD(cpu_isa), -1, HOPMLA_ERROR_ENUM, "options.cpu_isa is -1" },
        { FIELD(log_level), 5, HOPMLA_ERROR_ENUM, "options.log_level is 5" },
        { FIELD(log_level), -1, HOPMLA_ERROR_ENUM, "options.log_level is -1" },
        { FIELD(cpu_threads), 5000, HOPMLA_ERROR_ARGUMENT, "options.cpu_threads is 5000, must be 0 … 1024" },
        { FIELD(cpu_threads), -1, HOPMLA_ERROR_ARGUMENT, "options.cpu_threads is -1" },
        { FIELD(device), -1, HOPMLA_ERROR_ARGUMENT, "options.device is -1" },
        { FIELD(device), INT32_MIN, HOPMLA_ERROR_ARGUMENT, "options.device" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
        hopmla_error error = HOPMLA_ERROR_INIT;
        hopmla_context *const untouched = (hopmla_context *)(uintptr_t)64;
        hopmla_context *context = untouched;
        memcpy((char *)&options + cases[i].field, &cases[i].value, sizeof(cases[i].value));
        assert_int_equal(hopmla_context_create(&options, &context, &error), cases[i].status);
        assert_ptr_equal(context, untouched);
        assert_int_equal(error.status, cases[i].status);
        assert_non_null(strstr(error.message, cases[i].message));
        assert_int_equal(hopmla_context_create(&options, &context, NULL), cases[i].status);
    }
}

static void test_allocator_is_both_or_neither(void **state)
{
    (void)state;
    failing_alloc allocator;
    failing_alloc_init(&allocator);
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_context_options options = cpu_options();
    failing_alloc_use(&allocator, &options);
    options.free = NULL;
    assert_int_equal(hopmla_context_create(&options, &context, &error), HOPMLA_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "options.alloc is set without options.free"));
    failing_alloc_use(&allocator, &options);
    options.alloc = NULL;
    assert_int_equal(hopmla_context_create(&options, &context, &error), HOPMLA_ERROR_ARGUMENT);
    assert_null(context);
    assert_int_equal(allocator.calls, 0);
    failing_alloc_finish(&allocator);
}

static void test_isa(void **state)
{
    (void)state;
    hopmla_context *context = NULL;
    hopmla_context_options options = cpu_options();
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    hopmla_context_describe(context, &info, NULL);
    hopmla_context_destroy(context);
    const int32_t best = info.cpu_isa;
    for (int32_t isa = HOPMLA_CPU_ISA_PORTABLE; isa <= HOPMLA_CPU_ISA_AVX512; isa++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        options.cpu_isa = isa;
        context = NULL;
        const hopmla_status status = hopmla_context_create(&options, &context, &error);
        if (isa > best) {
            assert_int_equal(status, HOPMLA_ERROR_UNSUPPORTED);
            assert_null(context);
            assert_non_null(strstr(error.message, "options.cpu_isa"));
            continue;
        }
        assert_int_equal(status, HOPMLA_OK);
        hopmla_context_describe(context, &info, NULL);
        assert_int_equal(info.cpu_isa, isa);
        hopmla_context_destroy(context);
    }
}

/* Log lines. */

typedef struct log_book {
    int lines[HOPMLA_LOG_DEBUG + 1];
    int bad;
    char last_info[512];
} log_book;

static void note(void *user, int32_t level, const char *text)
{
    log_book *book = user;
    if (level < HOPMLA_LOG_ERROR || level > HOPMLA_LOG_DEBUG || !text || strlen(text) > 511) {
        book->bad++;
        return;
    }
    book->lines[level]++;
    if (level == HOPMLA_LOG_INFO && strstr(text, "CUDA backend is not used")) {
        snprintf(book->last_info, sizeof(book->last_info), "%s", text);
    }
}

static void test_auto_says_why_cuda_is_not_used(void **state)
{
    (void)state;
    log_book book = { .bad = 0 };
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.device = 4711;
    options.cpu_threads = 1;
    options.log = note;
    options.log_user = &book;
    options.log_level = HOPMLA_LOG_INFO;
    assert_int_equal(hopmla_context_create(&options, &context, &error), HOPMLA_OK);
    assert_int_equal(error.status, 0);
    assert_int_equal(book.bad, 0);
    assert_true(strlen(book.last_info) > 0);
    assert_int_equal(book.lines[HOPMLA_LOG_DEBUG], 0);
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    hopmla_context_describe(context, &info, NULL);
    assert_int_equal(info.backend, HOPMLA_BACKEND_CPU);
    hopmla_context_destroy(context);

    options.backend = HOPMLA_BACKEND_CUDA;
    context = NULL;
    const hopmla_status status = hopmla_context_create(&options, &context, &error);
    assert_null(context);
    assert_int_not_equal(status, HOPMLA_OK);
    assert_int_equal(error.status, status);
    assert_true(strlen(error.message) > 0);
#if !HOPMLA_HAVE_CUDA
    assert_int_equal(status, HOPMLA_ERROR_NOT_BUILT);
#endif
}

static void test_log_levels(void **state)
{
    (void)state;
    char long_text[2000];
    memset(long_text, 'x', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    for (int32_t level = 0; level <= HOPMLA_LOG_DEBUG; level++) {
        log_book book = { .bad = 0 };
        hopmla_context *context = NULL;
        hopmla_context_options options = cpu_options();
        options.log = note;
        options.log_user = &book;
        options.log_level = level;
        assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
        for (int32_t line = HOPMLA_LOG_ERROR; line <= HOPMLA_LOG_DEBUG; line++) {
            const int before = book.lines[line];
            hm_log(context, line, "%s", long_text);
            assert_int_equal(book.lines[line] - before, line <= level);
        }
        assert_int_equal(book.bad, 0);
        hopmla_context_destroy(context);
    }
    hopmla_context *silent = NULL;
    hopmla_context_options options = cpu_options();
    options.log_level = HOPMLA_LOG_DEBUG; /* without a callback */
    assert_int_equal(hopmla_context_create(&options, &silent, NULL), HOPMLA_OK);
    hm_log(silent, HOPMLA_LOG_ERROR, "nobody listens");
    hopmla_context_destroy(silent);
}

/* Sharing. */

enum {
    THREADS = 4,
    TURNS = 1000
};

static void *retain_and_release(void *context)
{
    for (int i = 0; i < TURNS; i++) {
        hm_context_retain(context);
        hm_context_release(context);
    }
    hm_context_release(context);
    return NULL;
}

static void test_the_last_reference_frees(void **state)
{
    (void)state;
    failing_alloc allocator;
    failing_alloc_init(&allocator);
    hopmla_context *context = NULL;
    hopmla_context_options options = cpu_options();
    failing_alloc_use(&allocator, &options);
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        hm_context_retain(context);
        assert_int_equal(pthread_create(&threads[i], NULL, retain_and_release, context), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(allocator.live_blocks, 1);
    hopmla_context_destroy(context);
    assert_int_equal(allocator.live_blocks, 0);
    failing_alloc_finish(&allocator);
}

static void test_ceilings(void **state)
{
    (void)state;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    hopmla_context *context = NULL;
    hopmla_context_options options = cpu_options();
    assert_int_equal(hopmla_measure_ceilings(NULL, &ceilings, &error), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_measure_ceilings(context, NULL, &error), HOPMLA_ERROR_NULL);
    if (!getenv("HOPMLA_TEST_QUICK")) {
        assert_int_equal(hopmla_measure_ceilings(context, &ceilings, &error), HOPMLA_OK);
        assert_int_equal(ceilings.struct_size, sizeof(ceilings));
        assert_true(ceilings.read_bytes_per_second > 1e6);
        assert_true(ceilings.flops_burst > 1e6);
        assert_true(ceilings.flops_sustained > 1e6);
    }
    hopmla_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu_context), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_bad_options), cmocka_unit_test(test_allocator_is_both_or_neither),
        cmocka_unit_test(test_isa),         cmocka_unit_test(test_auto_says_why_cuda_is_not_used),
        cmocka_unit_test(test_log_levels),  cmocka_unit_test(test_the_last_reference_frees),
        cmocka_unit_test(test_ceilings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
