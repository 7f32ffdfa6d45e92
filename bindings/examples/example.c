/* SPDX-License-Identifier: Apache-2.0 */
/* A continuous-batching decode loop over a small pool: requests come and go, fork for parallel sampling, and are preempted
 * when pages run out. There is no model: the cache holds patterns, and every query asks for one position of its
 * sequence, so that the next token depends on what the pool, the tables and the kernels bring back. The Rust and Go
 * examples print the same, byte for byte.
 *
 *     cc example.c $(pkg-config --cflags --libs hopmla) -o example && ./example [--cuda] [SEED] */
#include <hopmla/hopmla.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAYERS = 2,
    HEADS = 4,
    PAGES = 12,
    BATCH = 8,  /* sequences in a step */
    CHUNK = 64, /* most tokens that a sequence appends in a step */
    MAX_TOKENS = 256,
    REQUESTS = 12,
    SAMPLES = 3, /* most per request */
    VOCABULARY = 64,
    QK = HOPMLA_QK_DIM,
    LATENT = HOPMLA_LATENT_DIM
};

static uint32_t seed = 1;
static hopmla_error error = HOPMLA_ERROR_INIT;

static void check(hopmla_status status)
{
    if (status != HOPMLA_OK) {
        fprintf(stderr, "example: %s (%s)\n", error.message, hopmla_status_name(status));
        exit(1);
    }
}

/* ---- what stands in for a model: the same integers in every language ---- */

static uint32_t hash(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t h = seed * 0x9e3779b1u + a * 0x85ebca77u + b * 0xc2b2ae3du + c * 0x27d4eb2fu;
    h = (h ^ h >> 15) * 0x85ebca77u;
    h = (h ^ h >> 13) * 0xc2b2ae3du;
    return h ^ h >> 16;
}

/* ±1 as a bfloat16; value `d` of pattern `number` of a kind. */
enum {
    TOKEN,
    POSITION
};
static uint16_t sign(uint32_t kind, uint32_t number, uint32_t d)
{
    return hash(kind, number, d) & 1 ? 0x3f80 : 0xbf80;
}

/* A cached row: the token's pattern, then the position's. */
static void fill_row(uint16_t *row, uint32_t token, uint32_t position)
{
    for (uint32_t d = 0; d < QK; d++) {
        row[d] = d < LATENT ? sign(TOKEN, token, d) : sign(POSITION, position, d);
    }
}

/* A query that finds one position: its pattern against the cached ones, nothing against the tokens'. */
static void fill_query(uint16_t *q, uint32_t position)
{
    for (uint32_t d = 0; d < QK; d++) {
        q[d] = d < LATENT ? 0 : sign(POSITION, position, d);
    }
}

/* The token whose pattern is nearest. */
static uint32_t recognise(const uint16_t *out)
{
    uint32_t best = 0;
    float most = -1e30f;
    for (uint32_t token = 0; token < VOCABULARY; token++) {
        float sum = 0;
        for (uint32_t d = 0; d < LATENT; d++) {
            const uint32_t bits = (uint32_t)out[d] << 16;
            float value;
            memcpy(&value, &bits, sizeof value);
            sum += sign(TOKEN, token, d) == 0x3f80 ? value : -value;
        }
        if (sum > most) {
            most = sum;
            best = token;
        }
    }
    return best;
}

/* ---- requests ---- */

/* One sample of a request: a sequence of the pool while it runs, tokens alone while it waits. */
struct sample {
    uint32_t request, index, siblings; /* siblings: forks still to be made when the prompt is cached */
    uint32_t tokens[MAX_TOKENS], length, target;
    hopmla_seq seq;
    uint32_t cached;
};

static struct sample running[BATCH], waiting[REQUESTS * SAMPLES];
static uint32_t n_running, n_waiting, steps, appended, decoded, recalled, forks, preemptions, finished;
static hopmla_pool *pool;

static void take_out(struct sample *list, uint32_t *n, uint32_t i)
{
    memmove(&list[i], &list[i + 1], (--*n - i) * sizeof *list);
}

static void put_in(struct sample *list, uint32_t *n, uint32_t i, const struct sample *s)
{
    memmove(&list[i + 1], &list[i], ((*n)++ - i) * sizeof *list);
    list[i] = *s;
}

static void arrive(uint32_t request)
{
    struct sample s = { .request = request, .siblings = hash(7, request, 0) % SAMPLES };
    s.length = 20 + hash(7, request, 1) % 160;
    s.target = s.length + 10 + hash(7, request, 2) % 40;
    for (uint32_t i = 0; i < s.length; i++) {
        s.tokens[i] = hash(8, request, i) % VOCABULARY;
    }
    put_in(waiting, &n_waiting, n_waiting, &s);
}

