/* SPDX-License-Identifier: Apache-2.0 */
/* One graph, captured before any sequence exists, replayed over a changing world: membership, lengths, count, forks,
 * truncations, and releases on another thread while the step runs. Every row of every step is compared with a float64
 * reference, two steps late, so that the device always has work queued.
 *
 *     graph_replay [--backend cpu|cuda] [--steps N] [--seed S] [--heads H] [--format bf16|bf16-nope] [--envelope N]
 *
 * Exit status 0: all rows right; 77: the backend is not here; 1: something is wrong. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hopmla/hopmla.h"

enum {
    LAYERS = 2,
    BATCH = 8,
    Q_TOKENS = 2,
    ROWS = BATCH * Q_TOKENS,
    MAX_KV = 640,
    PAGES = 48,
    SEQS = 14,
    CHUNK = 96, /* most tokens a row appends in a step */
    SOURCE = BATCH * CHUNK,
    LAG = 3,
    QK = HOPMLA_QK_DIM,
    LATENT = HOPMLA_LATENT_DIM
};
static const float SCALE = 0.0721688f;
static uint32_t heads = 5;         /* of this run: it decides which kernels do the work … */
static uint64_t envelope = MAX_KV; /* … like the tokens that the plan declares */
static int rope = 1;               /* rows have a rope part; else what stands there here is for nobody */

/* A live sequence and what its cache must hold. */
struct mirror {
    hopmla_seq id; /* 0: none */
    uint32_t length;
    uint16_t (*rows)[MAX_KV][QK]; /* [LAYERS] */
};

/* What one step must produce, kept until it is checked. */
struct expectation {
    int pending;
    uint32_t rows;
    uint32_t visible[ROWS];
    uint16_t (*kv[ROWS])[MAX_KV][QK]; /* snapshots, shared by the rows of one sequence */
    int owner[ROWS];
    hopmla_event done;
    uint16_t *q;      /* pinned, [LAYERS][ROWS][heads][QK] */
    uint16_t *out;    /* pinned, [LAYERS][ROWS][heads][LATENT] */
    float *lse;       /* pinned, [LAYERS][ROWS][heads] */
    uint16_t *source; /* pinned, [LAYERS][SOURCE][QK] */
};

static struct {
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_stream stream;
    hopmla_graph graph;
    uint16_t *q, *out, *source; /* device */
    float *lse;
    uint64_t random;
    struct mirror seqs[SEQS];
    struct expectation steps[LAG];
    double worst;
    long checked;
} w;

static hopmla_error error = HOPMLA_ERROR_INIT;

static void die(const char *what)
{
    fprintf(stderr, "graph_replay: %s: %s\n", what, error.message);
    exit(1);
}

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if ((call) != HOPMLA_OK) {                                                                                     \
            die(#call);                                                                                                \
        }                                                                                                              \
    } while (0)

static uint32_t below(uint32_t n)
{
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return (uint32_t)((w.random >> 20) % n);
}

static float from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* A bfloat16 of size 0.06 … 0.5, either sign. */
static uint16_t value(void)
{
    return (uint16_t)(0x3d80u + below(0x180) + (below(2) << 15));
}

/* ---- releases on another thread ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    hopmla_seq ids[SEQS];
    uint32_t n;
    int stop;
} bin = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void *releaser(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&bin.mutex);
    while (!bin.stop || bin.n) {
        if (!bin.n) {
            pthread_cond_wait(&bin.changed, &bin.mutex);
            continue;
        }
        hopmla_seq id = bin.ids[--bin.n];
        pthread_mutex_unlock(&bin.mutex);
        hopmla_error own = HOPMLA_ERROR_INIT;
        if (hopmla_seq_release(w.pool, &id, 1, &own) != HOPMLA_OK) {
            fprintf(stderr, "graph_replay: release: %s\n", own.message);
            exit(1);
        }
        pthread_mutex_lock(&bin.mutex);
        pthread_cond_broadcast(&bin.changed);
    }
    pthread_mutex_unlock(&bin.mutex);
    return NULL;
}

static void release_elsewhere(struct mirror *m)
{
    pthread_mutex_lock(&bin.mutex);
    bin.ids[bin.n++] = m->id;
    pthread_cond_broadcast(&bin.changed);
    pthread_mutex_unlock(&bin.mutex);
    m->id = 0;
}

static void wait_for_releases(void)
{
    pthread_mutex_lock(&bin.mutex);
    while (bin.n) {
        pthread_cond_wait(&bin.changed, &bin.mutex);
    }
    pthread_mutex_unlock(&bin.mutex);
}

/* ---- reference ---- */

