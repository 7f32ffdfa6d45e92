/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_RECORDS_H
#define HM_RECORDS_H

/** @file
 * A caller's records, and what is in one: a table of named fields that every text format goes by. */

#include <stddef.h>

#include "profiling/export/out.h"

enum {
    HM_KINDS = HOPMLA_CALL_LAUNCH + 1 /* indices by HOPMLA_CALL_*, from 1 */
};

/** Records with `stride` bytes between them, each of its own struct_size. */
typedef struct hm_records {
    const unsigned char *first;
    uint64_t stride;
    uint64_t count;
} hm_records;

/** @return OK, NULL, ARGUMENT, STRUCT_SIZE, STRUCT_TAIL. */
hopmla_status hm_records_check(const hm_records *records, hopmla_error *error);

/** Copies one out; what its writer did not know is 0. */
void hm_records_get(const hm_records *records, uint64_t index, hopmla_record *record);

/** What an export is made of: valid options with structs of this library's size. */
typedef struct hm_export {
    hm_records records;
    const char *device;              /* or NULL */
    const hopmla_ceilings *ceilings; /* or NULL */
} hm_export;

typedef enum hm_field_type {
    HM_FIELD_U32,
    HM_FIELD_U64,
    HM_FIELD_I64,
    HM_FIELD_REAL,
    HM_FIELD_NAME, /* of an int32_t enum */
    HM_FIELD_FLAG  /* a bit of flags */
} hm_field_type;

typedef struct hm_field {
    const char *name;
    hm_field_type type;
    size_t offset;
    uint32_t needs;                  /* HOPMLA_VALID_* bits, all of them */
    uint32_t bit;                    /* FLAG */
    const char *(*name_of)(int32_t); /* NAME */
} hm_field;

extern const hm_field hm_fields[];
extern const unsigned hm_field_count;

/** Whether a field of a record holds a figure: valid, and finite. */
int hm_field_holds(const hm_field *field, const hopmla_record *record);

/** Writes its value; names in quotation marks where `quoted`. */
void hm_field_write(hm_out *out, const hm_field *field, const hopmla_record *record, int quoted);

/** "decode" and so on; "unknown" for another value. */
const char *hm_kind_name(int32_t kind);
const char *hm_source_name(int32_t source);
const char *hm_format_name(int32_t format);

/** The kind as an index, 0 for an unknown one. */
int hm_kind_index(const hopmla_record *record);

/** The formats. */
void hm_write_jsonl(hm_out *out, const hm_export *e);
void hm_write_csv(hm_out *out, const hm_export *e);
void hm_write_trace(hm_out *out, const hm_export *e);
/** @return OK, OUT_OF_HOST_MEMORY. */
hopmla_status hm_write_roofline(hm_out *out, const hm_export *e, hopmla_error *error);
hopmla_status hm_write_timeline(hm_out *out, const hm_export *e, hopmla_error *error);

#endif
