/* SPDX-License-Identifier: Apache-2.0 */
/* A program of another release than the library's: takes every public struct across the ABI once, with other memory
 * right behind it. tests/abi/releases.py builds it with the headers of the first release, and runs it with libraries
 * whose structs are as they are today, and longer; and with headers that are ahead of the library (AHEAD: their structs
 * end with a field `later`). */
#include <hopmla/hopmla.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GUARD = 64,
    MARK = 0xa5,
    HEADS = 2,
    TOKENS = 3
};

static void fail(int line, const char *what, const char *message)
{
    fprintf(stderr, "line %d: %s: %s\n", line, what, message);
    exit(1);
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fail(__LINE__, #condition, "does not hold");                                                               \
        }                                                                                                              \
    } while (0)

/* A struct and what the program has behind it, which the library neither reads nor writes. */
#define GUARDED(type, name, ...)                                                                                       \
    struct {                                                                                                           \
        type s;                                                                                                        \
        unsigned char guard[GUARD];                                                                                    \
    } name = { __VA_ARGS__, { 0 } };                                                                                   \
    memset(name.guard, MARK, GUARD)

#define UNTOUCHED(name)                                                                                                \
    do {                                                                                                               \
        for (int at_ = 0; at_ < GUARD; at_++) {                                                                        \
            CHECK(name.guard[at_] == MARK);                                                                            \
        }                                                                                                              \
        CHECK(name.s.struct_size == sizeof(name.s));                                                                   \
    } while (0)

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != HOPMLA_OK) {                                                                                     \
            fail(__LINE__, #call, e.s.message);                                                                        \
        }                                                                                                              \
    } while (0)

#ifdef AHEAD
/* An output field that the library does not know reads as zero; set in an input struct, it is refused. */
#define FILLED(name)                                                                                                   \
    UNTOUCHED(name);                                                                                                   \
    CHECK(name.s.later == 0)
#define TAKEN(name, call)                                                                                              \
    OK(call);                                                                                                          \
    REFUSED(name, call)
#define REFUSED(name, call)                                                                                            \
    name.s.later = 1;                                                                                                  \
    CHECK((call) == HOPMLA_ERROR_STRUCT_TAIL);                                                                         \
    CHECK(strstr(e.s.message, "newer library"));                                                                       \
    name.s.later = 0;                                                                                                  \
    UNTOUCHED(name)
#else
#define FILLED(name) UNTOUCHED(name)
#define TAKEN(name, call)                                                                                              \
    OK(call);                                                                                                          \
    UNTOUCHED(name)
#define REFUSED(name, call) UNTOUCHED(name)
#endif

static uint16_t rows[TOKENS * HOPMLA_QK_DIM] __attribute__((aligned(16)));
static uint16_t q[HEADS * HOPMLA_QK_DIM] __attribute__((aligned(16)));
static uint16_t out[HEADS * HOPMLA_LATENT_DIM] __attribute__((aligned(16)));
static uint16_t page[HOPMLA_PAGE_TOKENS * HOPMLA_QK_DIM] __attribute__((aligned(1024)));

static void errors(void)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    memset(&e.s, MARK, sizeof(e.s));
    CHECK(hopmla_error_init(&e.s, sizeof(e.s)) == HOPMLA_OK);
    FILLED(e);
    CHECK(hopmla_context_create(NULL, NULL, &e.s) == HOPMLA_ERROR_NULL);
    CHECK(e.s.status == HOPMLA_ERROR_NULL && strstr(e.s.message, "context"));
    FILLED(e);
}

/* Also the init functions, which know the caller's size. */
#define MADE(type, name)                                                                                               \
    GUARDED(type, name, { 0 });                                                                                        \
    memset(&name.s, MARK, sizeof(name.s));                                                                             \
    CHECK(type##_init(&name.s, sizeof(name.s)) == HOPMLA_OK);                                                          \
    FILLED(name)

static hopmla_context *context_of(void)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    MADE(hopmla_context_options, options);
    options.s.backend = HOPMLA_BACKEND_CPU;
    options.s.cpu_threads = 2;
    hopmla_context *context = NULL;
    OK(hopmla_context_create(&options.s, &context, &e.s));
    REFUSED(options, hopmla_context_create(&options.s, &context, &e.s));
    GUARDED(hopmla_context_info, info, HOPMLA_CONTEXT_INFO_INIT);
    OK(hopmla_context_describe(context, &info.s, &e.s));
    FILLED(info);
    CHECK(info.s.backend == HOPMLA_BACKEND_CPU && info.s.name[0]);
    return context;
}

