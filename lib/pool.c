/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pool.h"

#include <string.h>

#include "lib/abi.h"

enum {
    BASE_ALIGNMENT = 1024,
    FENCE_ALIGNMENT = 64
};

static hopmla_status check_memory(const hopmla_pool_options *options, uint64_t bytes, hopmla_error *error)
{
    if (options->storage != HOPMLA_STORAGE_CALLER) {
        return HOPMLA_OK;
    }
    if (!options->memory) {
        return hm_fail(error, HOPMLA_ERROR_NULL,
                       "options.memory is NULL, but options.storage is HOPMLA_STORAGE_CALLER");
    }
    if ((uintptr_t)options->memory % BASE_ALIGNMENT) {
        return hm_fail(error, HOPMLA_ERROR_ALIGNMENT, "options.memory is %p, must be a multiple of %d bytes",
                       options->memory, BASE_ALIGNMENT);
    }
    if (options->memory_bytes < bytes) {
        return hm_fail_value(error, HOPMLA_ERROR_ARGUMENT, (int64_t)bytes,
                             "options.memory_bytes is %llu, the pool needs %llu",
                             (unsigned long long)options->memory_bytes, (unsigned long long)bytes);
    }
    return HOPMLA_OK;
}

static int create_mutexes(hopmla_pool *pool)
{
    if (pthread_mutex_init(&pool->mutex, NULL)) {
        return 0;
    }
    if (pthread_mutex_init(&pool->marks_mutex, NULL)) {
        pthread_mutex_destroy(&pool->mutex);
        return 0;
    }
    return 1;
}

static void destroy_mutexes(hopmla_pool *pool)
{
    pthread_mutex_destroy(&pool->marks_mutex);
    pthread_mutex_destroy(&pool->mutex);
}

/* Only plans have steps, and a pool without storage has no plans. */
static int has_fences(const hopmla_pool *pool)
{
    return pool->layout.storage != HOPMLA_STORAGE_NONE;
}

static hopmla_status create_fences(hopmla_pool *pool, hopmla_error *error)
{
    if (!has_fences(pool)) {
        return HOPMLA_OK;
    }
    void *fences = NULL;
    const hopmla_status status =
        hm_alloc(pool->context, HM_FENCE_BYTES, FENCE_ALIGNMENT, HOPMLA_MEMORY_PINNED, NULL, &fences, error);
    if (status == HOPMLA_OK) {
        memset(fences, 0, HM_FENCE_BYTES);
        pool->pins.fences = fences;
    }
    return status;
}

static hopmla_status create_storage(hopmla_pool *pool, hopmla_error *error)
{
    hopmla_pool_layout *layout = &pool->layout;
    if (layout->storage != HOPMLA_STORAGE_LIBRARY) {
        return HOPMLA_OK;
    }
    const hopmla_status status =
        hm_alloc(pool->context, layout->bytes, BASE_ALIGNMENT, HOPMLA_MEMORY_POOL, NULL, &layout->base, error);
    if (status == HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY) {
        return hm_fail_value(error, status, (int64_t)layout->bytes,
                             "no %llu bytes of device memory for %u layers of %llu pages",
                             (unsigned long long)layout->bytes, layout->layers, (unsigned long long)layout->pages);
    }
    return status;
}

static void destroy_fences(hopmla_pool *pool)
{
    if (has_fences(pool)) {
        hm_free(pool->context, pool->pins.fences, HM_FENCE_BYTES, HOPMLA_MEMORY_PINNED, NULL);
    }
}

static int create_books(hopmla_pool *pool, uint32_t max_sequences)
{
    const uint32_t pages = (uint32_t)pool->layout.pages;
    hm_sequences_create(&pool->sequences, max_sequences);
    pool->marks = hm_host_zalloc(pool->context, hm_pool_mark_words(pages), sizeof(*pool->marks));
    if (!pool->marks) {
        return 0;
    }
    if (!hm_pages_create(&pool->pages, pool->context, pages)) {
        hm_free(pool->context, pool->marks, hm_pool_mark_words(pages) * sizeof(*pool->marks), HOPMLA_MEMORY_HOST, NULL);
        return 0;
    }
    return 1;
}

