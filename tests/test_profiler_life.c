/* SPDX-License-Identifier: Apache-2.0 */
/* Profilers among threads and processes: two threads recording while a third reads, starts and stops at any moment, a
 * fork, an end of the process in mid-session; and allocations that fail. On the CPU backend. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cpu_context.h"
#include "tests/failing_alloc.h"
#include "tests/observed.h"

static int quick(void)
{
    return getenv("HOPMLA_TEST_QUICK") != NULL;
}

/* Threads. */

typedef struct producer {
    hopmla_pool *pool;
    hopmla_seq seq;
    uint64_t steps;
    atomic_int *stop;
    pthread_t thread;
} producer;

static char *results(void)
{
    static _Thread_local _Alignas(64) char memory[1 << 14];
    return memory;
}

/* A step of one row: update, append of nothing, decode. Failures show as missing records: cmocka's asserts are not for
 * other threads. */
static void *produce(void *user)
{
    producer *p = user;
    observed o = { .pool = p->pool };
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = 1;
    options.heads = 1;
    options.max_kv_tokens = 64;
    if (hopmla_plan_create(p->pool, &options, &o.plan, NULL)) {
        return NULL;
    }
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = 1;
    args.softmax_scale = 0.1f;
    const uint32_t q_len = 1;
    for (uint64_t i = 0; i < p->steps && !*p->stop; i++) {
        if (hopmla_plan_update(o.plan, &p->seq, NULL, &q_len, 1, NULL, NULL) ||
            hopmla_decode(o.plan, &args, results(), NULL, results() + (1 << 13), NULL, NULL, NULL) ||
            hopmla_plan_end(o.plan, NULL, NULL)) {
            break;
        }
    }
    hopmla_plan_destroy(o.plan);
    return NULL;
}

typedef struct threads {
    hopmla_context *context;
    hopmla_pool *pool;
    atomic_int stop;
    producer producers[2];
} threads;

static void start_threads(threads *t, uint64_t steps)
{
    t->context = make_context();
    t->stop = 0;
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 1;
    options.pages = 4;
    assert_int_equal(hopmla_pool_create(t->context, &options, &t->pool, NULL), HOPMLA_OK);
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    assert_int_equal(hopmla_pool_describe(t->pool, &layout, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_memory_fill(t->context, layout.base, 0, layout.bytes, NULL, NULL), HOPMLA_OK);
    for (int i = 0; i < 2; i++) {
        producer *p = &t->producers[i];
        const uint32_t n = 3;
        *p = (producer){ .pool = t->pool, .steps = steps, .stop = &t->stop };
        assert_int_equal(hopmla_seq_create(t->pool, &p->seq, 1, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_seq_reserve(t->pool, &p->seq, &n, 1, NULL), HOPMLA_OK);
        assert_int_equal(hopmla_seq_commit(t->pool, &p->seq, &n, 1, NULL), HOPMLA_OK);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&t->producers[i].thread, NULL, produce, &t->producers[i]), 0);
    }
}

static void join_threads(threads *t)
{
    for (int i = 0; i < 2; i++) {
        pthread_join(t->producers[i].thread, NULL);
    }
}

static void destroy_threads(threads *t)
{
    hopmla_pool_destroy(t->pool);
    hopmla_context_destroy(t->context);
}

/* What a reader has seen. */
typedef struct tally {
    uint64_t records;
    uint64_t last_id;
    struct {
        uint64_t plan;
        uint64_t step;
        int32_t kind;
        uint64_t decodes;
    } of[2];
    int plans;
} tally;

static void check_record(tally *seen, const hopmla_record *record)
{
    assert_true(record->id > seen->last_id);
    seen->last_id = record->id;
    seen->records++;
    int i = 0;
    while (i < seen->plans && seen->of[i].plan != record->plan) {
        i++;
    }
    assert_true(i < 2);
    if (i == seen->plans) {
        seen->plans++;
        seen->of[i].plan = record->plan;
    }
    /* A plan's records come in the order of its calls. */
    assert_true(record->step > seen->of[i].step ||
                (record->step == seen->of[i].step && seen->of[i].kind == HOPMLA_CALL_UPDATE));
    assert_true(record->kind == HOPMLA_CALL_UPDATE || record->kind == HOPMLA_CALL_DECODE);
    /* Of a step that nobody observed from its update on, a decode knows its work unless the books were busy. */
    if (record->valid & HOPMLA_VALID_WORK) {
        assert_int_equal(record->flops, record->kind == HOPMLA_CALL_DECODE ? 3 * 2 * 1088 : 0);
        assert_int_equal(record->kv_tokens, record->kind == HOPMLA_CALL_DECODE ? 3 : 0);
    } else {
        assert_int_equal(record->kind, HOPMLA_CALL_DECODE);
    }
    assert_true(record->valid & HOPMLA_VALID_TIME);
    seen->of[i].step = record->step;
    seen->of[i].kind = record->kind;
    seen->of[i].decodes += record->kind == HOPMLA_CALL_DECODE;
}

