/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_cuda.h"
#include "kernels/backend.h"

/** @file
 * Opening the CUDA backend over a driver without a device: what is missing or wrong has its documented status, AUTO goes
 * to the CPU then, and the calling thread's context comes back. */

static const char *fake_path;

static hopmla_status create(int32_t backend, hopmla_context **context, hopmla_error *error)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = backend;
    options.cpu_threads = 1;
    return hopmla_context_create(&options, context, error);
}

static hopmla_context *must_create(void)
{
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (create(HOPMLA_BACKEND_CUDA, &context, &error) != HOPMLA_OK) {
        fail_msg("%s", error.message);
    }
    return context;
}

/* CUDA is refused with `status`, AUTO goes to the CPU, nothing is left behind. */
static void assert_refused(hopmla_status status, const char *text)
{
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;

    assert_int_equal(create(HOPMLA_BACKEND_CUDA, &context, &error), status);
    assert_int_equal(error.status, status);
    assert_null(context);
    if (!strstr(error.message, text)) {
        fail_msg("\"%s\" lacks \"%s\"", error.message, text);
    }
    assert_int_equal(create(HOPMLA_BACKEND_AUTO, &context, &error), HOPMLA_OK);
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    assert_int_equal(hopmla_context_describe(context, &info, NULL), HOPMLA_OK);
    assert_int_equal(info.backend, HOPMLA_BACKEND_CPU);
    hopmla_context_destroy(context);
    assert_int_equal(fake_cuda_live(), 0);
    assert_int_equal(fake_cuda_depth(), 0);
}

static int setup(void **state)
{
    (void)state;
    fake_cuda_reset();
    setenv("HOPMLA_LIBCUDA", fake_path, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return fake_cuda_live() || fake_cuda_depth() || fake.bad_frees;
}

/* Loading: these come first, since a driver that has started stays. */

static void no_library(void **state)
{
    (void)state;
    setenv("HOPMLA_LIBCUDA", "/nowhere/libcuda.so.1", 1);
    assert_refused(HOPMLA_ERROR_NO_DRIVER, "/nowhere/libcuda.so.1");
}

static void not_a_driver(void **state)
{
    (void)state;
    setenv("HOPMLA_LIBCUDA", "libm.so.6", 1);
    assert_refused(HOPMLA_ERROR_NO_DRIVER, "version");
}

static void driver_without_libraries(void **state)
{
    (void)state;
    fake.version = 11080;
    assert_refused(HOPMLA_ERROR_OLD_DRIVER, "11.8, 12.0 is needed");
}

static void driver_does_not_start(void **state)
{
    (void)state;
    fake.init_result = 803;
    assert_refused(HOPMLA_ERROR_NO_DRIVER, "803");
}

static void driver_without_device(void **state)
{
    (void)state;
    fake.devices = 0;
    assert_refused(HOPMLA_ERROR_NO_DEVICE, "start");
}

/* Opening. */

static void no_such_ordinal(void **state)
{
    (void)state;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    options.device = 7;
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(hopmla_context_create(&options, &context, &error), HOPMLA_ERROR_NO_DEVICE);
    assert_int_equal(error.value, 7);
}

static void other_compute_capability(void **state)
{
    (void)state;
    fake.major = 8;
    assert_refused(HOPMLA_ERROR_DEVICE, "8.0, not 9.0");
    fake.major = 10;
    assert_refused(HOPMLA_ERROR_DEVICE, "10.0, not 9.0");
    fake.major = 9;
    fake.minor = 1;
    assert_refused(HOPMLA_ERROR_DEVICE, "9.1, not 9.0");
}

static void kernels_are_refused(void **state)
{
    (void)state;
    fake.load_result = HM_CU_NO_BINARY_FOR_GPU;
    assert_refused(HOPMLA_ERROR_OLD_DRIVER, "compiled by CUDA " HOPMLA_NVCC_VERSION);
    fake.load_result = HM_CU_INVALID_IMAGE;
    assert_refused(HOPMLA_ERROR_OLD_DRIVER, "compiled by CUDA " HOPMLA_NVCC_VERSION);
    fake.load_result = HM_CU_OUT_OF_MEMORY;
    assert_refused(HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY, "cuLibraryLoadData");
    fake.load_result = 999;
    assert_refused(HOPMLA_ERROR_DRIVER, "999");
}

static void primary_context(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    assert_int_equal(hopmla_context_describe(context, &info, NULL), HOPMLA_OK);
    assert_int_equal(info.backend, HOPMLA_BACKEND_CUDA);
    assert_int_equal(info.device, 0);
    assert_int_equal(info.driver_version, fake.version);
    assert_int_equal(info.compute_major * 10 + info.compute_minor, 90);
    assert_int_equal(info.units, 132);
    assert_int_equal(info.l2_bytes, 52428800);
    assert_string_equal(info.name, "Fake H200");
    assert_int_equal(fake.retains, 1);
    assert_true(fake.libraries > 0);
    assert_int_equal(fake_cuda_depth(), 0);
    hopmla_context_destroy(context);
}

static hopmla_status create_over(hm_cu_context given, hopmla_context **context)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    options.device = 12; /* ignored */
    options.cu_context = given;
    return hopmla_context_create(&options, context, NULL);
}

