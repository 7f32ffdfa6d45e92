/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * What a step costs the host: hopmla_decode beyond the launches that it makes, and hopmla_plan_update, with 256 sequences.
 *
 *   host_cost [--backend cpu|cuda] [--check]
 *
 * On CUDA the driver's functions are wrapped, so that the time inside each is known apart. With HOPMLA_LIBCUDA naming
 * the driver without a device what is left is the library's own. --check fails when the best of many repeats is beyond
 * what is promised; other work on the machine makes single ones slow, not all. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hopmla/hopmla.h"
#if HOPMLA_HAVE_CUDA
#include "kernels/sm90/driver.h"
#endif

enum {
    SEQUENCES = 256,
    HEADS = 16,
    PROMPT = 200, /* and up to 63 more, so that in each step a few sequences need a page */
    STEPS = 64,
    ROUNDS = 30,
    PAGES = SEQUENCES * 6,
    DECODES = 16, /* between two looks at the clock */
    SAMPLES = STEPS * ROUNDS
};

static const double most_decode_ns = 1500, most_update_ns = 30000;

#define MUST(call, ...)                                                                                                \
    do {                                                                                                               \
        hopmla_status status_ = call(__VA_ARGS__, &error);                                                             \
        if (status_ != HOPMLA_OK) {                                                                                    \
            fprintf(stderr, #call ": %s: %s\n", hopmla_status_name(status_), error.message);                           \
            exit(status_ == HOPMLA_ERROR_NO_DRIVER || status_ == HOPMLA_ERROR_NO_DEVICE ? 77 : 1);                     \
        }                                                                                                              \
    } while (0)

static hopmla_error error = HOPMLA_ERROR_INIT;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* --- the driver's part -------------------------------------------------------------------------------------------- */

static double clock_ns; /* of one look at the clock */

#if HOPMLA_HAVE_CUDA

/** What a step calls of the driver: X(name, parameters, arguments). */
#define DRIVER_CALLS(X)                                                                                                \
    X(cuLaunchKernelEx, (const hm_cu_launch_config *c, hm_cu_function f, void **p, void **e), (c, f, p, e))            \
    X(cuCtxPushCurrent, (hm_cu_context c), (c))                                                                        \
    X(cuCtxPopCurrent, (hm_cu_context * c), (c))                                                                       \
    X(cuStreamGetCtx, (struct CUstream_st * s, hm_cu_context * c), (s, c))                                             \
    X(cuStreamIsCapturing, (struct CUstream_st * s, int *c), (s, c))                                                   \
    X(cuStreamWriteValue64, (struct CUstream_st * s, hm_cu_address a, uint64_t v, unsigned f), (s, a, v, f))           \
    X(cuStreamWaitValue64, (struct CUstream_st * s, hm_cu_address a, uint64_t v, unsigned f), (s, a, v, f))            \
    X(cuMemcpyAsync, (hm_cu_address d, hm_cu_address s, size_t n, struct CUstream_st * t), (d, s, n, t))

enum {
#define NUMBER(name, parameters, arguments) CALL_##name,
    DRIVER_CALLS(NUMBER)
#undef NUMBER
    CALLS
};

static struct {
    const char *name;
    uint64_t count;
    double ns;
} calls[CALLS] = {
#define NAME(name, parameters, arguments) { #name, 0, 0.0 },
    DRIVER_CALLS(NAME)
#undef NAME
};

static hm_driver driver; /* as it was */

#define WRAPPER(name, parameters, arguments)                                                                           \
    static hm_cu_result timed_##name parameters                                                                        \
    {                                                                                                                  \
        double start = now_ns();                                                                                       \
        hm_cu_result result = driver.name arguments;                                                                   \
        calls[CALL_##name].ns += now_ns() - start;                                                                     \
        calls[CALL_##name].count++;                                                                                    \
        return result;                                                                                                 \
    }
DRIVER_CALLS(WRAPPER)
#undef WRAPPER

static void wrap_driver(void)
{
    driver = hm_cu;
#define WRAP(name, parameters, arguments) hm_cu.name = timed_##name;
    DRIVER_CALLS(WRAP)
#undef WRAP
}

static void unwrap_driver(void)
{
    hm_cu = driver;
}

#else
enum {
    CALLS = 1
};
static struct {
    const char *name;
    uint64_t count;
    double ns;
} calls[CALLS];

static void wrap_driver(void) {}

static void unwrap_driver(void) {}
#endif

enum {
    LAUNCH = 0 /* the first of them */
};

typedef struct spent {
    uint64_t count[CALLS];
    double ns[CALLS];
} spent;

static void start_driver(void)
{
    for (int i = 0; i < CALLS; i++) {
        calls[i].count = 0;
        calls[i].ns = 0;
    }
}

/** Nanoseconds inside the driver since start_driver, one look at the clock a call taken off; *looks is how much of the
 * time outside is the clock's. */
static double driver_ns(double *looks)
{
    double sum = 0;
    *looks = 0;
    for (int i = 0; i < CALLS; i++) {
        sum += calls[i].ns - (double)calls[i].count * clock_ns;
        *looks += (double)calls[i].count * clock_ns;
    }
    return sum;
}

/* --- the step ----------------------------------------------------------------------------------------------------- */

typedef struct engine {
    hopmla_context *context;
    hopmla_stream stream;
    hopmla_pool *pool;
    hopmla_plan *plan;
    void *tensors;
    hopmla_seq seqs[SEQUENCES];
    uint32_t ones[SEQUENCES];
    uint64_t lengths[SEQUENCES];
} engine;

#define TENSOR_BYTES (SEQUENCES * HEADS * (576 + 512) * 2ull) /* q, then out */

static void start(engine *e, int32_t backend)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    uint32_t tokens[SEQUENCES];
    options.backend = backend;
    MUST(hopmla_context_create, &options, &e->context);
    MUST(hopmla_stream_create, e->context, &e->stream);
    MUST(hopmla_memory_alloc, e->context, TENSOR_BYTES, HOPMLA_MEMORY_WORKSPACE, &e->tensors);
    pool.format = HOPMLA_KV_BF16;
    pool.layers = 1;
    pool.pages = PAGES;
    MUST(hopmla_pool_create, e->context, &pool, &e->pool);
    plan.max_batch = SEQUENCES;
    plan.heads = HEADS;
    plan.max_kv_tokens = 131072;
    plan.staging_depth = 4;
    MUST(hopmla_plan_create, e->pool, &plan, &e->plan);
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        e->ones[i] = 1;
        tokens[i] = PROMPT + i % STEPS;
        e->lengths[i] = tokens[i];
    }
    MUST(hopmla_seq_create, e->pool, e->seqs, SEQUENCES);
    MUST(hopmla_seq_reserve, e->pool, e->seqs, tokens, SEQUENCES);
    MUST(hopmla_seq_commit, e->pool, e->seqs, tokens, SEQUENCES);
}

static void stop(engine *e)
{
    hopmla_plan_destroy(e->plan);
    hopmla_pool_destroy(e->pool);
    hopmla_memory_free(e->context, e->tensors, TENSOR_BYTES, HOPMLA_MEMORY_WORKSPACE);
    hopmla_stream_destroy(e->context, e->stream);
    hopmla_context_destroy(e->context);
}

static void decode(engine *e)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = SEQUENCES;
    args.softmax_scale = 0.1f;
    char *out = (char *)e->tensors + SEQUENCES * HEADS * 576 * 2;
    for (int i = 0; i < DECODES; i++) {
        MUST(hopmla_decode, e->plan, &args, e->tensors, NULL, out, NULL, e->stream);
    }
}

