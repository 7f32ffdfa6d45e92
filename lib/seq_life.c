/* SPDX-License-Identifier: Apache-2.0 */
/* How sequences come, what they share, and how they are described. */
#include <string.h>

#include "lib/abi.h"
#include "lib/pool.h"

hopmla_status hopmla_seq_create(hopmla_pool *pool, hopmla_seq *seqs, uint32_t count, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    if (count > 0) {
        HM_CHECK_NULL(seqs, error);
    }
    pthread_mutex_lock(&pool->mutex);
    const hopmla_status status = hm_sequences_room(&pool->sequences, pool->context, count, error);
    if (status == HOPMLA_OK) {
        for (uint32_t i = 0; i < count; i++) {
            seqs[i] = hm_sequences_add(&pool->sequences)->id;
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

static hopmla_status find_one(hopmla_pool *pool, hopmla_seq id, const char *name, hm_sequence **seq,
                              hopmla_error *error)
{
    *seq = hm_sequences_find(&pool->sequences, id);
    return *seq ? HOPMLA_OK : hm_sequences_explain(&pool->sequences, id, name, -1, error);
}

/* Where a child finds the partial page of its last tokens. The parent's own page is not filled before the copy that it
 * owes has been enqueued, so the child takes the source: the rows that it needs are the same there, and are kept. It
 * does so after the copy too, while the source is held: page ids must not depend on plan updates. */
static hopmla_status child_tail(const hm_sequence *parent, uint64_t length, int32_t *tail, hopmla_error *error)
{
    const uint32_t last = hm_pages_for(length) - 1;
    const uint32_t rows = (uint32_t)(length - (uint64_t)last * HOPMLA_PAGE_TOKENS);
    *tail = parent->pages[last];
    if (parent->copy == HM_COPY_NONE || last < parent->copy_at) {
        return HOPMLA_OK;
    }
    if (last == parent->copy_at && rows <= parent->copy_rows) {
        *tail = parent->copy_source;
        return HOPMLA_OK;
    }
    return hm_fail(error, HOPMLA_ERROR_STATE,
                   "parent committed tokens after a page whose copy is owed: it needs a hopmla_plan_update first");
}

static void share_pages(hopmla_pool *pool, hm_sequence *parent, hm_sequence *child, uint64_t length, int32_t tail)
{
    child->n_pages = hm_pages_for(length);
    memcpy(child->pages, parent->pages, child->n_pages * sizeof(*child->pages));
    child->pages[child->n_pages - 1] = tail;
    for (uint32_t i = 0; i < child->n_pages; i++) {
        hm_pages_share(&pool->pages, child->pages[i]);
    }
    child->committed = (uint32_t)length;
    pool->tokens_committed += length;
    child->pin = parent->pin; /* whoever wrote these rows, writes them for the child too */
    if (child->n_pages > parent->committed / HOPMLA_PAGE_TOKENS) {
        parent->tail_is_own = 0;
    }
}

static hopmla_status fork_one(hopmla_pool *pool, hopmla_seq parent_id, uint64_t length, hopmla_seq *child_id,
                              hopmla_error *error)
{
    hm_sequence *parent;
    hopmla_status status = find_one(pool, parent_id, "parent", &parent, error);
    if (status) {
        return status;
    }
    length = length == HOPMLA_ALL_TOKENS ? parent->committed : length;
    if (length > parent->committed) {
        return hm_fail_value(error, HOPMLA_ERROR_RANGE, parent->committed,
                             "length is %llu, but parent has %u committed tokens", (unsigned long long)length,
                             parent->committed);
    }
    int32_t tail = -1;
    if (length > 0) {
        status = child_tail(parent, length, &tail, error);
    }
    if (status == HOPMLA_OK) {
        status = hm_sequences_room(&pool->sequences, pool->context, 1, error);
    }
    if (status) {
        return status;
    }
    parent = hm_sequences_at(&pool->sequences, parent_id); /* the table may have moved */
    hm_sequence *child = hm_sequences_add(&pool->sequences);
    if (!hm_sequence_room(child, pool->context, hm_pages_for(length))) {
        hm_sequences_remove(&pool->sequences, pool->context, child);
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a list of %u pages",
                       hm_pages_for(length));
    }
    if (length > 0) {
        share_pages(pool, parent, child, length, tail);
    }
    *child_id = child->id;
    return HOPMLA_OK;
}

hopmla_status hopmla_seq_fork(hopmla_pool *pool, hopmla_seq parent, uint64_t length, hopmla_seq *child,
                              hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    HM_CHECK_NULL(child, error);
    pthread_mutex_lock(&pool->mutex);
    const hopmla_status status = fork_one(pool, parent, length, child, error);
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

hopmla_status hopmla_seq_describe(hopmla_pool *pool, hopmla_seq seq, hopmla_seq_info *info, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    HM_CHECK_NULL(info, error);
    hopmla_status status = hm_abi_check_output(info, HM_SIZE_THROUGH(hopmla_seq_info, reserved), "info", error);
    if (status) {
        return status;
    }
    hopmla_seq_info own = HOPMLA_SEQ_INFO_INIT;
    hm_sequence *found;
    pthread_mutex_lock(&pool->mutex);
    status = find_one(pool, seq, "seq", &found, error);
    if (status == HOPMLA_OK) {
        own.pages = found->n_pages;
        for (uint32_t i = 0; i < found->n_pages; i++) {
            own.pages_shared += pool->pages.page[found->pages[i]].owners > 1;
        }
        own.copy_owed = found->copy == HM_COPY_OWED;
        own.committed = found->committed;
        own.reserved = found->reserved;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (status == HOPMLA_OK) {
        hm_abi_write(info, &own, sizeof(own));
    }
    return status;
}

hopmla_status hopmla_seq_pages(hopmla_pool *pool, hopmla_seq seq, int32_t *pages, uint32_t capacity, uint32_t *n_pages,
                               hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    HM_CHECK_NULL(n_pages, error);
    if (capacity > 0) {
        HM_CHECK_NULL(pages, error);
    }
    hm_sequence *found;
    pthread_mutex_lock(&pool->mutex);
    const hopmla_status status = find_one(pool, seq, "seq", &found, error);
    if (status == HOPMLA_OK) {
        const uint32_t n = found->n_pages < capacity ? found->n_pages : capacity;
        if (n) {
            memcpy(pages, found->pages, n * sizeof(*pages));
        }
        *n_pages = found->n_pages;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}