static void callers_context(void **state)
{
    (void)state;
    hopmla_context *context = NULL;
    assert_int_equal(create_over(fake_cuda_context(), &context), HOPMLA_OK);
    assert_int_equal(fake.retains, 0);
    hopmla_stream stream = NULL;
    assert_int_equal(hopmla_stream_create(context, &stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_synchronize(context, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_stream_synchronize(context, fake_cuda_foreign_stream(), NULL), HOPMLA_OK);
    hopmla_stream_destroy(context, stream);
    hopmla_context_destroy(context);

    int not_a_context = 0;
    assert_int_equal(create_over((hm_cu_context)(void *)&not_a_context, &context), HOPMLA_ERROR_ARGUMENT);
}

static void current_context_comes_back(void **state)
{
    (void)state;
    hopmla_context *context = must_create();
    hopmla_stream stream = NULL;
    void *memory = NULL;
    hm_cu_context popped = NULL;

    assert_int_equal(hm_cu.cuCtxPushCurrent(fake_cuda_context()), HM_CU_SUCCESS);
    assert_int_equal(hopmla_stream_create(context, &stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_alloc(context, 100, HOPMLA_MEMORY_WORKSPACE, &memory, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_fill(context, memory, 1, 100, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_fill(context, memory, 1, 100, fake_cuda_foreign_stream(), NULL),
                     HOPMLA_ERROR_MISMATCH);
    hopmla_memory_free(context, memory, 100, HOPMLA_MEMORY_WORKSPACE);
    hopmla_stream_destroy(context, stream);
    hopmla_context_destroy(context);
    assert_int_equal(fake_cuda_depth(), 1);
    assert_int_equal(hm_cu.cuCtxPopCurrent(&popped), HM_CU_SUCCESS);
    assert_ptr_equal(popped, fake_cuda_context());
}

static void *open_and_close(void *ok)
{
    for (int i = 0; i < 20; i++) {
        hopmla_context *context = NULL;
        if (create(HOPMLA_BACKEND_CUDA, &context, NULL) != HOPMLA_OK || fake_cuda_depth() != 0) {
            return NULL;
        }
        hopmla_context_destroy(context);
    }
    return ok;
}

static void many_threads(void **state)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, state), 0);
    }
    for (int i = 0; i < 8; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_library, setup, teardown),
        cmocka_unit_test_setup_teardown(not_a_driver, setup, teardown),
        cmocka_unit_test_setup_teardown(driver_without_libraries, setup, teardown),
        cmocka_unit_test_setup_teardown(driver_does_not_start, setup, teardown),
        cmocka_unit_test_setup_teardown(driver_without_device, setup, teardown),
        cmocka_unit_test_setup_teardown(no_such_ordinal, setup, teardown),
        cmocka_unit_test_setup_teardown(other_compute_capability, setup, teardown),
        cmocka_unit_test_setup_teardown(kernels_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(primary_context, setup, teardown),
        cmocka_unit_test_setup_teardown(callers_context, setup, teardown),
        cmocka_unit_test_setup_teardown(current_context_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(many_threads, setup, teardown),
    };
    fake_path = getenv("HOPMLA_LIBCUDA");
    if (!fake_path) {
        return 77;
    }
    fake_path = strdup(fake_path);
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