static void check_row(const struct expectation *e, uint32_t layer, uint32_t row, uint32_t head)
{
    const uint16_t *q = e->q + ((layer * ROWS + row) * heads + head) * (uint64_t)QK;
    const uint16_t *out = e->out + ((layer * ROWS + row) * heads + head) * (uint64_t)LATENT;
    const float lse = e->lse[(layer * ROWS + row) * heads + head];
    const uint32_t n = row < e->rows ? e->visible[row] : 0;
    static double score[MAX_KV], sum[LATENT], sizes[LATENT];
    double top = -INFINITY, total = 0;
    for (uint32_t t = 0; t < n; t++) {
        double s = 0;
        for (int d = 0; d < (rope ? QK : LATENT); d++) {
            s += (double)from_bf16(q[d]) * from_bf16(e->kv[row][layer][t][d]);
        }
        score[t] = s * SCALE;
        top = fmax(top, score[t]);
    }
    memset(sum, 0, sizeof sum);
    memset(sizes, 0, sizeof sizes);
    for (uint32_t t = 0; t < n; t++) {
        const double p = exp(score[t] - top);
        total += p;
        for (int d = 0; d < LATENT; d++) {
            sum[d] += p * from_bf16(e->kv[row][layer][t][d]);
            sizes[d] += p * fabs(from_bf16(e->kv[row][layer][t][d]));
        }
    }
    const double want_lse = n ? top + log(total) : -INFINITY;
    int bad = n ? !(fabs(lse - want_lse) <= fmax(1e-6, 8.01 / 65536 * fabs(want_lse))) : lse != -INFINITY;
    for (int d = 0; d < LATENT; d++) {
        const double want = n ? sum[d] / total : 0, have = from_bf16(out[d]), miss = fabs(have - want);
        w.worst = fmax(w.worst, miss);
        /* The tolerance of `hopmla check`: two roundings to bfloat16 of what the values are a mean of, too. */
        const double allowed = n ? fmax(fmax(8e-4, 2.01 / 128 * fabs(want)), 2 * 0x1p-8 * sizes[d] / total) : 0;
        bad |= n ? !(miss <= allowed) : out[d] != 0;
    }
    if (bad) {
        fprintf(stderr, "graph_replay: layer %u row %u of %u head %u (%u tokens): lse %g, expected %g; worst %g\n",
                layer, row, e->rows, head, n, (double)lse, want_lse, w.worst);
        exit(1);
    }
    w.checked++;
}

static void finish(struct expectation *e)
{
    if (!e->pending) {
        return;
    }
    TRY(hopmla_event_synchronize(w.context, e->done, &error));
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (uint32_t row = 0; row < ROWS; row++) {
            for (uint32_t head = 0; head < heads; head++) {
                check_row(e, layer, row, head);
            }
        }
    }
    for (uint32_t row = 0; row < e->rows; row++) {
        if (e->owner[row]) {
            free(e->kv[row]);
        }
    }
    e->pending = 0;
}

/* ---- the world between steps ---- */

static void disturb(void)
{
    struct mirror *m = &w.seqs[below(SEQS)], *other = &w.seqs[below(SEQS)];
    switch (below(4)) {
    case 0:
        if (m->id) {
            release_elsewhere(m);
        }
        break;
    case 1:
        if (m->id) {
            const uint64_t length = below(m->length + 1);
            TRY(hopmla_seq_truncate(w.pool, &m->id, &length, 1, &error));
            m->length = (uint32_t)length;
        }
        break;
    case 2:
        if (m->id && !other->id) {
            const uint32_t length = below(m->length + 1);
            TRY(hopmla_seq_fork(w.pool, m->id, length, &other->id, &error));
            other->length = length;
            memcpy(other->rows, m->rows, sizeof(uint16_t[LAYERS][MAX_KV][QK]));
        }
        break;
    default:
        break;
    }
    for (int i = 0; i < SEQS; i++) {
        if (!w.seqs[i].id && below(4) == 0) {
            TRY(hopmla_seq_create(w.pool, &w.seqs[i].id, 1, &error));
            w.seqs[i].length = 0;
        }
    }
}

