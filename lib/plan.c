/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/plan.h"

#include <string.h>
#include <time.h>

static atomic_uint_fast64_t plans_made; /* in the process */

enum {
    MEMORY_ALIGNMENT = 1024,
    PINNED_ALIGNMENT = 256
};

/* Memory. */

static hopmla_status check_memory(const hopmla_plan_options *options, const hm_plan_sizes *sizes, hopmla_error *error)
{
    const uint64_t needed = sizes->tables + sizes->workspace;
    if ((uintptr_t)options->memory % MEMORY_ALIGNMENT) {
        return hm_fail(error, HOPMLA_ERROR_ALIGNMENT, "options.memory is %p, must be a multiple of %d bytes",
                       options->memory, MEMORY_ALIGNMENT);
    }
    if (options->memory && options->memory_bytes < needed) {
        return hm_fail_value(error, HOPMLA_ERROR_ARGUMENT, (int64_t)needed,
                             "options.memory_bytes is %llu, the plan needs %llu",
                             (unsigned long long)options->memory_bytes, (unsigned long long)needed);
    }
    return HOPMLA_OK;
}

static hopmla_status no_memory(hopmla_status status, uint64_t bytes, const char *what, hopmla_error *error)
{
    return hm_fail_value(error, status, (int64_t)bytes, "no %llu bytes of %s", (unsigned long long)bytes, what);
}

static hopmla_status allocate(hopmla_context *context, uint64_t bytes, uint64_t alignment, int32_t kind,
                              const char *what, void **memory, hopmla_error *error)
{
    const hopmla_status status = hm_alloc(context, bytes, alignment, kind, NULL, memory, error);
    const int none = status == HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY || status == HOPMLA_ERROR_OUT_OF_HOST_MEMORY;
    return none ? no_memory(status, bytes, what, error) : status;
}

static hopmla_plan *allocate_plan(hopmla_pool *pool, const hm_plan_sizes *sizes)
{
    char *memory = hm_host_alloc(pool->context, sizes->host, _Alignof(hopmla_plan));
    if (!memory) {
        return NULL;
    }
    memset(memory, 0, sizes->host);
    hopmla_plan *plan = (hopmla_plan *)(void *)memory;
    plan->rows = (hm_plan_row *)(void *)(memory + sizes->rows_at);
    plan->copies = (hm_plan_copy *)(void *)(memory + sizes->copies_at);
    plan->steps.tickets = (uint64_t *)(void *)(memory + sizes->tickets_at);
    plan->branches = (hm_plan_branch *)(void *)(memory + sizes->branches_at);
    plan->buckets = (uint32_t *)(void *)(memory + sizes->buckets_at);
    plan->pool = pool;
    plan->sizes = *sizes;
    return plan;
}

static void point_into_tables(hopmla_plan *plan, char *tables)
{
    const hm_plan_sizes *sizes = &plan->sizes;
    plan->memory = (hm_table_memory){
        .count = (int32_t *)(void *)(tables + sizes->count_at),
        .kv_lens = (int32_t *)(void *)(tables + sizes->kv_lens_at),
        .q_lens = (int32_t *)(void *)(tables + sizes->q_lens_at),
        .q_starts = (int32_t *)(void *)(tables + sizes->q_starts_at),
        .append_starts = (int32_t *)(void *)(tables + sizes->append_starts_at),
        .block_table = (int32_t *)(void *)(tables + sizes->block_table_at),
        .table_stride = sizes->table_stride,
        .max_batch = plan->envelope.max_batch,
    };
    plan->tables = (hm_tables){
        .count = plan->memory.count,
        .kv_lens = plan->memory.kv_lens,
        .q_lens = plan->memory.q_lens,
        .append_starts = plan->memory.append_starts,
        .block_table = plan->memory.block_table,
        .table_stride = sizes->table_stride,
    };
}

static void free_device_memory(hopmla_plan *plan)
{
    hopmla_context *context = plan->pool->context;
    if (plan->owns_memory) {
        hm_free(context, plan->workspace, plan->sizes.workspace, HOPMLA_MEMORY_WORKSPACE, NULL);
        hm_free(context, plan->memory.count, plan->sizes.tables, HOPMLA_MEMORY_TABLES, NULL); /* the first array */
    }
}