static void read_all(hopmla_profiler *profiler, tally *seen)
{
    hopmla_record records[16];
    uint32_t n;
    while ((n = observed_read(profiler, records, 16)) > 0) {
        for (uint32_t i = 0; i < n; i++) {
            check_record(seen, &records[i]);
        }
    }
}

static void check_two_threads(uint32_t capacity)
{
    const uint64_t steps = quick() ? 2000 : 8000;
    threads t;
    tally seen = { 0 };
    start_threads(&t, 1); /* makes the context */
    join_threads(&t);
    hopmla_profiler *profiler = observed_profiler(t.context, 0, capacity);
    for (int i = 0; i < 2; i++) {
        t.producers[i].steps = steps;
        assert_int_equal(pthread_create(&t.producers[i].thread, NULL, produce, &t.producers[i]), 0);
    }
    while (observed_info(profiler).recorded < 4 * steps) {
        read_all(profiler, &seen);
    }
    join_threads(&t);
    read_all(profiler, &seen);
    const hopmla_profiler_info info = observed_info(profiler);
    assert_int_equal(info.recorded, 4 * steps);
    assert_int_equal(info.waiting, 0);
    assert_int_equal(seen.records + info.dropped, 4 * steps);
    assert_true(seen.last_id <= 4 * steps);
    const hopmla_totals decodes = observed_totals(profiler, HOPMLA_CALL_DECODE, NULL);
    const hopmla_totals updates = observed_totals(profiler, HOPMLA_CALL_UPDATE, NULL);
    assert_int_equal(decodes.records, seen.of[0].decodes + seen.of[1].decodes);
    assert_int_equal(decodes.records + updates.records, seen.records);
    assert_int_equal(decodes.dropped + updates.dropped, info.dropped);
    assert_int_equal(decodes.flops, decodes.records * 3 * 2 * 1088);
    hopmla_profiler_destroy(profiler);
    destroy_threads(&t);
}

static void test_two_threads_record_and_a_third_reads(void **state)
{
    (void)state;
    check_two_threads(0);
    check_two_threads(1); /* most are dropped */
    check_two_threads(64);
}

/* Sessions begin and end while calls are under way, and profilers go. */
static void test_sessions_in_mid_step(void **state)
{
    (void)state;
    const int sessions = quick() ? 200 : 1000;
    threads t;
    start_threads(&t, UINT64_C(1) << 40);
    uint64_t records = 0;
    for (int i = 0; i < sessions; i++) {
        tally seen = { 0 };
        hopmla_profiler *profiler = observed_profiler(t.context, 0, 32);
        while (i % 8 == 0 && observed_info(profiler).recorded < 10) {
        }
        if (i % 2) {
            assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
        }
        if (i % 3) {
            read_all(profiler, &seen);
        }
        records += seen.records;
        hopmla_profiler_destroy(profiler);
    }
    assert_true(records > 0);
    t.stop = 1;
    join_threads(&t);
    destroy_threads(&t);
}

/* Processes. */

