/* SPDX-License-Identifier: Apache-2.0 */
/* What happens when a caller's struct is smaller, larger or newer than the library's: for every struct of the public
 * headers, through the public function that takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"

enum {
    ROOM = 8192,
    LARGEST = 4096,
    TAIL = 24,
    HEADS = 2
};

static struct {
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_profiler *profiler;
    hopmla_seq seq;
    _Alignas(64) uint16_t q[HEADS * HOPMLA_QK_DIM];
    _Alignas(64) uint16_t rows[4 * HOPMLA_QK_DIM];
    _Alignas(64) uint16_t out[HEADS * HOPMLA_LATENT_DIM];
} fixture;

static struct {
    _Alignas(1024) unsigned char workspace[1 << 20];
    _Alignas(64) uint16_t page[HOPMLA_PAGE_TOKENS * HOPMLA_QK_DIM];
    int32_t kv_len;
    int32_t table;
} paged = { .kv_len = 1 };

/* A valid struct of each kind, and the call that takes it. */

static void valid_context_options(void *made)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 1;
    memcpy(made, &options, sizeof(options));
}

static hopmla_status call_context_create(void *options, hopmla_error *error)
{
    hopmla_context *context = NULL;
    const hopmla_status status = hopmla_context_create(options, &context, error);
    assert_int_equal(status == HOPMLA_OK, context != NULL);
    hopmla_context_destroy(context);
    return status;
}

static void valid_pool_options(void *made)
{
    hopmla_pool_options options = HOPMLA_POOL_OPTIONS_INIT;
    options.format = HOPMLA_KV_BF16;
    options.layers = 1;
    options.pages = 4;
    options.max_sequences = 4;
    memcpy(made, &options, sizeof(options));
}

static hopmla_status call_pool_query(void *options, hopmla_error *error)
{
    hopmla_pool_layout layout = HOPMLA_POOL_LAYOUT_INIT;
    return hopmla_pool_query(fixture.context, options, &layout, error);
}

static hopmla_status call_pool_create(void *options, hopmla_error *error)
{
    hopmla_pool *pool = NULL;
    const hopmla_status status = hopmla_pool_create(fixture.context, options, &pool, error);
    assert_int_equal(status == HOPMLA_OK, pool != NULL);
    hopmla_pool_destroy(pool);
    return status;
}

static void valid_plan_options(void *made)
{
    hopmla_plan_options options = HOPMLA_PLAN_OPTIONS_INIT;
    options.max_batch = 1;
    options.heads = HEADS;
    options.max_kv_tokens = 64;
    memcpy(made, &options, sizeof(options));
}

static hopmla_status call_plan_query(void *options, hopmla_error *error)
{
    uint64_t device_bytes;
    uint64_t pinned_bytes;
    return hopmla_plan_query(fixture.pool, options, &device_bytes, &pinned_bytes, error);
}

static hopmla_status call_plan_create(void *options, hopmla_error *error)
{
    hopmla_plan *plan = NULL;
    const hopmla_status status = hopmla_plan_create(fixture.pool, options, &plan, error);
    assert_int_equal(status == HOPMLA_OK, plan != NULL);
    hopmla_plan_destroy(plan);
    return status;
}

static void valid_append_args(void *made)
{
    hopmla_append_args args = HOPMLA_APPEND_ARGS_INIT;
    args.tokens = 1;
    memcpy(made, &args, sizeof(args));
}

static hopmla_status call_append(void *args, hopmla_error *error)
{
    return hopmla_append(fixture.plan, args, fixture.rows, fixture.rows + HOPMLA_LATENT_DIM, NULL, error);
}

static void valid_gather_args(void *made)
{
    hopmla_gather_args args = HOPMLA_GATHER_ARGS_INIT;
    args.count = 1;
    memcpy(made, &args, sizeof(args));
}

static hopmla_status call_gather(void *args, hopmla_error *error)
{
    return hopmla_gather(fixture.plan, args, fixture.rows, NULL, error);
}

static void valid_decode_args(void *made)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = 1;
    args.softmax_scale = 0.1f;
    memcpy(made, &args, sizeof(args));
}

static hopmla_status call_decode(void *args, hopmla_error *error)
{
    return hopmla_decode(fixture.plan, args, fixture.q, NULL, fixture.out, NULL, NULL, error);
}

