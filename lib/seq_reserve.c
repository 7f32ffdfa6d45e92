/* SPDX-License-Identifier: Apache-2.0 */
/* Room for new tokens. A first pass checks the whole batch, counts pages and marks who leaves a shared page; only when
 * all of it can be had does a second pass take pages, in the order of the batch. */
#include <assert.h>

#include "lib/pool.h"

/* Whether the page that the next token goes into has rows that somebody else needs. Tokens reserved before have their
 * rows already; forks made since then share only rows before those. */
static int must_copy(const hopmla_pool *pool, const hm_sequence *seq)
{
    const uint32_t row = seq->committed % HOPMLA_PAGE_TOKENS;
    if (seq->reserved > 0 || seq->tail_is_own || row == 0) {
        return 0;
    }
    return !hm_page_is_writable(&pool->pages.page[seq->pages[seq->committed / HOPMLA_PAGE_TOKENS]], row);
}

/* Leaves the shared page, so that the last of its owners in this batch finds it its own. */
static void begin_copy(hopmla_pool *pool, hm_sequence *seq)
{
    assert(seq->copy == HM_COPY_NONE);
    seq->copy = HM_COPY_BEGUN;
    seq->copy_at = seq->committed / HOPMLA_PAGE_TOKENS;
    seq->copy_rows = (uint8_t)(seq->committed % HOPMLA_PAGE_TOKENS);
    seq->copy_source = seq->pages[seq->copy_at];
    seq->copy_undo = hm_pages_own_to_source(&pool->pages, seq->copy_source, seq->copy_rows);
}

static void undo_copy(hopmla_pool *pool, hm_sequence *seq)
{
    hm_pages_undo_source(&pool->pages, seq->copy_source, seq->copy_undo);
    seq->copy = HM_COPY_NONE;
}

static hopmla_status count_one(hopmla_pool *pool, hm_sequence *seq, uint32_t n_new, uint32_t i, uint64_t *needed,
                               hopmla_error *error)
{
    if (n_new > HM_MAX_SEQUENCE_TOKENS - seq->committed) {
        return hm_fail_value(error, HOPMLA_ERROR_RANGE, i, "n_new[%u] is %u after %u tokens, a sequence may hold %d", i,
                             n_new, seq->committed, (int)HM_MAX_SEQUENCE_TOKENS);
    }
    if (n_new <= seq->reserved) {
        return HOPMLA_OK;
    }
    const uint32_t pages = hm_pages_for((uint64_t)seq->committed + n_new);
    if (!hm_sequence_room(seq, pool->context, pages)) {
        return hm_fail_value(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, i, "seqs[%u]: no memory for a list of %u pages", i,
                             pages);
    }
    *needed += pages - seq->n_pages;
    if (must_copy(pool, seq)) {
        begin_copy(pool, seq);
        *needed += 1;
    }
    return HOPMLA_OK;
}

static hopmla_status count_batch(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_new, uint32_t count,
                                 hopmla_error *error)
{
    uint64_t needed = 0;
    uint32_t done = 0;
    hopmla_status status = HOPMLA_OK;
    pool->batch++;
    while (done < count) {
        hm_sequence *seq = NULL;
        status = hm_pool_find(pool, seqs, done, &seq, error);
        if (status == HOPMLA_OK) {
            status = count_one(pool, seq, n_new[done], done, &needed, error);
        }
        if (status) {
            break;
        }
        done++;
    }
    if (status == HOPMLA_OK && needed > pool->pages.free) {
        const int64_t missing = (int64_t)(needed - pool->pages.free);
        status = hm_fail_value(error, HOPMLA_ERROR_OUT_OF_PAGES, missing,
                               "the batch needs %llu more pages and %u are free: %lld are missing",
                               (unsigned long long)needed, pool->pages.free, (long long)missing);
    }
    while (status && done-- > 0) {
        hm_sequence *seq = hm_sequences_at(&pool->sequences, seqs[done]);
        if (seq->copy == HM_COPY_BEGUN) {
            undo_copy(pool, seq);
        }
    }
    return status;
}

/* Steps of the page's former users have to be waited for before the sequence writes to it. */
static void mind_former_users(hopmla_pool *pool, hm_sequence *seq, int32_t page)
{
    const hm_pin pin = pool->pages.page[page].pin;
    if (pin.plans) {
        hm_pin_join(&pool->pins, &seq->former, pin);
        seq->took = seq->former.plans != 0;
    }
}

static int32_t take_page(hopmla_pool *pool, hm_sequence *seq)
{
    const int32_t page = hm_pages_take(&pool->pages);
    mind_former_users(pool, seq, page);
    return page;
}

static void settle_tail(hopmla_pool *pool, hm_sequence *seq)
{
    if (seq->copy == HM_COPY_BEGUN) {
        /* A fork that keeps the page may write to rows after the copied ones from now on, so it has to know who was
         * here: the page's pin is complete before anybody looks at it in his turn of this batch. */
        hm_pin_join(&pool->pins, &pool->pages.page[seq->copy_source].pin, seq->pin);
        seq->pages[seq->copy_at] = take_page(pool, seq);
        seq->copy = HM_COPY_OWED;
        pool->copies_owed++;
        hm_sequence_changed(seq, seq->copy_at);
    } else if (!seq->tail_is_own && seq->reserved == 0 && seq->committed % HOPMLA_PAGE_TOKENS) {
        mind_former_users(pool, seq, seq->pages[seq->committed / HOPMLA_PAGE_TOKENS]);
    } else if (seq->reserved > 0) {
        return; /* nothing was looked at */
    }
    seq->tail_is_own = 1;
}

static void take_batch(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_new, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        hm_sequence *seq = hm_sequences_at(&pool->sequences, seqs[i]);
        if (n_new[i] <= seq->reserved) {
            continue;
        }
        if (!seq->tail_is_own) {
            settle_tail(pool, seq);
        }
        const uint32_t pages = hm_pages_for((uint64_t)seq->committed + n_new[i]);
        while (seq->n_pages < pages) {
            seq->pages[seq->n_pages] = take_page(pool, seq);
            seq->n_pages++;
        }
        pool->tokens_reserved += n_new[i] - seq->reserved;
        seq->reserved = n_new[i];
    }
}

hopmla_status hopmla_seq_reserve(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_new, uint32_t count,
                                 hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    if (count > 0) {
        HM_CHECK_NULL(seqs, error);
        HM_CHECK_NULL(n_new, error);
    }
    pthread_mutex_lock(&pool->mutex);
    const hopmla_status status = count_batch(pool, seqs, n_new, count, error);
    if (status == HOPMLA_OK) {
        hm_pins_refresh(&pool->pins);
        take_batch(pool, seqs, n_new, count);
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}
