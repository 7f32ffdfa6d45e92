/* SPDX-License-Identifier: Apache-2.0 */
#include "records_file.h"

#include "lines.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum field_type {
    U32,
    U64,
    I64,
    REAL,
    NAME,
    FLAG
} field_type;

static const char *const kinds[] = { "", "append", "decode", "gather", "update", "launch" };
static const char *const sources[] = { "none", "analytic", "host", "event", "activity", "counter" };
static const char *const formats[] = { "", "bf16", "fp16", "bf16-nope", "fp16-nope" };

/** Names of an enum by their values; what is none of them is −1. */
typedef struct names {
    const char *const *list;
    int count;
} names;

#define NAMES(list)                                                                                                    \
    {                                                                                                                  \
        list, sizeof(list) / sizeof(list[0])                                                                           \
    }
static const names kind_names = NAMES(kinds), source_names = NAMES(sources), format_names = NAMES(formats);

typedef struct field {
    const char *name;
    field_type type;
    size_t offset;
    const names *names; /* NAME */
    uint32_t bit;       /* FLAG */
} field;

#define TEXT_OF(name) #name
#define NUMBER(type, member)                                                                                           \
    {                                                                                                                  \
        TEXT_OF(member), type, offsetof(hopmla_record, member), NULL, 0                                                \
    }
#define NAMED(member, names)                                                                                           \
    {                                                                                                                  \
        TEXT_OF(member), NAME, offsetof(hopmla_record, member), &(names), 0                                            \
    }
#define CUSTOM(index)                                                                                                  \
    {                                                                                                                  \
        "custom_" #index, REAL, offsetof(hopmla_record, custom) + sizeof(double) * (index), NULL, 0                    \
    }

static const field fields[] = {
    NAMED(kind, kind_names),
    NUMBER(U64, id),
    NUMBER(U64, plan),
    NUMBER(U64, step),
    NUMBER(U32, calls),
    NUMBER(U32, layer),
    NUMBER(U32, batch),
    NUMBER(U32, rows),
    NUMBER(U32, heads),
    NAMED(format, format_names),
    NUMBER(U32, page_bytes),
    { "graph", FLAG, offsetof(hopmla_record, flags), NULL, HOPMLA_RECORD_GRAPH },
    { "raw", FLAG, offsetof(hopmla_record, flags), NULL, HOPMLA_RECORD_RAW },
    NUMBER(U32, valid),
    NAMED(time_source, source_names),
    NUMBER(U64, kv_tokens),
    NUMBER(U64, flops),
    NUMBER(U64, bytes),
    NUMBER(U64, unique_bytes),
    NUMBER(I64, host_begin_ns),
    NUMBER(I64, host_ns),
    NUMBER(I64, device_begin_ns),
    NUMBER(I64, device_ns),
    NUMBER(REAL, intensity),
    NUMBER(REAL, bytes_per_second),
    NUMBER(REAL, flops_per_second),
    NUMBER(REAL, bound_ns),
    NUMBER(REAL, fraction),
    NUMBER(U64, dram_read_bytes),
    NUMBER(U64, dram_write_bytes),
    NUMBER(U64, l2_bytes),
    NUMBER(U64, elapsed_cycles),
    NUMBER(U64, tensor_flops),
    NUMBER(REAL, active_cycles),
    NUMBER(REAL, tensor_cycles),
    CUSTOM(0),
    CUSTOM(1),
    CUSTOM(2),
    CUSTOM(3),
    CUSTOM(4),
    CUSTOM(5),
    CUSTOM(6),
    CUSTOM(7),
};

enum {
    FIELDS = sizeof(fields) / sizeof(fields[0])
};

/** Puts `size` bytes of a value into a record. */
static bool put(hopmla_record *record, const field *f, const void *value, size_t size)
{
    memcpy((char *)record + f->offset, value, size);
    return true;
}

static bool take_whole(json_reader *r, hopmla_record *record, const field *f, const json_field *found)
{
    if (found->kind != JSON_NUMBER || (!found->whole && !found->unsigned_whole))
        return json_wrong(r, "\"%s\" is not a whole number of 64 bits", f->name);
    if (f->type == I64 ? !found->whole : !found->unsigned_whole || (f->type == U32 && found->natural > UINT32_MAX))
        return json_wrong(r, "\"%s\" is out of range", f->name);
    if (f->type == I64)
        return put(record, f, &found->integer, sizeof(found->integer));
    uint32_t u32 = (uint32_t)found->natural;
    return f->type == U32 ? put(record, f, &u32, sizeof(u32)) : put(record, f, &found->natural, sizeof(uint64_t));
}