static void valid_paged_desc(void *made)
{
    hopmla_paged_desc desc = HOPMLA_PAGED_DESC_INIT;
    desc.format = HOPMLA_KV_BF16;
    desc.batch = 1;
    desc.max_kv_tokens = 64;
    desc.heads = HEADS;
    desc.pages = 1;
    desc.table_stride = 1;
    memcpy(made, &desc, sizeof(desc));
}

static hopmla_status call_paged_workspace(void *desc, hopmla_error *error)
{
    uint64_t bytes;
    return hopmla_decode_paged_workspace(fixture.context, desc, &bytes, error);
}

static hopmla_status call_paged_prepare(void *desc, hopmla_error *error)
{
    return hopmla_decode_paged_prepare(fixture.context, desc, &paged.kv_len, NULL, paged.workspace,
                                       sizeof(paged.workspace), NULL, error);
}

static hopmla_status decode_paged(const void *desc, const void *args, hopmla_error *error)
{
    hopmla_paged_desc prepared;
    valid_paged_desc(&prepared);
    assert_int_equal(call_paged_prepare(&prepared, NULL), HOPMLA_OK);
    return hopmla_decode_paged(fixture.context, desc, args, paged.page, NULL, &paged.table, fixture.q, NULL,
                               fixture.out, NULL, paged.workspace, sizeof(paged.workspace), NULL, error);
}

static hopmla_status call_paged_desc(void *desc, hopmla_error *error)
{
    hopmla_decode_args args;
    valid_decode_args(&args);
    return decode_paged(desc, &args, error);
}

static hopmla_status call_paged_args(void *args, hopmla_error *error)
{
    hopmla_paged_desc desc;
    valid_paged_desc(&desc);
    return decode_paged(&desc, args, error);
}

static void valid_profiler_options(void *made)
{
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    options.capacity = 4;
    memcpy(made, &options, sizeof(options));
}

static hopmla_status call_profiler_create(void *options, hopmla_error *error)
{
    hopmla_profiler *profiler = NULL;
    const hopmla_status status = hopmla_profiler_create(fixture.context, options, &profiler, error);
    assert_int_equal(status == HOPMLA_OK, profiler != NULL);
    hopmla_profiler_destroy(profiler);
    return status;
}

static void valid_ceilings(void *made)
{
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    ceilings.read_bytes_per_second = ceilings.flops_burst = ceilings.flops_sustained = 1e12;
    memcpy(made, &ceilings, sizeof(ceilings));
}

static hopmla_status call_set_ceilings(void *ceilings, hopmla_error *error)
{
    return hopmla_profiler_set_ceilings(fixture.profiler, ceilings, error);
}

static void valid_launch_note(void *made)
{
    const hopmla_launch_note note = { sizeof(note), 1, 1, 0 };
    memcpy(made, &note, sizeof(note));
}

static hopmla_status call_launch(void *note, hopmla_error *error)
{
    const hopmla_status status = hopmla_plan_launch_begin(fixture.plan, note, NULL, error);
    assert_int_equal(hopmla_plan_launch_end(fixture.plan, 1, NULL, NULL) == HOPMLA_OK, status == HOPMLA_OK);
    return status;
}

static void valid_export_options(void *made)
{
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    options.path = "/dev/null";
    memcpy(made, &options, sizeof(options));
}

static hopmla_status call_export_records(void *options, hopmla_error *error)
{
    return hopmla_export_records(HOPMLA_EXPORT_CSV, NULL, sizeof(hopmla_record), 0, options, error);
}

static hopmla_status call_export_metrics(void *options, hopmla_error *error)
{
    return hopmla_export_metrics(fixture.profiler, fixture.pool, options, error);
}

static hopmla_status call_export_ceilings(void *ceilings, hopmla_error *error)
{
    hopmla_export_options options;
    valid_export_options(&options);
    options.ceilings = ceilings;
    return call_export_records(&options, error);
}

typedef struct input {
    const char *name; /* of the argument, as messages say it */
    uint32_t size;
    void (*valid)(void *made);
    hopmla_status (*call)(void *made, hopmla_error *error);
} input;