static hopmla_pool *pool_of(hopmla_context *context)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    MADE(hopmla_pool_options, options);
    options.s.format = HOPMLA_KV_BF16;
    options.s.layers = 1;
    options.s.pages = 4;
    GUARDED(hopmla_pool_layout, layout, HOPMLA_POOL_LAYOUT_INIT);
    TAKEN(options, hopmla_pool_query(context, &options.s, &layout.s, &e.s));
    FILLED(layout);
    CHECK(layout.s.pages == 4);
    hopmla_pool *pool = NULL;
    OK(hopmla_pool_create(context, &options.s, &pool, &e.s));
    REFUSED(options, hopmla_pool_create(context, &options.s, &pool, &e.s));
    OK(hopmla_pool_describe(pool, &layout.s, &e.s));
    FILLED(layout);
    CHECK(layout.s.base);
    return pool;
}

static hopmla_plan *plan_of(hopmla_pool *pool)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    MADE(hopmla_plan_options, options);
    options.s.max_batch = 1;
    options.s.heads = HEADS;
    options.s.max_kv_tokens = 64;
    uint64_t device, pinned;
    TAKEN(options, hopmla_plan_query(pool, &options.s, &device, &pinned, &e.s));
    hopmla_plan *plan = NULL;
    OK(hopmla_plan_create(pool, &options.s, &plan, &e.s));
    REFUSED(options, hopmla_plan_create(pool, &options.s, &plan, &e.s));
    GUARDED(hopmla_plan_tables, tables, HOPMLA_PLAN_TABLES_INIT);
    OK(hopmla_plan_get_tables(plan, &tables.s, &e.s));
    FILLED(tables);
    CHECK(tables.s.max_batch == 1 && tables.s.block_table && tables.s.number == 1);
    return plan;
}

static void step(hopmla_pool *pool, hopmla_plan *plan)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    const uint32_t tokens = TOKENS, one = 1;
    hopmla_seq seq;
    OK(hopmla_seq_create(pool, &seq, 1, &e.s));
    OK(hopmla_seq_reserve(pool, &seq, &tokens, 1, &e.s));
    OK(hopmla_plan_update(plan, &seq, &tokens, &one, 1, NULL, &e.s));

    MADE(hopmla_append_args, append);
    append.s.tokens = TOKENS;
    append.s.latent_stride = append.s.rope_stride = HOPMLA_QK_DIM;
    TAKEN(append, hopmla_append(plan, &append.s, rows, rows + HOPMLA_LATENT_DIM, NULL, &e.s));

    MADE(hopmla_decode_args, decode);
    decode.s.rows = 1;
    decode.s.softmax_scale = 0.1f;
    memset(out, 0, sizeof(out));
    TAKEN(decode, hopmla_decode(plan, &decode.s, q, NULL, out, NULL, NULL, &e.s));
    CHECK(out[0] == rows[0] && out[HEADS * HOPMLA_LATENT_DIM - 1] == rows[0]);

    static uint16_t back[HOPMLA_QK_DIM] __attribute__((aligned(16)));
    MADE(hopmla_gather_args, gather);
    gather.s.first = 1;
    gather.s.count = 1;
    TAKEN(gather, hopmla_gather(plan, &gather.s, back, NULL, &e.s));
    CHECK(back[0] == rows[0]);
    OK(hopmla_plan_end(plan, NULL, &e.s));
    OK(hopmla_seq_commit(pool, &seq, &tokens, 1, &e.s));

    GUARDED(hopmla_seq_info, info, HOPMLA_SEQ_INFO_INIT);
    OK(hopmla_seq_describe(pool, seq, &info.s, &e.s));
    FILLED(info);
    CHECK(info.s.committed == TOKENS);
    GUARDED(hopmla_pool_stats, stats, HOPMLA_POOL_STATS_INIT);
    OK(hopmla_pool_get_stats(pool, &stats.s, &e.s));
    FILLED(stats);
    CHECK(stats.s.sequences == 1 && stats.s.pages_total == 4);
    OK(hopmla_seq_release(pool, &seq, 1, &e.s));
    UNTOUCHED(e);
}

static void raw_pages(hopmla_context *context)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    const int32_t length = TOKENS, table = 0;
    uint64_t bytes = 0;
    void *workspace = NULL;
    MADE(hopmla_paged_desc, desc);
    desc.s.format = HOPMLA_KV_BF16;
    desc.s.batch = 1;
    desc.s.max_kv_tokens = 64;
    desc.s.heads = HEADS;
    desc.s.pages = desc.s.table_stride = 1;
    MADE(hopmla_decode_args, args);
    args.s.rows = 1;
    args.s.softmax_scale = 0.1f;
    memcpy(page, rows, sizeof(rows));
    memset(out, 0, sizeof(out));
    TAKEN(desc, hopmla_decode_paged_workspace(context, &desc.s, &bytes, &e.s));
    OK(hopmla_memory_alloc(context, bytes, HOPMLA_MEMORY_WORKSPACE, &workspace, &e.s));
    TAKEN(desc, hopmla_decode_paged_prepare(context, &desc.s, &length, NULL, workspace, bytes, NULL, &e.s));
    TAKEN(desc, hopmla_decode_paged(context, &desc.s, &args.s, page, NULL, &table, q, NULL, out, NULL, workspace, bytes,
                                    NULL, &e.s));
    REFUSED(args, hopmla_decode_paged(context, &desc.s, &args.s, page, NULL, &table, q, NULL, out, NULL, workspace,
                                      bytes, NULL, &e.s));
    CHECK(out[0] == rows[0]);
    hopmla_memory_free(context, workspace, bytes, HOPMLA_MEMORY_WORKSPACE);
}

