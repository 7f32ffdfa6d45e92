/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine calls for each layer. Everything that a launch depends on is checked here; what depends on the batch
 * only where the launch is made now, for a captured one meets batches to come. */
#include "lib/abi.h"
#include "lib/decode_args.h"
#include "lib/plan.h"

enum {
    POINTER_ALIGNMENT = 16
};

static const int64_t max_span_bytes = INT64_C(1) << 47;

static hopmla_status check_layer(const hopmla_plan *plan, uint32_t layer, uint32_t reserved, hopmla_error *error)
{
    if (layer >= plan->kv.layers) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "args.layer is %u, must be less than %u", layer, plan->kv.layers);
    }
    if (reserved) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "args.reserved is %u, must be 0", reserved);
    }
    return HOPMLA_OK;
}

/* An array of `rows` rows of `extent` elements; a stride of 0 becomes the packed one. */
static hopmla_status check_rows(const char *name, const void *address, const char *stride_name, int64_t *stride,
                                uint64_t rows, int64_t extent, int64_t element_bytes, hopmla_error *error)
{
    const hopmla_status status = hm_check_pointer(name, address, POINTER_ALIGNMENT, error);
    if (status) {
        return status;
    }
    if (*stride == 0) {
        *stride = extent;
    }
    if (*stride < 0 || *stride > max_span_bytes / element_bytes ||
        (uint64_t)*stride > (uint64_t)(max_span_bytes / element_bytes - extent) / rows) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                       "args.%s is %lld, must be 0 (packed) or more, and all rows within 2^47 bytes", stride_name,
                       (long long)*stride);
    }
    if (*stride * element_bytes % POINTER_ALIGNMENT) {
        return hm_fail(error, HOPMLA_ERROR_ALIGNMENT, "args.%s is %lld elements, must be a multiple of %d bytes",
                       stride_name, (long long)*stride, POINTER_ALIGNMENT);
    }
    return HOPMLA_OK;
}

/* Append. */

hopmla_status hopmla_append_args_init(hopmla_append_args *args, uint64_t size)
{
    const hopmla_append_args defaults = HOPMLA_APPEND_ARGS_INIT;
    return hm_abi_init(args, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_append_args, rope_stride));
}

static hopmla_status check_dtype(const hopmla_plan *plan, int32_t dtype, hopmla_error *error)
{
    const int32_t own = hm_format_dtype(plan->kv.format);
    if (dtype != own && dtype != HOPMLA_DTYPE_FP32) {
        return hm_fail(error, HOPMLA_ERROR_DTYPE, "args.dtype is %d, must be HOPMLA_DTYPE_%s or HOPMLA_DTYPE_FP32",
                       (int)dtype, own == HOPMLA_DTYPE_BF16 ? "BF16" : "FP16");
    }
    return HOPMLA_OK;
}

/* A pool without a rope part takes none. */
static hopmla_status check_no_rope(const void *rope, int64_t stride, hopmla_error *error)
{
    if (rope || stride) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "%s is set, but the pool's format has no rope part",
                       rope ? "rope" : "args.rope_stride");
    }
    return HOPMLA_OK;
}

