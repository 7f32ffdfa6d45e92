/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/export/records.h"

#include <math.h>
#include <string.h>

#include "lib/abi.h"
#include "lib/error.h"

#define FIRST HM_SIZE_THROUGH(hopmla_record, custom)

static uint32_t size_at(const hm_records *records, uint64_t index)
{
    uint32_t size;
    memcpy(&size, records->first + index * records->stride, sizeof(size));
    return size;
}

hopmla_status hm_records_check(const hm_records *records, hopmla_error *error)
{
    if (records->stride < FIRST || records->stride > HM_LARGEST_STRUCT) {
        return hm_fail_value(error, HOPMLA_ERROR_STRUCT_SIZE, (int64_t)records->stride,
                             "record_size is %llu, must be %u … %d: sizeof(hopmla_record)",
                             (unsigned long long)records->stride, FIRST, HM_LARGEST_STRUCT);
    }
    if (records->count > PTRDIFF_MAX / records->stride) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "count is %llu, more records than memory can hold",
                       (unsigned long long)records->count);
    }
    if (records->count && !records->first) {
        return hm_fail(error, HOPMLA_ERROR_NULL, "records is NULL, and count is not 0");
    }
    for (uint64_t i = 0; i < records->count; i++) {
        if (size_at(records, i) > records->stride) {
            return hm_fail_value(error, HOPMLA_ERROR_STRUCT_SIZE, (int64_t)i,
                                 "records[%llu].struct_size is %u, more than record_size, %llu", (unsigned long long)i,
                                 size_at(records, i), (unsigned long long)records->stride);
        }
        hopmla_record record;
        const hopmla_status status =
            hm_abi_read(records->first + i * records->stride, &record, sizeof(record), FIRST, "records[]", error);
        if (status) {
            return status;
        }
    }
    return HOPMLA_OK;
}

void hm_records_get(const hm_records *records, uint64_t index, hopmla_record *record)
{
    const uint32_t size = size_at(records, index);
    memset(record, 0, sizeof(*record));
    memcpy(record, records->first + index * records->stride, size < sizeof(*record) ? size : sizeof(*record));
}

static const char *const kinds[] = { "unknown", "append", "decode", "gather", "update", "launch" };
static const char *const sources[] = { "none", "analytic", "host", "event", "activity", "counter" };
static const char *const formats[] = {
    "unknown",
    [HOPMLA_KV_BF16] = "bf16",
    [HOPMLA_KV_FP16] = "fp16",
    [HOPMLA_KV_BF16_NOPE] = "bf16-nope",
    [HOPMLA_KV_FP16_NOPE] = "fp16-nope",
};

#define NAME_OF(names, value, other)                                                                                   \
    ((value) >= 0 && (size_t)(value) < sizeof(names) / sizeof((names)[0]) ? (names)[value] : (other))

const char *hm_kind_name(int32_t kind)
{
    return NAME_OF(kinds, kind, "unknown");
}

const char *hm_source_name(int32_t source)
{
    return NAME_OF(sources, source, "unknown");
}

const char *hm_format_name(int32_t format)
{
    return NAME_OF(formats, format, "unknown");
}

int hm_kind_index(const hopmla_record *record)
{
    return record->kind > 0 && record->kind < HM_KINDS ? record->kind : 0;
}

/* Names are those of hopmla_record, so that one page documents both. */

#define WORK HOPMLA_VALID_WORK
#define TIME HOPMLA_VALID_TIME
#define BOUND HOPMLA_VALID_BOUND
#define DRAM HOPMLA_VALID_DRAM
#define TENSOR HOPMLA_VALID_TENSOR
#define CUSTOM HOPMLA_VALID_CUSTOM

#define TEXT_OF(name) #name
#define NUMBER(type, field, needs)                                                                                     \
    {                                                                                                                  \
        TEXT_OF(field), HM_FIELD_##type, offsetof(hopmla_record, field), needs, 0, NULL                                \
    }
#define NAMED(field, name_of)                                                                                          \
    {                                                                                                                  \
        TEXT_OF(field), HM_FIELD_NAME, offsetof(hopmla_record, field), 0, 0, name_of                                   \
    }
#define FLAG(name, bit)                                                                                                \
    {                                                                                                                  \
        name, HM_FIELD_FLAG, offsetof(hopmla_record, flags), 0, bit, NULL                                              \
    }
