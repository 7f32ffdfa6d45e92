/* SPDX-License-Identifier: Apache-2.0 */
/* The ranges that a tool gets: once with a tool that takes everything, once with one that takes no payloads, once with
 * one that does not listen, once with none. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nvtx_tool.h"
#include "tests/cpu_context.h"
#include "tests/observed.h"

static int listens(void)
{
    const char *tool = getenv("NVTX_TOOL");
    return getenv("NVTX_INJECTION64_PATH") && !(tool && strcmp(tool, "disabled") == 0);
}

static int has_payloads(void)
{
    return listens() && !getenv("NVTX_TOOL");
}

static int set_up(void **state)
{
    observed *o = calloc(1, sizeof(*o));
    observed_create(o, make_context());
    nvtx_tool.n_ranges = 0;
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    observed_destroy(*state);
    free(*state);
    assert_int_equal(nvtx_tool.unbalanced, 0);
    return 0;
}

static void check_range(int at, const char *name, const char *category, int depth)
{
    const nvtx_tool_range *range = &nvtx_tool.ranges[at];
    assert_true(at < nvtx_tool.n_ranges);
    assert_string_equal(range->domain, "hopmla");
    assert_string_equal(range->name, name);
    assert_string_equal(range->category, category);
    assert_int_equal(range->depth, depth);
    assert_int_equal(range->popped, 1);
    assert_int_equal(range->schema != 0, has_payloads());
}

static void check_values(int at, uint32_t layer, uint32_t rows, uint64_t kv_tokens, uint64_t bytes, uint64_t flops)
{
    const nvtx_tool_range *range = &nvtx_tool.ranges[at];
    if (!has_payloads()) {
        return;
    }
    assert_int_equal(nvtx_tool_value(range, "batch"), 2);
    assert_int_equal(nvtx_tool_value(range, "rows"), rows);
    assert_int_equal(nvtx_tool_value(range, "layer"), layer);
    assert_int_equal(nvtx_tool_value(range, "kv tokens"), kv_tokens);
    assert_int_equal(nvtx_tool_value(range, "bytes"), bytes);
    assert_int_equal(nvtx_tool_value(range, "FLOPs"), flops);
    assert_true(nvtx_tool_value(range, "plan") > 0);
}

static const uint64_t decode_bytes = 161 * 1152 + 3 * OBSERVED_HEADS * (1152 + 1024);
static const uint64_t decode_flops = (101 + 60 + 59) * OBSERVED_HEADS * 2 * 1088;

static void make_calls(observed *o)
{
    observed_update(o);
    assert_int_equal(observed_append(o, 1), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 1), HOPMLA_OK);
    assert_int_equal(observed_gather(o, 5), HOPMLA_OK);
    const hopmla_launch_note note = { sizeof(note), 0, 2, 0 };
    assert_int_equal(hopmla_plan_launch_begin(o->plan, &note, o->stream, NULL), HOPMLA_OK);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
    const hopmla_launch_note both = { sizeof(both), 1, 1, 0 };
    assert_int_equal(hopmla_plan_launch_begin(o->plan, &both, o->stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_plan_launch_end(o->plan, 1, o->stream, NULL), HOPMLA_OK);
}

static void test_ranges(void **state)
{
    observed *o = *state;
    make_calls(o);
    if (!listens()) {
        assert_int_equal(nvtx_tool.n_ranges, 0);
        return;
    }
    assert_int_equal(nvtx_tool.n_ranges, 7);
    check_range(0, "update", "plan", 1);
    check_range(1, "append", "append", 1);
    check_range(2, "decode", "decode", 1);
    check_range(3, "gather", "pool", 1);
    check_range(4, "decode", "decode", 1); /* a graph of one kind is called as that kind */
    check_range(5, "decode", "decode", 2);
    check_range(6, "launch", "plan", 1);
    check_values(1, 1, 1, 0, 2 * 1152, 0);
    check_values(2, 1, 3, 161, decode_bytes, decode_flops);
    check_values(3, 0, 5, 0, 5 * 2 * 1152, 0);
    /* A launch counts lse, too. */
    check_values(4, 0, 3, 161, 2 * (decode_bytes + 3 * OBSERVED_HEADS * 4), 2 * decode_flops);
}

/* A failed call's range is closed too, and refused ones open none. */
static void test_failures(void **state)
{
    observed *o = *state;
    observed_update(o);
    const int before = nvtx_tool.n_ranges;
    assert_int_equal(observed_decode(o, OBSERVED_LAYERS), HOPMLA_ERROR_ARGUMENT);
    assert_int_equal(observed_append(o, OBSERVED_LAYERS), HOPMLA_ERROR_ARGUMENT);
    assert_int_equal(nvtx_tool.n_ranges, before);
}

static void *decode_on_a_thread(void *user)
{
    observed_decode(user, 0);
    return NULL;
}

static void test_threads(void **state)
{
    observed *o = *state;
    pthread_t thread;
    observed_update(o);
    assert_int_equal(pthread_create(&thread, NULL, decode_on_a_thread, o), 0);
    pthread_join(thread, NULL);
    if (listens()) {
        assert_int_equal(nvtx_tool.n_ranges, 2);
        assert_int_equal(nvtx_tool.ranges[1].depth, 1);
        assert_int_equal(nvtx_tool.ranges[1].popped, 1);
        assert_false(pthread_equal(nvtx_tool.ranges[1].thread, nvtx_tool.ranges[0].thread));
    }
}

/* Beside a profiler, which says whether somebody listens. */
static void test_with_a_profiler(void **state)
{
    observed *o = *state;
    hopmla_profiler *profiler = observed_profiler(o->context, 0, 0);
    assert_int_equal(observed_info(profiler).nvtx, listens());
    make_calls(o);
    assert_int_equal(nvtx_tool.n_ranges, listens() ? 7 : 0);
    assert_int_equal(observed_info(profiler).recorded, 7);
    hopmla_profiler_destroy(profiler);
    assert_int_equal(observed_decode(o, 0), HOPMLA_OK);
    assert_int_equal(nvtx_tool.n_ranges, listens() ? 8 : 0);
}

/* Once in the process, however many contexts there are. */
static void test_one_domain(void **state)
{
    (void)state;
    hopmla_context_destroy(make_context());
    const int attached = getenv("NVTX_INJECTION64_PATH") != NULL;
    assert_int_equal(nvtx_tool.attached, attached);
    assert_int_equal(nvtx_tool.domains, attached);
    assert_int_equal(nvtx_tool.strings, listens() ? 5 : 0);
    assert_int_equal(nvtx_tool.schemas, has_payloads());
    if (has_payloads()) {
        assert_string_equal(nvtx_tool.schema_name, "hopmla call");
        assert_int_equal(nvtx_tool.n_columns, 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ranges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_with_a_profiler, set_up, tear_down),
        cmocka_unit_test(test_one_domain),
    };
    return cmocka_run_group_tests_name("NVTX ranges", tests, NULL, NULL) ? 1 : 0;
}
