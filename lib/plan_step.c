/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan hands to the stream, and the end of a step. The mutex is not held while the stream is given work: a
 * driver may wait there, and other threads' books must not. */
#include "lib/abi.h"
#include "lib/plan.h"

hopmla_status hm_plan_check_stream(const hopmla_plan *plan, hopmla_stream stream, const char *function,
                                   hopmla_error *error)
{
    const hopmla_context *context = plan->pool->context;
    int32_t capturing = 0;
    const hopmla_status status = context->backend->stream_check(context->device, stream, &capturing, error);
    if (status == HOPMLA_OK && capturing) {
        return hm_fail(error, HOPMLA_ERROR_CAPTURE, "stream is being captured: %s is called between launches",
                       function);
    }
    return status;
}

/* A launch that is made now belongs to the open step, on its stream: after the step's end its pages may be another
 * sequence's. A plan without a batch touches no page. */
hopmla_status hm_plan_check_launch(const hopmla_plan *plan, hopmla_stream stream, int32_t *capturing,
                                   hopmla_error *error)
{
    const hopmla_context *context = plan->pool->context;
    const hopmla_status status = context->backend->stream_check(context->device, stream, capturing, error);
    if (status || *capturing || plan->count == 0) {
        return status;
    }
    if (!plan->steps.open) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "the plan's step has ended: hopmla_plan_update begins the next");
    }
    if (plan->stream != stream) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "stream is %p, but the plan's step runs on %p", (void *)stream,
                       (void *)plan->stream);
    }
    return HOPMLA_OK;
}

void hm_plan_staging_init(hm_staging *staging, uint32_t count)
{
    const uint64_t rows_at = sizeof(*staging);
    const uint64_t runs_at = (rows_at + (4 * (uint64_t)count + 2) * sizeof(int32_t) + 15) / 16 * 16;
    const uint64_t copies_at = runs_at + count * sizeof(hm_run);
    *staging = (hm_staging){
        .count = count,
        .rows_at = rows_at,
        .runs_at = runs_at,
        .copies_at = copies_at,
        .pages_at = copies_at + count * sizeof(hm_copy),
    };
    int32_t *rows = (int32_t *)(void *)((char *)staging + rows_at);
    rows[2 * (uint64_t)count] = 0;     /* q_starts[0] */
    rows[3 * (uint64_t)count + 1] = 0; /* append_starts[0] */
}

static hopmla_status signal_staging(hopmla_plan *plan, hopmla_stream stream, hopmla_error *error)
{
    const hopmla_context *context = plan->pool->context;
    const hopmla_status status =
        context->backend->fence_signal(context->device, stream, plan->staging_fence, plan->staged, error);
    if (status == HOPMLA_OK) {
        plan->signalled = plan->staged;
    }
    return status;
}

hopmla_status hm_plan_wait(hopmla_plan *plan, hopmla_stream stream, hopmla_error *error)
{
    const hopmla_context *context = plan->pool->context;
    while (plan->waits) {
        const uint32_t slot = (uint32_t)__builtin_ctzll(plan->waits);
        const hopmla_status status = context->backend->fence_wait(
            context->device, stream, hm_pins_fence(&plan->pool->pins, slot), plan->wait_for[slot], error);
        if (status) {
            return status;
        }
        plan->waits &= plan->waits - 1;
    }
    return plan->signalled < plan->staged ? signal_staging(plan, stream, error) : HOPMLA_OK;
}

hopmla_status hm_plan_send(hopmla_plan *plan, const hm_staging *staging, hopmla_stream stream, hopmla_error *error)
{
    const hm_backend *backend = plan->pool->context->backend;
    hm_device *device = plan->pool->context->device;
    hopmla_status status = backend->apply(device, &plan->kv, &plan->memory, staging, stream, error);
    if (status) {
        return status;
    }
    plan->staged++;
    status = backend->schedule(device, &plan->envelope, &plan->tables, plan->workspace, stream, error);
    return status ? status : signal_staging(plan, stream, error);
}

hopmla_status hopmla_plan_end(hopmla_plan *plan, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    hopmla_pool *pool = plan->pool;
    hopmla_status status = hm_plan_check_stream(plan, stream, "hopmla_plan_end", error);
    if (status) {
        return status;
    }
    if (!plan->steps.open) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "no step is open: hopmla_plan_update begins one");
    }
    if (plan->stream != stream) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "stream is %p, but the step runs on %p", (void *)stream,
                       (void *)plan->stream);
    }
    status = hm_plan_wait(plan, stream, error);
    if (status == HOPMLA_OK) {
        status =
            pool->context->backend->fence_signal(pool->context->device, stream, plan->steps.fence, plan->ticket, error);
    }
    if (status) {
        return status;
    }
    /* Only now do others learn that the step has ended: a stream is never made to wait for a fence that is not
     * enqueued yet. */
    pthread_mutex_lock(&pool->mutex);
    hm_pins_close(&pool->pins, plan->slot);
    pthread_mutex_unlock(&pool->mutex);
    return HOPMLA_OK;
}

hopmla_status hopmla_plan_done(hopmla_plan *plan, int32_t *done, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    HM_CHECK_NULL(done, error);
    pthread_mutex_lock(&plan->pool->mutex);
    hm_pins_refresh(&plan->pool->pins);
    *done = plan->steps.count == plan->steps.open;
    pthread_mutex_unlock(&plan->pool->mutex);
    return HOPMLA_OK;
}

hopmla_status hopmla_plan_get_tables(hopmla_plan *plan, hopmla_plan_tables *tables, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    HM_CHECK_NULL(tables, error);
    const hopmla_status status =
        hm_abi_check_output(tables, HM_SIZE_THROUGH(hopmla_plan_tables, number), "tables", error);
    if (status) {
        return status;
    }
    const hopmla_plan_tables own = {
        .struct_size = sizeof(own),
        .max_batch = plan->envelope.max_batch,
        .table_stride = (uint32_t)plan->memory.table_stride,
        .count = plan->memory.count,
        .kv_lens = plan->memory.kv_lens,
        .q_lens = plan->memory.q_lens,
        .q_starts = plan->memory.q_starts,
        .append_starts = plan->memory.append_starts,
        .block_table = plan->memory.block_table,
        .number = plan->number,
    };
    hm_abi_write(tables, &own, sizeof(own));
    return HOPMLA_OK;
}