static void check_child(int status)
{
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int child_of_a_fork(observed *o, hopmla_profiler *profiler)
{
    hopmla_record record;
    uint32_t count = 1;
    hopmla_profiler_info info = HOPMLA_PROFILER_INFO_INIT;
    hopmla_totals totals = HOPMLA_TOTALS_INIT;
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    ceilings.read_bytes_per_second = ceilings.flops_burst = ceilings.flops_sustained = 1.0;
    int failed = observed_decode(o, 0) != HOPMLA_OK; /* as far as the backend goes: one thread, no device */
    failed |= hopmla_profiler_start(profiler, NULL) != HOPMLA_ERROR_STATE;
    failed |= hopmla_profiler_describe(profiler, &info, NULL) || info.started || info.recorded;
    failed |= hopmla_profiler_read(profiler, &record, sizeof(record), 1, &count, NULL) || count;
    failed |= hopmla_profiler_get_totals(profiler, HOPMLA_CALL_DECODE, NULL, &totals, NULL) || totals.records;
    failed |= hopmla_profiler_set_ceilings(profiler, &ceilings, NULL) != HOPMLA_OK;
    failed |= hopmla_profiler_finish(profiler, NULL) != HOPMLA_OK;
    failed |= hopmla_profiler_stop(profiler, NULL) != HOPMLA_OK;
    hopmla_profiler_destroy(profiler);
    failed |= observed_decode(o, 0) != HOPMLA_OK;
    hopmla_context *context = make_context(); /* one of its own works in full */
    hopmla_profiler *own = observed_profiler(context, 0, 0);
    failed |= observed_info(own).started != 1;
    hopmla_profiler_destroy(own);
    hopmla_context_destroy(context);
    return failed;
}

static void test_fork(void **state)
{
    (void)state;
    observed o;
    observed_create(&o, make_context());
    hopmla_profiler *profiler = observed_profiler(o.context, 0, 0);
    observed_update(&o);
    assert_int_equal(observed_decode(&o, 0), HOPMLA_OK);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        _exit(child_of_a_fork(&o, profiler));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    check_child(status);
    hopmla_record records[4];
    assert_int_equal(observed_read(profiler, records, 4), 2); /* the parent's is untouched */
    assert_int_equal(observed_decode(&o, 0), HOPMLA_OK);
    assert_int_equal(observed_read(profiler, records, 4), 1);
    hopmla_profiler_destroy(profiler);
    observed_destroy(&o);
}

static void test_exit_in_mid_session(void **state)
{
    (void)state;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        static observed o; /* reachable: nothing is lost */
        static hopmla_profiler *profiler;
        observed_create(&o, make_context());
        profiler = observed_profiler(o.context, 0, 0);
        observed_update(&o);
        const hopmla_launch_note note = { sizeof(note), 1, 1, 0 };
        hopmla_plan_launch_begin(o.plan, &note, o.stream, NULL);
        exit(observed_decode(&o, 0) == HOPMLA_OK && observed_info(profiler).waiting == 3 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    check_child(status);
}

/* Allocations. */

static hopmla_status create_all(failing_alloc *allocator, void *user)
{
    (void)user;
    hopmla_context *context = NULL;
    hopmla_profiler *profiler = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 1;
    failing_alloc_use(allocator, &options);
    hopmla_status status = hopmla_context_create(&options, &context, NULL);
    if (status == HOPMLA_OK) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        status = hopmla_profiler_create(context, NULL, &profiler, &error);
        assert_true((status == HOPMLA_OK) == (profiler != NULL));
        assert_true(status == HOPMLA_OK || error.value > 0);
    }
    hopmla_context_destroy(context); /* the profiler keeps it */
    hopmla_profiler_destroy(profiler);
    return status;
}

static void test_allocations_that_fail(void **state)
{
    (void)state;
    assert_true(failing_alloc_sweep(create_all, NULL, FAILING_ALLOC_ALL) >= 4);
}

/* Everything comes from the creation: neither a recorded call nor a reader allocates. */
static void test_nothing_else_allocates(void **state)
{
    (void)state;
    failing_alloc allocator;
    failing_alloc_init(&allocator);
    hopmla_context *context = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 1;
    failing_alloc_use(&allocator, &options);
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    observed o;
    observed_create(&o, context);
    hopmla_profiler *profiler = observed_profiler(context, 0, 8);
    const uint64_t calls = allocator.calls;
    hopmla_record records[8];
    for (int i = 0; i < 20; i++) {
        observed_update(&o);
        assert_int_equal(observed_decode(&o, 0), HOPMLA_OK);
        observed_read(profiler, records, i % 3 ? 8 : 0);
        observed_totals(profiler, HOPMLA_CALL_DECODE, o.plan);
        observed_info(profiler);
    }
    assert_int_equal(hopmla_profiler_stop(profiler, NULL), HOPMLA_OK);
    assert_int_equal(allocator.calls, calls);
    hopmla_profiler_destroy(profiler);
    observed_destroy(&o);
    assert_int_equal(allocator.live_blocks, 0);
    failing_alloc_finish(&allocator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_threads_record_and_a_third_reads),
        cmocka_unit_test(test_sessions_in_mid_step),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_exit_in_mid_session),
        cmocka_unit_test(test_allocations_that_fail),
        cmocka_unit_test(test_nothing_else_allocates),
    };
    return cmocka_run_group_tests_name("profilers among threads and processes", tests, NULL, NULL) ? 1 : 0;
}