static void destroy_books(hopmla_pool *pool)
{
    const uint64_t words = hm_pool_mark_words((uint32_t)pool->layout.pages);
    hm_sequences_destroy(&pool->sequences, pool->context);
    hm_pages_destroy(&pool->pages, pool->context);
    hm_free(pool->context, pool->marks, words * sizeof(*pool->marks), HOPMLA_MEMORY_HOST, NULL);
}

static hopmla_status no_host_memory(const hopmla_pool_layout *layout, hopmla_error *error)
{
    return hm_fail_value(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, (int64_t)layout->host_bytes,
                         "no %llu bytes of memory for the books of %llu pages", (unsigned long long)layout->host_bytes,
                         (unsigned long long)layout->pages);
}

hopmla_status hopmla_pool_create(hopmla_context *context, const hopmla_pool_options *options, hopmla_pool **pool,
                                 hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(options, error);
    HM_CHECK_NULL(pool, error);
    hopmla_pool_options own;
    hopmla_pool_layout layout;
    hopmla_status status = hm_pool_shape(context, options, &own, &layout, error);
    if (status == HOPMLA_OK) {
        status = check_memory(&own, layout.bytes, error);
    }
    if (status) {
        return status;
    }

    hopmla_pool *made = hm_host_zalloc(context, 1, sizeof(*made));
    if (!made) {
        return no_host_memory(&layout, error);
    }
    atomic_init(&made->references, 1);
    made->context = context;
    made->layout = layout;
    made->layout.base = own.memory;
    if (!create_mutexes(made)) {
        status = no_host_memory(&layout, error);
        goto free_pool;
    }
    if (!create_books(made, own.max_sequences)) {
        status = no_host_memory(&layout, error);
        goto destroy_mutexes;
    }
    status = create_fences(made, error);
    if (status) {
        goto destroy_books;
    }
    status = create_storage(made, error);
    if (status) {
        goto destroy_fences;
    }
    hm_context_retain(context);
    *pool = made;
    return HOPMLA_OK;

destroy_fences:
    destroy_fences(made);
destroy_books:
    destroy_books(made);
destroy_mutexes:
    destroy_mutexes(made);
free_pool:
    hm_free(context, made, sizeof(*made), HOPMLA_MEMORY_HOST, NULL);
    return status;
}

void hm_pool_retain(hopmla_pool *pool)
{
    atomic_fetch_add_explicit(&pool->references, 1, memory_order_relaxed);
}

void hm_pool_release(hopmla_pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    /* A plan waits for its steps before it lets go of the pool, so none is under way. */
    hopmla_context *context = pool->context;
    if (pool->layout.storage == HOPMLA_STORAGE_LIBRARY) {
        hm_free(context, pool->layout.base, pool->layout.bytes, HOPMLA_MEMORY_POOL, NULL);
    }
    destroy_fences(pool);
    destroy_books(pool);
    destroy_mutexes(pool);
    hm_free(context, pool, sizeof(*pool), HOPMLA_MEMORY_HOST, NULL);
    hm_context_release(context);
}

void hopmla_pool_destroy(hopmla_pool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->sequences.closed = 1;
    pool->sequences.used = 0; /* no id is found any more by the plans that live on */
    pthread_mutex_unlock(&pool->mutex);
    hm_pool_release(pool);
}

hopmla_status hopmla_pool_describe(hopmla_pool *pool, hopmla_pool_layout *layout, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    HM_CHECK_NULL(layout, error);
    const hopmla_status status =
        hm_abi_check_output(layout, HM_SIZE_THROUGH(hopmla_pool_layout, base), "layout", error);
    if (status == HOPMLA_OK) {
        hm_abi_write(layout, &pool->layout, sizeof(pool->layout));
    }
    return status;
}
