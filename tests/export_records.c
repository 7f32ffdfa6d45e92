/* SPDX-License-Identifier: Apache-2.0 */

/* Writes sets of made-up records in every format for export.py: export_records FOLDER */

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "profiling/export/metrics.h"
#include "tests/export_data.h"

static const char *folder;

static const struct {
    int32_t format;
    const char *ending;
} formats[] = {
    { HOPMLA_EXPORT_JSONL, "jsonl" },           { HOPMLA_EXPORT_CSV, "csv" },
    { HOPMLA_EXPORT_TRACE, "trace.json" },      { HOPMLA_EXPORT_ROOFLINE, "roofline.svg" },
    { HOPMLA_EXPORT_TIMELINE, "timeline.svg" },
};

static void write_all(const char *name, const hopmla_record *records, uint64_t count, const char *device,
                      const hopmla_ceilings *ceilings)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s.%s", folder, name, formats[i].ending);
        hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
        hopmla_error error = HOPMLA_ERROR_INIT;
        options.path = path;
        options.device = device;
        options.ceilings = ceilings;
        if (hopmla_export_records(formats[i].format, records, sizeof(*records), count, &options, &error)) {
            fprintf(stderr, "%s: %s\n", path, error.message);
            exit(1);
        }
    }
}

/* Figures that no measurement gives but a file of records may hold. */
static void make_odd(hopmla_record *records, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        records[i] = export_record(2);
    }
    records[0].bytes_per_second = NAN;
    records[0].fraction = INFINITY;
    records[1].intensity = -INFINITY;
    records[2].kind = 77;
    records[2].format = -1;
    records[2].time_source = 99;
    records[3].valid = 0;
    records[4].valid = UINT32_MAX;
    records[4].custom[0] = 1.0 / 3.0;
    records[4].custom[7] = NAN;
    records[5].id = UINT64_MAX;
    records[5].plan = UINT64_MAX;
    records[6].host_begin_ns = INT64_MIN;
    records[6].host_ns = -5;
    records[6].device_ns = -1;
    records[7].device_begin_ns = INT64_MAX;
    records[7].device_ns = INT64_MAX;
    records[8].device_ns = 0;
    records[9].intensity = 1e300;
    records[9].flops_per_second = 1e-300;
    records[10].bytes = UINT64_MAX;
    records[11].flags = HOPMLA_RECORD_GRAPH | HOPMLA_RECORD_RAW;
    records[11].kind = HOPMLA_CALL_LAUNCH;
}

/* Figures as a profiler and a pool have them; with `all` 0 of nothing at all. */
static void write_metrics(const char *name, int all, const char *device)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.metrics", folder, name);
    const hopmla_ceilings ceilings = export_ceilings();
    hopmla_profiler_info info = HOPMLA_PROFILER_INFO_INIT;
    hopmla_totals totals[HM_KINDS];
    hopmla_pool_stats pool = HOPMLA_POOL_STATS_INIT;
    memset(totals, 0, sizeof(totals));
    info.started = 1;
    info.untimed = 3;
    info.waiting = 12;
    pool.pages_total = 1024;
    pool.pages_high_water = 1000;
    hopmla_totals *decode = &totals[HOPMLA_CALL_DECODE];
    decode->records = 610;
    decode->calls = 610;
    decode->dropped = 7;
    decode->timed = 600;
    decode->flops = UINT64_C(1) << 62;
    decode->time_ns = INT64_C(12345678901);
    decode->time_min_ns = 6400;
    decode->time_p50_ns = 20000;
    decode->time_p90_ns = 30000;
    decode->time_p99_ns = 40000;
    decode->time_max_ns = 50000;
    decode->bound_ns = 1.25e10;
    const hm_metrics everything = { &info, totals, &pool, device, &ceilings };
    const hm_metrics nothing = { NULL, NULL, NULL, NULL, NULL };
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    options.path = path;
    hm_out *out = NULL;
    if (hm_out_open(&options, &out, NULL)) {
        exit(1);
    }
    hm_write_metrics(out, all ? &everything : &nothing);
    if (hm_out_close(out, NULL)) {
        exit(1);
    }
}

int main(int argc, char **argv)
{
    enum {
        MANY = 20000,
        SPOT = 3000,
        ODD = 12
    };
    if (argc != 2) {
        fprintf(stderr, "usage: export_records FOLDER\n");
        return 2;
    }
    folder = argv[1];
    setlocale(LC_ALL, ""); /* numbers must not follow it */
    printf("%s\n", localeconv()->decimal_point);
    write_metrics("all", 1, "a \"card\" \\ with\nlines and \xff");
    write_metrics("nothing", 0, NULL);
    const hopmla_ceilings ceilings = export_ceilings();
    hopmla_record *records = calloc(MANY, sizeof(*records));
    if (!records) {
        return 1;
    }
    for (uint64_t i = 0; i < MANY; i++) {
        records[i] = export_record(i);
    }
    write_all("many", records, MANY, "NVIDIA H200", &ceilings);
    write_all("bare", records, 500, NULL, NULL);
    hopmla_record few[6];
    for (uint64_t i = 0; i < 6; i++) {
        few[i] = records[i * 322 + 2];
        few[i].device_begin_ns = records[0].device_begin_ns + (int64_t)i * 300000;
    }
    write_all("few", few, 6, "NVIDIA H200", &ceilings);
    write_all("none", records, 0, "NVIDIA H200", &ceilings);
    make_odd(records, ODD);
    write_all("odd", records, ODD,
              "a \"card\" <&> \\ with\nlines\tand \xff bytes \xe2\x82\xac \xef\xbf\xbe\xef\xbf\xbf", &ceilings);
    for (uint64_t i = 0; i < SPOT; i++) {
        records[i] = export_record(2 + 64 * 4);
        records[i].id = i + 1;
        records[i].device_begin_ns += (int64_t)i * 100000;
    }
    write_all("spot", records, SPOT, "NVIDIA H200", &ceilings);
    free(records);
    return 0;
}
