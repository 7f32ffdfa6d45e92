/* SPDX-License-Identifier: Apache-2.0 */
/* The same step decoded again and again gives the same bits, while another thread keeps the device busy with steps of
 * other shapes on a stream of its own, so that CTAs start in another order and pages come at other times.
 *
 *     repeat [--backend cpu|cuda] [--runs N] [--tokens N]
 *
 * Exit status 0: all runs alike; 77: the backend is not here; 1: something is wrong. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hopmla/hopmla.h"

enum {
    BATCH = 6,
    MAX_Q = 2,
    ROWS = BATCH * MAX_Q,
    MAX_HEADS = 128,
    SOURCE = 4096, /* random rows that are appended over and over */
    QK = HOPMLA_QK_DIM,
    LATENT = HOPMLA_LATENT_DIM
};

static hopmla_context *context;
static hopmla_pool *pool;
static uint64_t tokens = 20000; /* of the longest sequence */
static atomic_int stop, others;

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if ((call) != HOPMLA_OK) {                                                                                     \
            fprintf(stderr, "repeat: " #call ": %s\n", error.message);                                                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Who decodes: one plan, one stream, sequences of its own. */
typedef struct worker {
    uint32_t heads;
    uint64_t random;
    hopmla_seq seqs[BATCH];
    uint32_t lengths[BATCH];
    hopmla_plan *plan;
    hopmla_stream stream;
    void *source, *q, *out, *lse;
} worker;

static uint64_t out_bytes(const worker *w)
{
    return (uint64_t)ROWS * w->heads * LATENT * sizeof(uint16_t);
}
static uint64_t lse_bytes(const worker *w)
{
    return (uint64_t)ROWS * w->heads * sizeof(float);
}

static uint32_t draw(worker *w, uint32_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 20) % below);
}

/* `count` bfloat16 of size 0.06 … 0.5, either sign, on the device. */
static void *make_values(worker *w, uint64_t count)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint16_t *host = malloc(count * sizeof(uint16_t));
    void *device = NULL;
    for (uint64_t i = 0; i < count; i++) {
        host[i] = (uint16_t)(0x3d80u + draw(w, 0x180) + (draw(w, 2) << 15));
    }
    TRY(hopmla_memory_alloc(context, count * sizeof(uint16_t), HOPMLA_MEMORY_WORKSPACE, &device, &error));
    TRY(hopmla_memory_copy(context, device, host, count * sizeof(uint16_t), w->stream, &error));
    TRY(hopmla_stream_synchronize(context, w->stream, &error));
    free(host);
    return device;
}

/* Sequence i gets its length, some tokens a step. */
static void fill_sequence(worker *w, uint32_t i)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    for (uint32_t at = 0; at < w->lengths[i];) {
        uint32_t n = w->lengths[i] - at < SOURCE ? w->lengths[i] - at : SOURCE;
        hopmla_append_args append = HOPMLA_APPEND_ARGS_INIT;
        append.tokens = n;
        append.latent_stride = append.rope_stride = QK;
        TRY(hopmla_seq_reserve(pool, &w->seqs[i], &n, 1, &error));
        TRY(hopmla_plan_update(w->plan, &w->seqs[i], &n, NULL, 1, w->stream, &error));
        TRY(hopmla_append(w->plan, &append, w->source, (uint16_t *)w->source + LATENT, w->stream, &error));
        TRY(hopmla_plan_end(w->plan, w->stream, &error));
        TRY(hopmla_stream_synchronize(context, w->stream, &error));
        TRY(hopmla_seq_commit(pool, &w->seqs[i], &n, 1, &error));
        at += n;
    }
}

static void open_worker(worker *w, uint32_t heads, uint64_t seed)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    *w = (worker){ .heads = heads, .random = seed };
    options.max_batch = BATCH;
    options.max_q_tokens = MAX_Q;
    options.heads = heads;
    options.max_kv_tokens = tokens;
    TRY(hopmla_stream_create(context, &w->stream, &error));
    TRY(hopmla_plan_create(pool, &options, &w->plan, &error));
    TRY(hopmla_seq_create(pool, w->seqs, BATCH, &error));
    w->source = make_values(w, (uint64_t)SOURCE * QK);
    w->q = make_values(w, (uint64_t)ROWS * heads * QK);
    TRY(hopmla_memory_alloc(context, out_bytes(w), HOPMLA_MEMORY_WORKSPACE, &w->out, &error));
    TRY(hopmla_memory_alloc(context, lse_bytes(w), HOPMLA_MEMORY_WORKSPACE, &w->lse, &error));
    for (uint32_t i = 0; i < BATCH; i++) { /* one long, one short, the rest anywhere */
        w->lengths[i] = i == 0 ? (uint32_t)tokens : i == 1 ? 65 : 1 + draw(w, (uint32_t)tokens / 2);
        fill_sequence(w, i);
    }
}

