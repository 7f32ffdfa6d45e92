/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation and every thread start of the library fails in turn, the backend's own included, while a program
 * uses what can allocate. A call that fails is made again and must work then, and the results must be those of a run in
 * which nothing failed. The linker sends malloc and its kin here: --wrap in meson.build. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"

/* The interposer. */

static struct {
    int on;
    int at;            /* the call that fails, from 0; −1: none */
    int calls;         /* so far */
    int failed;        /* 1 once it has */
    atomic_int blocks; /* live */
    atomic_int threads;
} faults;

static int is_to_fail(void)
{
    const int fails = faults.on && faults.calls++ == faults.at;
    faults.failed += fails;
    return fails;
}

static void *counted(void *memory)
{
    faults.blocks += memory != NULL;
    return memory;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void __real_free(void *memory);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __real_pthread_join(pthread_t thread, void **result);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void __wrap_free(void *memory);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **result);

void *__wrap_malloc(size_t size)
{
    return is_to_fail() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_to_fail() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (is_to_fail()) {
        return NULL;
    }
    void *grown = __real_realloc(memory, size);
    return memory ? grown : counted(grown);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return is_to_fail() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    const int code = is_to_fail() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
    faults.blocks += code == 0;
    return code;
}

void __wrap_free(void *memory)
{
    faults.blocks -= memory != NULL;
    __real_free(memory);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    const int code = is_to_fail() ? EAGAIN : __real_pthread_create(thread, attributes, start, argument);
    faults.threads += code == 0;
    return code;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    faults.threads--;
    return __real_pthread_join(thread, result);
}

/* The program. */

enum {
    LAYERS = 2,
    HEADS = 3,
    BATCH = 2,
    THREADS = 3,
    PROMPT = 1100, /* 18 pages: more than a sequence's list holds at first */
    MANY = 70,     /* sequences: more than their table holds at first */
    TENSOR_BYTES = 1 << 21,
    OUT_VALUES = BATCH * HEADS * HOPMLA_LATENT_DIM
};

typedef struct program {
    hopmla_error error;
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_profiler *profiler; /* which watches all of it */
    hopmla_stream stream;
    hopmla_event events[2];
    hopmla_graph graph;
    hopmla_graph nested; /* a capture of launches of the first */
    char *tensors;
    char *pinned;
    void *workspace;
    uint64_t workspace_bytes;
    hopmla_seq seqs[MANY];
    hopmla_seq children[BATCH];
    const char *failed; /* the call that did */
} program;

typedef struct results {
    hopmla_pool_stats stats;
    uint16_t out[2][OUT_VALUES];
} results;

static void check_failure(program *p, const char *call, hopmla_status status, int before)
{
    const int memory = status == HOPMLA_ERROR_OUT_OF_HOST_MEMORY || status == HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY;
    if (!memory || faults.failed == before || p->error.status != status || !p->error.message[0]) {
        fail_msg("failure %d: %s: %s (%s)", faults.at, call, hopmla_status_name(status), p->error.message);
    }
    p->failed = call;
    hopmla_error_init(&p->error, sizeof(p->error));
}

