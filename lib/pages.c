/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pages.h"

#include <stddef.h>

uint64_t hm_pages_host_bytes(uint32_t total)
{
    return (uint64_t)total * (sizeof(hm_page) + sizeof(int32_t));
}

int hm_pages_create(hm_pages *pages, hopmla_context *context, uint32_t total)
{
    *pages = (hm_pages){ .total = total, .free = total };
    pages->page = hm_host_zalloc(context, total, sizeof(*pages->page));
    pages->ring = hm_host_zalloc(context, total, sizeof(*pages->ring));
    if (!pages->page || !pages->ring) {
        hm_pages_destroy(pages, context);
        return 0;
    }
    for (uint32_t i = 0; i < total; i++) {
        pages->ring[i] = (int32_t)i;
    }
    return 1;
}

void hm_pages_destroy(hm_pages *pages, hopmla_context *context)
{
    hm_free(context, pages->page, pages->total * sizeof(*pages->page), HOPMLA_MEMORY_HOST, NULL);
    hm_free(context, pages->ring, pages->total * sizeof(*pages->ring), HOPMLA_MEMORY_HOST, NULL);
    *pages = (hm_pages){ 0 };
}

int32_t hm_pages_take(hm_pages *pages)
{
    const int32_t id = pages->ring[pages->first];
    pages->first = pages->first + 1 < pages->total ? pages->first + 1 : 0;
    pages->free--;
    if (pages->total - pages->free > pages->high_water) {
        pages->high_water = pages->total - pages->free;
    }
    pages->page[id].owners = 1; /* the pin stays: it is of the former users, whom the new one has to wait for */
    return id;
}

static void free_if_unheld(hm_pages *pages, int32_t id)
{
    if (pages->page[id].owners == 0 && pages->page[id].sources == 0) {
        const uint64_t at = (uint64_t)pages->first + pages->free;
        pages->ring[at < pages->total ? at : at - pages->total] = id;
        pages->free++;
    }
}

static void add_owner(hm_pages *pages, int32_t id)
{
    pages->shared += ++pages->page[id].owners == 2;
}

static void remove_owner(hm_pages *pages, int32_t id)
{
    pages->shared -= --pages->page[id].owners == 1;
}

static void remove_source(hm_pages *pages, int32_t id, uint32_t rows)
{
    hm_page *page = &pages->page[id];
    page->sources--;
    page->rows = page->sources ? (rows & 0xff) : 0;
}

static void join_pin(hm_pages *pages, const hm_pins *pins, int32_t id, hm_pin pin)
{
    if (pin.plans) {
        hm_pin_join(pins, &pages->page[id].pin, pin);
    }
}

void hm_pages_share(hm_pages *pages, int32_t id)
{
    add_owner(pages, id);
}

void hm_pages_leave(hm_pages *pages, const hm_pins *pins, int32_t id, hm_pin pin)
{
    join_pin(pages, pins, id, pin);
    remove_owner(pages, id);
    free_if_unheld(pages, id);
}

uint32_t hm_pages_own_to_source(hm_pages *pages, int32_t id, uint32_t rows)
{
    hm_page *page = &pages->page[id];
    const uint32_t before = page->rows;
    remove_owner(pages, id);
    page->sources++;
    if (page->rows < rows) {
        page->rows = rows & 0xff;
    }
    return before;
}

void hm_pages_undo_source(hm_pages *pages, int32_t id, uint32_t before)
{
    remove_source(pages, id, before);
    add_owner(pages, id);
}

void hm_pages_drop_source(hm_pages *pages, const hm_pins *pins, int32_t id, hm_pin pin)
{
    join_pin(pages, pins, id, pin);
    remove_source(pages, id, pages->page[id].rows);
    free_if_unheld(pages, id);
}
