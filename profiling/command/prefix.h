/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_PREFIX_H
#define COMMAND_PREFIX_H

/** @file
 * Who holds which prompt prefix: running sequences, and those of finished requests that are kept until their pages are
 * wanted. A holder is found by the chain of its blocks. */

#include "command.h"
#include "trace.h"

#include <stdbool.h>

enum {
    PREFIX_NONE = UINT32_MAX
};

typedef struct holder {
    hopmla_seq seq;
    uint32_t request;
    uint32_t entered; /* leading blocks that may be found */
    uint64_t last_use;
    bool used; /* the slot is */
    bool kept; /* its request has finished */
} holder;

/** For each chain the last holder that entered it, and how many tokens it covers there. */
typedef struct prefix_entry {
    uint32_t holder;
    uint32_t tokens;
} prefix_entry;

typedef struct prefix {
    const trace *trace;
    hopmla_pool *pool;
    prefix_entry *entries; /* [n_chains] */
    holder *holders;
    uint32_t count;
    uint64_t capacity;
    uint64_t clock;
    uint64_t kept;
    uint64_t evicted;
} prefix;

prefix prefix_make(const trace *t, hopmla_pool *pool);
void prefix_free(prefix *p);

/** A sequence for the request: a fork of the longest prefix that somebody holds, else empty. The last token of a prompt
 * is never taken from there: its query needs computing. @param shared  receives the tokens it starts with */
uint32_t prefix_start(prefix *p, uint32_t request, uint32_t *shared);

/** Makes the holder's blocks findable as far as its first `tokens` tokens reach. */
void prefix_enter(prefix *p, uint32_t holder, uint32_t tokens);

/** Keeps a finished request's prompt, and drops its output. */
void prefix_keep(prefix *p, uint32_t holder);

/** Releases a holder's sequence. */
void prefix_drop(prefix *p, uint32_t holder);

/** Releases the kept holder that was used the longest time ago. @return false when there is none */
bool prefix_evict(prefix *p);

#endif