/* Makes the call, and makes it again where an allocation failed. */
#define CALL(call)                                                                                                     \
    do {                                                                                                               \
        const int before_ = faults.failed;                                                                             \
        hopmla_status status_ = (call);                                                                                \
        if (status_) {                                                                                                 \
            check_failure(p, #call, status_, before_);                                                                 \
            status_ = (call);                                                                                          \
        }                                                                                                              \
        if (status_) {                                                                                                 \
            fail_msg("failure %d: %s again: %s (%s)", faults.at, #call, hopmla_status_name(status_),                   \
                     p->error.message);                                                                                \
        }                                                                                                              \
    } while (0)

/* In a capture: a failure breaks it, and all of it is made again. */
#define CAPTURED(call)                                                                                                 \
    do {                                                                                                               \
        const int before_ = faults.failed;                                                                             \
        const hopmla_status status_ = (call);                                                                          \
        if (status_) {                                                                                                 \
            check_failure(p, #call, status_, before_);                                                                 \
            return 0;                                                                                                  \
        }                                                                                                              \
    } while (0)

static void start(program *p, int32_t backend)
{
    hopmla_context_options context = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    hopmla_profiler_options profiler = HOPMLA_PROFILER_OPTIONS_INIT;

    context.backend = backend;
    context.cpu_threads = THREADS;
    CALL(hopmla_context_create(&context, &p->context, &p->error));
    profiler.clocks = HOPMLA_CLOCK_EVENTS;
    profiler.capacity = 64;
    CALL(hopmla_profiler_create(p->context, &profiler, &p->profiler, &p->error));
    CALL(hopmla_profiler_start(p->profiler, &p->error));
    CALL(hopmla_stream_create(p->context, &p->stream, &p->error));
    CALL(hopmla_event_create(p->context, &p->events[0], &p->error));
    CALL(hopmla_event_create(p->context, &p->events[1], &p->error));
    CALL(hopmla_memory_alloc(p->context, TENSOR_BYTES, HOPMLA_MEMORY_WORKSPACE, (void **)&p->tensors, &p->error));
    CALL(hopmla_memory_alloc(p->context, TENSOR_BYTES, HOPMLA_MEMORY_PINNED, (void **)&p->pinned, &p->error));
    memset(p->tensors, 0, TENSOR_BYTES);
    memset(p->pinned, 0, TENSOR_BYTES);
    CALL(hopmla_memory_fill(p->context, p->tensors, 0x3c, TENSOR_BYTES / 2, p->stream, &p->error));
    for (uint32_t i = 0; i < TENSOR_BYTES / 2; i += 2) {
        p->tensors[i] = (char)(i * 2654435761u >> 24); /* numbers of bfloat16 that are small and differ */
    }

    pool.format = HOPMLA_KV_BF16;
    pool.layers = LAYERS;
    pool.pages = 32;
    pool.max_sequences = MANY + BATCH;
    CALL(hopmla_pool_create(p->context, &pool, &p->pool, &p->error));
    plan.max_batch = BATCH;
    plan.heads = HEADS;
    plan.max_kv_tokens = PROMPT + 64;
    CALL(hopmla_plan_create(p->pool, &plan, &p->plan, &p->error));
}

static void stop(program *p)
{
    hopmla_graph_destroy(p->context, p->nested);
    hopmla_graph_destroy(p->context, p->graph);
    hopmla_event_destroy(p->context, p->events[0]);
    hopmla_event_destroy(p->context, p->events[1]);
    hopmla_stream_destroy(p->context, p->stream);
    hopmla_memory_free(p->context, p->workspace, p->workspace_bytes, HOPMLA_MEMORY_WORKSPACE);
    hopmla_memory_free(p->context, p->pinned, TENSOR_BYTES, HOPMLA_MEMORY_PINNED);
    hopmla_memory_free(p->context, p->tensors, TENSOR_BYTES, HOPMLA_MEMORY_WORKSPACE);
    hopmla_plan_destroy(p->plan);
    hopmla_profiler_destroy(p->profiler);
    hopmla_pool_destroy(p->pool);
    hopmla_context_destroy(p->context);
}

static char *out_of(const program *p)
{
    return p->tensors + TENSOR_BYTES / 2;
}

static hopmla_status append(program *p, uint32_t layer)
{
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    args.layer = layer;
    args.tokens = PROMPT;
    args.latent_stride = 256; /* rows overlap: the sources are small */
    return hopmla_append(p->plan, &args, p->tensors, p->tensors, p->stream, &p->error);
}

static hopmla_status decode(program *p, uint32_t layer)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.layer = layer;
    args.rows = BATCH;
    args.softmax_scale = 0.1f;
    return hopmla_decode(p->plan, &args, p->tensors, NULL, out_of(p), NULL, p->stream, &p->error);
}

/* 20 operations: more than a capture holds at first. */
static int record_layers(program *p)
{
    for (uint32_t i = 0; i < 10; i++) {
        CAPTURED(append(p, i % LAYERS));
        CAPTURED(decode(p, i % LAYERS));
    }
    return 1;
}

static int record_other_calls(program *p)
{
    hopmla_gather_args gather = HOPMLA_GATHER_ARGS_INIT;
    gather.count = 1;
    CAPTURED(hopmla_memory_fill(p->context, out_of(p), 0, 64, p->stream, &p->error));
    CAPTURED(hopmla_memory_copy(p->context, p->pinned, p->tensors, 64, p->stream, &p->error));
    CAPTURED(hopmla_gather(p->plan, &gather, out_of(p), p->stream, &p->error));
    CAPTURED(hopmla_stream_wait_event(p->context, p->stream, p->events[0], &p->error));
    CAPTURED(hopmla_graph_launch(p->context, p->graph, p->stream, &p->error));
    CAPTURED(hopmla_graph_launch(p->context, p->graph, p->stream, &p->error));
    return 1;
}

static void capture(program *p, int (*record)(program *), hopmla_graph *graph)
{
    CALL(hopmla_graph_begin(p->context, p->stream, &p->error));
    while (!record(p)) {
        assert_int_equal(hopmla_graph_end(p->context, p->stream, graph, &p->error), HOPMLA_ERROR_STATE);
        assert_null(*graph);
        CALL(hopmla_graph_begin(p->context, p->stream, &p->error));
    }
    CALL(hopmla_graph_end(p->context, p->stream, graph, &p->error));
}

static void step(program *p, const hopmla_seq *seqs, const uint32_t *n_new, const uint32_t *queries, uint32_t count,
                 hopmla_graph graph)
{
    CALL(hopmla_seq_reserve(p->pool, seqs, n_new, count, &p->error));
    CALL(hopmla_plan_update(p->plan, seqs, n_new, queries, count, p->stream, &p->error));
    CALL(hopmla_event_record(p->context, p->events[0], p->stream, &p->error));
    CALL(hopmla_graph_launch(p->context, graph, p->stream, &p->error));
    CALL(hopmla_event_record(p->context, p->events[1], p->stream, &p->error));
    CALL(hopmla_plan_end(p->plan, p->stream, &p->error));
    CALL(hopmla_seq_commit(p->pool, seqs, n_new, count, &p->error));
    CALL(hopmla_stream_synchronize(p->context, p->stream, &p->error));
}

/* A prompt, then two forks of it that go on with a token each. */
static void serve(program *p, results *r)
{
    const uint32_t prompt = PROMPT, ones[BATCH] = { 1, 1 };
    const uint64_t shorter = PROMPT - 100;
    int32_t pages[32];
    uint32_t n_pages;
    int32_t done;
    double microseconds;

    CALL(hopmla_seq_create(p->pool, p->seqs, 1, &p->error));
    CALL(hopmla_seq_create(p->pool, p->seqs + 1, MANY - 1, &p->error));
    step(p, p->seqs, &prompt, ones, 1, p->graph);
    for (int i = 0; i < BATCH; i++) {
        CALL(hopmla_seq_fork(p->pool, p->seqs[0], HOPMLA_ALL_TOKENS, &p->children[i], &p->error));
    }
    step(p, p->children, ones, ones, BATCH, p->nested);
    memcpy(r->out[0], out_of(p), sizeof(r->out[0]));
    CALL(hopmla_event_synchronize(p->context, p->events[1], &p->error));
    CALL(hopmla_event_elapsed(p->context, p->events[0], p->events[1], &microseconds, &p->error));
    CALL(hopmla_seq_pages(p->pool, p->seqs[0], pages, 32, &n_pages, &p->error));
    CALL(hopmla_seq_truncate(p->pool, p->children, &shorter, 1, &p->error));
    CALL(hopmla_plan_done(p->plan, &done, &p->error));
    assert_int_equal(done, 1);
    r->stats = (hopmla_pool_stats)HOPMLA_POOL_STATS_INIT;
    CALL(hopmla_pool_get_stats(p->pool, &r->stats, &p->error));
    CALL(hopmla_seq_release(p->pool, p->seqs, MANY, &p->error));
}

static void raw_decode(program *p, results *r)
{
    hopmla_paged_desc desc = HOPMLA_PAGED_DESC_INIT;
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    int32_t *lens = (int32_t *)(void *)p->pinned; /* both backends read it */
    int32_t *table = lens + BATCH;
    uint32_t word = 1;

    lens[0] = 64;
    lens[1] = 10;
    table[0] = 0;
    table[1] = 1;
    desc.format = HOPMLA_KV_BF16;
    desc.batch = BATCH;
    desc.max_kv_tokens = 64;
    desc.heads = HEADS;
    desc.pages = 2;
    desc.table_stride = 1;
    args.rows = BATCH;
    args.softmax_scale = 0.1f;
    CALL(hopmla_decode_paged_workspace(p->context, &desc, &p->workspace_bytes, &p->error));
    CALL(hopmla_memory_alloc(p->context, p->workspace_bytes, HOPMLA_MEMORY_WORKSPACE, &p->workspace, &p->error));
    memset(p->workspace, 0, p->workspace_bytes);
    CALL(hopmla_decode_paged_prepare(p->context, &desc, lens, NULL, p->workspace, p->workspace_bytes, p->stream,
                                     &p->error));
    CALL(hopmla_decode_paged(p->context, &desc, &args, p->tensors, NULL, table, p->tensors, NULL, out_of(p), NULL,
                             p->workspace, p->workspace_bytes, p->stream, &p->error));
    CALL(hopmla_decode_paged_errors(p->context, p->workspace, &word, p->stream, &p->error));
    assert_int_equal(word, 0);
    memcpy(r->out[1], out_of(p), sizeof(r->out[1]));
}

/* Returns whether the failure was met. */
static int run(int32_t backend, int at, results *r)
{
    program p = { .error = HOPMLA_ERROR_INIT };
    faults.at = at;
    faults.calls = 0;
    faults.failed = 0;
    faults.on = 1;
    start(&p, backend);
    capture(&p, record_layers, &p.graph);
    capture(&p, record_other_calls, &p.nested);
    serve(&p, r);
    raw_decode(&p, r);
    stop(&p);
    faults.on = 0;
    if (faults.blocks || faults.threads) {
        fail_msg("failure %d in %s: %d blocks and %d threads are left", at, p.failed ? p.failed : "no call",
                 (int)faults.blocks, (int)faults.threads);
    }
    if (faults.failed && !p.failed) {
        fail_msg("failure %d: no call reported it", at);
    }
    return faults.failed;
}

static void fail_each_allocation(int32_t backend)
{
    static results expected, got;
    assert_int_equal(run(backend, -1, &expected), 0);
    int at = 0;
    while (run(backend, at, &got)) {
        assert_memory_equal(&got, &expected, sizeof(got));
        at++;
    }
    assert_int_equal(at, faults.calls);
    print_message("%d allocations and thread starts failed in turn\n", at);
    assert_true(at >= 10);
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    fail_each_allocation(HOPMLA_BACKEND_CPU);
}

/* Over the driver without a device. */
static void test_every_allocation_fails_once_on_cuda(void **state)
{
    (void)state;
    fail_each_allocation(HOPMLA_BACKEND_CUDA);
}

static void test_ceilings(void **state)
{
    (void)state;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_context *context = NULL;
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 1;
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    faults.at = 0;
    faults.calls = 0;
    faults.on = 1;
    const int blocks = faults.blocks;
    assert_int_equal(hopmla_measure_ceilings(context, &ceilings, NULL), HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
    faults.on = 0;
    assert_int_equal(faults.blocks, blocks);
    hopmla_context_destroy(context);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest cpu[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_ceilings),
    };
    const struct CMUnitTest cuda[] = {
        cmocka_unit_test(test_every_allocation_fails_once_on_cuda),
    };
    const int on_cuda = argc == 2 && strcmp(argv[1], "cuda") == 0;
    return (on_cuda ? cmocka_run_group_tests(cuda, NULL, NULL) : cmocka_run_group_tests(cpu, NULL, NULL)) ? 1 : 0;
}