static bool take_name(json_reader *r, hopmla_record *record, const field *f, const json_field *found)
{
    if (found->kind != JSON_TEXT)
        return json_wrong(r, "\"%s\" is not a text", f->name);
    int32_t value = -1;
    for (int32_t i = 0; i < f->names->count; ++i) {
        if (strcmp(found->text, f->names->list[i]) == 0)
            value = i;
    }
    return put(record, f, &value, sizeof(value));
}

static bool take_field(json_reader *r, hopmla_record *record, const field *f, const json_field *found)
{
    switch (f->type) {
    case NAME:
        return take_name(r, record, f, found);
    case FLAG:
        if (found->kind != JSON_TRUE && found->kind != JSON_FALSE)
            return json_wrong(r, "\"%s\" is neither true nor false", f->name);
        record->flags |= found->kind == JSON_TRUE ? f->bit : 0;
        return true;
    case REAL:
        if (found->kind != JSON_NUMBER)
            return json_wrong(r, "\"%s\" is not a number", f->name);
        return put(record, f, &found->number, sizeof(found->number));
    default:
        return take_whole(r, record, f, found);
    }
}

/** Fields that are missing were not valid, or not finite; those that are not known are of a newer release. */
static bool take_record(json_reader *r, records_file *file)
{
    hopmla_record record = { .struct_size = sizeof(record) };
    for (int i = 0; i < FIELDS; ++i) {
        const json_field *found = json_find(r, fields[i].name);
        if (found == NULL && fields[i].type == REAL) {
            double missing = NAN;
            put(&record, &fields[i], &missing, sizeof(missing));
        } else if (found != NULL && !take_field(r, &record, &fields[i], found)) {
            return false;
        }
    }
    file->records = must_grow(file->records, file->count, &file->capacity, sizeof(record));
    file->records[file->count++] = record;
    return true;
}

static bool take_rate(json_reader *r, const char *name, double *value)
{
    const json_field *found = json_find(r, name);
    if (found == NULL || found->kind != JSON_NUMBER || !(found->number > 0) || !isfinite(found->number))
        return json_wrong(r, "\"%s\" is missing, or is not a positive number", name);
    *value = found->number;
    return true;
}

static double number_or_0(const json_reader *r, const char *name)
{
    const json_field *found = json_find(r, name);
    return found != NULL && found->kind == JSON_NUMBER && isfinite(found->number) ? found->number : 0;
}

static void take_text(const json_reader *r, const char *name, char *text, size_t size)
{
    const json_field *found = json_find(r, name);
    snprintf(text, size, "%s", found != NULL && found->kind == JSON_TEXT ? found->text : "");
}

static bool take_ceilings(json_reader *r, records_file *file)
{
    hopmla_ceilings *c = &file->ceilings;
    take_text(r, "device", file->device, sizeof(file->device));
    if (json_find(r, "flops_burst") == NULL)
        return true;
    c->unix_time = (int64_t)fmin(fmax(number_or_0(r, "unix_time"), 0), 1e15);
    c->sustained_mhz = number_or_0(r, "sustained_mhz");
    c->sustained_watts = number_or_0(r, "sustained_watts");
    take_text(r, "driver", c->driver, sizeof(c->driver));
    file->has_ceilings = true;
    return take_rate(r, "read_bytes_per_second", &c->read_bytes_per_second) &&
           take_rate(r, "flops_burst", &c->flops_burst) && take_rate(r, "flops_sustained", &c->flops_sustained);
}

static bool take_line(json_reader *r, void *user)
{
    const json_field *kind = json_find(r, "kind");
    if (kind == NULL || kind->kind != JSON_TEXT)
        return json_wrong(r, "\"kind\" is missing, or is not a text");
    return strcmp(kind->text, "ceilings") == 0 ? take_ceilings(r, user) : take_record(r, user);
}

void records_file_read(records_file *f, const char *path)
{
    *f = (records_file){ .ceilings = HOPMLA_CEILINGS_INIT };
    lines_read(path, take_line, f);
}

void records_file_free(records_file *f)
{
    free(f->records);
    *f = (records_file){ 0 };
}

static int32_t write_piece(void *user, const void *text, uint64_t bytes)
{
    return fwrite(text, 1, bytes, user) == bytes ? 0 : 1;
}

void records_file_append(FILE *file, const char *path, const hopmla_record *records, uint64_t count,
                         const hopmla_ceilings *ceilings, const char *device)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    options.write = write_piece;
    options.user = file;
    options.ceilings = ceilings;
    options.device = device;
    hopmla_status status =
        hopmla_export_records(HOPMLA_EXPORT_JSONL, records, sizeof(*records), count, &options, &error);
    if (status == HOPMLA_ERROR_IO)
        die("%s: %s", path, strerror(errno));
    must(status, &error, "hopmla_export_records");
}
