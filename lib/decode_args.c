/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/decode_args.h"

#include <math.h>

#include "lib/abi.h"
#include "lib/error.h"

enum {
    POINTER_ALIGNMENT = 16,
    JOINT_ROPE_OFFSET = HOPMLA_LATENT_DIM * HM_VALUE_BYTES
};

static const int64_t max_span_bytes = INT64_C(1) << 47;

/* One of the tensors as args describe it. */
typedef struct tensor {
    const char *name;   /* of the argument */
    const char *prefix; /* of its strides */
    const void *address;
    int optional;
    int64_t *token_stride; /* elements; a 0 is replaced by the packed one */
    int64_t *head_stride;
    int64_t extent; /* elements of one row of one head */
    uint32_t element_bytes;
    uint32_t alignment; /* of the address and of both strides, bytes */
    int written;
} tensor;

int hm_strides_overlap(uint64_t rows, uint64_t row_stride, uint64_t columns, uint64_t column_stride, uint64_t extent)
{
    if (rows == 0 || columns == 0 || (rows == 1 && columns == 1)) {
        return 0;
    }
    if (rows == 1) {
        return column_stride < extent;
    }
    if (columns == 1) {
        return row_stride < extent;
    }
    const int rows_outside = column_stride >= extent && row_stride >= (columns - 1) * column_stride + extent;
    const int columns_outside = row_stride >= extent && column_stride >= (rows - 1) * row_stride + extent;
    return !rows_outside && !columns_outside;
}

hopmla_status hm_check_pointer(const char *name, const void *pointer, uint64_t alignment, hopmla_error *error)
{
    if (!pointer) {
        return hm_fail(error, HOPMLA_ERROR_NULL, "%s is NULL", name);
    }
    if ((uintptr_t)pointer % alignment) {
        return hm_fail(error, HOPMLA_ERROR_ALIGNMENT, "%s is %p, must be a multiple of %llu bytes", name, pointer,
                       (unsigned long long)alignment);
    }
    return HOPMLA_OK;
}

static hopmla_status check_stride(const tensor *t, const char *which, int64_t stride, hopmla_error *error)
{
    if (stride < 0) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "args.%s_%s_stride is %lld, must be 0 (packed) or more", t->prefix,
                       which, (long long)stride);
    }
    if (stride % (t->alignment / t->element_bytes)) {
        return hm_fail(error, HOPMLA_ERROR_ALIGNMENT,
                       "args.%s_%s_stride is %lld elements, must be a multiple of %u (%u bytes)", t->prefix, which,
                       (long long)stride, t->alignment / t->element_bytes, t->alignment);
    }
    return HOPMLA_OK;
}

/* Whether the tensor ends within the largest span, without a product that overflows. */
static int fits(const tensor *t, uint32_t rows, uint32_t heads)
{
    int64_t left = max_span_bytes / t->element_bytes - t->extent;
    if (rows > 1) {
        if (*t->token_stride > left / (rows - 1)) {
            return 0;
        }
        left -= *t->token_stride * (rows - 1);
    }
    return heads <= 1 || *t->head_stride <= left / (heads - 1);
}

static hopmla_status resolve(const tensor *t, uint32_t rows, uint32_t heads, hopmla_error *error)
{
    hopmla_status status = check_stride(t, "token", *t->token_stride, error);
    if (status == HOPMLA_OK) {
        status = check_stride(t, "head", *t->head_stride, error);
    }
    if (status) {
        return status;
    }
    if (*t->token_stride == 0) {
        *t->token_stride = heads * t->extent;
    }
    if (*t->head_stride == 0) {
        *t->head_stride = t->extent;
    }
    if (rows == 0) {
        return HOPMLA_OK; /* an empty slice of a binding may have any address */
    }
    status = hm_check_pointer(t->name, t->address, t->alignment, error);
    if (status) {
        return status;
    }
    if (!fits(t, rows, heads)) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                       "args.%s_token_stride %lld and args.%s_head_stride %lld span more than 2^47 bytes", t->prefix,
                       (long long)*t->token_stride, t->prefix, (long long)*t->head_stride);
    }
    if (t->written &&
        hm_strides_overlap(rows, (uint64_t)*t->token_stride, heads, (uint64_t)*t->head_stride, (uint64_t)t->extent)) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                       "args.%s_token_stride %lld and args.%s_head_stride %lld make rows of %lld elements overlap",
                       t->prefix, (long long)*t->token_stride, t->prefix, (long long)*t->head_stride,
                       (long long)t->extent);
    }
    return HOPMLA_OK;
}

static hopmla_status check_numbers(const hopmla_decode_args *args, const hm_envelope *envelope, uint32_t layers,
                                   hopmla_error *error)
{
    const uint64_t max_rows = (uint64_t)envelope->max_batch * envelope->max_q_tokens;
    if (layers && args->layer >= layers) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "args.layer is %u, must be less than %u", args->layer, layers);
    }
    if (args->rows > max_rows) {
        return hm_fail(error, HOPMLA_ERROR_ENVELOPE, "args.rows is %u, must be at most %llu = batch × query tokens",
                       args->rows, (unsigned long long)max_rows);
    }
    if (!(isfinite(args->softmax_scale) && args->softmax_scale > 0)) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                       "args.softmax_scale is %g, must be finite and more than 0; it has no default",
                       (double)args->softmax_scale);
    }
    return HOPMLA_OK;
}