static void step(struct expectation *e)
{
    hopmla_seq ids[BATCH];
    uint32_t n_append[BATCH], q_lens[BATCH], count = 0, appended = 0;
    struct mirror *members[BATCH];
    const uint32_t want = below(BATCH + 1), from = below(SEQS);

    for (uint32_t i = 0; i < SEQS && count < want; i++) {
        struct mirror *m = &w.seqs[(from + i) % SEQS];
        if (m->id) {
            uint32_t room = MAX_KV - m->length, n = below(3) ? below(3) : below(CHUNK + 1);
            members[count] = m;
            ids[count] = m->id;
            n_append[count] = n < room ? n : room;
            q_lens[count] = below(Q_TOKENS + 1);
            count++;
        }
    }
    hopmla_status status;
    while ((status = hopmla_seq_reserve(w.pool, ids, n_append, count, &error)) == HOPMLA_ERROR_OUT_OF_PAGES) {
        wait_for_releases();
        if (hopmla_seq_reserve(w.pool, ids, n_append, count, &error) == HOPMLA_OK) {
            status = HOPMLA_OK;
            break;
        }
        release_elsewhere(members[--count]); /* preempt the last */
        wait_for_releases();
    }
    if (status != HOPMLA_OK) {
        die("reserve");
    }
    while ((status = hopmla_plan_update(w.plan, ids, n_append, q_lens, count, w.stream, &error)) == HOPMLA_ERROR_BUSY) {
    }
    if (status != HOPMLA_OK) {
        die("plan_update");
    }

    e->rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct mirror *m = members[i];
        for (uint32_t t = 0; t < n_append[i]; t++, appended++) {
            for (int layer = 0; layer < LAYERS; layer++) {
                uint16_t *row = m->rows[layer][m->length + t];
                for (int d = 0; d < QK; d++) {
                    row[d] = value();
                }
                memcpy(e->source + ((uint64_t)layer * SOURCE + appended) * QK, row, sizeof(uint16_t[QK]));
            }
        }
        m->length += n_append[i];
        uint16_t(*snapshot)[MAX_KV][QK] = NULL;
        for (uint32_t j = 0; j < q_lens[i]; j++, e->rows++) {
            const uint32_t hidden = q_lens[i] - 1 - j;
            if (!snapshot) {
                snapshot = malloc(sizeof(uint16_t[LAYERS][MAX_KV][QK]));
                memcpy(snapshot, m->rows, sizeof(uint16_t[LAYERS][MAX_KV][QK]));
            }
            e->kv[e->rows] = snapshot;
            e->owner[e->rows] = j == 0;
            e->visible[e->rows] = m->length > hidden ? m->length - hidden : 0;
        }
    }
    for (uint64_t i = 0; i < (uint64_t)LAYERS * ROWS * heads * QK; i++) {
        e->q[i] = value();
    }
    TRY(hopmla_memory_copy(w.context, w.source, e->source, (uint64_t)LAYERS * SOURCE * QK * 2, w.stream, &error));
    TRY(hopmla_memory_copy(w.context, w.q, e->q, (uint64_t)LAYERS * ROWS * heads * QK * 2, w.stream, &error));
    TRY(hopmla_memory_fill(w.context, w.out, 0xff, (uint64_t)LAYERS * ROWS * heads * LATENT * 2, w.stream, &error));
    TRY(hopmla_memory_fill(w.context, w.lse, 0xff, (uint64_t)LAYERS * ROWS * heads * 4, w.stream, &error));
    TRY(hopmla_graph_launch(w.context, w.graph, w.stream, &error));
    TRY(hopmla_memory_copy(w.context, e->out, w.out, (uint64_t)LAYERS * ROWS * heads * LATENT * 2, w.stream, &error));
    TRY(hopmla_memory_copy(w.context, e->lse, w.lse, (uint64_t)LAYERS * ROWS * heads * 4, w.stream, &error));
    TRY(hopmla_event_record(w.context, e->done, w.stream, &error));
    if (count && below(3) == 0) { /* gone while its step still runs, before its end and its commit */
        release_elsewhere(members[--count]);
    }
    TRY(hopmla_plan_end(w.plan, w.stream, &error));
    TRY(hopmla_seq_commit(w.pool, ids, n_append, count, &error));
    e->pending = 1;
}

