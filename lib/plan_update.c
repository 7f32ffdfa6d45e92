/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a step: a first pass over the batch checks it and collects whom the stream has to wait for, a second one
 * pins the sequences and writes what has changed into a staging buffer; then, without the mutex, the stream gets it. */
#include <string.h>

#include "lib/plan.h"

typedef struct batch {
    const hopmla_seq *seqs;
    const uint32_t *n_append; /* or NULL */
    const uint32_t *q_lens;   /* or NULL */
    uint32_t count;
} batch;

/* Whom the stream has to wait for. */
typedef struct waits {
    uint64_t plans;
    uint64_t ticket[HM_MAX_PLANS]; /* of those plans */
} waits;

static uint32_t appended_by(const batch *b, uint32_t i)
{
    return b->n_append ? b->n_append[i] : 0;
}

static uint32_t queries_of(const batch *b, uint32_t i)
{
    return b->q_lens ? b->q_lens[i] : 0;
}

/* First pass. */

static hopmla_status check_order(hopmla_plan *plan, hopmla_stream stream, hopmla_error *error)
{
    const hm_steps *steps = &plan->steps;
    if (!steps->open && steps->count > 0 && plan->stream != stream) {
        return hm_fail(error, HOPMLA_ERROR_BUSY, "the plan's last step ran on stream %p and has not passed its fence",
                       (void *)plan->stream);
    }
    const uint64_t passed = __atomic_load_n(plan->staging_fence, __ATOMIC_ACQUIRE);
    if (plan->staged - passed >= plan->depth || (!steps->open && steps->count == steps->size)) {
        return hm_fail(error, HOPMLA_ERROR_BUSY, "all %u staging buffers of the plan are in use", plan->depth);
    }
    return HOPMLA_OK;
}

/* Adds other plans' steps that have to pass first. One that was not ended has no fence to wait for. */
static hopmla_status collect(const hopmla_plan *plan, hm_pin pin, uint32_t i, waits *out, hopmla_error *error)
{
    const hm_pins *pins = &plan->pool->pins;
    const uint64_t live = hm_pin_live(pins, pin) & ~(UINT64_C(1) << plan->slot); /* its own come before on the stream */
    for (uint64_t rest = live; rest; rest &= rest - 1) {
        const uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        uint32_t open;
        const uint64_t ticket = hm_pins_last_step(pins, slot, pin.ticket, &open);
        if (open) {
            return hm_fail_value(error, HOPMLA_ERROR_BUSY, i,
                                 "pages of seqs[%u] are in a step of another plan that was not ended", i);
        }
        if (!(out->plans >> slot & 1) || out->ticket[slot] < ticket) {
            out->ticket[slot] = ticket;
        }
        out->plans |= UINT64_C(1) << slot;
    }
    return HOPMLA_OK;
}

static hopmla_status check_one(const hopmla_plan *plan, const hm_sequence *seq, uint32_t n_append, uint32_t q_len,
                               uint32_t i, waits *out, hopmla_error *error)
{
    if (n_append > seq->reserved) {
        return hm_fail_value(error, HOPMLA_ERROR_RANGE, i, "n_append[%u] is %u, but %u tokens are reserved", i,
                             n_append, seq->reserved);
    }
    if ((uint64_t)seq->committed + n_append > plan->envelope.max_kv_tokens) {
        return hm_fail_value(error, HOPMLA_ERROR_ENVELOPE, i,
                             "seqs[%u] has %u + %u tokens in this step, more than the plan's max_kv_tokens %llu", i,
                             seq->committed, n_append, (unsigned long long)plan->envelope.max_kv_tokens);
    }
    if (q_len > plan->envelope.max_q_tokens) {
        return hm_fail_value(error, HOPMLA_ERROR_ENVELOPE, i, "q_lens[%u] is %u, more than the plan's max_q_tokens %u",
                             i, q_len, plan->envelope.max_q_tokens);
    }
    hopmla_status status = HOPMLA_OK;
    if ((seq->pin.plans & ~(UINT64_C(1) << plan->slot)) != 0) {
        status = collect(plan, seq->pin, i, out, error);
    }
    if (status == HOPMLA_OK && seq->took) {
        status = collect(plan, seq->former, i, out, error);
    }
    return status;
}

