/* SPDX-License-Identifier: Apache-2.0 */

#include "cuda_host.h"

/** @file
 * Memory on the CUDA backend over a driver without a device: statuses as documented, nothing leaks. */

static void memory_runs_out(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_error error = HOPMLA_ERROR_INIT;
    void *first = NULL, *second = NULL;
    fake_cuda_fail("cuMemAlloc", 1, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &first, &error), HOPMLA_OK);
    assert_int_equal(hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &second, &error),
                     HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_null(second);
    fake_cuda_fail("cuMemHostAlloc", 0, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_PINNED, &second, &error),
                     HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
    hopmla_memory_free(context, first, 64, HOPMLA_MEMORY_WORKSPACE);
    hopmla_context_destroy(context);
}

static hopmla_status create_pool(hopmla_context *context, hopmla_pool **pool, hopmla_error *error)
{
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 1;
    options.pages = 4;
    return hopmla_pool_create(context, &options, pool, error);
}

static hopmla_status create_plan(hopmla_pool *pool, hopmla_plan **plan, hopmla_error *error)
{
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = 1;
    options.heads = 16;
    options.max_kv_tokens = 64;
    return hopmla_plan_create(pool, &options, plan, error);
}

static void lost_context_is_no_lack_of_memory(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_pool *pool = NULL, *second = NULL;
    hopmla_plan *plan = NULL;
    void *memory = NULL;
    assert_int_equal(create_pool(context, &pool, NULL), HOPMLA_OK);
    int live = fake_cuda_live();
    for (int i = 0; i < REASONS; i++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        fake_cuda_lose(reasons[i].code, 0);
        assert_reason(&error, hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &memory, &error), i);
        assert_reason(&error, hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_PINNED, &memory, &error), i);
        assert_reason(&error, create_pool(context, &second, &error), i);
        assert_reason(&error, create_plan(pool, &plan, &error), i);
        fake_cuda_lose(0, 0);

        /* Each allocation of them by itself. */
        fake_cuda_fail("cuCtxPushCurrent", 0, reasons[i].code);
        assert_reason(&error, hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &memory, &error), i);
        fake_cuda_fail("cuMemHostAlloc", 0, reasons[i].code);
        assert_reason(&error, create_pool(context, &second, &error), i);
        assert_non_null(strstr(error.message, "cuMemHostAlloc"));
        fake_cuda_fail("cuMemAlloc", 0, reasons[i].code);
        assert_reason(&error, create_pool(context, &second, &error), i);
        assert_non_null(strstr(error.message, "cuMemAlloc"));
        fake_cuda_fail("cuMemHostAlloc", 0, reasons[i].code);
        assert_reason(&error, create_plan(pool, &plan, &error), i);
        for (int at = 0; at < 2; at++) {
            fake_cuda_fail("cuMemAlloc", at, reasons[i].code);
            assert_reason(&error, create_plan(pool, &plan, &error), i);
        }
        fake_cuda_fail(NULL, 0, 0);
        assert_true(!memory && !second && !plan);
        assert_int_equal(fake_cuda_live(), live);
    }
    hopmla_pool_destroy(pool);
    hopmla_context_destroy(context);
}