static const input inputs[] = {
    { "options", sizeof(hopmla_context_options), valid_context_options, call_context_create },
    { "options", sizeof(hopmla_pool_options), valid_pool_options, call_pool_query },
    { "options", sizeof(hopmla_pool_options), valid_pool_options, call_pool_create },
    { "options", sizeof(hopmla_plan_options), valid_plan_options, call_plan_query },
    { "options", sizeof(hopmla_plan_options), valid_plan_options, call_plan_create },
    { "args", sizeof(hopmla_append_args), valid_append_args, call_append },
    { "args", sizeof(hopmla_gather_args), valid_gather_args, call_gather },
    { "args", sizeof(hopmla_decode_args), valid_decode_args, call_decode },
    { "desc", sizeof(hopmla_paged_desc), valid_paged_desc, call_paged_workspace },
    { "desc", sizeof(hopmla_paged_desc), valid_paged_desc, call_paged_prepare },
    { "desc", sizeof(hopmla_paged_desc), valid_paged_desc, call_paged_desc },
    { "args", sizeof(hopmla_decode_args), valid_decode_args, call_paged_args },
    { "options", sizeof(hopmla_profiler_options), valid_profiler_options, call_profiler_create },
    { "ceilings", sizeof(hopmla_ceilings), valid_ceilings, call_set_ceilings },
    { "note", sizeof(hopmla_launch_note), valid_launch_note, call_launch },
    { "options", sizeof(hopmla_export_options), valid_export_options, call_export_records },
    { "options", sizeof(hopmla_export_options), valid_export_options, call_export_metrics },
    { "ceilings", sizeof(hopmla_ceilings), valid_ceilings, call_export_ceilings },
};
enum {
    INPUTS = sizeof(inputs) / sizeof(inputs[0])
};

/* Each output struct, and the call that fills it. */

static hopmla_status call_describe(void *info, hopmla_error *error)
{
    return hopmla_context_describe(fixture.context, info, error);
}

static hopmla_status call_ceilings(void *ceilings, hopmla_error *error)
{
    return hopmla_measure_ceilings(fixture.context, ceilings, error);
}

static hopmla_status call_load_ceilings(void *ceilings, hopmla_error *error)
{
    return hopmla_load_ceilings(fixture.context, "/dev/null/none", ceilings, error);
}

static hopmla_status call_pool_query_layout(void *layout, hopmla_error *error)
{
    hopmla_pool_options options;
    valid_pool_options(&options);
    return hopmla_pool_query(fixture.context, &options, layout, error);
}

static hopmla_status call_pool_describe(void *layout, hopmla_error *error)
{
    return hopmla_pool_describe(fixture.pool, layout, error);
}

static hopmla_status call_pool_stats(void *stats, hopmla_error *error)
{
    return hopmla_pool_get_stats(fixture.pool, stats, error);
}

static hopmla_status call_seq_describe(void *info, hopmla_error *error)
{
    return hopmla_seq_describe(fixture.pool, fixture.seq, info, error);
}

static hopmla_status call_plan_tables(void *tables, hopmla_error *error)
{
    return hopmla_plan_get_tables(fixture.plan, tables, error);
}

static hopmla_status call_profiler_describe(void *info, hopmla_error *error)
{
    return hopmla_profiler_describe(fixture.profiler, info, error);
}

static hopmla_status call_totals(void *totals, hopmla_error *error)
{
    return hopmla_profiler_get_totals(fixture.profiler, HOPMLA_CALL_DECODE, NULL, totals, error);
}

typedef struct output {
    uint32_t size;
    hopmla_status (*call)(void *made, hopmla_error *error);
    int slow; /* seconds */
} output;

static const output outputs[] = {
    { sizeof(hopmla_context_info), call_describe, 0 },
    { sizeof(hopmla_pool_layout), call_pool_query_layout, 0 },
    { sizeof(hopmla_pool_layout), call_pool_describe, 0 },
    { sizeof(hopmla_pool_stats), call_pool_stats, 0 },
    { sizeof(hopmla_seq_info), call_seq_describe, 0 },
    { sizeof(hopmla_plan_tables), call_plan_tables, 0 },
    { sizeof(hopmla_ceilings), call_ceilings, 1 },
    { sizeof(hopmla_ceilings), call_load_ceilings, 1 },
    { sizeof(hopmla_profiler_info), call_profiler_describe, 0 },
    { sizeof(hopmla_totals), call_totals, 0 },
};
enum {
    OUTPUTS = sizeof(outputs) / sizeof(outputs[0])
};

/* Tests. */

static _Alignas(64) unsigned char room[ROOM];

static void set_size(uint32_t size)
{
    memcpy(room, &size, sizeof(size));
}

static uint32_t get_size(void)
{
    uint32_t size;
    memcpy(&size, room, sizeof(size));
    return size;
}

