/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/paged_desc.h"

#include "lib/abi.h"
#include "lib/decode_args.h"
#include "lib/envelope.h"
#include "lib/error.h"

enum {
    POINTER_ALIGNMENT = 16,
    LATENT_BYTES = HOPMLA_LATENT_DIM * HM_VALUE_BYTES,
    ROPE_BYTES = HOPMLA_ROPE_DIM * HM_VALUE_BYTES
};

static const uint64_t max_array_bytes = UINT64_C(1) << 47;
static const uint64_t max_stride_bytes = UINT64_C(1) << 40; /* what a tensor map can describe */

static hopmla_status check_desc(const hopmla_paged_desc *desc, hopmla_error *error)
{
    const hm_field fields[] = {
        { "batch", desc->batch, 1, HM_MAX_BATCH },
        { "max_q_tokens", desc->max_q_tokens, 1, HM_MAX_Q_TOKENS },
        { "max_kv_tokens", desc->max_kv_tokens, 1, HM_MAX_KV_TOKENS },
        { "heads", desc->heads, 1, HM_MAX_HEADS },
        { "page_tokens", desc->page_tokens, HOPMLA_PAGE_TOKENS, HOPMLA_PAGE_TOKENS },
        { "pages", desc->pages, 1, INT32_MAX },
    };
    hopmla_status status = hm_check_format("desc", desc->format, error);
    if (status == HOPMLA_OK) {
        status = hm_check_lse("desc", desc->lse, error);
    }
    if (status == HOPMLA_OK) {
        status = hm_check_fields("desc", fields, sizeof(fields) / sizeof(fields[0]), error);
    }
    if (status) {
        return status;
    }
    const uint64_t row_pages = (desc->max_kv_tokens + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS;
    if (desc->table_stride < row_pages) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                       "desc.table_stride is %llu, must be at least %llu: the pages of %llu tokens",
                       (unsigned long long)desc->table_stride, (unsigned long long)row_pages,
                       (unsigned long long)desc->max_kv_tokens);
    }
    if (desc->table_stride > max_array_bytes / sizeof(int32_t) / desc->batch) {
        return hm_fail(error, HOPMLA_ERROR_OVERFLOW,
                       "desc.table_stride %llu × batch %u is a table of more than 2^47 bytes",
                       (unsigned long long)desc->table_stride, desc->batch);
    }
    return HOPMLA_OK;
}

hopmla_status hm_paged_desc_read(const hopmla_paged_desc *desc, hopmla_paged_desc *own, hm_envelope *envelope,
                                 hopmla_error *error)
{
    HM_CHECK_NULL(desc, error);
    hopmla_status status =
        hm_abi_read(desc, own, sizeof(*own), HM_SIZE_THROUGH(hopmla_paged_desc, rope_row_stride), "desc", error);
    if (status == HOPMLA_OK) {
        status = check_desc(own, error);
    }
    if (status) {
        return status;
    }
    *envelope = (hm_envelope){
        .max_batch = own->batch,
        .max_q_tokens = own->max_q_tokens,
        .heads = own->heads,
        .max_units = own->max_units,
        .max_kv_tokens = own->max_kv_tokens,
        .format = own->format,
        .lse = own->lse,
    };
    return HOPMLA_OK;
}

/* Fills in the strides of one array and checks that it is one: no two rows of it overlap. */
static hopmla_status resolve_array(const char *name, uint64_t pages, uint64_t row_bytes, uint64_t *page_stride,
                                   uint64_t *row_stride, hopmla_error *error)
{
    if (*row_stride == 0) {
        *row_stride = row_bytes;
    }
    if (*row_stride >= max_stride_bytes || *page_stride >= max_stride_bytes) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "desc.%s_%s_stride is %llu, must be less than 2^40 bytes", name,
                       *row_stride >= max_stride_bytes ? "row" : "page",
                       (unsigned long long)(*row_stride >= max_stride_bytes ? *row_stride : *page_stride));
    }
    if (*page_stride == 0) {
        *page_stride = HOPMLA_PAGE_TOKENS * *row_stride;
    }
    if (*row_stride % POINTER_ALIGNMENT || *page_stride % POINTER_ALIGNMENT) {
        return hm_fail(error, HOPMLA_ERROR_ALIGNMENT, "desc.%s_%s_stride is %llu, must be a multiple of %d bytes", name,
                       *row_stride % POINTER_ALIGNMENT ? "row" : "page",
                       (unsigned long long)(*row_stride % POINTER_ALIGNMENT ? *row_stride : *page_stride),
                       POINTER_ALIGNMENT);
    }
    const uint64_t page_bytes = (HOPMLA_PAGE_TOKENS - 1) * *row_stride + row_bytes;
    if (page_bytes > max_array_bytes || (pages - 1) > (max_array_bytes - page_bytes) / *page_stride) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "desc.%s_page_stride %llu × %llu pages is more than 2^47 bytes",
                       name, (unsigned long long)*page_stride, (unsigned long long)pages);
    }
    if (hm_strides_overlap(pages, *page_stride, HOPMLA_PAGE_TOKENS, *row_stride, row_bytes)) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                       "desc.%s_page_stride %llu and desc.%s_row_stride %llu make rows of %llu bytes overlap", name,
                       (unsigned long long)*page_stride, name, (unsigned long long)*row_stride,
                       (unsigned long long)row_bytes);
    }
    return HOPMLA_OK;
}

hopmla_status hm_paged_kv(const hopmla_paged_desc *desc, const void *latent, const void *rope, hm_kv *kv,
                          hopmla_error *error)
{
    *kv = (hm_kv){
        .latent = (char *)(uintptr_t)latent, /* a decode only reads */
        .latent_page_stride = desc->latent_page_stride,
        .latent_row_stride = desc->latent_row_stride,
        .pages = desc->pages,
        .layers = 1,
        .format = desc->format,
    };
    const int has_rope = hm_format_rope(desc->format) > 0;
    if (rope && !has_rope) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "rope is set, but desc.format has no rope part");
    }
    hopmla_status status = hm_check_pointer("latent", latent, POINTER_ALIGNMENT, error);
    if (status == HOPMLA_OK) {
        status = resolve_array("latent", desc->pages, rope ? LATENT_BYTES : hm_format_row_bytes(desc->format),
                               &kv->latent_page_stride, &kv->latent_row_stride, error);
    }
    if (status || !has_rope) {
        return status;
    }
    if (!rope) {
        kv->rope = kv->latent + LATENT_BYTES;
        kv->rope_page_stride = kv->latent_page_stride;
        kv->rope_row_stride = kv->latent_row_stride;
        return HOPMLA_OK;
    }
    kv->rope = (char *)(uintptr_t)rope;
    kv->rope_page_stride = desc->rope_page_stride;
    kv->rope_row_stride = desc->rope_row_stride;
    status = hm_check_pointer("rope", rope, POINTER_ALIGNMENT, error);
    return status ? status
                  : resolve_array("rope", desc->pages, ROPE_BYTES, &kv->rope_page_stride, &kv->rope_row_stride, error);
}

hopmla_status hopmla_paged_desc_init(hopmla_paged_desc *desc, uint64_t size)
{
    const hopmla_paged_desc defaults = HOPMLA_PAGED_DESC_INIT;
    return hm_abi_init(desc, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_paged_desc, rope_row_stride));
}
