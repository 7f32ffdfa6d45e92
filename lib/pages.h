/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_PAGES_H
#define HM_PAGES_H

/** @file
 * The books of a pool's pages: who holds each, and which are free.
 *
 * A page is held by its owners (sequences with it in their list) and by the sequences that keep it as the source of a
 * copy. Free pages are a ring, first in first out: which page is taken next depends on nothing but the calls so far.
 * A page goes to the ring as soon as nobody holds it, even while steps in flight still touch it: its pin says which,
 * and whoever takes it has to wait for them on the device. */

#include "lib/context.h"
#include "lib/pins.h"

typedef struct hm_page {
    hm_pin pin; /* steps of sequences that had the page and left it */
    uint32_t owners;
    uint32_t sources : 24; /* sequences that keep it as the source of a copy */
    uint32_t rows : 8;     /* rows that the largest of these copies needs; never less than it */
} hm_page;

typedef struct hm_pages {
    hm_page *page;
    int32_t *ring;
    uint32_t total;
    uint32_t first; /* of the free ones in the ring */
    uint32_t free;
    uint32_t shared; /* pages with two owners or more */
    uint32_t high_water;
} hm_pages;

/** Bytes of host memory behind the books of `total` pages. */
uint64_t hm_pages_host_bytes(uint32_t total);

/** All pages free, in order. @return 0 when there is no memory */
int hm_pages_create(hm_pages *pages, hopmla_context *context, uint32_t total);
void hm_pages_destroy(hm_pages *pages, hopmla_context *context);

/** Takes the next free page, of which there must be one, for its first owner. */
int32_t hm_pages_take(hm_pages *pages);

/** One more owner. */
void hm_pages_share(hm_pages *pages, int32_t id);

/** An owner leaves. @param pin  what its steps may still touch, trimmed */
void hm_pages_leave(hm_pages *pages, const hm_pins *pins, int32_t id, hm_pin pin);

/** An owner becomes a keeper of the page as source of a copy of its first `rows` rows.
 * @return what hm_pages_undo_source needs to take that back */
uint32_t hm_pages_own_to_source(hm_pages *pages, int32_t id, uint32_t rows);
void hm_pages_undo_source(hm_pages *pages, int32_t id, uint32_t before);

/** A keeper leaves. */
void hm_pages_drop_source(hm_pages *pages, const hm_pins *pins, int32_t id, hm_pin pin);

/** Whether an only owner may write rows from `row` on: no copy that has yet to be made needs them. */
static inline int hm_page_is_writable(const hm_page *page, uint32_t row)
{
    return page->owners == 1 && (page->sources == 0 || page->rows <= row);
}

#endif
