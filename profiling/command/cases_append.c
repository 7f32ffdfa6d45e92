/* SPDX-License-Identifier: Apache-2.0 */
#include "half.h"
#include "world.h"

#include <string.h>

/* Appends from every kind of source: the pool's own type or float32, one tensor or two, with gaps or without. What
 * arrives is read back by gather and compared bit by bit. */

#define EXPECT(call, ...) case_expect(c, call(__VA_ARGS__, &error), &error, #call)

enum {
    STEPS = 6,
    SEQUENCES = 3,
    STEP_TOKENS = 200,
    GUARD = 7
};

/** A source of `tokens` rows of `dim` values: where it is, and its stride in elements. */
typedef struct source {
    void *device;
    char *host;
    int64_t stride;
    uint64_t bytes;
} source;

static source source_make(check *c, uint32_t tokens, uint32_t dim)
{
    const shape *s = c->shape;
    uint32_t size = s->source == HOPMLA_DTYPE_FP32 ? 4 : 2;
    source made = { .stride = dim + (s->strided ? 24 : 0) };
    made.bytes = (uint64_t)tokens * (uint64_t)made.stride * size;
    made.host = case_host(c, made.bytes);
    made.device = case_device(c, made.bytes);
    memset(made.host, 0xff, made.bytes);
    return made;
}

/** Puts `n` values into row `token` of the source, and what must become of them into `expected`. */
static void put(check *c, source *to, uint32_t token, uint32_t column, uint16_t *expected, uint32_t n)
{
    const shape *s = c->shape;
    uint64_t first = (uint64_t)token * (uint64_t)to->stride + column;
    random_fill(&c->random, s->dtype, expected, n);
    if (s->source != HOPMLA_DTYPE_FP32) {
        memcpy(to->host + first * 2, expected, n * 2);
        return;
    }
    for (uint32_t i = 0; i < n; ++i) {
        /* Off the grid of the 16-bit type, now and then exactly between two values. */
        float value = half_values(s->dtype)[expected[i]];
        float next = half_values(s->dtype)[(uint16_t)(expected[i] + 1)];
        float between = (float)random_below(&c->random, 5) * 0.25f;
        value += between * (next - value);
        expected[i] = half_from_float(s->dtype, value);
        memcpy(to->host + (first + i) * 4, &value, 4);
    }
}

typedef struct history {
    uint16_t *rows; /* [STEPS × STEP_TOKENS, layers, 576] */
    uint32_t tokens;
} history;

static void step(check *c, world *w, history *histories, source *latent, source *rope)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const shape *s = c->shape;
    hopmla_seq ids[SEQUENCES];
    uint32_t n[SEQUENCES], room = STEP_TOKENS, total = 0;
    for (uint32_t i = 0; i < SEQUENCES; ++i) {
        ids[i] = w->seqs[i].id;
        n[i] = (uint32_t)random_between(&c->random, 0, room);
        room -= n[i];
        total += n[i];
    }
    EXPECT(hopmla_seq_reserve, w->pool, ids, n, SEQUENCES);
    EXPECT(hopmla_plan_update, w->plan, ids, n, NULL, SEQUENCES, c->device->stream);
    for (uint32_t layer = 0; layer < s->layers; ++layer) {
        uint32_t token = 0;
        for (uint32_t i = 0; i < SEQUENCES; ++i) {
            for (uint32_t j = 0; j < n[i]; ++j, ++token) {
                uint64_t row = (uint64_t)(histories[i].tokens + j) * s->layers + layer;
                uint16_t *expected = histories[i].rows + row * HOPMLA_QK_DIM;
                put(c, latent, token, 0, expected, HOPMLA_LATENT_DIM);
                if (!s->nope)
                    put(c, rope, token, s->apart ? 0 : HOPMLA_LATENT_DIM, expected + HOPMLA_LATENT_DIM,
                        HOPMLA_ROPE_DIM);
            }
        }
        case_copy(c, latent->device, latent->host, latent->bytes);
        case_copy(c, rope->device, rope->host, rope->bytes);
        hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
        args.layer = layer;
        args.dtype = s->source;
        args.tokens = total;
        args.latent_stride = s->apart && !s->strided ? 0 : latent->stride;
        args.rope_stride = s->nope || (s->apart && !s->strided) ? 0 : rope->stride;
        uint64_t offset = s->apart ? 0 : (s->source == HOPMLA_DTYPE_FP32 ? 4u : 2u) * HOPMLA_LATENT_DIM;
        if (total > 0)
            EXPECT(hopmla_append, w->plan, &args, latent->device, s->nope ? NULL : (char *)rope->device + offset,
                   c->device->stream);
        case_synchronize(c);
    }
    EXPECT(hopmla_plan_end, w->plan, c->device->stream);
    EXPECT(hopmla_seq_commit, w->pool, ids, n, SEQUENCES);
    for (uint32_t i = 0; i < SEQUENCES; ++i)
        histories[i].tokens += n[i];
}

