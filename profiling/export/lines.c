/* SPDX-License-Identifier: Apache-2.0 */

/* Formats of one line a record: JSON lines and CSV. */

#include <math.h>
#include <string.h>

#include "profiling/export/records.h"

static void real_member(hm_out *out, const char *name, double value)
{
    if (isfinite(value)) {
        hm_out_print(out, ",\"%s\":", name);
        hm_out_real(out, value);
    }
}

/* What is known of how the ceilings came about. */
static void under(hm_out *out, const hopmla_ceilings *c)
{
    if (c->unix_time) {
        hm_out_text(out, ",\"unix_time\":");
        hm_out_signed(out, c->unix_time);
    }
    if (c->sustained_mhz > 0.0) {
        real_member(out, "sustained_mhz", c->sustained_mhz);
    }
    if (c->sustained_watts > 0.0) {
        real_member(out, "sustained_watts", c->sustained_watts);
    }
    if (*c->driver) {
        char driver[sizeof(c->driver) + 1] = { 0 }; /* a caller's may lack the NUL */
        memcpy(driver, c->driver, sizeof(c->driver));
        hm_out_text(out, ",\"driver\":");
        hm_out_json(out, driver);
    }
}

/* What the records were held against. Its kind keeps it apart from them. */
static void conditions(hm_out *out, const hm_export *e)
{
    hm_out_text(out, "{\"kind\":\"ceilings\"");
    if (e->device) {
        hm_out_text(out, ",\"device\":");
        hm_out_json(out, e->device);
    }
    if (e->ceilings) {
        real_member(out, "read_bytes_per_second", e->ceilings->read_bytes_per_second);
        real_member(out, "flops_burst", e->ceilings->flops_burst);
        real_member(out, "flops_sustained", e->ceilings->flops_sustained);
        under(out, e->ceilings);
    }
    hm_out_text(out, "}\n");
}

void hm_write_jsonl(hm_out *out, const hm_export *e)
{
    if (e->device || e->ceilings) {
        conditions(out, e);
    }
    for (uint64_t i = 0; i < e->records.count && !hm_out_failed(out); i++) {
        hopmla_record record;
        hm_records_get(&e->records, i, &record);
        char before = '{';
        for (unsigned f = 0; f < hm_field_count; f++) {
            if (hm_field_holds(&hm_fields[f], &record)) {
                hm_out_bytes(out, &before, 1);
                hm_out_text(out, "\"");
                hm_out_text(out, hm_fields[f].name);
                hm_out_text(out, "\":");
                hm_field_write(out, &hm_fields[f], &record, 1);
                before = ',';
            }
        }
        hm_out_text(out, "}\n");
    }
}

void hm_write_csv(hm_out *out, const hm_export *e)
{
    for (unsigned f = 0; f < hm_field_count; f++) {
        hm_out_text(out, f ? "," : "");
        hm_out_text(out, hm_fields[f].name);
    }
    hm_out_text(out, "\n");
    for (uint64_t i = 0; i < e->records.count && !hm_out_failed(out); i++) {
        hopmla_record record;
        hm_records_get(&e->records, i, &record);
        for (unsigned f = 0; f < hm_field_count; f++) {
            hm_out_text(out, f ? "," : "");
            if (hm_field_holds(&hm_fields[f], &record)) {
                hm_field_write(out, &hm_fields[f], &record, 0);
            }
        }
        hm_out_text(out, "\n");
    }
}