static hopmla_status read_append(const hopmla_plan *plan, const hopmla_append_args *args, const void *latent,
                                 const void *rope, hm_append *append, hopmla_error *error)
{
    hopmla_append_args own;
    hopmla_status status =
        hm_abi_read(args, &own, sizeof(own), HM_SIZE_THROUGH(hopmla_append_args, rope_stride), "args", error);
    if (status == HOPMLA_OK) {
        status = check_layer(plan, own.layer, own.reserved, error);
    }
    if (status == HOPMLA_OK) {
        status = check_dtype(plan, own.dtype, error);
    }
    if (status == HOPMLA_OK && own.tokens > INT32_MAX) {
        status = hm_fail(error, HOPMLA_ERROR_ARGUMENT, "args.tokens is %llu, must be at most 2^31 − 1",
                         (unsigned long long)own.tokens);
    }
    const int64_t rope_values = hm_format_rope(plan->kv.format);
    if (status == HOPMLA_OK && !rope_values) {
        status = check_no_rope(rope, own.rope_stride, error);
    }
    if (status == HOPMLA_OK && own.tokens > 0) { /* else the sources have no rows and may be NULL */
        const int64_t element_bytes = own.dtype == HOPMLA_DTYPE_FP32 ? sizeof(float) : sizeof(uint16_t);
        status = check_rows("latent", latent, "latent_stride", &own.latent_stride, own.tokens, HOPMLA_LATENT_DIM,
                            element_bytes, error);
        if (status == HOPMLA_OK && rope_values) {
            status = check_rows("rope", rope, "rope_stride", &own.rope_stride, own.tokens, rope_values, element_bytes,
                                error);
        }
    }
    *append = (hm_append){
        .latent = latent,
        .rope = rope,
        .latent_stride = own.latent_stride,
        .rope_stride = own.rope_stride,
        .tokens = own.tokens,
        .layer = own.layer,
        .dtype = own.dtype,
    };
    return status;
}

hopmla_status hopmla_append(hopmla_plan *plan, const hopmla_append_args *args, const void *latent, const void *rope,
                            hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    HM_CHECK_NULL(args, error);
    hopmla_context *context = plan->pool->context;
    hm_observation seen = hm_observe(&context->observers);
    hm_append append;
    int32_t capturing = 0;
    hopmla_status status = read_append(plan, args, latent, rope, &append, error);
    if (status == HOPMLA_OK) {
        status = hm_plan_check_launch(plan, stream, &capturing, error);
    }
    if (status == HOPMLA_OK && !capturing && plan->appended > append.tokens) {
        status =
            hm_fail_value(error, HOPMLA_ERROR_RANGE, plan->appended, "args.tokens is %llu, but the step appends %u",
                          (unsigned long long)append.tokens, plan->appended);
    }
    if (status || append.tokens == 0) {
        return status;
    }
    if (seen.bits) {
        const hm_call call = hm_plan_describe_append(plan, append.layer, append.dtype);
        hm_observe_begin(&seen, &context->observers, &call, stream, capturing);
    }
    status =
        context->backend->append(context->device, &plan->envelope, &plan->kv, &plan->tables, &append, stream, error);
    if (seen.bits) {
        hm_observe_end(&seen, stream, status);
    }
    return status;
}

/* Gather. */

hopmla_status hopmla_gather_args_init(hopmla_gather_args *args, uint64_t size)
{
    const hopmla_gather_args defaults = HOPMLA_GATHER_ARGS_INIT;
    return hm_abi_init(args, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_gather_args, stride));
}

static hopmla_status read_gather(const hopmla_plan *plan, const hopmla_gather_args *args, void *destination,
                                 hm_gather *gather, hopmla_error *error)
{
    hopmla_gather_args own;
    hopmla_status status =
        hm_abi_read(args, &own, sizeof(own), HM_SIZE_THROUGH(hopmla_gather_args, stride), "args", error);
    if (status == HOPMLA_OK) {
        status = check_layer(plan, own.layer, own.reserved, error);
    }
    if (status == HOPMLA_OK && own.row >= plan->envelope.max_batch) {
        status = hm_fail(error, HOPMLA_ERROR_ARGUMENT, "args.row is %u, must be less than the plan's max_batch %u",
                         own.row, plan->envelope.max_batch);
    }
    if (status == HOPMLA_OK && own.count > 0) {
        const uint64_t most = plan->envelope.max_kv_tokens; /* a larger count is refused in its turn */
        const int64_t values = hm_format_qk(plan->kv.format);
        status = check_rows("destination", destination, "stride", &own.stride, own.count < most ? own.count : most,
                            values, HM_VALUE_BYTES, error);
        if (status == HOPMLA_OK && own.stride < values) {
            status = hm_fail(error, HOPMLA_ERROR_ARGUMENT, "args.stride is %lld, must be 0 (packed) or at least %lld",
                             (long long)own.stride, (long long)values);
        }
    }
    *gather = (hm_gather){
        .destination = destination,
        .stride = own.stride,
        .first = own.first,
        .count = own.count,
        .layer = own.layer,
        .row = own.row,
    };
    return status;
}