/* ---- set-up ---- */

static void *allocate(uint64_t bytes, int32_t kind)
{
    void *memory;
    TRY(hopmla_memory_alloc(w.context, bytes, kind, &memory, &error));
    return memory;
}

static void capture(void)
{
    hopmla_append_args append = HOPMLA_APPEND_ARGS_INIT;
    hopmla_decode_args decode = HOPMLA_DECODE_ARGS_INIT;
    append.tokens = SOURCE;
    append.latent_stride = QK;
    append.rope_stride = rope ? QK : 0;
    decode.rows = ROWS;
    decode.softmax_scale = SCALE;
    decode.q_token_stride = heads * QK;
    decode.q_head_stride = QK;
    TRY(hopmla_graph_begin(w.context, w.stream, &error));
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        const uint16_t *source = w.source + (uint64_t)layer * SOURCE * QK;
        append.layer = decode.layer = layer;
        TRY(hopmla_append(w.plan, &append, source, rope ? source + LATENT : NULL, w.stream, &error));
        TRY(hopmla_decode(w.plan, &decode, w.q + (uint64_t)layer * ROWS * heads * QK, NULL,
                          w.out + (uint64_t)layer * ROWS * heads * LATENT, w.lse + (uint64_t)layer * ROWS * heads,
                          w.stream, &error));
    }
    TRY(hopmla_graph_end(w.context, w.stream, &w.graph, &error));
}

static void set_up(int32_t backend)
{
    hopmla_context_options co = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options po = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plo = HOPMLA_PLAN_OPTIONS_INIT;
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    co.backend = backend;
    hopmla_status status = hopmla_context_create(&co, &w.context, &error);
    if (status <= -500 && status > -600) {
        fprintf(stderr, "graph_replay: skipped: %s\n", error.message);
        exit(77);
    }
    if (status != HOPMLA_OK) {
        die("context");
    }
    po.format = rope ? HOPMLA_KV_BF16 : HOPMLA_KV_BF16_NOPE;
    po.layers = LAYERS;
    po.pages = PAGES;
    TRY(hopmla_pool_create(w.context, &po, &w.pool, &error));
    TRY(hopmla_pool_describe(w.pool, &layout, &error));
    plo.max_batch = BATCH;
    plo.max_q_tokens = Q_TOKENS;
    plo.heads = heads;
    plo.max_kv_tokens = envelope;
    TRY(hopmla_plan_create(w.pool, &plo, &w.plan, &error));
    TRY(hopmla_stream_create(w.context, &w.stream, &error));
    TRY(hopmla_memory_fill(w.context, layout.base, 0xff, layout.bytes, w.stream, &error)); /* NaN everywhere */

    w.source = allocate((uint64_t)LAYERS * SOURCE * QK * 2, HOPMLA_MEMORY_WORKSPACE);
    w.q = allocate((uint64_t)LAYERS * ROWS * heads * QK * 2, HOPMLA_MEMORY_WORKSPACE);
    w.out = allocate((uint64_t)LAYERS * ROWS * heads * LATENT * 2, HOPMLA_MEMORY_WORKSPACE);
    w.lse = allocate((uint64_t)LAYERS * ROWS * heads * 4, HOPMLA_MEMORY_WORKSPACE);
    for (int i = 0; i < LAG; i++) {
        struct expectation *e = &w.steps[i];
        e->source = allocate((uint64_t)LAYERS * SOURCE * QK * 2, HOPMLA_MEMORY_PINNED);
        e->q = allocate((uint64_t)LAYERS * ROWS * heads * QK * 2, HOPMLA_MEMORY_PINNED);
        e->out = allocate((uint64_t)LAYERS * ROWS * heads * LATENT * 2, HOPMLA_MEMORY_PINNED);
        e->lse = allocate((uint64_t)LAYERS * ROWS * heads * 4, HOPMLA_MEMORY_PINNED);
        TRY(hopmla_event_create(w.context, &e->done, &error));
    }
    for (int i = 0; i < SEQS; i++) {
        w.seqs[i].rows = calloc(LAYERS, sizeof *w.seqs[i].rows);
    }
    capture();
}

