/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that rows of a step have in common. A page of several owners is at the same place in each one's list and so are
 * all pages before it: lists are paths of a tree. Rows are laid into that tree one after another, each as a branch that
 * leaves those before it, so that a row costs a search in the lists that it follows and not a look at every page of them:
 *
 *     row 0   a b c d e     a branch of its own, found by page a
 *     row 1   a b c x       follows row 0 for three pages, then a branch found by x
 *     row 2   a b c x y     follows row 0 for three pages, row 1 for one, then a branch found by y */
#include <string.h>

#include "lib/plan.h"

static uint32_t bits_for(uint32_t count)
{
    return count > 1 ? 32 - (uint32_t)__builtin_clz(count - 1) : 0;
}

uint64_t hm_plan_buckets(uint32_t max_batch)
{
    return UINT64_C(1) << bits_for(max_batch);
}

/* Only as many buckets are used as the step has rows: emptying them costs no more than these. */
static uint32_t *bucket_of(const hopmla_plan *plan, int32_t page)
{
    const uint64_t hash = (uint32_t)((uint32_t)page * UINT32_C(0x9e3779b1));
    return &plan->buckets[hash >> (32 - bits_for(plan->count))];
}

static hm_plan_branch *find(const hopmla_plan *plan, int32_t page)
{
    for (uint32_t i = *bucket_of(plan, page); i; i = plan->branches[i - 1].next) {
        hm_plan_branch *branch = &plan->branches[i - 1];
        if (branch->head == page) {
            return branch;
        }
    }
    return NULL;
}

static void add(const hopmla_plan *plan, uint32_t row, hm_plan_branch branch)
{
    uint32_t *bucket = bucket_of(plan, branch.head);
    branch.next = *bucket;
    plan->branches[row] = branch;
    *bucket = row + 1;
}

/* Entries that two lists have in common: `least` or more, `most` or fewer, and `guess` if it is as it was for the row
 * before. */
static uint32_t common(const int32_t *a, const int32_t *b, uint32_t least, uint32_t most, uint32_t guess)
{
    if (guess > least && guess <= most) {
        if (a[guess - 1] == b[guess - 1]) {
            least = guess;
        } else {
            most = guess - 1;
        }
    }
    if (least < most && a[least] != b[least]) {
        return least;
    }
    while (least < most) {
        const uint32_t middle = least + (most - least) / 2;
        if (a[middle] == b[middle]) {
            least = middle + 1;
        } else {
            most = middle;
        }
    }
    return least;
}

static uint32_t min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What another thread has done to the sequence since the update is not undone here: its row then counts as its own. */
static const hm_sequence *sequence_of(const hopmla_plan *plan, const hm_plan_row *row, uint32_t *n)
{
    const hm_sequence *seq = row->q_len ? hm_sequences_find(&plan->pool->sequences, row->seq) : NULL;
    *n = seq ? min(hm_pages_for(row->length), seq->n_pages) : 0;
    return seq;
}

uint64_t hm_plan_lay_row(hopmla_plan *plan, uint32_t i)
{
    const hm_plan_row *row = &plan->rows[i];
    uint32_t n;
    const hm_sequence *seq = sequence_of(plan, row, &n);
    if (n == 0 || plan->pool->pages.page[seq->pages[0]].owners == 1) {
        return 0;
    }
    const uint32_t tail = min(row->length - (n - 1) * HOPMLA_PAGE_TOKENS, HOPMLA_PAGE_TOKENS);
    uint64_t shared = 0;
    uint32_t at = 0;
    hm_plan_branch *branch;
    while (at < n && (branch = find(plan, seq->pages[at])) != NULL) {
        at = common(seq->pages, branch->pages, at + 1, min(n, branch->n), branch->guess);
        branch->guess = at;
        /* Of the last page in common either row may have a part alone. */
        const uint32_t own = at == n ? tail : HOPMLA_PAGE_TOKENS;
        const uint32_t others = at == branch->n ? branch->tail : HOPMLA_PAGE_TOKENS;
        shared = (uint64_t)(at - 1) * HOPMLA_PAGE_TOKENS + min(own, others);
        if (own > others) {
            branch->tail = own;
        }
    }
    if (at < n) {
        add(plan, i, (hm_plan_branch){ .pages = seq->pages, .head = seq->pages[at], .n = n, .tail = tail });
    }
    return shared;
}

void hm_plan_clear_tree(hopmla_plan *plan)
{
    memset(plan->buckets, 0, ((uint64_t)1 << bits_for(plan->count)) * sizeof(*plan->buckets));
}
