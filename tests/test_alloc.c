/* SPDX-License-Identifier: Apache-2.0 */
/* Memory through the library's allocator and the caller's, and what happens when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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

static int complaints;

static void count_complaints(void *user, int32_t level, const char *text)
{
    (void)user;
    complaints += level == HOPMLA_LOG_ERROR && strstr(text, "not aligned");
}

static hopmla_status create_and_allocate(failing_alloc *allocator, void *user)
{
    (void)user;
    hopmla_context *context = NULL;
    hopmla_context_options options = cpu_options();
    void *device = NULL;
    void *pinned = NULL;
    failing_alloc_use(allocator, &options);
    hopmla_status status = hopmla_context_create(&options, &context, NULL);
    if (status) {
        assert_null(context);
        return status;
    }
    status = hopmla_memory_alloc(context, 1000, HOPMLA_MEMORY_WORKSPACE, &device, NULL);
    if (status == HOPMLA_OK) {
        status = hopmla_memory_alloc(context, 500, HOPMLA_MEMORY_PINNED, &pinned, NULL);
    }
    if (status == HOPMLA_OK) {
        assert_int_equal(allocator->live_bytes, 1500 + sizeof(struct hopmla_context));
    }
    hopmla_memory_free(context, pinned, 500, HOPMLA_MEMORY_PINNED);
    hopmla_memory_free(context, device, 1000, HOPMLA_MEMORY_WORKSPACE);
    hopmla_context_destroy(context);
    return status;
}

static void test_failing_allocator(void **state)
{
    (void)state;
    assert_int_equal(failing_alloc_sweep(create_and_allocate, NULL, FAILING_ALLOC_ALL), 3);
    assert_int_equal(failing_alloc_sweep(create_and_allocate, NULL, FAILING_ALLOC_KIND(HOPMLA_MEMORY_PINNED)), 1);
    assert_int_equal(failing_alloc_sweep(create_and_allocate, NULL, FAILING_ALLOC_KIND(HOPMLA_MEMORY_POOL)), 0);
}

static void test_misaligned_memory_is_given_back(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 3; n++) {
        complaints = 0;
        failing_alloc allocator;
        failing_alloc_init(&allocator);
        allocator.fail_at = n;
        allocator.misalign = 1;
        hopmla_context *context = NULL;
        hopmla_error error = HOPMLA_ERROR_INIT;
        hopmla_context_options options = cpu_options();
        failing_alloc_use(&allocator, &options);
        options.log = count_complaints;
        options.log_level = HOPMLA_LOG_ERROR;
        hopmla_status status = hopmla_context_create(&options, &context, &error);
        void *memory = NULL;
        if (n == 0) {
            assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
            assert_non_null(strstr(error.message, "context"));
        } else if (n == 1) {
            status = hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &memory, &error);
            assert_int_equal(status, HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
        } else {
            void *first = NULL;
            hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &first, &error);
            status = hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_PINNED, &memory, &error);
            assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
            hopmla_memory_free(context, first, 64, HOPMLA_MEMORY_WORKSPACE);
        }
        assert_null(memory);
        assert_int_equal(complaints, 1);
        hopmla_context_destroy(context);
        assert_int_equal(allocator.live_blocks, 0);
        assert_int_equal(allocator.bad_frees, 0);
        failing_alloc_finish(&allocator);
    }
}

static void test_host_memory(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        failing_alloc allocator;
        failing_alloc_init(&allocator);
        hopmla_context *context = NULL;
        hopmla_context_options options = cpu_options();
        if (own) {
            failing_alloc_use(&allocator, &options);
        }
        assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
        for (uint64_t alignment = 1; alignment <= 4096; alignment *= 2) {
            for (int32_t kind = HOPMLA_MEMORY_HOST; kind <= HOPMLA_MEMORY_WORKSPACE; kind++) {
                void *memory = NULL;
                if (kind == HOPMLA_MEMORY_HOST) {
                    memory = hm_host_alloc(context, 100, alignment);
                } else {
                    assert_int_equal(hm_alloc(context, 100, alignment, kind, NULL, &memory, NULL), HOPMLA_OK);
                }
                assert_non_null(memory);
                assert_int_equal((uintptr_t)memory % alignment, 0);
                memset(memory, 1, 100);
                hm_free(context, memory, 100, kind, NULL);
            }
        }
        assert_null(hm_host_zalloc(context, UINT64_MAX / 4, 8));
        const unsigned char *zeroed = hm_host_zalloc(context, 25, 4);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(zeroed[i], 0);
        }
        hm_free(context, (void *)(uintptr_t)zeroed, 100, HOPMLA_MEMORY_HOST, NULL);
        void *none = hm_host_zalloc(context, 0, 8);
        assert_non_null(none);
        hm_free(context, none, 0, HOPMLA_MEMORY_HOST, NULL);
        hm_free(context, NULL, 8, HOPMLA_MEMORY_HOST, NULL);
        hopmla_context_destroy(context);
        assert_int_equal(allocator.live_blocks, 0);
        assert_int_equal(allocator.bad_frees, 0);
        failing_alloc_finish(&allocator);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_allocator),
        cmocka_unit_test(test_misaligned_memory_is_given_back),
        cmocka_unit_test(test_host_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
