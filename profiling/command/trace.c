/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include "lines.h"
#include "random.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_TOKENS = 1 << 20
};

typedef struct reading {
    trace *trace;
    uint64_t limit;
} reading;

static bool take_hashes(json_reader *r, trace *t, trace_request *q)
{
    const json_field *ids = json_find(r, "hash_ids");
    if (ids == NULL)
        return json_wrong(r, "the field \"hash_ids\" is missing");
    if (ids->kind != JSON_INTEGERS)
        return json_wrong(r, "\"hash_ids\" is not an array of whole numbers");
    if (ids->count != q->blocks)
        return json_wrong(r, "\"hash_ids\" has %" PRIu64 " ids, but %u tokens of input are %u blocks of %d", ids->count,
                          (unsigned)q->input, (unsigned)q->blocks, TRACE_BLOCK);
    q->first = t->n_hashes;
    for (uint64_t i = 0; i < ids->count; ++i) {
        int64_t id = r->integers[ids->first + i];
        if (id < 0)
            return json_wrong(r, "\"hash_ids\" holds %" PRId64 ", which is negative", id);
        t->hashes = must_grow(t->hashes, t->n_hashes, &t->hashes_capacity, sizeof(*t->hashes));
        t->hashes[t->n_hashes++] = id;
    }
    return true;
}

static bool take_request(json_reader *r, void *user)
{
    const reading *asked = user;
    trace *t = asked->trace;
    uint64_t timestamp, input, output;
    if (t->count == asked->limit)
        return true;
    if (!json_take_count(r, "timestamp", 0, INT64_MAX, &timestamp) ||
        !json_take_count(r, "input_length", 1, MOST_TOKENS, &input) ||
        !json_take_count(r, "output_length", 1, MOST_TOKENS, &output))
        return false;
    if (input + output > MOST_TOKENS)
        return json_wrong(r, "input and output together are %" PRIu64 " tokens; a sequence holds %d", input + output,
                          MOST_TOKENS);
    if (t->count > 0 && timestamp < t->requests[t->count - 1].timestamp)
        return json_wrong(r, "\"timestamp\" is %" PRIu64 ", before the line above", timestamp);
    trace_request q = { .timestamp = timestamp,
                        .input = (uint32_t)input,
                        .output = (uint32_t)output,
                        .blocks = (uint32_t)((input + TRACE_BLOCK - 1) / TRACE_BLOCK),
                        .line = r->line };
    if (!take_hashes(r, t, &q))
        return false;
    if (input + output > t->longest) {
        t->longest = input + output;
        t->longest_line = q.line;
    }
    t->requests = must_grow(t->requests, t->count, &t->capacity, sizeof(*t->requests));
    t->requests[t->count++] = q;
    return true;
}

/** A leading list is known by its hash of 64 bits and, so that a collision cannot mix requests up, by the block before
 * it and its own id. */
typedef struct chain {
    uint64_t hash;
    uint32_t before; /* chain + 1; 0: none */
    uint32_t number; /* + 1; 0: empty slot */
    int64_t id;
} chain;

static void number_chains(trace *t)
{
    uint64_t slots = 64;
    while (slots < 2 * t->n_hashes)
        slots *= 2;
    chain *table = must_zalloc(slots, sizeof(*table));
    t->chains = must_zalloc(t->n_hashes, sizeof(*t->chains));
    for (uint64_t i = 0; i < t->count; ++i) {
        const trace_request *q = &t->requests[i];
        uint64_t hash = 0;
        for (uint32_t j = 0, before = 0; j < q->blocks; ++j) {
            int64_t id = t->hashes[q->first + j];
            hash = random_mix(hash, (uint64_t)id + 1);
            uint64_t slot = hash & (slots - 1);
            while (table[slot].number != 0 &&
                   (table[slot].hash != hash || table[slot].before != before || table[slot].id != id))
                slot = (slot + 1) & (slots - 1);
            if (table[slot].number == 0)
                table[slot] = (chain){ hash, before, ++t->n_chains, id };
            before = table[slot].number;
            t->chains[q->first + j] = before - 1;
        }
    }
    free(table);
}

trace trace_read(const char *path, uint64_t limit)
{
    trace t = { .path = path };
    reading user = { &t, limit };
    lines_read(path, take_request, &user);
    if (t.count == 0)
        die("%s: no requests in it", path);
    number_chains(&t);
    return t;
}

void trace_free(trace *t)
{
    free(t->requests);
    free(t->hashes);
    free(t->chains);
    memset(t, 0, sizeof(*t));
}
