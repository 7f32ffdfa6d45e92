/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CUDA_HOST_H
#define CUDA_HOST_H

/** @file
 * The CUDA backend over a driver without a device: nothing may be live when a test has ended. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_cuda.h"
#include "kernels/backend.h"

static inline hopmla_context *must_create(void)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_context *context = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    if (hopmla_context_create(&options, &context, &error) != HOPMLA_OK) {
        fail_msg("%s", error.message);
    }
    return context;
}

static inline int setup(void **state)
{
    (void)state;
    fake_cuda_reset();
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    return fake_cuda_live() || fake_cuda_depth() || fake.bad_frees;
}

/* A driver's call fails, or the whole context is lost: what an allocation says then. */
static const struct {
    int code;
    hopmla_status status;
} reasons[] = {
    { HM_CU_ILLEGAL_ADDRESS, HOPMLA_ERROR_DRIVER_STICKY },
    { HM_CU_LAUNCH_FAILED, HOPMLA_ERROR_DRIVER_STICKY },
    { HM_CU_CONTEXT_IS_DESTROYED, HOPMLA_ERROR_DRIVER_STICKY },
    { 999, HOPMLA_ERROR_DRIVER },
};
enum {
    REASONS = sizeof(reasons) / sizeof(reasons[0])
};

static inline void assert_reason(const hopmla_error *error, hopmla_status status, int i)
{
    assert_int_equal(status, reasons[i].status);
    assert_int_equal(error->status, reasons[i].status);
    assert_int_equal(error->native_code, reasons[i].code);
}

#endif
