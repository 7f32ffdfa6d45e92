/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/abi.h"
#include "lib/envelope.h"
#include "lib/pool.h"

enum {
    MAX_LAYERS = 65535,
    MAX_PAGES = INT32_MAX
};

hopmla_status hopmla_pool_options_init(hopmla_pool_options *options, uint64_t size)
{
    const hopmla_pool_options defaults = HOPMLA_POOL_OPTIONS_INIT;
    return hm_abi_init(options, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_pool_options, memory_bytes));
}

static hopmla_status check_options(const hopmla_pool_options *options, hopmla_error *error)
{
    const hopmla_status status = hm_check_format("options", options->format, error);
    if (status) {
        return status;
    }
    if (options->storage < HOPMLA_STORAGE_LIBRARY || options->storage > HOPMLA_STORAGE_NONE) {
        return hm_fail(error, HOPMLA_ERROR_ENUM,
                       "options.storage is %d, must be HOPMLA_STORAGE_LIBRARY, _CALLER or _NONE",
                       (int)options->storage);
    }
    if (options->layers < 1 || options->layers > MAX_LAYERS) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.layers is %u, must be 1 … %d", options->layers,
                       MAX_LAYERS);
    }
    if (options->page_tokens != HOPMLA_PAGE_TOKENS) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.page_tokens is %u, must be %d", options->page_tokens,
                       (int)HOPMLA_PAGE_TOKENS);
    }
    if (options->max_sequences < 1 || options->max_sequences > HM_MAX_SLOTS) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.max_sequences is %u, must be 1 … %d",
                       options->max_sequences, (int)HM_MAX_SLOTS);
    }
    if (options->storage != HOPMLA_STORAGE_CALLER && (options->memory || options->memory_bytes)) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                       "options.memory is set, but options.storage is not HOPMLA_STORAGE_CALLER");
    }
    if (!options->pages == !options->bytes) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.pages and options.bytes are both %s, one must be 0",
                       options->pages ? "set" : "0");
    }
    return HOPMLA_OK;
}

static hopmla_status count_pages(const hopmla_pool_options *options, uint64_t *pages, hopmla_error *error)
{
    if (options->pages) {
        if (options->pages > MAX_PAGES) {
            return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.pages is %llu, must be 1 … 2^31 − 1",
                           (unsigned long long)options->pages);
        }
        *pages = options->pages;
        return HOPMLA_OK;
    }
    const uint64_t page_bytes = (uint64_t)options->layers * hm_format_page_bytes(options->format);
    *pages = options->bytes / page_bytes;
    if (*pages < 1) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.bytes is %llu, less than one page of %u layers: %llu",
                       (unsigned long long)options->bytes, options->layers, (unsigned long long)page_bytes);
    }
    if (*pages > MAX_PAGES) {
        return hm_fail(error, HOPMLA_ERROR_OVERFLOW, "options.bytes is %llu, which is more than 2^31 − 1 pages",
                       (unsigned long long)options->bytes);
    }
    return HOPMLA_OK;
}

hopmla_status hm_pool_shape(hopmla_context *context, const hopmla_pool_options *options, hopmla_pool_options *own,
                            hopmla_pool_layout *layout, hopmla_error *error)
{
    hopmla_status status =
        hm_abi_read(options, own, sizeof(*own), HM_SIZE_THROUGH(hopmla_pool_options, memory_bytes), "options", error);
    if (status == HOPMLA_OK) {
        status = check_options(own, error);
    }
    uint64_t pages = 0;
    if (status == HOPMLA_OK) {
        status = count_pages(own, &pages, error);
    }
    if (status) {
        return status;
    }
    /* Below 2^64 for any layers and pages; above 2^63 no pointer arithmetic reaches. */
    const uint64_t page_bytes = hm_format_page_bytes(own->format), bytes = own->layers * pages * page_bytes;
    if (bytes > INT64_MAX) {
        return hm_fail(error, HOPMLA_ERROR_OVERFLOW, "%u layers of %llu pages are %llu bytes, more than 2^63",
                       own->layers, (unsigned long long)pages, (unsigned long long)bytes);
    }
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    context->backend->describe(context->device, &info);
    *layout = (hopmla_pool_layout){
        .struct_size = sizeof(*layout),
        .format = own->format,
        .storage = own->storage,
        .backend = context->backend->kind,
        .device = info.device,
        .layers = own->layers,
        .page_tokens = HOPMLA_PAGE_TOKENS,
        .row_stride = hm_format_row_bytes(own->format),
        .pages = pages,
        .page_stride = page_bytes,
        .layer_stride = pages * page_bytes,
        .bytes = bytes,
        .host_bytes = sizeof(hopmla_pool) + hm_pages_host_bytes((uint32_t)pages) +
                      hm_pool_mark_words((uint32_t)pages) * sizeof(uint64_t),
    };
    return HOPMLA_OK;
}

hopmla_status hopmla_pool_query(hopmla_context *context, const hopmla_pool_options *options, hopmla_pool_layout *layout,
                                hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(options, error);
    HM_CHECK_NULL(layout, error);
    hopmla_status status = hm_abi_check_output(layout, HM_SIZE_THROUGH(hopmla_pool_layout, base), "layout", error);
    hopmla_pool_options own;
    hopmla_pool_layout shape;
    if (status == HOPMLA_OK) {
        status = hm_pool_shape(context, options, &own, &shape, error);
    }
    if (status == HOPMLA_OK) {
        hm_abi_write(layout, &shape, sizeof(shape));
    }
    return status;
}
