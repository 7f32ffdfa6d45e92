/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_CONTENTS_H
#define COMMAND_CONTENTS_H

/** @file
 * What a replayed model would have computed: cached rows and queries as functions of what they stand for, so that any
 * output can be checked later without anything having been kept.
 *
 * A table of random values is made once. A token's row in layer l is the window of 576 values (of which a cache without
 * a rope part takes the first 512) that starts at a hash of
 * the token plus 8·l: a token costs one copy of `width` values for all layers, and layers still differ. */

#include "trace.h"

typedef struct contents {
    uint16_t *bits; /* bfloat16 */
    float *values;  /* the same */
    uint32_t width; /* values of a token or query that hold its rows of all layers */
} contents;

enum {
    CONTENTS_LAYER_STEP = 8
};

contents contents_make(uint32_t layers);
void contents_free(contents *c);

/** Where in the table a token's window starts: of the prompt by its block's hash and place, of the output by request. */
uint64_t contents_token(const trace *t, uint32_t request, uint32_t position);

/** The same for a query: the one that sees `position` as its last token. */
uint64_t contents_query(uint32_t request, uint32_t position, uint32_t head);

#endif