static hopmla_status check_batch(hopmla_plan *plan, const batch *b, waits *out, hopmla_error *error)
{
    uint64_t appended = 0;
    plan->pool->batch++;
    for (uint32_t i = 0; i < b->count; i++) {
        hm_sequence *seq = NULL;
        hopmla_status status = hm_pool_find(plan->pool, b->seqs, i, &seq, error);
        if (status == HOPMLA_OK) {
            status = check_one(plan, seq, appended_by(b, i), queries_of(b, i), i, out, error);
        }
        if (status) {
            return status;
        }
        appended += appended_by(b, i);
    }
    if (appended > INT32_MAX) {
        return hm_fail_value(error, HOPMLA_ERROR_ENVELOPE, (int64_t)appended,
                             "n_append adds up to %llu tokens, more than 2^31 − 1", (unsigned long long)appended);
    }
    return HOPMLA_OK;
}

/* Second pass. */

/* Makes the stream's debts the plan's: they stay due when a call fails, and no step ends before they are paid. */
static void book_waits(hopmla_plan *plan, const waits *in)
{
    for (uint64_t rest = in->plans; rest; rest &= rest - 1) {
        const uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        if (!(plan->waits >> slot & 1) || plan->wait_for[slot] < in->ticket[slot]) {
            plan->wait_for[slot] = in->ticket[slot];
        }
    }
    plan->waits |= in->plans;
}

/* From here on the step stands for all steps before it that touched the pages: it waits for them, or follows them. */
static void pin_sequence(const hopmla_plan *plan, hm_sequence *seq)
{
    seq->pin = (hm_pin){ UINT64_C(1) << plan->slot, plan->ticket };
    if (seq->took) {
        seq->former = (hm_pin){ 0, 0 };
        seq->took = 0;
    }
}

static void write_run(hm_plan_row *row, const hm_sequence *seq, uint32_t index, hm_staging *staging)
{
    const uint32_t pages = hm_pages_for(row->length);
    const uint32_t sent = row->seq == seq->id ? hm_sequence_unchanged(seq, row->stamp, row->sent) : 0;
    row->seq = seq->id;
    row->stamp = seq->stamp;
    row->sent = sent > pages ? sent : pages;
    if (sent >= pages) {
        return;
    }
    char *base = (char *)staging;
    hm_run *runs = (hm_run *)(void *)(base + staging->runs_at);
    int32_t *entries = (int32_t *)(void *)(base + staging->pages_at);
    runs[staging->runs++] = (hm_run){ .row = index, .first = sent, .n = pages - sent, .offset = staging->entries };
    memcpy(&entries[staging->entries], &seq->pages[sent], (pages - sent) * sizeof(*entries));
    staging->entries += pages - sent;
}

static void write_copy(hopmla_plan *plan, const hm_sequence *seq, hm_staging *staging)
{
    hm_copy *copies = (hm_copy *)(void *)((char *)staging + staging->copies_at);
    plan->copies[staging->copies] = (hm_plan_copy){ .seq = seq->id, .stamp = seq->stamp };
    copies[staging->copies++] = (hm_copy){
        .source = seq->copy_source,
        .destination = seq->pages[seq->copy_at],
        .tokens = seq->copy_rows,
    };
}

static void book_batch(hopmla_plan *plan, const batch *b, hm_staging *staging)
{
    hm_plan_staging_init(staging, b->count);
    int32_t *kv_lens = (int32_t *)(void *)((char *)staging + staging->rows_at);
    int32_t *q_lens = kv_lens + b->count;
    int32_t *q_starts = q_lens + b->count;
    int32_t *append_starts = q_starts + b->count + 1;
    uint32_t queries = 0;
    uint32_t appended = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        hm_sequence *seq = hm_sequences_at(&plan->pool->sequences, b->seqs[i]);
        hm_plan_row *row = &plan->rows[i];
        row->length = seq->committed + appended_by(b, i);
        row->q_len = queries_of(b, i);
        kv_lens[i] = (int32_t)row->length;
        q_lens[i] = (int32_t)queries_of(b, i);
        queries += queries_of(b, i);
        appended += appended_by(b, i);
        q_starts[i + 1] = (int32_t)queries;
        append_starts[i + 1] = (int32_t)appended;
        pin_sequence(plan, seq);
        write_run(row, seq, i, staging);
        if (seq->copy == HM_COPY_OWED) {
            write_copy(plan, seq, staging);
        }
    }
    plan->count = b->count;
    plan->q_tokens = queries;
    plan->appended = appended;
    plan->step++;
}

