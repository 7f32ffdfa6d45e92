/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "hopmla/profile.h"
#include "lib/context.h"
#include "lib/decode_args.h"
#include "lib/error.h"
#include "lib/paged_desc.h"

enum {
    WORKSPACE_ALIGNMENT = 1024,
    TABLE_ALIGNMENT = sizeof(int32_t)
};

static hopmla_status check_workspace(const hopmla_context *context, const hm_envelope *envelope, const void *workspace,
                                     uint64_t workspace_bytes, hopmla_error *error)
{
    const hopmla_status status = hm_check_pointer("workspace", workspace, WORKSPACE_ALIGNMENT, error);
    if (status) {
        return status;
    }
    const uint64_t needed = context->backend->workspace_bytes(context->device, envelope);
    if (workspace_bytes < needed) {
        return hm_fail_value(error, HOPMLA_ERROR_ARGUMENT, (int64_t)needed,
                             "workspace_bytes is %llu, must be at least %llu", (unsigned long long)workspace_bytes,
                             (unsigned long long)needed);
    }
    return HOPMLA_OK;
}

/* The host knows shapes, not lengths. */
static hm_call describe(const hm_envelope *envelope, int32_t kind, uint32_t rows)
{
    return (hm_call){
        .kind = (uint8_t)kind,
        .format = (uint8_t)envelope->format,
        .flags = HM_CALL_RAW,
        .batch = (uint16_t)envelope->max_batch,
        .heads = (uint16_t)envelope->heads,
        .rows = rows,
        .calls = 1,
        .page_bytes = hm_format_page_bytes(envelope->format),
    };
}

hopmla_status hopmla_decode_paged_workspace(hopmla_context *context, const hopmla_paged_desc *desc, uint64_t *bytes,
                                            hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(bytes, error);
    hopmla_paged_desc own;
    hm_envelope envelope;
    const hopmla_status status = hm_paged_desc_read(desc, &own, &envelope, error);
    if (status == HOPMLA_OK) {
        *bytes = context->backend->workspace_bytes(context->device, &envelope);
    }
    return status;
}

hopmla_status hopmla_decode_paged_prepare(hopmla_context *context, const hopmla_paged_desc *desc,
                                          const int32_t *kv_lens, const int32_t *q_lens, void *workspace,
                                          uint64_t workspace_bytes, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    hm_observation seen = hm_observe(&context->observers);
    hopmla_paged_desc own;
    hm_envelope envelope;
    hopmla_status status = hm_paged_desc_read(desc, &own, &envelope, error);
    if (status == HOPMLA_OK) {
        status = hm_check_pointer("kv_lens", kv_lens, TABLE_ALIGNMENT, error);
    }
    if (status == HOPMLA_OK && q_lens) {
        status = hm_check_pointer("q_lens", q_lens, TABLE_ALIGNMENT, error);
    }
    if (status == HOPMLA_OK) {
        status = check_workspace(context, &envelope, workspace, workspace_bytes, error);
    }
    int32_t capturing = 0;
    if (status == HOPMLA_OK) {
        status = context->backend->stream_check(context->device, stream, &capturing, error);
    }
    if (status) {
        return status;
    }
    const hm_tables tables = { .kv_lens = kv_lens, .q_lens = q_lens, .table_stride = own.table_stride };
    if (seen.bits) {
        const hm_call call = describe(&envelope, HOPMLA_CALL_UPDATE, envelope.max_batch);
        hm_observe_begin(&seen, &context->observers, &call, stream, capturing);
    }
    status = context->backend->schedule(context->device, &envelope, &tables, workspace, stream, error);
    if (seen.bits) {
        hm_observe_end(&seen, stream, status);
    }
    return status;
}

hopmla_status hopmla_decode_paged(hopmla_context *context, const hopmla_paged_desc *desc,
                                  const hopmla_decode_args *args, const void *latent, const void *rope,
                                  const int32_t *block_table, const void *q, const void *q_rope, void *out, void *lse,
                                  void *workspace, uint64_t workspace_bytes, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    hm_observation seen = hm_observe(&context->observers);
    hopmla_paged_desc own;
    hm_envelope envelope;
    hm_kv kv;
    hm_decode decode;
    hm_binding binding;
    hopmla_status status = hm_paged_desc_read(desc, &own, &envelope, error);
    if (status == HOPMLA_OK) {
        status = hm_decode_args_read(args, &envelope, 0, q, q_rope, out, lse, &decode, error);
    }
    if (status == HOPMLA_OK) {
        status = hm_paged_kv(&own, latent, rope, &kv, error);
    }
    if (status == HOPMLA_OK) {
        status = hm_check_pointer("block_table", block_table, TABLE_ALIGNMENT, error);
    }
    if (status == HOPMLA_OK) {
        status = check_workspace(context, &envelope, workspace, workspace_bytes, error);
    }
    int32_t capturing = 0;
    if (status == HOPMLA_OK) {
        status = context->backend->stream_check(context->device, stream, &capturing, error);
    }
    if (status || decode.rows == 0) {
        return status;
    }
    status = context->backend->bind(context->device, &kv, &binding, error);
    if (status) {
        return status;
    }
    const hm_tables tables = { .block_table = block_table, .table_stride = own.table_stride };
    if (seen.bits) {
        const hm_call call = describe(&envelope, HOPMLA_CALL_DECODE, decode.rows);
        hm_observe_begin(&seen, &context->observers, &call, stream, capturing);
    }
    status =
        context->backend->decode(context->device, &envelope, &kv, &binding, &tables, &decode, workspace, stream, error);
    if (seen.bits) {
        hm_observe_end(&seen, stream, status);
    }
    return status;
}

hopmla_status hopmla_decode_paged_errors(hopmla_context *context, const void *workspace, uint32_t *word,
                                         hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(word, error);
    hopmla_status status = hm_check_pointer("workspace", workspace, WORKSPACE_ALIGNMENT, error);
    int32_t capturing = 0;
    if (status == HOPMLA_OK) {
        status = context->backend->stream_check(context->device, stream, &capturing, error);
    }
    if (status == HOPMLA_OK && capturing) {
        status = hm_fail(error, HOPMLA_ERROR_CAPTURE, "stream is being captured: the error word cannot be waited for");
    }
    uint32_t read = 0;
    if (status == HOPMLA_OK) {
        status = context->backend->copy(context->device, &read, workspace, sizeof(read), stream, error);
    }
    if (status == HOPMLA_OK) {
        status = context->backend->stream_synchronize(context->device, stream, error);
    }
    if (status == HOPMLA_OK) {
        *word = read;
    }
    return status;
}