static void test_inputs_of_another_size(void **state)
{
    (void)state;
    for (int i = 0; i < INPUTS; i++) {
        const uint32_t refused[] = { 0, 4, inputs[i].size - 1, LARGEST + 1, UINT32_MAX };
        for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++) {
            hopmla_error error = HOPMLA_ERROR_INIT;
            memset(room, 0, sizeof(room));
            inputs[i].valid(room);
            set_size(refused[k]);
            assert_int_equal(inputs[i].call(room, &error), HOPMLA_ERROR_STRUCT_SIZE);
            assert_int_equal(error.status, HOPMLA_ERROR_STRUCT_SIZE);
            assert_non_null(strstr(error.message, inputs[i].name));
        }
        const uint32_t accepted[] = { inputs[i].size, inputs[i].size + 4, LARGEST };
        for (size_t k = 0; k < sizeof(accepted) / sizeof(accepted[0]); k++) {
            hopmla_error error = HOPMLA_ERROR_INIT;
            memset(room, 0, sizeof(room));
            inputs[i].valid(room);
            set_size(accepted[k]);
            room[accepted[k]] = 1; /* beyond the caller's struct: not looked at */
            const hopmla_status status = inputs[i].call(room, &error);
            if (status) {
                fail_msg("input %d of %u bytes: %s: %s", i, accepted[k], hopmla_status_name(status), error.message);
            }
        }
    }
}

static void test_inputs_with_an_unknown_field(void **state)
{
    (void)state;
    for (int i = 0; i < INPUTS; i++) {
        for (uint32_t at = inputs[i].size; at < inputs[i].size + TAIL; at++) {
            hopmla_error error = HOPMLA_ERROR_INIT;
            memset(room, 0, sizeof(room));
            inputs[i].valid(room);
            set_size(inputs[i].size + TAIL);
            room[at] = 0x80;
            assert_int_equal(inputs[i].call(room, &error), HOPMLA_ERROR_STRUCT_TAIL);
            assert_non_null(strstr(error.message, inputs[i].name));
        }
    }
}

static void test_outputs_of_another_size(void **state)
{
    (void)state;
    for (int i = 0; i < OUTPUTS; i++) {
        const uint32_t refused[] = { 0, 4, outputs[i].size - 1, LARGEST + 1, UINT32_MAX };
        for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++) {
            hopmla_error error = HOPMLA_ERROR_INIT;
            memset(room, 0xee, sizeof(room));
            set_size(refused[k]);
            assert_int_equal(outputs[i].call(room, &error), HOPMLA_ERROR_STRUCT_SIZE);
            assert_int_equal(get_size(), refused[k]);
            for (uint32_t at = 4; at < outputs[i].size; at++) {
                assert_int_equal(room[at], 0xee);
            }
        }
    }
}

static void test_outputs_keep_the_callers_size_and_clear_what_is_unknown(void **state)
{
    (void)state;
    for (int i = 0; i < OUTPUTS; i++) {
        if (outputs[i].slow && getenv("HOPMLA_TEST_QUICK")) {
            continue;
        }
        for (uint32_t tail = outputs[i].slow ? TAIL : 0; tail <= TAIL; tail += TAIL) {
            memset(room, 0xee, sizeof(room));
            set_size(outputs[i].size + tail);
            assert_int_equal(outputs[i].call(room, NULL), HOPMLA_OK);
            assert_int_equal(get_size(), outputs[i].size + tail);
            for (uint32_t at = outputs[i].size; at < outputs[i].size + tail; at++) {
                assert_int_equal(room[at], 0);
            }
            assert_int_equal(room[outputs[i].size + tail], 0xee);
        }
    }
}

/* The *_init functions against the INIT macros. */

#define INITIALISER(type, macro)                                                                                       \
    static hopmla_status init_##type(void *made, uint64_t size)                                                        \
    {                                                                                                                  \
        return hopmla_##type##_init(made, size);                                                                       \
    }                                                                                                                  \
    static const hopmla_##type defaults_##type = macro

