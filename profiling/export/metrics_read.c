/* SPDX-License-Identifier: Apache-2.0 */

/* The entry point of the metrics: reads what there is to tell. */

#include <string.h>

#include "lib/error.h"
#include "lib/pool.h"
#include "profiling/export/export.h"
#include "profiling/export/metrics.h"
#include "profiling/observe/profiler.h"

typedef struct figures {
    hopmla_profiler_info info;
    hopmla_totals totals[HM_KINDS];
    hopmla_pool_stats pool;
} figures;

static hopmla_status read_profiler(hopmla_profiler *profiler, figures *f, hopmla_error *error)
{
    f->info = (hopmla_profiler_info)HOPMLA_PROFILER_INFO_INIT;
    hopmla_status status = hopmla_profiler_describe(profiler, &f->info, error);
    for (int32_t kind = 1; kind < HM_KINDS && status == HOPMLA_OK; kind++) {
        f->totals[kind] = (hopmla_totals)HOPMLA_TOTALS_INIT;
        status = hopmla_profiler_get_totals(profiler, kind, NULL, &f->totals[kind], error);
    }
    return status;
}

static hopmla_status read_figures(hopmla_profiler *profiler, hopmla_pool *pool, figures *f, hopmla_error *error)
{
    if (profiler && pool && profiler->context != pool->context) {
        return hm_fail(error, HOPMLA_ERROR_MISMATCH, "pool is of another context than profiler");
    }
    const hopmla_status status = profiler ? read_profiler(profiler, f, error) : HOPMLA_OK;
    if (status || !pool) {
        return status;
    }
    f->pool = (hopmla_pool_stats)HOPMLA_POOL_STATS_INIT;
    return hopmla_pool_get_stats(pool, &f->pool, error);
}

hopmla_status hopmla_export_metrics(hopmla_profiler *profiler, hopmla_pool *pool, const hopmla_export_options *options,
                                    hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    hopmla_export_options own;
    hopmla_ceilings ceilings;
    figures f;
    hopmla_status status = hm_export_read_options(options, &own, &ceilings, error);
    if (status == HOPMLA_OK) {
        status = read_figures(profiler, pool, &f, error);
    }
    hm_out *out = NULL;
    if (status == HOPMLA_OK) {
        status = hm_out_open(&own, &out, error);
    }
    if (status) {
        return status;
    }
    const hm_metrics m = { profiler ? &f.info : NULL, f.totals, pool ? &f.pool : NULL, own.device, own.ceilings };
    hm_write_metrics(out, &m);
    return hm_out_close(out, error);
}
