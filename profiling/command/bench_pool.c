/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What the books cost: nanoseconds a sequence for each call of a step, in pools of all sizes. Nothing is computed, and
 * the storage is never touched, so it need not exist: a reservation of addresses will do for the CPU backend. */

#define MUST(call, ...) must(call(__VA_ARGS__, &error), &error, #call)

enum {
    STEPS = HOPMLA_PAGE_TOKENS,
    MAX_BATCH = 1024
};

/** Seconds spent in each call, and how many sequences went through it. */
typedef struct costs {
    double reserve, update, end, commit, fork, release;
    double steps; /* sequences × steps */
    double forks; /* sequences × forks */
} costs;

typedef struct books {
    device *device;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_seq seqs[MAX_BATCH];
    hopmla_seq children[MAX_BATCH];
    uint32_t ones[MAX_BATCH];
    uint64_t lengths[MAX_BATCH];
    uint32_t count;
} books;

/** What reading the clock twice costs. */
static double clock_cost(void)
{
    double least = 1;
    for (int i = 0; i < 1000; ++i) {
        double start = seconds_now(), cost = seconds_now() - start;
        least = cost < least ? cost : least;
    }
    return least;
}

#define TIMED(sum, statement)                                                                                          \
    do {                                                                                                               \
        double start_ = seconds_now();                                                                                 \
        statement;                                                                                                     \
        (sum) += seconds_now() - start_ - overhead;                                                                    \
    } while (0)

/** As many steps as a page has tokens, each of one token for every sequence; afterwards everything is as before. */
static void play(books *b, costs *c, double overhead)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_stream stream = b->device->stream;
    for (int step = 0; step < STEPS; ++step) {
        TIMED(c->reserve, MUST(hopmla_seq_reserve, b->pool, b->seqs, b->ones, b->count));
        TIMED(c->update, MUST(hopmla_plan_update, b->plan, b->seqs, b->ones, b->ones, b->count, stream));
        TIMED(c->end, MUST(hopmla_plan_end, b->plan, stream));
        TIMED(c->commit, MUST(hopmla_seq_commit, b->pool, b->seqs, b->ones, b->count));
        if (b->device->info.backend == HOPMLA_BACKEND_CUDA && step % 4 == 3)
            device_synchronize(b->device); /* else the staging ring fills up: nothing slows the host down */
    }
    c->steps += (double)b->count * STEPS;
    MUST(hopmla_seq_truncate, b->pool, b->seqs, b->lengths, b->count);
    for (int round = 0; round < 4; ++round) {
        TIMED(c->fork, for (uint32_t i = 0; i < b->count; ++i)
                           MUST(hopmla_seq_fork, b->pool, b->seqs[i], HOPMLA_ALL_TOKENS, &b->children[i]));
        TIMED(c->release, MUST(hopmla_seq_release, b->pool, b->children, b->count));
        c->forks += b->count;
    }
}

/** Sequences that do nothing but hold half of the pages that are left, as in a pool in use. */
static void occupy(hopmla_pool *pool, uint64_t pages)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    for (uint64_t left = pages / 2; left > 0;) {
        uint64_t take = left < 1024 ? left : 1024;
        uint32_t tokens = (uint32_t)take * HOPMLA_PAGE_TOKENS;
        hopmla_seq seq = 0;
        MUST(hopmla_seq_create, pool, &seq, 1);
        MUST(hopmla_seq_reserve, pool, &seq, &tokens, 1);
        MUST(hopmla_seq_commit, pool, &seq, &tokens, 1);
        left -= take;
    }
}