static hopmla_status get_device_memory(hopmla_plan *plan, void *given, hopmla_error *error)
{
    const hm_plan_sizes *sizes = &plan->sizes;
    hopmla_context *context = plan->pool->context;
    if (given) {
        point_into_tables(plan, given);
        plan->workspace = (char *)given + sizes->tables;
        return HOPMLA_OK;
    }
    void *tables = NULL;
    hopmla_status status = allocate(context, sizes->tables, MEMORY_ALIGNMENT, HOPMLA_MEMORY_TABLES,
                                    "device memory for a plan's tables", &tables, error);
    if (status) {
        return status;
    }
    point_into_tables(plan, tables);
    plan->owns_memory = 1;
    status = allocate(context, sizes->workspace, MEMORY_ALIGNMENT, HOPMLA_MEMORY_WORKSPACE,
                      "device memory for a plan's workspace", &plan->workspace, error);
    if (status) {
        free_device_memory(plan);
    }
    return status;
}

static hopmla_status get_pinned_memory(hopmla_plan *plan, hopmla_error *error)
{
    void *pinned = NULL;
    const hopmla_status status =
        allocate(plan->pool->context, plan->sizes.pinned, PINNED_ALIGNMENT, HOPMLA_MEMORY_PINNED,
                 "pinned memory for a plan's staging ring", &pinned, error);
    if (status == HOPMLA_OK) {
        memset(pinned, 0, HM_BUFFERS_AT);
        plan->pinned = pinned;
        plan->staging_fence = pinned;
    }
    return status;
}

static void free_pinned_memory(hopmla_plan *plan)
{
    hm_free(plan->pool->context, plan->pinned, plan->sizes.pinned, HOPMLA_MEMORY_PINNED, NULL);
}

/* First contents. */

static hopmla_status bind(hopmla_plan *plan, hopmla_error *error)
{
    const hopmla_pool_layout *layout = &plan->pool->layout;
    plan->kv = (hm_kv){
        .latent = layout->base,
        .latent_page_stride = layout->page_stride,
        .latent_row_stride = layout->row_stride,
        .layer_stride = layout->layer_stride,
        .pages = layout->pages,
        .layers = layout->layers,
        .format = layout->format,
    };
    if (hm_format_rope(layout->format)) {
        plan->kv.rope = plan->kv.latent + HOPMLA_LATENT_DIM * HM_VALUE_BYTES;
        plan->kv.rope_page_stride = layout->page_stride;
        plan->kv.rope_row_stride = layout->row_stride;
    }
    return plan->pool->context->backend->bind(plan->pool->context->device, &plan->kv, &plan->binding, error);
}

/* An update with no rows, so that launches can be captured and replayed before the first sequence exists. On a stream
 * of its own: the default stream may have to do with a capture of the caller's. */
static hopmla_status initialise(hopmla_plan *plan, hopmla_error *error)
{
    const hm_backend *backend = plan->pool->context->backend;
    hm_device *device = plan->pool->context->device;
    hopmla_stream stream;
    hopmla_status status = backend->stream_create(device, &stream, error);
    if (status) {
        return status;
    }
    status = backend->fill(device, plan->memory.count, 0, plan->sizes.tables, stream, error);
    if (status == HOPMLA_OK) {
        hm_staging *staging = hm_plan_buffer(plan);
        hm_plan_staging_init(staging, 0);
        status = hm_plan_send(plan, staging, stream, error);
    }
    if (status == HOPMLA_OK) {
        status = backend->stream_synchronize(device, stream, error);
    }
    if (status) {
        backend->synchronize(device, NULL); /* what was enqueued must not outlive the plan's memory */
    }
    backend->stream_destroy(device, stream);
    return status;
}

static hopmla_status take_slot(hopmla_plan *plan, hopmla_error *error)
{
    hopmla_pool *pool = plan->pool;
    plan->steps.size = plan->depth + 1;
    pthread_mutex_lock(&pool->mutex);
    plan->slot = hm_pins_add(&pool->pins, &plan->steps);
    pthread_mutex_unlock(&pool->mutex);
    if (plan->slot == HM_MAX_PLANS) {
        return hm_fail_value(error, HOPMLA_ERROR_TOO_MANY, HM_MAX_PLANS, "the pool has %d plans already",
                             (int)HM_MAX_PLANS);
    }
    return HOPMLA_OK;
}

