/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_EVENT_CLOCK_H
#define HM_EVENT_CLOCK_H

/** @file
 * Device times by pairs of events, for records at positions. A pair belongs to every HM_EVENT_PAIRS-th position, and is
 * free for one when the position that many before it was taken in: no list of free ones, no lock. Events tell times
 * between each other; what ties them to the host's clock is an anchor, an event that is seen to happen on a stream with
 * nothing else in it. */

#include "kernels/backend.h"
#include "lib/context.h"

enum {
    HM_EVENT_PAIRS = 8192
};

typedef struct hm_event_clock hm_event_clock;

/** Creates min(capacity, HM_EVENT_PAIRS) pairs. @return OK and the driver's */
hopmla_status hm_event_clock_create(hopmla_context *context, uint64_t capacity, hm_event_clock **clock,
                                    hopmla_error *error);

/** Before the context goes. NULL is fine. */
void hm_event_clock_destroy(hm_event_clock *clock);

/** Enqueues the first event of the position's pair. @param taken  positions taken in so far
 * @return 0 when the pair is in use, or the driver refuses */
int hm_event_clock_begin(hm_event_clock *clock, uint64_t position, uint64_t taken, hopmla_stream stream);

/** Enqueues the second. @return 0 when the driver refuses */
int hm_event_clock_end(hm_event_clock *clock, uint64_t position, hopmla_stream stream);

/** Ties events to the host's clock anew where that was done more than some seconds ago. Waits at most 100 microseconds.
 * By one thread at a time, as what follows. */
void hm_event_clock_anchor(hm_event_clock *clock);

/** Reads a pair of which both were enqueued. @return 1 when it has told; 0 not yet; −1 never will it */
int hm_event_clock_read(hm_event_clock *clock, uint64_t position, int64_t *begin, int64_t *duration);

#endif
