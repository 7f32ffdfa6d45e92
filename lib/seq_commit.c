/* SPDX-License-Identifier: Apache-2.0 */
/* How sequences grow into what was reserved, shrink, and go. */
#include "lib/pool.h"

void hm_pool_drop_copy(hopmla_pool *pool, hm_sequence *seq)
{
    pool->copies_owed -= seq->copy == HM_COPY_OWED;
    hm_pins_refresh(&pool->pins);
    hm_pages_drop_source(&pool->pages, &pool->pins, seq->copy_source, hm_pin_trim(&pool->pins, seq->pin));
    seq->copy = HM_COPY_NONE;
}

void hm_pool_cut(hopmla_pool *pool, hm_sequence *seq, uint32_t n)
{
    const hm_pin pin = hm_pin_trim(&pool->pins, seq->pin);
    for (uint32_t i = n; i < seq->n_pages; i++) {
        hm_pages_leave(&pool->pages, &pool->pins, seq->pages[i], pin);
    }
    if (n < seq->n_pages) {
        hm_sequence_changed(seq, n);
        seq->n_pages = n;
    }
    if (seq->copy != HM_COPY_NONE && seq->copy_at >= n) {
        hm_pool_drop_copy(pool, seq);
    }
}

/* Commit. */

static hopmla_status check_commit(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_tokens, uint32_t count,
                                  hopmla_error *error)
{
    pool->batch++;
    for (uint32_t i = 0; i < count; i++) {
        hm_sequence *seq = NULL;
        const hopmla_status status = hm_pool_find(pool, seqs, i, &seq, error);
        if (status) {
            return status;
        }
        if (n_tokens[i] > seq->reserved) {
            return hm_fail_value(error, HOPMLA_ERROR_RANGE, i, "n_tokens[%u] is %u, but %u are reserved", i,
                                 n_tokens[i], seq->reserved);
        }
    }
    return HOPMLA_OK;
}

static void commit_batch(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_tokens, uint32_t count)
{
    const int no_plans = pool->layout.storage == HOPMLA_STORAGE_NONE; /* whoever has the pages has copied them */
    for (uint32_t i = 0; i < count; i++) {
        hm_sequence *seq = hm_sequences_at(&pool->sequences, seqs[i]);
        seq->committed += n_tokens[i];
        seq->reserved -= n_tokens[i];
        pool->tokens_committed += n_tokens[i];
        pool->tokens_reserved -= n_tokens[i];
        if (seq->copy != HM_COPY_NONE && n_tokens[i] > 0 && (seq->copy == HM_COPY_ENQUEUED || no_plans)) {
            hm_pool_drop_copy(pool, seq);
        }
    }
}

hopmla_status hopmla_seq_commit(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_tokens, uint32_t count,
                                hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    if (count > 0) {
        HM_CHECK_NULL(seqs, error);
        HM_CHECK_NULL(n_tokens, error);
    }
    pthread_mutex_lock(&pool->mutex);
    const hopmla_status status = check_commit(pool, seqs, n_tokens, count, error);
    if (status == HOPMLA_OK) {
        commit_batch(pool, seqs, n_tokens, count);
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

/* Truncate. */

static hopmla_status check_truncate(hopmla_pool *pool, const hopmla_seq *seqs, const uint64_t *lengths, uint32_t count,
                                    hopmla_error *error)
{
    pool->batch++;
    for (uint32_t i = 0; i < count; i++) {
        hm_sequence *seq = NULL;
        const hopmla_status status = hm_pool_find(pool, seqs, i, &seq, error);
        if (status) {
            return status;
        }
        if (lengths[i] > (uint64_t)seq->committed + seq->reserved) {
            return hm_fail_value(error, HOPMLA_ERROR_RANGE, i, "lengths[%u] is %llu, beyond %u committed + %u reserved",
                                 i, (unsigned long long)lengths[i], seq->committed, seq->reserved);
        }
    }
    return HOPMLA_OK;
}

static void truncate_one(hopmla_pool *pool, hm_sequence *seq, uint32_t length)
{
    hm_pool_cut(pool, seq, hm_pages_for(length));
    const uint32_t committed = length < seq->committed ? length : seq->committed;
    const uint32_t reserved = length - committed;
    if (committed < seq->committed) {
        seq->tail_is_own = 0; /* rows before the old end may be shared */
    }
    if (seq->copy != HM_COPY_NONE && length - seq->copy_at * HOPMLA_PAGE_TOKENS < seq->copy_rows) {
        seq->copy_rows = (uint8_t)(length - seq->copy_at * HOPMLA_PAGE_TOKENS);
    }
    pool->tokens_committed -= seq->committed - committed;
    pool->tokens_reserved -= seq->reserved - reserved;
    seq->committed = committed;
    seq->reserved = reserved;
}

hopmla_status hopmla_seq_truncate(hopmla_pool *pool, const hopmla_seq *seqs, const uint64_t *lengths, uint32_t count,
                                  hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    if (count > 0) {
        HM_CHECK_NULL(seqs, error);
        HM_CHECK_NULL(lengths, error);
    }
    pthread_mutex_lock(&pool->mutex);
    const hopmla_status status = check_truncate(pool, seqs, lengths, count, error);
    if (status == HOPMLA_OK) {
        hm_pins_refresh(&pool->pins);
        for (uint32_t i = 0; i < count; i++) {
            truncate_one(pool, hm_sequences_at(&pool->sequences, seqs[i]), (uint32_t)lengths[i]);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

/* Release. */

static hopmla_status check_release(hopmla_pool *pool, const hopmla_seq *seqs, uint32_t count, hopmla_error *error)
{
    pool->batch++;
    hopmla_status status = HOPMLA_OK;
    for (uint32_t i = 0; i < count && status == HOPMLA_OK; i++) {
        hm_sequence *seq = NULL;
        status = hm_pool_find(pool, seqs, i, &seq, error);
    }
    return status;
}

static void release_one(hopmla_pool *pool, hm_sequence *seq)
{
    hm_pool_cut(pool, seq, 0);
    pool->tokens_committed -= seq->committed;
    pool->tokens_reserved -= seq->reserved;
    hm_sequences_remove(&pool->sequences, pool->context, seq);
}

hopmla_status hopmla_seq_release(hopmla_pool *pool, const hopmla_seq *seqs, uint32_t count, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    if (count > 0) {
        HM_CHECK_NULL(seqs, error);
    }
    pthread_mutex_lock(&pool->mutex);
    const hopmla_status status = check_release(pool, seqs, count, error);
    if (status == HOPMLA_OK) {
        hm_pins_refresh(&pool->pins);
        for (uint32_t i = 0; i < count; i++) {
            release_one(pool, hm_sequences_at(&pool->sequences, seqs[i]));
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}