static void tear_down(void)
{
    hopmla_pool_stats stats = HOPMLA_POOL_STATS_INIT;
    for (int i = 0; i < SEQS; i++) {
        if (w.seqs[i].id) {
            TRY(hopmla_seq_release(w.pool, &w.seqs[i].id, 1, &error));
        }
        free(w.seqs[i].rows);
    }
    TRY(hopmla_stream_synchronize(w.context, w.stream, &error));
    TRY(hopmla_pool_get_stats(w.pool, &stats, &error));
    if (stats.pages_free != PAGES || stats.pages_pinned || stats.sequences || stats.tokens_committed) {
        fprintf(stderr, "graph_replay: %llu pages free of %d, %llu pinned, %u sequences left\n",
                (unsigned long long)stats.pages_free, PAGES, (unsigned long long)stats.pages_pinned, stats.sequences);
        exit(1);
    }
    for (int i = 0; i < LAG; i++) {
        struct expectation *e = &w.steps[i];
        hopmla_memory_free(w.context, e->source, (uint64_t)LAYERS * SOURCE * QK * 2, HOPMLA_MEMORY_PINNED);
        hopmla_memory_free(w.context, e->q, (uint64_t)LAYERS * ROWS * heads * QK * 2, HOPMLA_MEMORY_PINNED);
        hopmla_memory_free(w.context, e->out, (uint64_t)LAYERS * ROWS * heads * LATENT * 2, HOPMLA_MEMORY_PINNED);
        hopmla_memory_free(w.context, e->lse, (uint64_t)LAYERS * ROWS * heads * 4, HOPMLA_MEMORY_PINNED);
        hopmla_event_destroy(w.context, e->done);
    }
    hopmla_memory_free(w.context, w.source, (uint64_t)LAYERS * SOURCE * QK * 2, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(w.context, w.q, (uint64_t)LAYERS * ROWS * heads * QK * 2, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(w.context, w.out, (uint64_t)LAYERS * ROWS * heads * LATENT * 2, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(w.context, w.lse, (uint64_t)LAYERS * ROWS * heads * 4, HOPMLA_MEMORY_WORKSPACE);
    hopmla_graph_destroy(w.context, w.graph);
    hopmla_plan_destroy(w.plan);
    hopmla_stream_destroy(w.context, w.stream);
    hopmla_pool_destroy(w.pool);
    hopmla_context_destroy(w.context);
}

int main(int argc, char **argv)
{
    int32_t backend = HOPMLA_BACKEND_CPU;
    long steps = 150;
    w.random = 0x9E3779B97F4A7C15u;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--backend")) {
            backend = !strcmp(argv[i + 1], "cuda") ? HOPMLA_BACKEND_CUDA : HOPMLA_BACKEND_CPU;
        } else if (!strcmp(argv[i], "--steps")) {
            steps = strtol(argv[i + 1], NULL, 10);
        } else if (!strcmp(argv[i], "--heads")) {
            heads = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        } else if (!strcmp(argv[i], "--envelope")) {
            envelope = strtoull(argv[i + 1], NULL, 10);
        } else if (!strcmp(argv[i], "--format")) {
            rope = strcmp(argv[i + 1], "bf16-nope") != 0;
        } else if (!strcmp(argv[i], "--seed")) {
            w.random ^= strtoull(argv[i + 1], NULL, 10) * 0xD1342543DE82EF95u;
        }
    }
    set_up(backend);
    pthread_t thread;
    pthread_create(&thread, NULL, releaser, NULL);
    for (long i = 0; i < steps + LAG; i++) {
        struct expectation *e = &w.steps[i % LAG];
        finish(e);
        if (i < steps) {
            disturb();
            step(e);
        }
    }
    pthread_mutex_lock(&bin.mutex);
    bin.stop = 1;
    pthread_cond_broadcast(&bin.changed);
    pthread_mutex_unlock(&bin.mutex);
    pthread_join(thread, NULL);
    tear_down();
    printf("graph_replay: %ld replays of one graph, %ld rows right, worst output error %.3g\n", steps, w.checked,
           w.worst);
    return 0;
}