/* The row as it is now. */
static hopmla_status check_gathered(const hopmla_plan *plan, const hm_gather *gather, hopmla_error *error)
{
    if (gather->row >= plan->count) {
        return hm_fail_value(error, HOPMLA_ERROR_RANGE, plan->count, "args.row is %u, but the batch has %u rows",
                             gather->row, plan->count);
    }
    const uint32_t length = plan->rows[gather->row].length;
    if (gather->first > length || gather->count > length - gather->first) {
        return hm_fail_value(error, HOPMLA_ERROR_RANGE, length,
                             "args.first + args.count is %llu + %llu, but row %u has %u tokens",
                             (unsigned long long)gather->first, (unsigned long long)gather->count, gather->row, length);
    }
    return HOPMLA_OK;
}

hopmla_status hopmla_gather(hopmla_plan *plan, const hopmla_gather_args *args, void *destination, hopmla_stream stream,
                            hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    HM_CHECK_NULL(args, error);
    hopmla_context *context = plan->pool->context;
    hm_observation seen = hm_observe(&context->observers);
    const uint64_t most = plan->envelope.max_kv_tokens;
    hm_gather gather;
    int32_t capturing = 0;
    hopmla_status status = read_gather(plan, args, destination, &gather, error);
    if (status == HOPMLA_OK) {
        status = hm_plan_check_launch(plan, stream, &capturing, error);
    }
    if (status == HOPMLA_OK && !capturing) {
        status = check_gathered(plan, &gather, error);
    }
    if (status == HOPMLA_OK && (gather.first > most || gather.count > most - gather.first)) {
        status = hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                         "args.first + args.count is %llu + %llu, more than the plan's max_kv_tokens %llu",
                         (unsigned long long)gather.first, (unsigned long long)gather.count, (unsigned long long)most);
    }
    if (status || gather.count == 0) {
        return status;
    }
    if (seen.bits) {
        const hm_call call = hm_plan_describe_gather(plan, gather.layer, gather.count);
        hm_observe_begin(&seen, &context->observers, &call, stream, capturing);
    }
    status =
        context->backend->gather(context->device, &plan->envelope, &plan->kv, &plan->tables, &gather, stream, error);
    if (seen.bits) {
        hm_observe_end(&seen, stream, status);
    }
    return status;
}

/* Decode. */

hopmla_status hopmla_decode(hopmla_plan *plan, const hopmla_decode_args *args, const void *q, const void *q_rope,
                            void *out, void *lse, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    hopmla_context *context = plan->pool->context;
    hm_observation seen = hm_observe(&context->observers);
    hm_decode decode;
    int32_t capturing = 0;
    hopmla_status status =
        hm_decode_args_read(args, &plan->envelope, plan->kv.layers, q, q_rope, out, lse, &decode, error);
    if (status == HOPMLA_OK) {
        status = hm_plan_check_launch(plan, stream, &capturing, error);
    }
    if (status == HOPMLA_OK && !capturing && plan->q_tokens > decode.rows) {
        status = hm_fail_value(error, HOPMLA_ERROR_RANGE, plan->q_tokens,
                               "args.rows is %u, but the batch has %u query tokens", decode.rows, plan->q_tokens);
    }
    if (status || decode.rows == 0) {
        return status;
    }
    if (seen.bits) {
        const hm_call call = hm_plan_describe_decode(plan, decode.layer, decode.lse != NULL);
        hm_observe_begin(&seen, &context->observers, &call, stream, capturing);
    }
    status = context->backend->decode(context->device, &plan->envelope, &plan->kv, &plan->binding, &plan->tables,
                                      &decode, plan->workspace, stream, error);
    if (seen.bits) {
        hm_observe_end(&seen, stream, status);
    }
    return status;
}
