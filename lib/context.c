/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/context.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/abi.h"
#include "lib/error.h"

enum {
    MAX_CPU_THREADS = 1024
};

static void log_line(const hopmla_context *context, int32_t level, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static void log_line(const hopmla_context *context, int32_t level, const char *format, va_list arguments)
{
    if (!context->log || level > context->log_level) {
        return;
    }
    char line[512];
    if (vsnprintf(line, sizeof(line), format, arguments) >= 0) {
        context->log(context->log_user, level, line);
    }
}

void hm_log(hopmla_context *context, int32_t level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(context, level, format, arguments);
    va_end(arguments);
}

/* The same for a backend, which does not know the context's type. */
static void log_for_backend(void *user, int32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void log_for_backend(void *user, int32_t level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(user, level, format, arguments);
    va_end(arguments);
}

static hopmla_status check_options(const hopmla_context_options *options, hopmla_error *error)
{
    if (options->backend < HOPMLA_BACKEND_AUTO || options->backend > HOPMLA_BACKEND_CUDA) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "options.backend is %d, must be HOPMLA_BACKEND_AUTO, _CPU or _CUDA",
                       (int)options->backend);
    }
    if (options->cpu_isa < HOPMLA_CPU_ISA_AUTO || options->cpu_isa > HOPMLA_CPU_ISA_AVX512) {
        return hm_fail(error, HOPMLA_ERROR_ENUM,
                       "options.cpu_isa is %d, must be HOPMLA_CPU_ISA_AUTO, _PORTABLE, _AVX2 or _AVX512",
                       (int)options->cpu_isa);
    }
    if (options->log_level < 0 || options->log_level > HOPMLA_LOG_DEBUG) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "options.log_level is %d, must be 0 … %d", (int)options->log_level,
                       (int)HOPMLA_LOG_DEBUG);
    }
    if (options->cpu_threads < 0 || options->cpu_threads > MAX_CPU_THREADS) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.cpu_threads is %d, must be 0 … %d",
                       (int)options->cpu_threads, MAX_CPU_THREADS);
    }
    /* info.device is −1 on the CPU backend: it may come back here. */
    if (options->device < 0 && options->backend != HOPMLA_BACKEND_CPU && !options->cu_context) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.device is %d, must be a CUDA device ordinal, 0 or more",
                       (int)options->device);
    }
    if (!options->alloc != !options->free) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.%s is set without options.%s: both or neither",
                       options->alloc ? "alloc" : "free", options->alloc ? "free" : "alloc");
    }
    return HOPMLA_OK;
}

static hopmla_status open_device(hopmla_context *context, const hm_backend *backend,
                                 const hopmla_context_options *options, hopmla_error *error)
{
    const hm_open_options open = {
        .device = options->device,
        .cpu_threads = options->cpu_threads,
        .cpu_isa = options->cpu_isa,
        .cu_context = options->cu_context,
        .log = log_for_backend,
        .log_user = context,
    };
    hm_device *device = NULL;
    const hopmla_status status = backend->open(&open, &device, error);
    if (status == HOPMLA_OK) {
        context->backend = backend;
        context->device = device;
    }
    return status;
}

static hopmla_status open_cuda(hopmla_context *context, const hopmla_context_options *options, hopmla_error *error)
{
#if HOPMLA_HAVE_CUDA
    return open_device(context, &hm_sm90_backend, options, error);
#else
    (void)context;
    (void)options;
    return hm_fail(error, HOPMLA_ERROR_NOT_BUILT, "the library was built without the CUDA backend");
#endif
}

static hopmla_status open_any(hopmla_context *context, const hopmla_context_options *options, hopmla_error *error)
{
    if (options->backend == HOPMLA_BACKEND_CUDA) {
        return open_cuda(context, options, error);
    }
    if (options->backend == HOPMLA_BACKEND_AUTO) {
        hopmla_error reason = HOPMLA_ERROR_INIT; /* not the caller's: what fails here is no error of the call */
        const hopmla_status status = open_cuda(context, options, &reason);
        if (status == HOPMLA_OK) {
            return HOPMLA_OK;
        }
        hm_log(context, HOPMLA_LOG_INFO, "the CUDA backend is not used: %s (%s)", reason.message,
               hopmla_status_name(status));
    }
    return open_device(context, &hm_cpu_backend, options, error);
}

hopmla_status hopmla_context_options_init(hopmla_context_options *options, uint64_t size)
{
    const hopmla_context_options defaults = HOPMLA_CONTEXT_OPTIONS_INIT;
    return hm_abi_init(options, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_context_options, alloc_user));
}

hopmla_status hopmla_context_create(const hopmla_context_options *options, hopmla_context **context,
                                    hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    hopmla_context_options own = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_status status = HOPMLA_OK;
    if (options) {
        status = hm_abi_read(options, &own, sizeof(own), HM_SIZE_THROUGH(hopmla_context_options, alloc_user), "options",
                             error);
    }
    if (status == HOPMLA_OK) {
        status = check_options(&own, error);
    }
    if (status) {
        return status;
    }

    /* The struct itself comes from the caller's allocator, which is reached through a context. */
    hopmla_context first = {
        .log = own.log,
        .log_user = own.log_user,
        .log_level = own.log_level,
        .alloc = own.alloc,
        .free = own.free,
        .alloc_user = own.alloc_user,
    };
    hopmla_context *made = hm_host_alloc(&first, sizeof(*made), _Alignof(hopmla_context));
    if (!made) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no aligned memory for the context, %zu bytes",
                       sizeof(*made));
    }
    *made = first;
    atomic_init(&made->references, 1);

    status = open_any(made, &own, error);
    if (status) {
        hm_free(&first, made, sizeof(*made), HOPMLA_MEMORY_HOST, NULL);
        return status;
    }
    hm_observers_init(&made->observers);
    *context = made;
    return HOPMLA_OK;
}

void hm_context_retain(hopmla_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
}

void hm_context_release(hopmla_context *context)
{
    /* Release: what this thread did with the context comes before its end. Acquire: so does what the others did. */
    if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    context->backend->close(context->device);
    hopmla_context last = {
        .alloc = context->alloc,
        .free = context->free,
        .alloc_user = context->alloc_user,
    };
    hm_free(&last, context, sizeof(*context), HOPMLA_MEMORY_HOST, NULL);
}

void hopmla_context_destroy(hopmla_context *context)
{
    if (context) {
        hm_context_release(context);
    }
}

hopmla_status hopmla_context_describe(hopmla_context *context, hopmla_context_info *info, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(info, error);
    const hopmla_status status = hm_abi_check_output(info, HM_SIZE_THROUGH(hopmla_context_info, name), "info", error);
    if (status) {
        return status;
    }
    hopmla_context_info own = HOPMLA_CONTEXT_INFO_INIT;
    context->backend->describe(context->device, &own);
    hm_abi_write(info, &own, sizeof(own));
    return HOPMLA_OK;
}