static void close_worker(worker *w)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    TRY(hopmla_stream_synchronize(context, w->stream, &error));
    hopmla_plan_destroy(w->plan);
    TRY(hopmla_seq_release(pool, w->seqs, BATCH, &error));
    hopmla_memory_free(context, w->source, (uint64_t)SOURCE * QK * 2, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(context, w->q, (uint64_t)ROWS * w->heads * QK * 2, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(context, w->out, out_bytes(w), HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(context, w->lse, lse_bytes(w), HOPMLA_MEMORY_WORKSPACE);
    hopmla_stream_destroy(context, w->stream);
}

/* One step of the first `count` sequences, without appends. */
static void decode_step(worker *w, uint32_t count)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    uint32_t q_lens[BATCH];
    for (uint32_t i = 0; i < count; i++) {
        q_lens[i] = 1 + i % MAX_Q;
    }
    args.rows = ROWS;
    args.softmax_scale = 0.0721688f;
    TRY(hopmla_memory_fill(context, w->out, 0xff, out_bytes(w), w->stream, &error));
    TRY(hopmla_memory_fill(context, w->lse, 0xff, lse_bytes(w), w->stream, &error));
    hopmla_status status;
    do {
        status = hopmla_plan_update(w->plan, w->seqs, NULL, q_lens, count, w->stream, &error);
    } while (status == HOPMLA_ERROR_BUSY);
    TRY(status);
    TRY(hopmla_decode(w->plan, &args, w->q, NULL, w->out, w->lse, w->stream, &error));
    TRY(hopmla_plan_end(w->plan, w->stream, &error));
}

/* Decodes batches of all sizes until it is told to stop. */
static void *keep_busy(void *argument)
{
    worker *w = argument;
    hopmla_error error = HOPMLA_ERROR_INIT;
    for (uint32_t i = 0; !atomic_load(&stop); i++) {
        decode_step(w, 1 + draw(w, BATCH));
        if (i % 3 == 2) { /* a few are queued at any time */
            TRY(hopmla_stream_synchronize(context, w->stream, &error));
        }
        atomic_fetch_add(&others, 1);
    }
    return NULL;
}

/* Runs one step `runs` times. @return how many were not as the first */
static int repeat(uint32_t heads, int runs)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    worker w;
    open_worker(&w, heads, 0x9e3779b97f4a7c15ull);
    const uint64_t bytes = out_bytes(&w) + lse_bytes(&w);
    char *first = malloc(bytes), *now = malloc(bytes);
    int unlike = 0;
    for (int run = 0; run < runs; run++) {
        char *to = run == 0 ? first : now;
        decode_step(&w, BATCH);
        TRY(hopmla_memory_copy(context, to, w.out, out_bytes(&w), w.stream, &error));
        TRY(hopmla_memory_copy(context, to + out_bytes(&w), w.lse, lse_bytes(&w), w.stream, &error));
        TRY(hopmla_stream_synchronize(context, w.stream, &error));
        unlike += run > 0 && memcmp(first, now, bytes) != 0;
    }
    free(first);
    free(now);
    close_worker(&w);
    return unlike;
}

static void open_world(const char *backend)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options room = HOPMLA_POOL_OPTIONS_INIT;
    options.backend = strcmp(backend, "cpu") == 0 ? HOPMLA_BACKEND_CPU : HOPMLA_BACKEND_CUDA;
    if (hopmla_context_create(&options, &context, &error) != HOPMLA_OK) {
        fprintf(stderr, "repeat: %s\n", error.message);
        exit(77);
    }
    room.format = HOPMLA_KV_BF16;
    room.layers = 1;
    room.pages = 2 * BATCH * (tokens / HOPMLA_PAGE_TOKENS + 1);
    TRY(hopmla_pool_create(context, &room, &pool, &error));
}

int main(int argc, char **argv)
{
    static const uint32_t heads[] = { 8, 16, 32, 64, 128 };
    const char *backend = "cpu";
    int runs = 100, unlike = 0, steps = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        backend = strcmp(argv[i], "--backend") == 0 ? argv[i + 1] : backend;
        runs = strcmp(argv[i], "--runs") == 0 ? atoi(argv[i + 1]) : runs;
        tokens = strcmp(argv[i], "--tokens") == 0 ? strtoull(argv[i + 1], NULL, 10) : tokens;
    }
    open_world(backend);
    worker other;
    pthread_t thread;
    open_worker(&other, 48, 1);
    pthread_create(&thread, NULL, keep_busy, &other);
    for (unsigned i = 0; i < sizeof heads / sizeof *heads; i++) {
        unlike += repeat(heads[i], runs);
        steps += runs;
    }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    close_worker(&other);
    hopmla_pool_destroy(pool);
    hopmla_context_destroy(context);
    printf("repeat: %d steps, %d of them unlike the first, beside %d steps on another stream\n", steps, unlike,
           atomic_load(&others));
    return unlike > 0 || atomic_load(&others) == 0;
}
