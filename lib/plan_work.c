/* SPDX-License-Identifier: Apache-2.0 */
/* What calls of a plan move and compute, by shapes and lengths: asked for only where somebody observes. */
#include "lib/plan.h"

enum {
    VALUE_BYTES = 2, /* of the cache, q and out */
    ROW_BYTES = HOPMLA_QK_DIM * VALUE_BYTES,
    PAGE_BYTES = HOPMLA_PAGE_TOKENS * ROW_BYTES,
    FLOPS_PER_PAIR = 2 * (HOPMLA_QK_DIM + HOPMLA_LATENT_DIM)
};

/* Query token j of q sees the first length − (q − 1 − j) tokens, where that is any. */
static uint64_t pairs_of(uint64_t length, uint64_t q)
{
    const uint64_t seeing = q < length ? q : length;
    return seeing * length - seeing * (seeing - 1) / 2;
}

/* Shared tokens. A page of several owners is at the same place in each one's list and so are all pages before it: the
 * first page of the sequence's own ends the part that may be shared. What another thread has done to the sequence since
 * the update is not undone here: its row then counts as its own. */

static const int32_t *list_of(const hopmla_plan *plan, const hm_plan_row *row, uint32_t *n)
{
    const hm_sequence *seq = hm_sequences_find(&plan->pool->sequences, row->seq);
    *n = row->q_len == 0 || !seq                    ? 0
         : hm_pages_for(row->length) < seq->n_pages ? hm_pages_for(row->length)
                                                    : seq->n_pages;
    return seq ? seq->pages : NULL;
}

/* Tokens of the row that rows before it have, too. */
static uint64_t count_shared(hopmla_plan *plan, const hm_plan_row *row)
{
    uint32_t n;
    uint64_t shared = 0;
    const int32_t *pages = list_of(plan, row, &n);
    for (uint32_t i = 0; i < n && plan->pool->pages.page[pages[i]].owners > 1; i++) {
        hm_page *page = &plan->pool->pages.page[pages[i]];
        const uint32_t left = row->length - i * HOPMLA_PAGE_TOKENS;
        const uint32_t here = left < HOPMLA_PAGE_TOKENS ? left : HOPMLA_PAGE_TOKENS;
        shared += page->counted < here ? page->counted : here;
        page->counted = (page->counted > here ? page->counted : here) & 0xff;
    }
    return shared;
}

static void forget_counted(hopmla_plan *plan, const hm_plan_row *row)
{
    uint32_t n;
    const int32_t *pages = list_of(plan, row, &n);
    for (uint32_t i = 0; i < n && plan->pool->pages.page[pages[i]].owners > 1; i++) {
        plan->pool->pages.page[pages[i]].counted = 0;
    }
}

static uint64_t count_all_shared(hopmla_plan *plan)
{
    uint64_t shared = 0;
    pthread_mutex_lock(&plan->pool->mutex);
    for (uint32_t i = 0; plan->pool->pages.shared && i < plan->count; i++) {
        shared += count_shared(plan, &plan->rows[i]);
    }
    for (uint32_t i = 0; plan->pool->pages.shared && i < plan->count; i++) {
        forget_counted(plan, &plan->rows[i]);
    }
    pthread_mutex_unlock(&plan->pool->mutex);
    return shared;
}

/* Once a step, when it is first observed: as a rule in its update, before anybody changes the sequences. */
static const hm_plan_work *work_of(hopmla_plan *plan)
{
    hm_plan_work *work = &plan->work;
    if (work->step == plan->step) {
        return work;
    }
    *work = (hm_plan_work){ .step = plan->step };
    for (uint32_t i = 0; i < plan->count; i++) {
        const hm_plan_row *row = &plan->rows[i];
        work->kv_tokens += row->q_len ? row->length : 0;
        work->pairs += pairs_of(row->length, row->q_len);
    }
    work->unique_tokens = work->kv_tokens - count_all_shared(plan);
    return work;
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
        .page_bytes = PAGE_BYTES,
        .plan = plan->number,
        .step = plan->step,
    };
}

/* The sources' rows are read, the pages' written. */
static uint64_t append_bytes(const hopmla_plan *plan, int32_t dtype)
{
    const uint64_t source = HOPMLA_QK_DIM * (dtype == HOPMLA_DTYPE_FP32 ? sizeof(float) : VALUE_BYTES);
    return plan->appended * (source + ROW_BYTES);
}

/* q, out and lse. */
static uint64_t query_bytes(const hopmla_plan *plan, int has_lse)
{
    const uint64_t row = ROW_BYTES + HOPMLA_LATENT_DIM * VALUE_BYTES + (has_lse ? sizeof(float) : 0);
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
    call.bytes = call.unique_bytes = tokens * 2 * ROW_BYTES;
    return call;
}

hm_call hm_plan_describe_decode(hopmla_plan *plan, uint32_t layer, int has_lse)
{
    const hm_plan_work *work = work_of(plan);
    hm_call call = describe(plan, HOPMLA_CALL_DECODE, layer);
    call.rows = plan->q_tokens;
    call.kv_tokens = work->kv_tokens;
    call.flops = work->pairs * plan->envelope.heads * FLOPS_PER_PAIR;
    call.bytes = work->kv_tokens * ROW_BYTES + query_bytes(plan, has_lse);
    call.unique_bytes = work->unique_tokens * ROW_BYTES + query_bytes(plan, has_lse);
    return call;
}

hm_call hm_plan_describe_update(hopmla_plan *plan, const hm_staging *staging)
{
    work_of(plan);
    hm_call call = describe(plan, HOPMLA_CALL_UPDATE, 0);
    const hm_copy *copies = (const hm_copy *)(const void *)((const char *)staging + staging->copies_at);
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < staging->copies; i++) {
        tokens += copies[i].tokens;
    }
    call.rows = plan->count;
    call.bytes = (4 * (uint64_t)staging->count + 2 + staging->entries) * sizeof(int32_t) +
                 staging->runs * sizeof(hm_run) + tokens * 2 * ROW_BYTES * plan->kv.layers;
    call.unique_bytes = call.bytes;
    return call;
}

hm_call hm_plan_describe_launch(hopmla_plan *plan, const hopmla_launch_note *note)
{
    hm_call call = hm_plan_describe_decode(plan, 0, 1);
    const uint64_t append = append_bytes(plan, note->dtype);
    call.kind = (uint8_t)(note->appends == 0   ? HOPMLA_CALL_DECODE
                          : note->decodes == 0 ? HOPMLA_CALL_APPEND
                                               : HOPMLA_CALL_LAUNCH);
    call.flags |= HM_CALL_GRAPH;
    call.calls = note->appends + note->decodes;
    call.rows = note->decodes ? plan->q_tokens : plan->appended;
    call.kv_tokens = note->decodes ? call.kv_tokens : 0;
    call.flops *= note->decodes;
    call.bytes = call.bytes * note->decodes + append * note->appends;
    call.unique_bytes = call.unique_bytes * note->decodes + append * note->appends;
    return call;
}
