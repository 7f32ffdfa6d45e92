/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pins.h"

#include <stddef.h>

static uint64_t *ticket_at(const hm_steps *steps, uint32_t i)
{
    const uint32_t at = steps->first + i;
    return &steps->tickets[at < steps->size ? at : at - steps->size];
}

uint32_t hm_pins_add(hm_pins *pins, hm_steps *steps)
{
    if (pins->plans == UINT64_MAX) {
        return HM_MAX_PLANS;
    }
    const uint32_t slot = (uint32_t)__builtin_ctzll(~pins->plans);
    pins->plans |= UINT64_C(1) << slot;
    pins->steps[slot] = steps;
    steps->fence = hm_pins_fence(pins, slot);
    return slot;
}

void hm_pins_remove(hm_pins *pins, uint32_t slot)
{
    pins->plans &= ~(UINT64_C(1) << slot);
    pins->pending &= ~(UINT64_C(1) << slot);
    pins->steps[slot] = NULL;
}

void hm_pins_refresh(hm_pins *pins)
{
    for (uint64_t rest = pins->pending; rest; rest &= rest - 1) {
        const uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        hm_steps *steps = pins->steps[slot];
        /* Acquire: whoever takes a page because of it sees what the step did with that page. */
        const uint64_t fence = __atomic_load_n(steps->fence, __ATOMIC_ACQUIRE);
        while (steps->count > steps->open && *ticket_at(steps, 0) <= fence) {
            steps->first = steps->first + 1 < steps->size ? steps->first + 1 : 0;
            steps->count--;
        }
        if (steps->count > 0) {
            pins->pending_from[slot] = *ticket_at(steps, 0);
        } else {
            pins->pending &= ~(UINT64_C(1) << slot);
        }
    }
}

uint64_t hm_pins_open(hm_pins *pins, uint32_t slot)
{
    hm_steps *steps = pins->steps[slot];
    if (!steps->open) {
        if (steps->count == steps->size) {
            return 0;
        }
        *ticket_at(steps, steps->count) = ++pins->last_ticket;
        steps->count++;
        steps->open = 1;
        if (steps->count == 1) {
            pins->pending |= UINT64_C(1) << slot;
            pins->pending_from[slot] = pins->last_ticket;
        }
    }
    return *ticket_at(steps, steps->count - 1);
}

void hm_pins_close(hm_pins *pins, uint32_t slot)
{
    pins->steps[slot]->open = 0;
}

uint64_t hm_pins_last_step(const hm_pins *pins, uint32_t slot, uint64_t ticket, uint32_t *open)
{
    const hm_steps *steps = pins->steps[slot];
    uint32_t i = steps->count - 1;
    while (i > 0 && *ticket_at(steps, i) > ticket) {
        i--;
    }
    *open = steps->open && i == steps->count - 1;
    return *ticket_at(steps, i);
}
