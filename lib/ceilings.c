/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "lib/abi.h"
#include "lib/context.h"
#include "lib/error.h"
#include "profiling/ceilings/cache.h"
#include "profiling/ceilings/conditions.h"

#define FIRST HM_SIZE_THROUGH(hopmla_ceilings, driver)

static void describe(const hopmla_context *context, hopmla_context_info *info)
{
    *info = (hopmla_context_info)HOPMLA_CONTEXT_INFO_INIT;
    context->backend->describe(context->device, info);
}

static hopmla_status measure(hopmla_context *context, const hopmla_context_info *info, hopmla_ceilings *own,
                             hopmla_error *error)
{
    hm_conditions *conditions = hm_conditions_begin(info);
    const hopmla_status status = context->backend->measure_ceilings(context->device, own, error);
    hm_conditions_end(conditions, info, own);
    return status;
}

hopmla_status hopmla_measure_ceilings(hopmla_context *context, hopmla_ceilings *ceilings, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(ceilings, error);
    hopmla_status status = hm_abi_check_output(ceilings, FIRST, "ceilings", error);
    if (status) {
        return status;
    }
    hopmla_context_info info;
    hopmla_ceilings own = HOPMLA_CEILINGS_INIT;
    describe(context, &info);
    status = measure(context, &info, &own, error);
    if (status == HOPMLA_OK) {
        hm_abi_write(ceilings, &own, sizeof(own));
    }
    return status;
}

/* A cache that cannot be written costs the time of the next measurement, nothing else. */
static void remember(hopmla_context *context, const char *path, const char *key, const hopmla_ceilings *own)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (hm_cache_add(path, key, own, &error)) {
        hm_log(context, HOPMLA_LOG_WARNING, "ceilings were measured and could not be kept in %s: %s", path,
               error.message);
    }
}

static hopmla_status load(hopmla_context *context, const char *path, hopmla_ceilings *own, hopmla_error *error)
{
    hopmla_context_info info;
    char key[HM_CACHE_KEY];
    describe(context, &info);
    hm_cache_key(&info, key);
    if (path && hm_cache_find(path, key, own)) {
        return HOPMLA_OK;
    }
    const hopmla_status status = measure(context, &info, own, error);
    if (status == HOPMLA_OK && path) {
        remember(context, path, key, own);
    }
    return status;
}

hopmla_status hopmla_load_ceilings(hopmla_context *context, const char *path, hopmla_ceilings *ceilings,
                                   hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(ceilings, error);
    hopmla_status status = hm_abi_check_output(ceilings, FIRST, "ceilings", error);
    if (status) {
        return status;
    }
    if (path && !*path) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "path is empty");
    }
    char *usual = path ? NULL : hm_cache_usual_path();
    hopmla_ceilings own = HOPMLA_CEILINGS_INIT;
    status = load(context, path ? path : usual, &own, error);
    free(usual);
    if (status == HOPMLA_OK) {
        hm_abi_write(ceilings, &own, sizeof(own));
    }
    return status;
}
