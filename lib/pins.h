/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_PINS_H
#define HM_PINS_H

/** @file
 * Tickets, fences and pins: which steps may still touch a page.
 *
 * Every step of every plan of a pool has a ticket, and tickets only grow. hopmla_plan_end makes the stream write the
 * step's ticket to the plan's fence word, which the host reads: a step has passed once the word has reached its ticket.
 * Steps of one plan pass in order, for a plan changes its stream only when all its steps have passed. The words belong
 * to the pool, one for each slot that a plan can have: a stream may still be told to wait for a plan that is gone.
 *
 * A pin is the compact form of "all steps with a ticket up to T of these plans may still touch it". Joining two pins
 * takes the larger ticket for all plans, so a joined pin may cover more steps than it has to, never fewer.
 *
 * Nothing here calls the driver. The pool's mutex guards all of it. */

#include "hopmla/status.h"

enum {
    HM_MAX_PLANS = 64,
    HM_FENCE_STRIDE = 8, /* words: one a cache line */
    HM_FENCE_BYTES = HM_MAX_PLANS * HM_FENCE_STRIDE * 8
};

typedef struct hm_pin {
    uint64_t plans; /* a bit for each plan slot of the pool */
    uint64_t ticket;
} hm_pin;

/** A plan's steps that have not passed, the oldest first. */
typedef struct hm_steps {
    uint64_t *fence;
    uint64_t *tickets; /* ring of `size` */
    uint32_t size;
    uint32_t first;
    uint32_t count;
    uint32_t open; /* 1: the newest step was not ended */
} hm_steps;

typedef struct hm_pins {
    uint64_t *fences; /* pinned memory, HM_FENCE_BYTES */
    uint64_t last_ticket;
    uint64_t plans;                      /* slots in use */
    uint64_t pending;                    /* of these, plans with steps that have not passed */
    uint64_t pending_from[HM_MAX_PLANS]; /* the oldest such step of each pending plan */
    hm_steps *steps[HM_MAX_PLANS];
} hm_pins;

/** The fence word of a slot. Without the mutex. */
static inline uint64_t *hm_pins_fence(const hm_pins *pins, uint32_t slot)
{
    return &pins->fences[slot * HM_FENCE_STRIDE];
}

/** Gives a plan a slot and its steps a fence. @return the slot, or HM_MAX_PLANS when none is left */
uint32_t hm_pins_add(hm_pins *pins, hm_steps *steps);

/** Takes a slot back; the plan's steps count as passed. */
void hm_pins_remove(hm_pins *pins, uint32_t slot);

/** Reads the fences. Without it pins only seem to live longer than they do. */
void hm_pins_refresh(hm_pins *pins);

/** The ticket of the plan's open step, which is begun when there is none. @return 0 when the ring of steps is full */
uint64_t hm_pins_open(hm_pins *pins, uint32_t slot);

/** Ends the open step; its fence has been enqueued. */
void hm_pins_close(hm_pins *pins, uint32_t slot);

/** The last pending step of a pending plan with a ticket up to `ticket`; there is one.
 * @param open  receives 1 when that step was not ended */
uint64_t hm_pins_last_step(const hm_pins *pins, uint32_t slot, uint64_t ticket, uint32_t *open);

/** Plans of the pin whose steps have not all passed. */
static inline uint64_t hm_pin_live(const hm_pins *pins, hm_pin pin)
{
    uint64_t live = pin.plans & pins->pending;
    for (uint64_t rest = live; rest; rest &= rest - 1) {
        const uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        if (pins->pending_from[slot] > pin.ticket) {
            live &= ~(UINT64_C(1) << slot);
        }
    }
    return live;
}

/** The pin without plans whose steps have passed; all zeros when that leaves none. */
static inline hm_pin hm_pin_trim(const hm_pins *pins, hm_pin pin)
{
    const uint64_t live = hm_pin_live(pins, pin);
    return (hm_pin){ live, live ? pin.ticket : 0 };
}

/** Joins `more` to a pin. */
static inline void hm_pin_join(const hm_pins *pins, hm_pin *pin, hm_pin more)
{
    const hm_pin own = hm_pin_trim(pins, *pin);
    const hm_pin other = hm_pin_trim(pins, more);
    pin->plans = own.plans | other.plans;
    pin->ticket = own.ticket > other.ticket ? own.ticket : other.ticket;
}

#endif