/* Pools and plans say how much memory they lack. */
static void pools_and_plans_run_out(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_pool *pool = NULL;
    hopmla_plan *plan = NULL;
    fake_cuda_fail("cuMemAlloc", 0, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(create_pool(context, &pool, &error), HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_int_equal(error.value, 4 * 64 * 1152);
    assert_non_null(strstr(error.message, "4 pages"));
    fake_cuda_fail("cuMemHostAlloc", 0, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(create_pool(context, &pool, &error), HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
    assert_true(error.value > 0);
    assert_int_equal(create_pool(context, &pool, &error), HOPMLA_OK);
    fake_cuda_fail("cuMemHostAlloc", 0, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(create_plan(pool, &plan, &error), HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
    assert_non_null(strstr(error.message, "staging ring"));
    fake_cuda_fail("cuMemAlloc", 0, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(create_plan(pool, &plan, &error), HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(error.message, "tables"));
    fake_cuda_fail("cuMemAlloc", 1, HM_CU_OUT_OF_MEMORY);
    assert_int_equal(create_plan(pool, &plan, &error), HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(error.message, "workspace"));
    assert_true(error.value > 0);
    hopmla_pool_destroy(pool);
    hopmla_context_destroy(context);
}

/* The caller's allocator, which has memory while *user is 0. */
static void *allocate_own(void *user, uint64_t size, uint64_t alignment, int32_t kind, hopmla_stream stream)
{
    (void)stream;
    void *memory = NULL;
    if (*(const int *)user && kind != HOPMLA_MEMORY_HOST) {
        return NULL;
    }
    size_t at_least = alignment < sizeof(void *) ? sizeof(void *) : (size_t)alignment;
    return posix_memalign(&memory, at_least, (size_t)size) ? NULL : memory;
}

static void free_own(void *user, void *memory, uint64_t size, int32_t kind, hopmla_stream stream)
{
    (void)user;
    (void)size;
    (void)kind;
    (void)stream;
    free(memory);
}

static void callers_allocator(void **state)
{
    (void)state;
    int empty = 0;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    void *memory = NULL;
    options.backend = HOPMLA_BACKEND_CUDA;
    options.alloc = allocate_own;
    options.free = free_own;
    options.alloc_user = &empty;
    assert_int_equal(hopmla_context_create(&options, &context, &error), HOPMLA_OK);
    for (int i = 0; i < REASONS; i++) {
        fake_cuda_fail("cuCtxPushCurrent", 0, reasons[i].code);
        assert_reason(&error, hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &memory, &error), i);
    }
    empty = 1;
    assert_int_equal(hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_WORKSPACE, &memory, &error),
                     HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_int_equal(error.value, 64);
    assert_int_equal(hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_PINNED, &memory, &error),
                     HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
    assert_null(memory);
    empty = 0;
    assert_int_equal(hopmla_memory_alloc(context, 64, HOPMLA_MEMORY_PINNED, &memory, &error), HOPMLA_OK);
    hopmla_memory_free(context, memory, 64, HOPMLA_MEMORY_PINNED);
    hopmla_context_destroy(context);
}

static void memory_is_aligned(void **state)
{
    (void)state;
    hm_open_options options = { 0 };
    hm_device *device = NULL;
    const int32_t kinds[] = { HOPMLA_MEMORY_PINNED, HOPMLA_MEMORY_POOL, HOPMLA_MEMORY_TABLES };

    assert_int_equal(hm_sm90_backend.open(&options, &device, NULL), HOPMLA_OK);
    for (int misaligned = 0; misaligned < 2; misaligned++) {
        fake.misaligned = misaligned;
        for (int i = 0; i < 3; i++) {
            for (uint64_t alignment = 1; alignment <= 4096; alignment *= 2) {
                void *memory = NULL;
                assert_int_equal(hm_sm90_backend.alloc(device, 1000, alignment, kinds[i], NULL, &memory, NULL),
                                 HOPMLA_OK);
                assert_non_null(memory);
                assert_int_equal((uintptr_t)memory % alignment, 0);
                assert_int_equal(fake.blocks, 1);
                memset(memory, 1, 1000);
                hm_sm90_backend.free(device, memory, 1000, kinds[i], NULL);
                assert_int_equal(fake.blocks, 0);
            }
        }
    }
    hm_sm90_backend.close(device);
}

static void copies(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_stream stream = NULL;
    void *device = NULL, *pinned = NULL;
    char pageable[16] = "what is copied";

    assert_int_equal(hopmla_stream_create(context, &stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_alloc(context, 16, HOPMLA_MEMORY_WORKSPACE, &device, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_alloc(context, 16, HOPMLA_MEMORY_PINNED, &pinned, NULL), HOPMLA_OK);

    /* Only a wait makes it certain that pageable memory was read or written. */
    fake_cuda_fail("cuStreamSynchronize", -1, 0);
    assert_int_equal(hopmla_memory_copy(context, device, pageable, 16, stream, &error), HOPMLA_OK);
    assert_int_equal(fake.calls, 1);
    assert_int_equal(hopmla_memory_copy(context, pinned, device, 16, stream, &error), HOPMLA_OK);
    assert_int_equal(fake.calls, 1);
    assert_string_equal(pinned, "what is copied");
    assert_int_equal(hopmla_memory_fill(context, device, 'x', 4, stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_memory_copy(context, pageable, device, 16, stream, &error), HOPMLA_OK);
    assert_string_equal(pageable, "xxxx is copied");

    hopmla_graph graph = NULL;
    assert_int_equal(hopmla_graph_begin(context, stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_memory_copy(context, device, pageable, 16, stream, &error), HOPMLA_ERROR_CAPTURE);
    assert_int_equal(hopmla_memory_copy(context, device, pinned, 16, stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_memory_fill(context, device, 'x', 4, stream, &error), HOPMLA_OK);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, &error), HOPMLA_OK);
    hopmla_graph_destroy(context, graph);

    hopmla_memory_free(context, device, 16, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(context, pinned, 16, HOPMLA_MEMORY_PINNED);
    hopmla_stream_destroy(context, stream);
    hopmla_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_runs_out, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_context_is_no_lack_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(pools_and_plans_run_out, setup, teardown),
        cmocka_unit_test_setup_teardown(callers_allocator, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_aligned, setup, teardown),
        cmocka_unit_test_setup_teardown(copies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