typedef struct samples {
    double total[SAMPLES];  /* nanoseconds of a call */
    double own[SAMPLES];    /* of these, outside the driver */
    double beyond[SAMPLES]; /* outside the launches */
    spent driver;
    uint32_t count;
} samples;

static void take(samples *s, double elapsed, double per)
{
    double looks, inside = driver_ns(&looks), launches = calls[LAUNCH].ns - (double)calls[LAUNCH].count * clock_ns;
    for (int i = 0; i < CALLS; i++) {
        s->driver.count[i] += calls[i].count;
        s->driver.ns[i] += calls[i].ns - (double)calls[i].count * clock_ns;
    }
    elapsed -= clock_ns + 2 * looks; /* both looks of a wrapper lie within */
    s->total[s->count] = elapsed / per;
    s->own[s->count] = (elapsed - inside) / per;
    s->beyond[s->count++] = (elapsed - launches) / per;
}

static void step(engine *e, int decodes, samples *update, samples *decoded)
{
    MUST(hopmla_seq_reserve, e->pool, e->seqs, e->ones, SEQUENCES);
    start_driver();
    double begin = now_ns();
    MUST(hopmla_plan_update, e->plan, e->seqs, e->ones, e->ones, SEQUENCES, e->stream);
    take(update, now_ns() - begin, 1);
    if (decodes) {
        start_driver();
        begin = now_ns();
        decode(e);
        take(decoded, now_ns() - begin, DECODES);
    }
    MUST(hopmla_plan_end, e->plan, e->stream);
    MUST(hopmla_seq_commit, e->pool, e->seqs, e->ones, SEQUENCES);
    MUST(hopmla_stream_synchronize, e->context, e->stream); /* else a full queue would be measured */
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/** Sorts, and prints best and median. @return the best */
static double print(const char *what, double *ns, uint32_t count)
{
    qsort(ns, count, sizeof(*ns), ascending);
    printf("  %-34s %9.0f ns best, %9.0f median\n", what, ns[0], ns[count / 2]);
    return ns[0];
}

static void print_driver(const samples *s, double per)
{
    for (int i = 0; i < CALLS; i++) {
        if (s->driver.count[i] > 0) {
            double n = (double)s->count * per;
            printf("    %-32s %9.1f times, %6.0f ns together\n", calls[i].name, (double)s->driver.count[i] / n,
                   s->driver.ns[i] / n);
        }
    }
}

static int report(samples *update, samples *decoded, int cuda, int check)
{
    double least = 0, most = print("plan_update of 256 sequences", update->total, update->count);
    if (cuda) {
        print("  of this outside the driver", update->own, update->count);
        print_driver(update, 1);
        print("decode", decoded->total, decoded->count);
        least = print("  of this beyond its launches", decoded->beyond, decoded->count);
        print("  of this outside the driver", decoded->own, decoded->count);
        print_driver(decoded, DECODES);
    }
    int over = most > most_update_ns || least > most_decode_ns;
    if (over) {
        printf("more than %.0f ns for a plan update, or than %.0f ns for a decode\n", most_update_ns, most_decode_ns);
    }
    return check && over;
}

static void measure_clock(void)
{
    clock_ns = 1e9;
    for (int i = 0; i < 100; i++) {
        double begin = now_ns(), end = 0;
        for (int j = 0; j < 100; j++) {
            end = now_ns();
        }
        clock_ns = (end - begin) / 100 < clock_ns ? (end - begin) / 100 : clock_ns;
    }
}

int main(int argc, char **argv)
{
    int32_t backend = HOPMLA_BACKEND_CPU;
    int check = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--check") == 0) {
            check = 1;
        } else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc) {
            backend = strcmp(argv[++i], "cuda") == 0 ? HOPMLA_BACKEND_CUDA : HOPMLA_BACKEND_CPU;
        } else {
            fprintf(stderr, "usage: host_cost [--backend cpu|cuda] [--check]\n");
            return 2;
        }
    }
    static engine e;
    static samples update, decoded;
    const int cuda = backend == HOPMLA_BACKEND_CUDA;
    measure_clock();
    start(&e, backend);
    if (cuda) {
        wrap_driver();
    }
    for (int round = -1; round < ROUNDS; round++) {
        if (round == 0) {
            memset(&update, 0, sizeof(update)); /* the round before was to warm up */
            memset(&decoded, 0, sizeof(decoded));
        }
        for (int i = 0; i < STEPS; i++) {
            step(&e, cuda, &update, &decoded);
        }
        MUST(hopmla_seq_truncate, e.pool, e.seqs, e.lengths, SEQUENCES);
    }
    if (cuda) {
        unwrap_driver();
    }
    stop(&e);
    return report(&update, &decoded, cuda, check);
}
