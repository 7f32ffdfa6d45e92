/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/abi.h"
#include "lib/envelope.h"
#include "lib/plan.h"

enum {
    MAX_DEPTH = 64,
    ARRAY_ALIGNMENT = 256,
    BLOCK_ALIGNMENT = 1024,
    STRIDE_ENTRIES = 4 /* rows of the block table start at multiples of 16 bytes */
};

_Static_assert((int)HM_MAX_KV_TOKENS == (int)HM_MAX_SEQUENCE_TOKENS,
               "a plan takes the longest sequence, and none is longer");

hopmla_status hopmla_plan_options_init(hopmla_plan_options *options, uint64_t size)
{
    const hopmla_plan_options defaults = HOPMLA_PLAN_OPTIONS_INIT;
    return hm_abi_init(options, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_plan_options, memory_bytes));
}

static hopmla_status check_options(const hopmla_plan_options *options, hopmla_error *error)
{
    const hm_field fields[] = {
        { "max_batch", options->max_batch, 1, HM_MAX_BATCH },
        { "max_q_tokens", options->max_q_tokens, 1, HM_MAX_Q_TOKENS },
        { "heads", options->heads, 1, HM_MAX_HEADS },
        { "max_kv_tokens", options->max_kv_tokens, 1, HM_MAX_KV_TOKENS },
        { "staging_depth", options->staging_depth, 1, MAX_DEPTH },
    };
    hopmla_status status = hm_check_fields("options", fields, sizeof(fields) / sizeof(fields[0]), error);
    if (status == HOPMLA_OK) {
        status = hm_check_lse("options", options->lse, error);
    }
    if (status) {
        return status;
    }
    if (options->reserved) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.reserved is %u, must be 0", options->reserved);
    }
    if (!options->memory && options->memory_bytes) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.memory_bytes is set, but options.memory is NULL");
    }
    return HOPMLA_OK;
}

/* Places `bytes` at the next multiple of `alignment` and moves the end behind it. */
static uint64_t place(uint64_t *end, uint64_t bytes, uint64_t alignment)
{
    const uint64_t at = (*end + alignment - 1) / alignment * alignment;
    *end = at + bytes;
    return at;
}

/* With the largest options these are below 2^44. */
static void compute_sizes(hm_plan_sizes *sizes, const hm_envelope *envelope, uint32_t depth)
{
    const uint64_t batch = envelope->max_batch;
    const uint64_t entries = hm_pages_for(envelope->max_kv_tokens);
    sizes->table_stride = (entries + STRIDE_ENTRIES - 1) / STRIDE_ENTRIES * STRIDE_ENTRIES;

    uint64_t end = 0;
    sizes->count_at = place(&end, sizeof(int32_t), ARRAY_ALIGNMENT);
    sizes->kv_lens_at = place(&end, batch * sizeof(int32_t), ARRAY_ALIGNMENT);
    sizes->q_lens_at = place(&end, batch * sizeof(int32_t), ARRAY_ALIGNMENT);
    sizes->q_starts_at = place(&end, (batch + 1) * sizeof(int32_t), ARRAY_ALIGNMENT);
    sizes->append_starts_at = place(&end, (batch + 1) * sizeof(int32_t), ARRAY_ALIGNMENT);
    sizes->block_table_at = place(&end, batch * sizes->table_stride * sizeof(int32_t), ARRAY_ALIGNMENT);
    sizes->tables = place(&end, 0, BLOCK_ALIGNMENT);

    end = 0; /* as hm_plan_staging_init lays it out for the largest batch */
    place(&end, sizeof(hm_staging), 1);
    place(&end, (4 * batch + 2) * sizeof(int32_t), 16);
    place(&end, batch * sizeof(hm_run), 16);
    place(&end, batch * sizeof(hm_copy), 16);
    place(&end, batch * entries * sizeof(int32_t), 16);
    sizes->buffer = place(&end, 0, ARRAY_ALIGNMENT);
    sizes->pinned = HM_BUFFERS_AT + depth * sizes->buffer;

    end = 0;
    place(&end, sizeof(hopmla_plan), _Alignof(hopmla_plan));
    sizes->rows_at = place(&end, batch * sizeof(hm_plan_row), _Alignof(hm_plan_row));
    sizes->copies_at = place(&end, batch * sizeof(hm_plan_copy), _Alignof(hm_plan_copy));
    sizes->tickets_at = place(&end, (depth + 1) * sizeof(uint64_t), sizeof(uint64_t));
    sizes->branches_at = place(&end, batch * sizeof(hm_plan_branch), _Alignof(hm_plan_branch));
    sizes->buckets_at = place(&end, hm_plan_buckets(envelope->max_batch) * sizeof(uint32_t), sizeof(uint32_t));
    sizes->host = place(&end, 0, _Alignof(hopmla_plan));
}

hopmla_status hm_plan_shape(hopmla_pool *pool, const hopmla_plan_options *options, hopmla_plan_options *own,
                            hm_envelope *envelope, hm_plan_sizes *sizes, hopmla_error *error)
{
    hopmla_status status =
        hm_abi_read(options, own, sizeof(*own), HM_SIZE_THROUGH(hopmla_plan_options, memory_bytes), "options", error);
    if (status == HOPMLA_OK) {
        status = check_options(own, error);
    }
    if (status) {
        return status;
    }
    *envelope = (hm_envelope){
        .max_batch = own->max_batch,
        .max_q_tokens = own->max_q_tokens,
        .heads = own->heads,
        .max_units = own->max_units,
        .max_kv_tokens = own->max_kv_tokens,
        .format = pool->layout.format,
        .lse = own->lse,
    };
    compute_sizes(sizes, envelope, own->staging_depth);
    sizes->workspace = pool->context->backend->workspace_bytes(pool->context->device, envelope);
    return HOPMLA_OK;
}

hopmla_status hopmla_plan_query(hopmla_pool *pool, const hopmla_plan_options *options, uint64_t *device_bytes,
                                uint64_t *pinned_bytes, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    HM_CHECK_NULL(options, error);
    HM_CHECK_NULL(device_bytes, error);
    HM_CHECK_NULL(pinned_bytes, error);
    hopmla_plan_options own;
    hm_envelope envelope;
    hm_plan_sizes sizes;
    const hopmla_status status = hm_plan_shape(pool, options, &own, &envelope, &sizes, error);
    if (status == HOPMLA_OK) {
        *device_bytes = sizes.tables + sizes.workspace;
        *pinned_bytes = sizes.pinned;
    }
    return status;
}