static void give_slot_back(hopmla_plan *plan)
{
    pthread_mutex_lock(&plan->pool->mutex);
    hm_pins_remove(&plan->pool->pins, plan->slot);
    pthread_mutex_unlock(&plan->pool->mutex);
}

hopmla_status hopmla_plan_create(hopmla_pool *pool, const hopmla_plan_options *options, hopmla_plan **plan,
                                 hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    HM_CHECK_NULL(options, error);
    HM_CHECK_NULL(plan, error);
    hopmla_plan_options own;
    hm_envelope envelope;
    hm_plan_sizes sizes;
    hopmla_status status = hm_plan_shape(pool, options, &own, &envelope, &sizes, error);
    if (status == HOPMLA_OK) {
        status = check_memory(&own, &sizes, error);
    }
    if (status == HOPMLA_OK && pool->layout.storage == HOPMLA_STORAGE_NONE) {
        status = hm_fail(error, HOPMLA_ERROR_NO_STORAGE, "pool was made with HOPMLA_STORAGE_NONE");
    }
    if (status) {
        return status;
    }

    hopmla_plan *made = allocate_plan(pool, &sizes);
    if (!made) {
        return no_memory(HOPMLA_ERROR_OUT_OF_HOST_MEMORY, sizes.host, "memory for a plan", error);
    }
    made->envelope = envelope;
    made->depth = own.staging_depth;
    status = take_slot(made, error);
    if (status) {
        goto free_plan;
    }
    status = get_pinned_memory(made, error);
    if (status) {
        goto give_slot_back;
    }
    status = get_device_memory(made, own.memory, error);
    if (status) {
        goto free_pinned_memory;
    }
    status = bind(made, error);
    if (status == HOPMLA_OK) {
        status = initialise(made, error);
    }
    if (status) {
        goto free_device_memory;
    }
    hm_pool_retain(pool);
    made->number = atomic_fetch_add_explicit(&plans_made, 1, memory_order_relaxed) + 1;
    *plan = made;
    return HOPMLA_OK;

free_device_memory:
    free_device_memory(made);
free_pinned_memory:
    free_pinned_memory(made);
give_slot_back:
    give_slot_back(made);
free_plan:
    hm_free(pool->context, made, sizes.host, HOPMLA_MEMORY_HOST, NULL);
    return status;
}

/* The end. */

static int has_pending_steps(hopmla_plan *plan)
{
    pthread_mutex_lock(&plan->pool->mutex);
    hm_pins_refresh(&plan->pool->pins);
    const int pending = plan->steps.count > 0;
    pthread_mutex_unlock(&plan->pool->mutex);
    return pending;
}

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Ended steps are waited for by their fence, which disturbs nobody else's work. A fence that does not come within a
 * second (a blocked stream, a lost device) and a step without one are waited for by the whole context. */
static void wait_for_steps(hopmla_plan *plan)
{
    const struct timespec pause = { .tv_nsec = 20 * 1000 };
    const int64_t deadline = milliseconds() + 1000;
    while (!plan->steps.open && has_pending_steps(plan) && milliseconds() < deadline) {
        nanosleep(&pause, NULL);
    }
    if (has_pending_steps(plan) || plan->signalled < plan->staged) {
        hopmla_context *context = plan->pool->context;
        hopmla_error error = HOPMLA_ERROR_INIT;
        if (context->backend->synchronize(context->device, &error)) {
            hm_log(context, HOPMLA_LOG_ERROR, "a plan is destroyed while its steps cannot be waited for: %s",
                   error.message);
        }
    }
}

void hopmla_plan_destroy(hopmla_plan *plan)
{
    if (!plan) {
        return;
    }
    hopmla_pool *pool = plan->pool;
    if (plan->launching) {
        hm_observe_launch_drop(&plan->launch, &pool->context->observers);
    }
    wait_for_steps(plan);
    give_slot_back(plan);
    free_device_memory(plan);
    free_pinned_memory(plan);
    hm_free(pool->context, plan, plan->sizes.host, HOPMLA_MEMORY_HOST, NULL);
    hm_pool_release(pool);
}