/* As many as there is room for in the batch, forks to come counted, and pages for. */
static void admit(void)
{
    uint32_t promised = n_running;
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    check(hopmla_pool_get_stats(pool, &stats, &error));
    uint64_t pages = stats.pages_free;
    for (uint32_t i = 0; i < n_running; i++) {
        promised += running[i].siblings;
    }
    while (n_waiting && promised + 1 + waiting[0].siblings <= BATCH) {
        struct sample s = waiting[0];
        const uint64_t needs = (s.length + HOPMLA_PAGE_TOKENS) / HOPMLA_PAGE_TOKENS;
        if (needs > pages) {
            return;
        }
        pages -= needs;
        promised += 1 + s.siblings;
        take_out(waiting, &n_waiting, 0);
        check(hopmla_seq_create(pool, &s.seq, 1, &error));
        put_in(running, &n_running, n_running, &s);
    }
}

/* The youngest goes back to the front of the queue and starts over later. */
static void preempt(void)
{
    struct sample s = running[n_running - 1];
    take_out(running, &n_running, n_running - 1);
    check(hopmla_seq_release(pool, &s.seq, 1, &error));
    s.seq = 0;
    s.cached = 0;
    put_in(waiting, &n_waiting, 0, &s);
    preemptions++;
}

/* After a prompt: the others of its request share its pages, and go on to a token of their own. */
static void fork_siblings(uint32_t parent)
{
    for (uint32_t i = running[parent].siblings; i > 0; i--) {
        struct sample child = running[parent];
        child.index = i;
        child.siblings = 0;
        child.length--; /* without the parent's new token */
        child.tokens[child.length] = hash(9, running[parent].tokens[child.length], i) % VOCABULARY;
        child.length++;
        check(hopmla_seq_fork(pool, running[parent].seq, HOPMLA_ALL_TOKENS, &child.seq, &error));
        put_in(running, &n_running, n_running, &child);
        forks++;
    }
    running[parent].siblings = 0;
}

/* The position that a head asks for. */
static uint32_t wanted(const struct sample *s, uint32_t head)
{
    return hash(10 + head, s->tokens[s->length - 1], s->length) % s->length;
}

/* ---- the loop ---- */

static hopmla_context *context;
static hopmla_plan *plan;
static hopmla_stream stream;
static uint16_t rows[BATCH * CHUNK * QK], q[LAYERS][BATCH * HEADS * QK], out[LAYERS][BATCH * HEADS * LATENT];
static void *device_rows, *device_q, *device_out;

/* Appends what the step has, in every layer, and decodes. `q_rows` rows of q are filled. */
static void run_layers(uint32_t tokens, uint32_t q_rows)
{
    hopmla_append_args append = HOPMLA_APPEND_ARGS_INIT;
    hopmla_decode_args decode = HOPMLA_DECODE_ARGS_INIT;
    append.tokens = tokens;
    append.latent_stride = append.rope_stride = QK;
    decode.rows = q_rows;
    decode.softmax_scale = 1.0f; /* of ±1 patterns: a match scores 64, others about 8 */
    check(hopmla_memory_copy(context, device_rows, rows, tokens * QK * 2ull, stream, &error));
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        append.layer = decode.layer = layer;
        check(hopmla_memory_copy(context, device_q, q[layer], q_rows * HEADS * QK * 2ull, stream, &error));
        check(hopmla_append(plan, &append, device_rows, (uint16_t *)device_rows + LATENT, stream, &error));
        check(hopmla_decode(plan, &decode, device_q, NULL, device_out, NULL, stream, &error));
        check(hopmla_memory_copy(context, out[layer], device_out, q_rows * HEADS * LATENT * 2ull, stream, &error));
    }
    check(hopmla_stream_synchronize(context, stream, &error));
}

static void step(void)
{
    hopmla_seq seqs[BATCH];
    uint32_t n_append[BATCH], q_lens[BATCH], count, tokens = 0, q_rows = 0;
    for (;;) {
        for (count = 0; count < n_running; count++) {
            const struct sample *s = &running[count];
            const uint32_t left = s->length - s->cached;
            seqs[count] = s->seq;
            n_append[count] = left < CHUNK ? left : CHUNK;
            q_lens[count] = left <= CHUNK; /* a chunk that is not the last decodes nothing */
        }
        const hopmla_status status = hopmla_seq_reserve(pool, seqs, n_append, count, &error);
        if (status == HOPMLA_OK) {
            break;
        }
        if (status != HOPMLA_ERROR_OUT_OF_PAGES) {
            check(status);
        }
        preempt();
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sample *s = &running[i];
        for (uint32_t t = 0; t < n_append[i]; t++) {
            fill_row(&rows[tokens++ * QK], s->tokens[s->cached + t], s->cached + t);
        }
        for (uint32_t head = 0; q_lens[i] && head < LAYERS * HEADS; head++) {
            fill_query(&q[head / HEADS][(q_rows * HEADS + head % HEADS) * QK], wanted(s, head));
        }
        q_rows += q_lens[i];
    }
    check(hopmla_plan_update(plan, seqs, n_append, q_lens, count, stream, &error));
    run_layers(tokens, q_rows);
    check(hopmla_plan_end(plan, stream, &error));
    check(hopmla_seq_commit(pool, seqs, n_append, count, &error));

    printf("step %u: %u sequences, %u tokens in, %u out", steps, count, tokens, q_rows);
    for (uint32_t i = 0, row = 0; i < count; i++) {
        struct sample *s = &running[i];
        s->cached += n_append[i];
        if (!q_lens[i]) {
            continue;
        }
        uint32_t next = s->index;
        for (uint32_t head = 0; head < LAYERS * HEADS; head++) {
            const uint32_t token = recognise(&out[head / HEADS][(row * HEADS + head % HEADS) * LATENT]);
            recalled += token == s->tokens[wanted(s, head)];
            next = hash(11, next, token);
        }
        s->tokens[s->length++] = next % VOCABULARY;
        printf(" %u.%u:%u", s->request, s->index, next % VOCABULARY);
        row++;
    }
    printf("\n");
    for (uint32_t i = 0; i < count; i++) {
        if (running[i].siblings && q_lens[i]) {
            fork_siblings(i);
        }
    }
    for (uint32_t i = n_running; i-- > 0;) {
        if (running[i].length >= running[i].target) {
            printf("done %u.%u after %u tokens\n", running[i].request, running[i].index, running[i].length);
            check(hopmla_seq_release(pool, &running[i].seq, 1, &error));
            take_out(running, &n_running, i);
            finished++;
        }
    }
    steps++;
    appended += tokens;
    decoded += q_rows;
}