static costs measure(device *d, void *storage, uint64_t pages, uint32_t count, uint32_t context, double overhead)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    books *b = must_zalloc(1, sizeof(*b));
    *b = (books){ .device = d, .count = count };
    uint32_t tokens[MAX_BATCH];
    for (uint32_t i = 0; i < count; ++i) {
        b->ones[i] = 1;
        tokens[i] = context;
        b->lengths[i] = context;
    }
    hopmla_pool_options options = device_pool_options(HOPMLA_KV_BF16, 1, pages);
    options.storage = HOPMLA_STORAGE_CALLER;
    options.memory = storage;
    options.memory_bytes = pages * format_page_bytes(HOPMLA_KV_BF16);
    MUST(hopmla_pool_create, d->context, &options, &b->pool);
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    plan.max_batch = count;
    plan.heads = 16;
    plan.max_kv_tokens = 131072;
    plan.staging_depth = 8;
    MUST(hopmla_plan_create, b->pool, &plan, &b->plan);

    MUST(hopmla_seq_create, b->pool, b->seqs, count);
    MUST(hopmla_seq_reserve, b->pool, b->seqs, tokens, count);
    MUST(hopmla_seq_commit, b->pool, b->seqs, tokens, count);
    uint64_t each = (context + STEPS + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS;
    occupy(b->pool, pages - count * each);

    costs warm = { 0 }, c = { 0 };
    play(b, &warm, overhead);
    do
        play(b, &c, overhead);
    while (c.reserve + c.update + c.commit < 0.05 && c.steps < 4e6);
    hopmla_plan_destroy(b->plan);
    hopmla_pool_destroy(b->pool);
    free(b);
    return c;
}

static void print(uint64_t pages, uint32_t count, uint32_t context, const costs *c, const char *backend, bool json)
{
    double reserve = 1e9 * c->reserve / c->steps, update = 1e9 * c->update / c->steps;
    double end = 1e9 * c->end / c->steps, commit = 1e9 * c->commit / c->steps;
    double fork = 1e9 * c->fork / c->forks, release = 1e9 * c->release / c->forks;
    if (json) {
        json_writer w = json_begin(stdout);
        json_text(&w, "kind", "pool");
        json_text(&w, "backend", backend);
        json_count(&w, "pages", pages);
        json_count(&w, "sequences", count);
        json_count(&w, "context", context);
        json_real(&w, "reserve_ns", reserve);
        json_real(&w, "plan_update_ns", update);
        json_real(&w, "plan_end_ns", end);
        json_real(&w, "commit_ns", commit);
        json_real(&w, "step_ns", reserve + update + commit);
        json_real(&w, "fork_ns", fork);
        json_real(&w, "release_ns", release);
        json_end(&w);
        return;
    }
    printf("%9llu %9u %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", (unsigned long long)pages, (unsigned)count, reserve,
           update, commit, reserve + update + commit, end, fork, release);
    fflush(stdout);
}

int bench_pool(int32_t backend, bool json, uint64_t max_pages, uint64_t context)
{
    static const uint32_t counts[] = { 1, 4, 16, 64, 256, 1024 };
    const uint64_t each = (context + STEPS + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS;
    if (each > max_pages)
        die("--pages must hold at least a sequence of --context tokens, %llu pages", (unsigned long long)each);
    device d;
    device_open(&d, backend);
    if (!json)
        printf("Nanoseconds a sequence; sequences of %llu tokens; half of the other pages are in use.\n%9s %9s %9s %9s "
               "%9s %9s %9s %9s %9s\n",
               (unsigned long long)context, "pages", "sequences", "reserve", "update", "commit", "together", "end",
               "fork", "release");
    double overhead = clock_cost();
    for (uint64_t pages = 1000; pages <= max_pages; pages *= 10) {
        bool cuda = d.info.backend == HOPMLA_BACKEND_CUDA;
        const uint64_t bytes = pages * format_page_bytes(HOPMLA_KV_BF16);
        if (cuda && bytes > d.info.memory_bytes * 8 / 10)
            break;
        block memory = { 0 };
        if (cuda) {
            memory = device_alloc(&d, bytes);
        } else {
            memory.memory = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (memory.memory == MAP_FAILED)
                die("no %llu bytes of address space", (unsigned long long)bytes);
        }
        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); ++i) {
            if (counts[i] * each > pages)
                continue;
            costs c = measure(&d, memory.memory, pages, counts[i], (uint32_t)context, overhead);
            print(pages, counts[i], (uint32_t)context, &c, device_backend(&d), json);
        }
        if (cuda)
            device_free(&d, &memory);
        else
            munmap(memory.memory, bytes);
    }
    device_close(&d);
    return 0;
}
