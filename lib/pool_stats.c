/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "lib/abi.h"
#include "lib/pool.h"

/* Pinned pages are those of sequences with a live pin, and those that such sequences left. The first are marked, so
 * that none is counted twice; both are gone through in pieces between which others get the mutex. */

enum {
    PAGES_A_PIECE = 4096
};

uint64_t hm_pool_mark_words(uint32_t pages)
{
    return ((uint64_t)pages + 63) / 64;
}

static void mark(hopmla_pool *pool, int32_t page)
{
    pool->marks[page / 64] |= UINT64_C(1) << (page % 64);
}

static int is_marked(const hopmla_pool *pool, uint32_t page)
{
    return (int)(pool->marks[page / 64] >> (page % 64) & 1);
}

static void let_others_in(hopmla_pool *pool)
{
    pthread_mutex_unlock(&pool->mutex);
    pthread_mutex_lock(&pool->mutex);
    hm_pins_refresh(&pool->pins);
}

static void mark_sequences(hopmla_pool *pool)
{
    uint32_t work = 0;
    for (uint32_t i = 0; i < pool->sequences.used; i++) {
        const hm_sequence *seq = &pool->sequences.slot[i];
        work++;
        if (seq->id && hm_pin_live(&pool->pins, seq->pin)) {
            for (uint32_t p = 0; p < seq->n_pages; p++) {
                mark(pool, seq->pages[p]);
            }
            if (seq->copy != HM_COPY_NONE) {
                mark(pool, seq->copy_source);
            }
            work += seq->n_pages;
        }
        if (work >= PAGES_A_PIECE) {
            work = 0;
            let_others_in(pool);
        }
    }
}

static uint64_t count_pinned(hopmla_pool *pool)
{
    if (!pool->pins.pending) {
        return 0;
    }
    memset(pool->marks, 0, hm_pool_mark_words(pool->pages.total) * sizeof(*pool->marks));
    mark_sequences(pool);
    uint64_t pinned = 0;
    for (uint32_t p = 0; p < pool->pages.total; p++) {
        pinned += is_marked(pool, p) || hm_pin_live(&pool->pins, pool->pages.page[p].pin);
        if (p % PAGES_A_PIECE == PAGES_A_PIECE - 1) {
            let_others_in(pool);
        }
    }
    return pinned;
}

hopmla_status hopmla_pool_get_stats(hopmla_pool *pool, hopmla_pool_stats *stats, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(pool, error);
    HM_CHECK_NULL(stats, error);
    const hopmla_status status =
        hm_abi_check_output(stats, HM_SIZE_THROUGH(hopmla_pool_stats, copies_owed), "stats", error);
    if (status) {
        return status;
    }
    hopmla_pool_stats own = HOPMLA_POOL_STATS_INIT;
    pthread_mutex_lock(&pool->marks_mutex);
    pthread_mutex_lock(&pool->mutex);
    hm_pins_refresh(&pool->pins);
    own.pages_pinned = count_pinned(pool);
    own.sequences = pool->sequences.live;
    own.pages_total = pool->pages.total;
    own.pages_free = pool->pages.free;
    own.pages_used = pool->pages.total - pool->pages.free;
    own.pages_shared = pool->pages.shared;
    own.pages_high_water = pool->pages.high_water;
    own.tokens_committed = pool->tokens_committed;
    own.tokens_reserved = pool->tokens_reserved;
    own.copies_owed = pool->copies_owed;
    pthread_mutex_unlock(&pool->mutex);
    pthread_mutex_unlock(&pool->marks_mutex);
    hm_abi_write(stats, &own, sizeof(own));
    return HOPMLA_OK;
}