INITIALISER(context_options, HOPMLA_CONTEXT_OPTIONS_INIT);
INITIALISER(pool_options, HOPMLA_POOL_OPTIONS_INIT);
INITIALISER(plan_options, HOPMLA_PLAN_OPTIONS_INIT);
INITIALISER(append_args, HOPMLA_APPEND_ARGS_INIT);
INITIALISER(gather_args, HOPMLA_GATHER_ARGS_INIT);
INITIALISER(decode_args, HOPMLA_DECODE_ARGS_INIT);
INITIALISER(paged_desc, HOPMLA_PAGED_DESC_INIT);
INITIALISER(export_options, HOPMLA_EXPORT_OPTIONS_INIT);
INITIALISER(profiler_options, HOPMLA_PROFILER_OPTIONS_INIT);
INITIALISER(launch_note, HOPMLA_LAUNCH_NOTE_INIT);

typedef struct initialiser {
    hopmla_status (*init)(void *made, uint64_t size);
    const void *defaults;
    uint32_t size;
} initialiser;

#define ENTRY(type)                                                                                                    \
    {                                                                                                                  \
        init_##type, &defaults_##type, sizeof(hopmla_##type)                                                           \
    }
static const initialiser initialisers[] = {
    ENTRY(context_options), ENTRY(pool_options), ENTRY(plan_options),     ENTRY(append_args),    ENTRY(gather_args),
    ENTRY(decode_args),     ENTRY(paged_desc),   ENTRY(profiler_options), ENTRY(export_options), ENTRY(launch_note),
};

static void test_init_functions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(initialisers) / sizeof(initialisers[0]); i++) {
        const initialiser *one = &initialisers[i];
        memset(room, 0xee, sizeof(room));
        assert_int_equal(one->init(NULL, one->size), HOPMLA_ERROR_NULL);
        assert_int_equal(one->init(room, one->size - 1), HOPMLA_ERROR_STRUCT_SIZE);
        assert_int_equal(one->init(room, 0), HOPMLA_ERROR_STRUCT_SIZE);
        assert_int_equal(one->init(room, LARGEST + 1), HOPMLA_ERROR_STRUCT_SIZE);
        assert_int_equal(one->init(room, UINT64_MAX), HOPMLA_ERROR_STRUCT_SIZE);
        assert_int_equal(room[0], 0xee);

        assert_int_equal(one->init(room, one->size), HOPMLA_OK);
        assert_memory_equal(room, one->defaults, one->size);
        assert_int_equal(room[one->size], 0xee);

        memset(room, 0xee, sizeof(room));
        assert_int_equal(one->init(room, one->size + TAIL), HOPMLA_OK);
        assert_int_equal(get_size(), one->size + TAIL);
        assert_memory_equal(room + 4, (const char *)one->defaults + 4, one->size - 4);
        for (uint32_t at = one->size; at < one->size + TAIL; at++) {
            assert_int_equal(room[at], 0);
        }
        assert_int_equal(room[one->size + TAIL], 0xee);
    }
}

/* One open step of one sequence with one token, so that append, gather and decode have something to do. */
static int open_step(void **state)
{
    (void)state;
    hopmla_context_options context_options;
    hopmla_pool_options pool_options;
    hopmla_plan_options plan_options;
    const uint32_t one = 1;
    valid_context_options(&context_options);
    valid_pool_options(&pool_options);
    valid_plan_options(&plan_options);
    return hopmla_context_create(&context_options, &fixture.context, NULL) ||
           hopmla_pool_create(fixture.context, &pool_options, &fixture.pool, NULL) ||
           hopmla_seq_create(fixture.pool, &fixture.seq, 1, NULL) ||
           hopmla_plan_create(fixture.pool, &plan_options, &fixture.plan, NULL) ||
           hopmla_seq_reserve(fixture.pool, &fixture.seq, &one, 1, NULL) ||
           hopmla_plan_update(fixture.plan, &fixture.seq, &one, &one, 1, NULL, NULL) ||
           hopmla_profiler_create(fixture.context, NULL, &fixture.profiler, NULL);
}

static int close_step(void **state)
{
    (void)state;
    hopmla_plan_end(fixture.plan, NULL, NULL);
    hopmla_profiler_destroy(fixture.profiler);
    hopmla_plan_destroy(fixture.plan);
    hopmla_pool_destroy(fixture.pool);
    hopmla_context_destroy(fixture.context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs_of_another_size),
        cmocka_unit_test(test_inputs_with_an_unknown_field),
        cmocka_unit_test(test_outputs_of_another_size),
        cmocka_unit_test(test_outputs_keep_the_callers_size_and_clear_what_is_unknown),
        cmocka_unit_test(test_init_functions),
    };
    return cmocka_run_group_tests(tests, open_step, close_step) ? 1 : 0;
}
