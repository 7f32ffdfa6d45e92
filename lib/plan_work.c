/* SPDX-License-Identifier: Apache-2.0 */
/* What calls of a plan move and compute, by shapes and lengths: asked for only where somebody observes. */
#include "lib/plan.h"

static uint64_t row_bytes(const hopmla_plan *plan)
{
    return hm_format_row_bytes(plan->kv.format);
}

/* Query token j of q sees the first length − (q − 1 − j) tokens, where that is any. */
static uint64_t pairs_of(uint64_t length, uint64_t q)
{
    const uint64_t seeing = q < length ? q : length;
    return seeing * length - seeing * (seeing - 1) / 2;
}

void hm_plan_count_work(hopmla_plan *plan)
{
    hm_plan_work work = { .step = plan->step };
    const int some_shared = plan->pool->pages.shared > 0;
    uint64_t shared = 0;
    if (some_shared) {
        hm_plan_clear_tree(plan);
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        const hm_plan_row *row = &plan->rows[i];
        work.kv_tokens += row->q_len ? row->length : 0;
        work.pairs += pairs_of(row->length, row->q_len);
        shared += some_shared ? hm_plan_lay_row(plan, i) : 0;
    }
    work.unique_tokens = work.kv_tokens - shared;
    plan->work = work;
}

/* As a rule the update has counted, before anybody changed the sequences. Else the step's calls were not observed so far;
 * a call does not wait for the mutex because of an observer. @return NULL where another thread holds it */
static const hm_plan_work *work_of(hopmla_plan *plan)
{
    if (plan->work.step != plan->step) {
        if (pthread_mutex_trylock(&plan->pool->mutex)) {
            return NULL;
        }
        hm_plan_count_work(plan);
        pthread_mutex_unlock(&plan->pool->mutex);
    }
    return &plan->work;
}

/* Calls. */

static hm_call describe(const hopmla_plan *plan, int32_t kind, uint32_t layer)
{
    return (hm_call){
        .kind = (uint8_t)kind,
        .format = (uint8_t)plan->kv.format,
        .flags = HM_CALL_WORK,
        .layer = (uint16_t)layer,
        .batch = (uint16_t)plan->count,
        .heads = (uint16_t)plan->envelope.heads,
        .calls = 1,
        .page_bytes = hm_format_page_bytes(plan->kv.format),
        .plan = plan->number,
        .step = plan->step,
    };
}

/* The sources' rows are read, the pages' written. */
static uint64_t append_bytes(const hopmla_plan *plan, int32_t dtype)
{
    const uint64_t element = dtype == HOPMLA_DTYPE_FP32 ? sizeof(float) : HM_VALUE_BYTES;
    return plan->appended * (hm_format_qk(plan->kv.format) * element + row_bytes(plan));
}

/* q, out and lse. */
static uint64_t query_bytes(const hopmla_plan *plan, int has_lse)
{
    const uint64_t row = row_bytes(plan) + HOPMLA_LATENT_DIM * HM_VALUE_BYTES + (has_lse ? sizeof(float) : 0);
    return (uint64_t)plan->q_tokens * plan->envelope.heads * row;
}

hm_call hm_plan_describe_append(hopmla_plan *plan, uint32_t layer, int32_t dtype)
{
    hm_call call = describe(plan, HOPMLA_CALL_APPEND, layer);
    call.rows = plan->appended;
    call.bytes = call.unique_bytes = append_bytes(plan, dtype);
    return call;
}

hm_call hm_plan_describe_gather(hopmla_plan *plan, uint32_t layer, uint64_t tokens)
{
    hm_call call = describe(plan, HOPMLA_CALL_GATHER, layer);
    call.rows = (uint32_t)tokens;
    call.bytes = call.unique_bytes = tokens * 2 * row_bytes(plan);
    return call;
}

hm_call hm_plan_describe_decode(hopmla_plan *plan, uint32_t layer, int has_lse)
{
    const hm_plan_work *work = work_of(plan);
    hm_call call = describe(plan, HOPMLA_CALL_DECODE, layer);
    call.rows = plan->q_tokens;
    if (!work) {
        call.flags &= (uint16_t)~HM_CALL_WORK;
        return call;
    }
    call.kv_tokens = work->kv_tokens;
    call.flops = work->pairs * plan->envelope.heads * 2 * (hm_format_qk(plan->kv.format) + HOPMLA_LATENT_DIM);
    call.bytes = work->kv_tokens * row_bytes(plan) + query_bytes(plan, has_lse);
    call.unique_bytes = work->unique_tokens * row_bytes(plan) + query_bytes(plan, has_lse);
    return call;
}

hm_call hm_plan_describe_update(hopmla_plan *plan, const hm_staging *staging)
{
    hm_call call = describe(plan, HOPMLA_CALL_UPDATE, 0);
    const hm_copy *copies = (const hm_copy *)(const void *)((const char *)staging + staging->copies_at);
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < staging->copies; i++) {
        tokens += copies[i].tokens;
    }
    call.rows = plan->count;
    call.bytes = (4 * (uint64_t)staging->count + 2 + staging->entries) * sizeof(int32_t) +
                 staging->runs * sizeof(hm_run) + tokens * 2 * row_bytes(plan) * plan->kv.layers;
    call.unique_bytes = call.bytes;
    return call;
}

hm_call hm_plan_describe_launch(hopmla_plan *plan, const hopmla_launch_note *note)
{
    hm_call call = note->decodes ? hm_plan_describe_decode(plan, 0, 1) : describe(plan, HOPMLA_CALL_APPEND, 0);
    const uint64_t append = note->appends * append_bytes(plan, note->dtype);
    call.kind = (uint8_t)(note->appends == 0   ? HOPMLA_CALL_DECODE
                          : note->decodes == 0 ? HOPMLA_CALL_APPEND
                                               : HOPMLA_CALL_LAUNCH);
    call.flags |= HM_CALL_GRAPH;
    call.calls = note->appends + note->decodes;
    call.rows = note->decodes ? plan->q_tokens : plan->appended;
    call.flops *= note->decodes;
    call.bytes = call.bytes * note->decodes + append;
    call.unique_bytes = call.unique_bytes * note->decodes + append;
    return call;
}
