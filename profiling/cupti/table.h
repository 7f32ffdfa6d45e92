/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CUPTI_TABLE_H
#define HM_CUPTI_TABLE_H

/** @file
 * Kernel times by call, put together from three kinds of activity records, which share a number for each launch:
 * "this launch belongs to call N", "a kernel of this launch ran from … to …" (one for a launch, one for each node of a
 * graph), "this launch has returned". Bounded, and thread-safe behind one lock that is never held for long. */

#include <stdint.h>

#include "hopmla/context.h"

typedef struct hm_table hm_table;

typedef struct hm_times {
    uint64_t first; /* start of the first kernel, in ns */
    uint64_t last;  /* end of the last one */
    uint32_t kernels;
    uint32_t reserved;
} hm_times;

/** @param calls  a power of two. @return NULL when there is no memory. */
hm_table *hm_table_create(hopmla_context *context, uint32_t calls);
void hm_table_destroy(hopmla_context *context, hm_table *table);

/** A new session, in which launches are numbered anew. Calls keep what they have. */
void hm_table_restart(hm_table *table);

/** The number by which a call's launches are known outside: no other table of the process has it. */
uint64_t hm_table_name(const hm_table *table, uint64_t id);

/** A call begins on the calling thread, which pushes its name on CUPTI's stack of it.
 * @return how many names are to be popped before: of calls whose end did not come here */
uint32_t hm_table_begin(hm_table *table, uint64_t id);

/** Its name was not pushed after all. */
void hm_table_not_pushed(hm_table *table, uint64_t id);

/** It ends. @return 1 when its name is on top of the calling thread's stack, to be popped */
int hm_table_end(hm_table *table, uint64_t id);

/** Activity records. Times are shifted by `shift` ns to the host's clock. */
void hm_table_launch(hm_table *table, uint32_t launch, uint64_t name);
void hm_table_kernel(hm_table *table, uint32_t launch, uint64_t first, uint64_t last, int64_t shift);
void hm_table_returned(hm_table *table, uint32_t launch);

/** Records were dropped: of calls begun so far, and not yet asked for, nobody knows whether theirs are among them. */
void hm_table_dropped(hm_table *table);

/** A mark between calls that have ended and later ones. */
uint64_t hm_table_mark(hm_table *table);

/** All records of calls that ended before the mark have come. */
void hm_table_settle(hm_table *table, uint64_t mark);

/** @return 1: all of it; 0: not yet; −1: it is lost, or the call launched nothing */
int hm_table_get(hm_table *table, uint64_t id, hm_times *times);

#endif
