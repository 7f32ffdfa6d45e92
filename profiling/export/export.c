/* SPDX-License-Identifier: Apache-2.0 */

/* The entry point of the exporters of records. */

#include <math.h>

#include "lib/abi.h"
#include "lib/error.h"
#include "profiling/export/export.h"

static const hopmla_export_options defaults = HOPMLA_EXPORT_OPTIONS_INIT;

#define FIRST HM_SIZE_THROUGH(hopmla_export_options, ceilings)

hopmla_status hopmla_export_options_init(hopmla_export_options *options, uint64_t size)
{
    return hm_abi_init(options, size, &defaults, sizeof(defaults), FIRST);
}

static int is_rate(double value)
{
    return isfinite(value) && value > 0.0;
}

static hopmla_status read_ceilings(const hopmla_ceilings *given, hopmla_ceilings *own, hopmla_error *error)
{
    const hopmla_status status =
        hm_abi_read(given, own, sizeof(*own), HM_SIZE_THROUGH(hopmla_ceilings, driver), "ceilings", error);
    if (status) {
        return status;
    }
    if (own->reserved) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.ceilings has a reserved field that is not 0");
    }
    if (!is_rate(own->read_bytes_per_second) || !is_rate(own->flops_burst) || !is_rate(own->flops_sustained)) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.ceilings holds a rate that is not finite and > 0");
    }
    return HOPMLA_OK;
}

hopmla_status hm_export_read_options(const hopmla_export_options *given, hopmla_export_options *options,
                                     hopmla_ceilings *ceilings, hopmla_error *error)
{
    if (!given) {
        return hm_fail(error, HOPMLA_ERROR_NULL, "options is NULL");
    }
    const hopmla_status status = hm_abi_read(given, options, sizeof(*options), FIRST, "options", error);
    if (status) {
        return status;
    }
    if (options->reserved) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.reserved is not 0");
    }
    if (!options->path == !options->write) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.path and options.write are %s: give one",
                       options->path ? "both given" : "both NULL");
    }
    if (options->path && !*options->path) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.path is empty");
    }
    if (options->ceilings) {
        const hopmla_status read = read_ceilings(options->ceilings, ceilings, error);
        if (read) {
            return read;
        }
        options->ceilings = ceilings;
    }
    return HOPMLA_OK;
}

static hopmla_status write_records(hm_out *out, int32_t format, const hm_export *e, hopmla_error *error)
{
    switch (format) {
    case HOPMLA_EXPORT_JSONL:
        hm_write_jsonl(out, e);
        return HOPMLA_OK;
    case HOPMLA_EXPORT_CSV:
        hm_write_csv(out, e);
        return HOPMLA_OK;
    case HOPMLA_EXPORT_TRACE:
        hm_write_trace(out, e);
        return HOPMLA_OK;
    case HOPMLA_EXPORT_ROOFLINE:
        return hm_write_roofline(out, e, error);
    default:
        return hm_write_timeline(out, e, error);
    }
}

hopmla_status hopmla_export_records(int32_t format, const hopmla_record *records, uint64_t record_size, uint64_t count,
                                    const hopmla_export_options *options, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    if (format < HOPMLA_EXPORT_JSONL || format > HOPMLA_EXPORT_TIMELINE) {
        return hm_fail_value(error, HOPMLA_ERROR_ENUM, format, "format is %d, must be HOPMLA_EXPORT_*", (int)format);
    }
    hopmla_export_options own;
    hopmla_ceilings ceilings;
    hopmla_status status = hm_export_read_options(options, &own, &ceilings, error);
    if (status) {
        return status;
    }
    const hm_export e = { { (const unsigned char *)records, record_size, count }, own.device, own.ceilings };
    status = hm_records_check(&e.records, error);
    if (status) {
        return status;
    }
    hm_out *out;
    status = hm_out_open(&own, &out, error);
    if (status) {
        return status;
    }
    status = write_records(out, format, &e, error);
    if (status) {
        hm_out_discard(out);
        return status;
    }
    return hm_out_close(out, error);
}