#define CUSTOM_NUMBER(index)                                                                                           \
    {                                                                                                                  \
        "custom_" #index, HM_FIELD_REAL, offsetof(hopmla_record, custom) + sizeof(double) * (index), CUSTOM, 0, NULL   \
    }

const hm_field hm_fields[] = {
    NAMED(kind, hm_kind_name),
    NUMBER(U64, id, 0),
    NUMBER(U64, plan, 0),
    NUMBER(U64, step, 0),
    NUMBER(U32, calls, 0),
    NUMBER(U32, layer, 0),
    NUMBER(U32, batch, 0),
    NUMBER(U32, rows, 0),
    NUMBER(U32, heads, 0),
    NAMED(format, hm_format_name),
    NUMBER(U32, page_bytes, 0),
    FLAG("graph", HOPMLA_RECORD_GRAPH),
    FLAG("raw", HOPMLA_RECORD_RAW),
    NUMBER(U32, valid, 0),
    NAMED(time_source, hm_source_name),
    NUMBER(U64, kv_tokens, WORK),
    NUMBER(U64, flops, WORK),
    NUMBER(U64, bytes, WORK),
    NUMBER(U64, unique_bytes, WORK),
    NUMBER(I64, host_begin_ns, 0),
    NUMBER(I64, host_ns, 0),
    NUMBER(I64, device_begin_ns, TIME),
    NUMBER(I64, device_ns, TIME),
    NUMBER(REAL, intensity, WORK),
    NUMBER(REAL, bytes_per_second, WORK | TIME),
    NUMBER(REAL, flops_per_second, WORK | TIME),
    NUMBER(REAL, bound_ns, BOUND),
    NUMBER(REAL, fraction, BOUND | TIME),
    NUMBER(U64, dram_read_bytes, DRAM),
    NUMBER(U64, dram_write_bytes, DRAM),
    NUMBER(U64, l2_bytes, DRAM),
    NUMBER(U64, elapsed_cycles, DRAM),
    NUMBER(U64, tensor_flops, TENSOR),
    NUMBER(REAL, active_cycles, TENSOR),
    NUMBER(REAL, tensor_cycles, TENSOR),
    CUSTOM_NUMBER(0),
    CUSTOM_NUMBER(1),
    CUSTOM_NUMBER(2),
    CUSTOM_NUMBER(3),
    CUSTOM_NUMBER(4),
    CUSTOM_NUMBER(5),
    CUSTOM_NUMBER(6),
    CUSTOM_NUMBER(7),
};
const unsigned hm_field_count = sizeof(hm_fields) / sizeof(hm_fields[0]);
_Static_assert(HOPMLA_CUSTOM_METRICS == 8, "a line of the table for each custom metric");

static const void *at(const hm_field *field, const hopmla_record *record)
{
    return (const char *)record + field->offset;
}

static double real_at(const hm_field *field, const hopmla_record *record)
{
    double value;
    memcpy(&value, at(field, record), sizeof(value));
    return value;
}

int hm_field_holds(const hm_field *field, const hopmla_record *record)
{
    if ((record->valid & field->needs) != field->needs) {
        return 0;
    }
    return field->type != HM_FIELD_REAL || isfinite(real_at(field, record));
}

void hm_field_write(hm_out *out, const hm_field *field, const hopmla_record *record, int quoted)
{
    uint32_t u32;
    int32_t i32;
    uint64_t u64;
    int64_t i64;
    switch (field->type) {
    case HM_FIELD_U32:
        memcpy(&u32, at(field, record), sizeof(u32));
        hm_out_unsigned(out, u32);
        break;
    case HM_FIELD_U64:
        memcpy(&u64, at(field, record), sizeof(u64));
        hm_out_unsigned(out, u64);
        break;
    case HM_FIELD_I64:
        memcpy(&i64, at(field, record), sizeof(i64));
        hm_out_signed(out, i64);
        break;
    case HM_FIELD_REAL:
        hm_out_real(out, real_at(field, record));
        break;
    case HM_FIELD_NAME:
        memcpy(&i32, at(field, record), sizeof(i32));
        hm_out_text(out, quoted ? "\"" : "");
        hm_out_text(out, field->name_of(i32));
        hm_out_text(out, quoted ? "\"" : "");
        break;
    case HM_FIELD_FLAG:
        memcpy(&u32, at(field, record), sizeof(u32));
        hm_out_text(out, u32 & field->bit ? "true" : "false");
        break;
    }
}