/** Reads a random range of one row of the batch in one layer, into rows that have gaps or have not. */
static void read_back(check *c, world *w, const history *h, uint32_t row, uint32_t layer)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
    args.layer = layer;
    args.row = row;
    args.first = random_below(&c->random, h->tokens);
    args.count = random_between(&c->random, 1, h->tokens - args.first);
    const uint32_t values = shape_values(c->shape);
    args.stride = c->shape->strided ? values + 8 : 0;
    uint64_t stride = args.stride > 0 ? (uint64_t)args.stride : values, bytes = (args.count * stride + GUARD) * 2;
    unsigned char *host = case_host(c, bytes);
    void *memory = case_device(c, bytes);
    EXPECT(hopmla_gather, w->plan, &args, memory, c->device->stream);
    case_copy(c, host, memory, bytes);
    for (uint64_t t = 0; t < args.count; ++t) {
        const uint16_t *expected = h->rows + ((args.first + t) * c->shape->layers + layer) * HOPMLA_QK_DIM;
        if (memcmp(host + t * stride * 2, expected, values * 2) != 0)
            case_fail(c, "row %u, layer %u, token %llu: what was gathered is not what was appended", (unsigned)row,
                      (unsigned)layer, (unsigned long long)(args.first + t));
        for (uint64_t i = (t * stride + values) * 2; i < (t + 1) * stride * 2; ++i) {
            if (host[i] != c->junk)
                case_fail(c, "gather wrote between its rows");
        }
    }
    for (uint64_t i = args.count * stride * 2; i < bytes; ++i) {
        if (host[i] != c->junk)
            case_fail(c, "gather wrote behind its rows");
    }
}

void case_append(check *c)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const shape *s = c->shape;
    world w;
    history histories[SEQUENCES] = { { 0 } };
    hopmla_seq ids[SEQUENCES];
    uint32_t none[SEQUENCES] = { 0 };
    world_make(&w, c, STEPS * STEP_TOKENS / HOPMLA_PAGE_TOKENS + SEQUENCES + 2, STEPS * STEP_TOKENS, 1, 1);
    for (uint32_t i = 0; i < SEQUENCES; ++i) {
        world_add(&w);
        ids[i] = w.seqs[i].id;
        histories[i].rows = case_host(c, (uint64_t)STEPS * STEP_TOKENS * s->layers * HOPMLA_QK_DIM * 2);
    }
    source latent = source_make(c, STEP_TOKENS, s->apart ? HOPMLA_LATENT_DIM : HOPMLA_QK_DIM);
    source rope = s->apart ? source_make(c, STEP_TOKENS, HOPMLA_ROPE_DIM) : latent;
    for (uint32_t i = 0; i < STEPS; ++i)
        step(c, &w, histories, &latent, &rope);
    EXPECT(hopmla_plan_update, w.plan, ids, none, NULL, SEQUENCES, c->device->stream);
    for (uint32_t i = 0; i < 4 * SEQUENCES * s->layers; ++i) {
        uint32_t row = i % SEQUENCES;
        if (histories[row].tokens > 0)
            read_back(c, &w, &histories[row], row, i / SEQUENCES % s->layers);
    }
    EXPECT(hopmla_plan_end, w.plan, c->device->stream);
    world_end(&w);
}
