/* SPDX-License-Identifier: Apache-2.0 */
#include "contents.h"

#include "command.h"
#include "half.h"
#include "random.h"

#include <stdlib.h>

enum {
    TABLE = 1 << 20
};

contents contents_make(uint32_t layers)
{
    contents c = { .width = HOPMLA_QK_DIM + CONTENTS_LAYER_STEP * (layers - 1) };
    uint64_t count = (uint64_t)TABLE + c.width;
    random_state r;
    random_seed(&r, 20250101);
    c.bits = must_alloc(count * sizeof(*c.bits));
    c.values = must_alloc(count * sizeof(*c.values));
    random_fill(&r, HOPMLA_DTYPE_BF16, c.bits, count);
    for (uint64_t i = 0; i < count; ++i)
        c.values[i] = half_values(HOPMLA_DTYPE_BF16)[c.bits[i]];
    return c;
}

void contents_free(contents *c)
{
    free(c->bits);
    free(c->values);
}

uint64_t contents_token(const trace *t, uint32_t request, uint32_t position)
{
    const trace_request *q = &t->requests[request];
    if (position < q->input) {
        uint64_t id = (uint64_t)t->hashes[q->first + position / TRACE_BLOCK];
        return random_mix(id, position % TRACE_BLOCK) % TABLE;
    }
    return random_mix(~(uint64_t)request, position) % TABLE;
}

uint64_t contents_query(uint32_t request, uint32_t position, uint32_t head)
{
    return random_mix((uint64_t)request << 9 | head, ~(uint64_t)position) % TABLE;
}