/* Afterwards. */

/* The copies are enqueued: their sequences owe them no longer, unless another thread changed the list meanwhile. */
static void settle_copies(hopmla_plan *plan, uint32_t n)
{
    hopmla_pool *pool = plan->pool;
    pthread_mutex_lock(&pool->mutex);
    for (uint32_t i = 0; i < n; i++) {
        hm_sequence *seq = hm_sequences_find(&pool->sequences, plan->copies[i].seq);
        if (!seq || seq->stamp != plan->copies[i].stamp || seq->copy != HM_COPY_OWED) {
            continue;
        }
        if (seq->committed > seq->copy_at * HOPMLA_PAGE_TOKENS + seq->copy_rows) {
            hm_pool_drop_copy(pool, seq); /* committed before the update */
        } else {
            seq->copy = HM_COPY_ENQUEUED;
            pool->copies_owed--;
        }
    }
    pthread_mutex_unlock(&pool->mutex);
}

/* What the device has is not known any more: everything is sent again. */
static void forget_rows(hopmla_plan *plan)
{
    for (uint32_t i = 0; i < plan->envelope.max_batch; i++) {
        plan->rows[i].seq = 0;
    }
}

/* The stream gets what was booked. */
static hopmla_status hand_over(hopmla_plan *plan, const hm_staging *staging, hopmla_stream stream, hopmla_error *error)
{
    const hopmla_status status = hm_plan_wait(plan, stream, error);
    return status ? status : hm_plan_send(plan, staging, stream, error);
}

/* Observers' figures are counted in the same turn with the mutex: lists may change as soon as it is given back. */
static hopmla_status book(hopmla_plan *plan, const batch *b, hopmla_stream stream, hm_staging *staging, int observed,
                          hopmla_error *error)
{
    hopmla_pool *pool = plan->pool;
    waits due;
    due.plans = 0;
    pthread_mutex_lock(&pool->mutex);
    hm_pins_refresh(&pool->pins);
    hopmla_status status = check_order(plan, stream, error);
    if (status == HOPMLA_OK) {
        status = check_batch(plan, b, &due, error);
    }
    if (status == HOPMLA_OK) {
        plan->ticket = hm_pins_open(&pool->pins, plan->slot);
        plan->stream = stream;
        book_waits(plan, &due);
        book_batch(plan, b, staging);
        if (observed) {
            hm_plan_count_work(plan);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

hopmla_status hopmla_plan_update(hopmla_plan *plan, const hopmla_seq *seqs, const uint32_t *n_append,
                                 const uint32_t *q_lens, uint32_t count, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    if (count > 0) {
        HM_CHECK_NULL(seqs, error);
    }
    hm_observers *observers = &plan->pool->context->observers;
    hm_observation seen = hm_observe(observers);
    hopmla_status status = hm_plan_check_stream(plan, stream, "hopmla_plan_update", error);
    if (status) {
        return status;
    }
    if (count > plan->envelope.max_batch) {
        return hm_fail_value(error, HOPMLA_ERROR_ENVELOPE, count, "count is %u, more than the plan's max_batch %u",
                             count, plan->envelope.max_batch);
    }
    if (plan->steps.open && plan->stream != stream) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "stream is %p, but the plan's step runs on %p and was not ended",
                       (void *)stream, (void *)plan->stream);
    }
    status = hm_plan_wait(plan, stream, error); /* what an earlier call could not enqueue */
    if (status) {
        return status;
    }

    const batch b = { .seqs = seqs, .n_append = n_append, .q_lens = q_lens, .count = count };
    hm_staging *staging = hm_plan_buffer(plan);
    status = book(plan, &b, stream, staging, seen.bits != 0, error);
    if (status) {
        return status;
    }
    if (seen.bits) {
        const hm_call call = hm_plan_describe_update(plan, staging);
        hm_observe_begin(&seen, observers, &call, stream, 0);
    }
    status = hand_over(plan, staging, stream, error);
    if (seen.bits) {
        hm_observe_end(&seen, stream, status);
    }
    if (status) {
        forget_rows(plan);
        return status;
    }
    if (staging->copies) {
        settle_copies(plan, staging->copies);
    }
    return HOPMLA_OK;
}