/* What the profiler counted, by kind of call. */
static void print_calls(hopmla_profiler *profiler)
{
    static const char *const names[] = { "append", "decode", "update" };
    static const int32_t kinds[] = { HOPMLA_CALL_APPEND, HOPMLA_CALL_DECODE, HOPMLA_CALL_UPDATE };
    check(hopmla_profiler_finish(profiler, &error));
    for (int i = 0; i < 3; i++) {
        hopmla_totals totals = HOPMLA_TOTALS_INIT;
        check(hopmla_profiler_get_totals(profiler, kinds[i], NULL, &totals, &error));
        printf("%s: calls %llu, FLOPs %llu, bytes %llu\n", names[i], (unsigned long long)totals.calls,
               (unsigned long long)totals.flops, (unsigned long long)totals.bytes);
    }
}

int main(int argc, char **argv)
{
    hopmla_context_options context_options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options pool_options = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plan_options = HOPMLA_PLAN_OPTIONS_INIT;
    hopmla_profiler_options profiler_options = HOPMLA_PROFILER_OPTIONS_INIT;
    hopmla_profiler *profiler;
    context_options.backend = HOPMLA_BACKEND_CPU;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cuda") == 0) {
            context_options.backend = HOPMLA_BACKEND_CUDA;
        } else {
            seed = (uint32_t)strtoul(argv[i], NULL, 10);
        }
    }
    check(hopmla_context_create(&context_options, &context, &error));
    pool_options.format = HOPMLA_KV_BF16;
    pool_options.layers = LAYERS;
    pool_options.pages = PAGES;
    check(hopmla_pool_create(context, &pool_options, &pool, &error));
    plan_options.max_batch = BATCH;
    plan_options.heads = HEADS;
    plan_options.max_kv_tokens = MAX_TOKENS;
    check(hopmla_plan_create(pool, &plan_options, &plan, &error));
    check(hopmla_stream_create(context, &stream, &error));
    profiler_options.flags = HOPMLA_PROFILER_TOTALS_ONLY;
    check(hopmla_profiler_create(context, &profiler_options, &profiler, &error));
    check(hopmla_profiler_start(profiler, &error));
    check(hopmla_memory_alloc(context, sizeof rows, HOPMLA_MEMORY_WORKSPACE, &device_rows, &error));
    check(hopmla_memory_alloc(context, sizeof q[0], HOPMLA_MEMORY_WORKSPACE, &device_q, &error));
    check(hopmla_memory_alloc(context, sizeof out[0], HOPMLA_MEMORY_WORKSPACE, &device_out, &error));

    for (uint32_t request = 0; request < REQUESTS || n_running || n_waiting;) {
        while (request < REQUESTS && hash(6, request, 0) % 4 == 0) {
            arrive(request++);
        }
        if (request < REQUESTS) {
            arrive(request++);
        }
        admit();
        step();
    }

    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    check(hopmla_pool_get_stats(pool, &stats, &error));
    printf("steps %u, tokens in %u, out %u, recalled %u of %u\n", steps, appended, decoded, recalled,
           decoded * LAYERS * HEADS);
    printf("forks %u, preemptions %u, finished %u\n", forks, preemptions, finished);
    printf("pages %llu, free %llu, most used %llu, sequences left %u\n", (unsigned long long)stats.pages_total,
           (unsigned long long)stats.pages_free, (unsigned long long)stats.pages_high_water, stats.sequences);
    print_calls(profiler);

    hopmla_profiler_destroy(profiler);
    hopmla_memory_free(context, device_rows, sizeof rows, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(context, device_q, sizeof q[0], HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(context, device_out, sizeof out[0], HOPMLA_MEMORY_WORKSPACE);
    hopmla_stream_destroy(context, stream);
    hopmla_plan_destroy(plan);
    hopmla_pool_destroy(pool);
    hopmla_context_destroy(context);
    return 0;
}