/* A cache without a rope part is asked by a q that has none. */
static hopmla_status check_no_rope(const hm_decode *decode, hopmla_error *error)
{
    if (decode->q_rope || decode->qr_token_stride || decode->qr_head_stride) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "%s is set, but the cache's format has no rope part",
                       decode->q_rope            ? "q_rope"
                       : decode->qr_token_stride ? "args.qr_token_stride"
                                                 : "args.qr_head_stride");
    }
    return HOPMLA_OK;
}

static hopmla_status resolve_tensors(hm_decode *decode, uint32_t heads, int32_t format, hopmla_error *error)
{
    const int joint = !decode->q_rope;
    const tensor tensors[] = {
        { .name = "q",
          .prefix = "q",
          .address = decode->q,
          .token_stride = &decode->q_token_stride,
          .head_stride = &decode->q_head_stride,
          .extent = joint ? hm_format_qk(format) : HOPMLA_LATENT_DIM,
          .element_bytes = HM_VALUE_BYTES,
          .alignment = POINTER_ALIGNMENT },
        { .name = "q_rope",
          .prefix = "qr",
          .address = decode->q_rope,
          .optional = 1,
          .token_stride = &decode->qr_token_stride,
          .head_stride = &decode->qr_head_stride,
          .extent = HOPMLA_ROPE_DIM,
          .element_bytes = HM_VALUE_BYTES,
          .alignment = POINTER_ALIGNMENT },
        { .name = "out",
          .prefix = "out",
          .address = decode->out,
          .written = 1,
          .token_stride = &decode->out_token_stride,
          .head_stride = &decode->out_head_stride,
          .extent = HOPMLA_LATENT_DIM,
          .element_bytes = HM_VALUE_BYTES,
          .alignment = POINTER_ALIGNMENT },
        { .name = "lse",
          .prefix = "lse",
          .address = decode->lse,
          .optional = 1,
          .written = 1,
          .token_stride = &decode->lse_token_stride,
          .head_stride = &decode->lse_head_stride,
          .extent = 1,
          .element_bytes = sizeof(float),
          .alignment = sizeof(float) },
    };
    for (uint32_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        if (tensors[i].optional && !tensors[i].address) {
            continue;
        }
        const hopmla_status status = resolve(&tensors[i], decode->rows, heads, error);
        if (status) {
            return status;
        }
    }
    if (joint && hm_format_rope(format)) {
        decode->q_rope = decode->q ? (const char *)decode->q + JOINT_ROPE_OFFSET : NULL;
        decode->qr_token_stride = decode->q_token_stride;
        decode->qr_head_stride = decode->q_head_stride;
    }
    if (!decode->lse) {
        decode->lse_token_stride = heads;
        decode->lse_head_stride = 1;
    }
    return HOPMLA_OK;
}

hopmla_status hm_decode_args_read(const hopmla_decode_args *args, const hm_envelope *envelope, uint32_t layers,
                                  const void *q, const void *q_rope, void *out, void *lse, hm_decode *decode,
                                  hopmla_error *error)
{
    HM_CHECK_NULL(args, error);
    hopmla_decode_args own;
    hopmla_status status =
        hm_abi_read(args, &own, sizeof(own), HM_SIZE_THROUGH(hopmla_decode_args, lse_head_stride), "args", error);
    if (status == HOPMLA_OK) {
        status = check_numbers(&own, envelope, layers, error);
    }
    if (status) {
        return status;
    }
    hm_decode made = {
        .q = q,
        .q_rope = q_rope,
        .out = out,
        .lse = lse,
        .q_token_stride = own.q_token_stride,
        .q_head_stride = own.q_head_stride,
        .qr_token_stride = own.qr_token_stride,
        .qr_head_stride = own.qr_head_stride,
        .out_token_stride = own.out_token_stride,
        .out_head_stride = own.out_head_stride,
        .lse_token_stride = own.lse_token_stride,
        .lse_head_stride = own.lse_head_stride,
        .layer = layers ? own.layer : 0,
        .rows = own.rows,
        .softmax_scale = own.softmax_scale,
    };
    if (!hm_format_rope(envelope->format)) {
        status = check_no_rope(&made, error);
    }
    if (status == HOPMLA_OK) {
        status = resolve_tensors(&made, envelope->heads, envelope->format, error);
    }
    if (status == HOPMLA_OK) {
        *decode = made;
    }
    return status;
}

hopmla_status hopmla_decode_args_init(hopmla_decode_args *args, uint64_t size)
{
    const hopmla_decode_args defaults = HOPMLA_DECODE_ARGS_INIT;
    return hm_abi_init(args, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_decode_args, lse_head_stride));
}