static int32_t swallow(void *user, const void *text, uint64_t bytes)
{
    (void)text;
    *(uint64_t *)user += bytes;
    return 0;
}

/* The records of a step, each in a struct of this program's size. */
static void profiling(hopmla_context *context, hopmla_pool *pool, hopmla_plan *plan)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    MADE(hopmla_profiler_options, options);
    hopmla_profiler *profiler = NULL;
    OK(hopmla_profiler_create(context, &options.s, &profiler, &e.s));
    REFUSED(options, hopmla_profiler_create(context, &options.s, &profiler, &e.s));
    GUARDED(hopmla_ceilings, ceilings, HOPMLA_CEILINGS_INIT);
    ceilings.s.read_bytes_per_second = ceilings.s.flops_burst = ceilings.s.flops_sustained = 1e9;
    TAKEN(ceilings, hopmla_profiler_set_ceilings(profiler, &ceilings.s, &e.s));
    OK(hopmla_profiler_start(profiler, &e.s));
    step(pool, plan);
    OK(hopmla_profiler_finish(profiler, &e.s));
    GUARDED(hopmla_profiler_info, info, HOPMLA_PROFILER_INFO_INIT);
    OK(hopmla_profiler_describe(profiler, &info.s, &e.s));
    FILLED(info);
    CHECK(info.s.started && info.s.waiting >= 4);

    uint32_t count = 0;
    struct {
        hopmla_record s[8];
        unsigned char guard[GUARD];
    } records;
    memset(&records, MARK, sizeof(records));
    OK(hopmla_profiler_read(profiler, records.s, sizeof(records.s[0]), 8, &count, &e.s));
    CHECK(count >= 4 && records.guard[0] == MARK && records.guard[GUARD - 1] == MARK);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(records.s[i].id == i + 1 && records.s[i].struct_size <= sizeof(records.s[i]));
    }
    CHECK(records.s[0].kind == HOPMLA_CALL_UPDATE);
    GUARDED(hopmla_totals, totals, HOPMLA_TOTALS_INIT);
    OK(hopmla_profiler_get_totals(profiler, HOPMLA_CALL_DECODE, NULL, &totals.s, &e.s));
    FILLED(totals);
    CHECK(totals.s.flops == 2 * 1088 * HEADS * TOKENS * totals.s.calls);

    uint64_t written = 0;
    MADE(hopmla_export_options, export);
    export.s.write = swallow;
    export.s.user = &written;
    TAKEN(export, hopmla_export_records(HOPMLA_EXPORT_CSV, records.s, sizeof(records.s[0]), count, &export.s, &e.s));
    TAKEN(export, hopmla_export_metrics(profiler, pool, &export.s, &e.s));
    CHECK(written > 1000);
    hopmla_profiler_destroy(profiler);
}

static void launch(hopmla_pool *pool, hopmla_plan *plan)
{
    GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
    const uint32_t none = 0;
    hopmla_seq seq;
    OK(hopmla_seq_create(pool, &seq, 1, &e.s));
    OK(hopmla_plan_update(plan, &seq, &none, &none, 1, NULL, &e.s));
    MADE(hopmla_launch_note, note);
    note.s.decodes = 1;
    REFUSED(note, hopmla_plan_launch_begin(plan, &note.s, NULL, &e.s));
    OK(hopmla_plan_launch_begin(plan, &note.s, NULL, &e.s));
    UNTOUCHED(note);
    OK(hopmla_plan_launch_end(plan, 1, NULL, &e.s));
    OK(hopmla_plan_end(plan, NULL, &e.s));
    OK(hopmla_seq_release(pool, &seq, 1, &e.s));
}

/* With an argument also what takes seconds. */
int main(int argc, char **argv)
{
    (void)argv;
    CHECK(hopmla_abi_version() == HOPMLA_ABI_VERSION);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rows[i] = 0x3f00; /* 0.5 */
    }
    errors();
    hopmla_context *context = context_of();
    hopmla_pool *pool = pool_of(context);
    hopmla_plan *plan = plan_of(pool);
    step(pool, plan);
    raw_pages(context);
    profiling(context, pool, plan);
    launch(pool, plan);
    if (argc > 1) {
        GUARDED(hopmla_error, e, HOPMLA_ERROR_INIT);
        GUARDED(hopmla_ceilings, ceilings, HOPMLA_CEILINGS_INIT);
        OK(hopmla_measure_ceilings(context, &ceilings.s, &e.s));
        FILLED(ceilings);
    }
    hopmla_plan_destroy(plan);
    hopmla_pool_destroy(pool);
    hopmla_context_destroy(context);
    return 0;
}
