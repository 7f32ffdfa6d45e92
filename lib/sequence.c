/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sequence.h"

#include <stdatomic.h>
#include <string.h>

#include "lib/error.h"

enum {
    FIRST_SLOTS = 64,
    FIRST_ENTRIES = 16,
    KEPT_ENTRIES = 256 /* a free slot keeps its list up to this size, so that short sequences come and go for nothing */
};

_Static_assert(sizeof(hm_sequence) == 128, "two cache lines, the first of which every step touches");

static uint16_t next_tag(void)
{
    static atomic_uint last;
    uint16_t tag;
    do {
        tag = (uint16_t)(atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1);
    } while (tag == 0);
    return tag;
}

void hm_sequences_create(hm_sequences *all, uint32_t max_live)
{
    *all = (hm_sequences){ .max_live = max_live, .first_free = HM_NO_SLOT, .tag = next_tag() };
}

static void free_list(hm_sequence *seq, hopmla_context *context)
{
    hm_free(context, seq->pages, seq->capacity * sizeof(*seq->pages), HOPMLA_MEMORY_HOST, NULL);
    seq->pages = NULL;
    seq->capacity = 0;
}

void hm_sequences_destroy(hm_sequences *all, hopmla_context *context)
{
    for (uint32_t i = 0; i < all->allocated; i++) {
        free_list(&all->slot[i], context);
    }
    hm_free(context, all->slot, all->allocated * sizeof(*all->slot), HOPMLA_MEMORY_HOST, NULL);
    *all = (hm_sequences){ .closed = 1 };
}

/* Doubles the table until it has `slots`. Retired slots may make it larger than max_live. */
static int grow_table(hm_sequences *all, hopmla_context *context, uint64_t slots)
{
    if (slots <= all->allocated) {
        return 1;
    }
    uint64_t allocated = all->allocated ? all->allocated : FIRST_SLOTS;
    while (allocated < slots) {
        allocated *= 2;
    }
    allocated = allocated < HM_MAX_SLOTS ? allocated : HM_MAX_SLOTS;
    hm_sequence *grown = hm_host_alloc(context, allocated * sizeof(*grown), _Alignof(hm_sequence));
    if (!grown) {
        return 0;
    }
    if (all->allocated) {
        memcpy(grown, all->slot, all->allocated * sizeof(*grown));
    }
    memset(&grown[all->allocated], 0, (allocated - all->allocated) * sizeof(*grown));
    hm_free(context, all->slot, all->allocated * sizeof(*all->slot), HOPMLA_MEMORY_HOST, NULL);
    all->slot = grown;
    all->allocated = (uint32_t)allocated;
    return 1;
}

hopmla_status hm_sequences_room(hm_sequences *all, hopmla_context *context, uint32_t count, hopmla_error *error)
{
    const uint64_t fresh = count > all->n_free ? count - all->n_free : 0;
    if (count > all->max_live - all->live || all->used + fresh > HM_MAX_SLOTS) {
        return hm_fail_value(error, HOPMLA_ERROR_TOO_MANY, count,
                             "%u sequences asked for while %u of at most %u are live", count, all->live, all->max_live);
    }
    if (!grow_table(all, context, all->used + fresh)) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a table of %llu sequences",
                       (unsigned long long)(all->used + fresh));
    }
    return HOPMLA_OK;
}

hm_sequence *hm_sequences_add(hm_sequences *all)
{
    uint32_t slot = all->first_free;
    if (slot != HM_NO_SLOT) {
        all->first_free = all->slot[slot].next_free;
        all->n_free--;
    } else {
        slot = all->used++;
    }
    hm_sequence *seq = &all->slot[slot];
    *seq = (hm_sequence){
        .id = (uint64_t)all->tag << (2 * HM_SLOT_BITS) | (uint64_t)seq->generation << HM_SLOT_BITS | (slot + 1),
        .pages = seq->pages,
        .capacity = seq->capacity,
        .generation = seq->generation,
    };
    all->live++;
    return seq;
}

void hm_sequences_remove(hm_sequences *all, hopmla_context *context, hm_sequence *seq)
{
    seq->id = 0;
    seq->n_pages = 0;
    all->live--;
    if (seq->capacity > KEPT_ENTRIES) {
        free_list(seq, context);
    }
    if (seq->generation++ == HM_MAX_GENERATION) {
        free_list(seq, context); /* retired: its ids would start over */
        return;
    }
    seq->next_free = all->first_free;
    all->first_free = (uint32_t)(seq - all->slot);
    all->n_free++;
}

hopmla_status hm_sequences_explain(const hm_sequences *all, hopmla_seq id, const char *name, int64_t index,
                                   hopmla_error *error)
{
    const uint32_t slot = (uint32_t)(id & HM_MAX_SLOTS) - 1;
    const uint32_t generation = (uint32_t)(id >> HM_SLOT_BITS) & HM_MAX_GENERATION;
    const int ours = id >> (2 * HM_SLOT_BITS) == all->tag;
    const int stale = ours && (all->closed || (slot < all->used && generation < all->slot[slot].generation));
    const char *what = stale ? "was released" : ours ? "was never given out by this pool" : "is not of this pool";
    const hopmla_status status = stale ? HOPMLA_ERROR_STALE_ID : HOPMLA_ERROR_FOREIGN_ID;
    if (index < 0) {
        return hm_fail(error, status, "%s = %#llx %s", name, (unsigned long long)id, what);
    }
    return hm_fail_value(error, status, index, "%s[%lld] = %#llx %s", name, (long long)index, (unsigned long long)id,
                         what);
}

int hm_sequence_room(hm_sequence *seq, hopmla_context *context, uint32_t n)
{
    if (n <= seq->capacity) {
        return 1;
    }
    uint32_t capacity = seq->capacity ? seq->capacity : FIRST_ENTRIES;
    while (capacity < n) {
        capacity *= 2;
    }
    int32_t *grown = hm_host_alloc(context, capacity * sizeof(*grown), _Alignof(int32_t));
    if (!grown) {
        return 0;
    }
    if (seq->n_pages) {
        memcpy(grown, seq->pages, seq->n_pages * sizeof(*grown));
    }
    free_list(seq, context);
    seq->pages = grown;
    seq->capacity = capacity;
    return 1;
}
