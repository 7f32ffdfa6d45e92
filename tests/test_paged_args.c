/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input of the raw entry: each argument with its status and a message that names it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"

enum {
    BATCH = 2,
    HEADS = 4,
    PAGES = 3,
    ROW = HOPMLA_QK_DIM,
    CANARY = 0x77
};

/* A valid call; each test spoils one thing of it. */
typedef struct call {
    hopmla_context *context;
    hopmla_paged_desc desc;
    hopmla_decode_args args;
    const void *latent;
    const void *rope;
    const void *block_table;
    const void *kv_lens;
    const void *q_lens;
    const void *q;
    const void *q_rope;
    void *out;
    void *lse;
    void *workspace;
    uint64_t workspace_bytes;
    hopmla_stream stream;
} call;

static hopmla_context *context;
static void *workspace;
static uint64_t workspace_bytes;

static _Alignas(64) uint16_t cache[PAGES * HOPMLA_PAGE_TOKENS * ROW];
static _Alignas(64) uint16_t q[BATCH * HEADS * ROW];
static _Alignas(64) uint16_t out[BATCH * HEADS * HOPMLA_LATENT_DIM];
static _Alignas(64) float lse[BATCH * HEADS + 1];
static const int32_t kv_lens[BATCH] = { 70, 5 };
static const int32_t no_tokens[BATCH] = { 0, 0 };
static const int32_t q_lens[BATCH] = { 1, 1 };
static const int32_t block_table[BATCH * 2] = { 0, 1, 2, INT32_MAX };

static call valid(void)
{
    call made = {
        .context = context,
        .desc = HOPMLA_PAGED_DESC_INIT,
        .args = HOPMLA_DECODE_ARGS_INIT,
        .latent = cache,
        .block_table = block_table,
        .kv_lens = kv_lens,
        .q_lens = q_lens,
        .q = q,
        .out = out,
        .lse = lse,
        .workspace = workspace,
        .workspace_bytes = workspace_bytes,
    };
    made.desc.format = HOPMLA_KV_BF16;
    made.desc.batch = BATCH;
    made.desc.heads = HEADS;
    made.desc.max_kv_tokens = 128;
    made.desc.pages = PAGES;
    made.desc.table_stride = 2;
    made.args.rows = BATCH;
    made.args.softmax_scale = 0.07f;
    return made;
}

static hopmla_status query(const call *c, hopmla_error *error)
{
    uint64_t bytes = CANARY;
    const hopmla_status status = hopmla_decode_paged_workspace(c->context, &c->desc, &bytes, error);
    assert_int_equal(status != HOPMLA_OK, bytes == CANARY);
    return status;
}

static hopmla_status prepare(const call *c, hopmla_error *error)
{
    return hopmla_decode_paged_prepare(c->context, &c->desc, c->kv_lens, c->q_lens, c->workspace, c->workspace_bytes,
                                       c->stream, error);
}

static hopmla_status decode(const call *c, hopmla_error *error)
{
    return hopmla_decode_paged(c->context, &c->desc, &c->args, c->latent, c->rope, c->block_table, c->q, c->q_rope,
                               c->out, c->lse, c->workspace, c->workspace_bytes, c->stream, error);
}

typedef hopmla_status (*entry)(const call *c, hopmla_error *error);

static void check(entry function, const call *c, hopmla_status expected, const char *words)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const hopmla_status status = function(c, &error);
    if (status != expected || (expected && (error.status != expected || !strstr(error.message, words)))) {
        fail_msg("expected %s with \"%s\", got %s: %s", hopmla_status_name(expected), words, hopmla_status_name(status),
                 error.message);
    }
    assert_int_equal(function(c, NULL), expected);
}

static void check_all(const call *c, hopmla_status expected, const char *words)
{
    check(query, c, expected, words);
    check(prepare, c, expected, words);
    check(decode, c, expected, words);
}

static void test_valid(void **state)
{
    (void)state;
    call c = valid();
    check_all(&c, HOPMLA_OK, "");
    c.q_lens = NULL;
    c.lse = NULL;
    check_all(&c, HOPMLA_OK, "");
    c.desc.format = HOPMLA_KV_FP16;
    c.desc.lse = HOPMLA_LSE_BASE2;
    check_all(&c, HOPMLA_OK, "");
    uint32_t word = CANARY;
    assert_int_equal(hopmla_decode_paged_errors(context, workspace, &word, NULL, NULL), HOPMLA_OK);
    assert_int_equal(word, 0);
}

/* The description. */

#define SPOIL(field, value, status, words)                                                                             \
    do {                                                                                                               \
        call c = valid();                                                                                              \
        c.field = value;                                                                                               \
        check_all(&c, status, words);                                                                                  \
    } while (0)

static void test_description(void **state)
{
    (void)state;
    const hopmla_status argument = HOPMLA_ERROR_ARGUMENT;
    SPOIL(context, NULL, HOPMLA_ERROR_NULL, "context");
    SPOIL(desc.struct_size, 8, HOPMLA_ERROR_STRUCT_SIZE, "desc.struct_size is 8");
    SPOIL(desc.format, 0, HOPMLA_ERROR_ENUM, "desc.format is 0");
    SPOIL(desc.format, 5, HOPMLA_ERROR_ENUM, "desc.format is 5");
    SPOIL(desc.lse, -1, HOPMLA_ERROR_ENUM, "desc.lse is -1");
    SPOIL(desc.lse, 3, HOPMLA_ERROR_ENUM, "desc.lse is 3");
    SPOIL(desc.batch, 0, argument, "desc.batch is 0, must be 1 … 65535");
    SPOIL(desc.batch, 65536, argument, "desc.batch is 65536");
    SPOIL(desc.max_q_tokens, 0, argument, "desc.max_q_tokens is 0");
    SPOIL(desc.max_q_tokens, 1025, argument, "desc.max_q_tokens is 1025");
    SPOIL(desc.max_kv_tokens, 0, argument, "desc.max_kv_tokens is 0");
    SPOIL(desc.max_kv_tokens, (1u << 20) + 1, argument, "desc.max_kv_tokens is 1048577");
    SPOIL(desc.max_kv_tokens, UINT64_MAX, argument, "desc.max_kv_tokens");
    SPOIL(desc.heads, 0, argument, "desc.heads is 0");
    SPOIL(desc.heads, 257, argument, "desc.heads is 257");
    SPOIL(desc.page_tokens, 16, argument, "desc.page_tokens is 16");
    SPOIL(desc.pages, 0, argument, "desc.pages is 0");
    SPOIL(desc.pages, UINT64_C(1) << 31, argument, "desc.pages is 2147483648");
    SPOIL(desc.table_stride, 1, argument, "desc.table_stride is 1, must be at least 2");
    SPOIL(desc.table_stride, UINT64_C(1) << 46, HOPMLA_ERROR_OVERFLOW, "desc.table_stride");
    SPOIL(desc.table_stride, UINT64_MAX, HOPMLA_ERROR_OVERFLOW, "desc.table_stride");
}

static void test_description_is_null(void **state)
{
    (void)state;
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint64_t bytes;
    const call c = valid();
    assert_int_equal(hopmla_decode_paged_workspace(context, NULL, &bytes, &error), HOPMLA_ERROR_NULL);
    assert_string_equal(error.message, "desc is NULL");
    assert_int_equal(hopmla_decode_paged_workspace(context, &c.desc, NULL, &error), HOPMLA_ERROR_NULL);
    assert_string_equal(error.message, "bytes is NULL");
    assert_int_equal(
        hopmla_decode_paged_prepare(context, NULL, kv_lens, NULL, workspace, workspace_bytes, NULL, &error),
        HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_decode_paged(context, NULL, &c.args, cache, NULL, block_table, q, NULL, out, lse, workspace,
                                         workspace_bytes, NULL, &error),
                     HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_decode_paged(context, &c.desc, NULL, cache, NULL, block_table, q, NULL, out, lse, workspace,
                                         workspace_bytes, NULL, &error),
                     HOPMLA_ERROR_NULL);
    assert_string_equal(error.message, "args is NULL");
}

#undef SPOIL
#define SPOIL(function, field, value, status, words)                                                                   \
    do {                                                                                                               \
        call c = valid();                                                                                              \
        c.field = value;                                                                                               \
        check(function, &c, status, words);                                                                            \
    } while (0)

static void *plus(const void *address, int bytes)
{
    return (char *)(uintptr_t)address + bytes;
}

static void test_pointers(void **state)
{
    (void)state;
    const hopmla_status null = HOPMLA_ERROR_NULL;
    const hopmla_status alignment = HOPMLA_ERROR_ALIGNMENT;
    SPOIL(prepare, kv_lens, NULL, null, "kv_lens is NULL");
    SPOIL(prepare, kv_lens, plus(kv_lens, 2), alignment, "kv_lens");
    SPOIL(prepare, q_lens, plus(q_lens, 1), alignment, "q_lens");
    SPOIL(prepare, workspace, NULL, null, "workspace is NULL");
    SPOIL(prepare, workspace, plus(workspace, 512), alignment, "workspace");
    SPOIL(prepare, workspace_bytes, workspace_bytes - 1, HOPMLA_ERROR_ARGUMENT, "workspace_bytes");
    SPOIL(prepare, workspace_bytes, 0, HOPMLA_ERROR_ARGUMENT, "workspace_bytes is 0");
    SPOIL(decode, workspace, NULL, null, "workspace is NULL");
    SPOIL(decode, workspace, plus(workspace, 512), alignment, "workspace");
    SPOIL(decode, workspace_bytes, workspace_bytes - 1, HOPMLA_ERROR_ARGUMENT, "workspace_bytes");
    SPOIL(decode, latent, NULL, null, "latent is NULL");
    SPOIL(decode, latent, plus(cache, 8), alignment, "latent");
    SPOIL(decode, rope, plus(cache, 8), alignment, "rope");
    SPOIL(decode, block_table, NULL, null, "block_table is NULL");
    SPOIL(decode, block_table, plus(block_table, 2), alignment, "block_table");
    SPOIL(decode, q, NULL, null, "q is NULL");
    SPOIL(decode, q, plus(q, 8), alignment, "q is 0x");
    SPOIL(decode, q_rope, plus(q, 2), alignment, "q_rope is 0x");
    SPOIL(decode, out, NULL, null, "out is NULL");
    SPOIL(decode, out, plus(out, 4), alignment, "out is 0x");
    SPOIL(decode, lse, plus(lse, 2), alignment, "lse is 0x");
    SPOIL(decode, lse, plus(lse, 4), HOPMLA_OK, "");
}

static void test_streams(void **state)
{
    (void)state;
    char word[8] = { 0 };
    uint32_t errors = CANARY;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_stream none = (hopmla_stream)(void *)word;
    SPOIL(prepare, stream, none, HOPMLA_ERROR_MISMATCH, "stream");
    SPOIL(decode, stream, none, HOPMLA_ERROR_MISMATCH, "stream");
    assert_int_equal(hopmla_decode_paged_errors(context, workspace, &errors, none, &error), HOPMLA_ERROR_MISMATCH);

    assert_int_equal(hopmla_decode_paged_errors(NULL, workspace, &errors, NULL, &error), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_decode_paged_errors(context, NULL, &errors, NULL, &error), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_decode_paged_errors(context, workspace, NULL, NULL, &error), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_decode_paged_errors(context, plus(workspace, 4), &errors, NULL, &error),
                     HOPMLA_ERROR_ALIGNMENT);

    hopmla_stream stream = NULL;
    hopmla_graph graph = NULL;
    assert_int_equal(hopmla_stream_create(context, &stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_graph_begin(context, stream, NULL), HOPMLA_OK);
    SPOIL(prepare, stream, stream, HOPMLA_OK, "");
    SPOIL(decode, stream, stream, HOPMLA_OK, "");
    assert_int_equal(hopmla_decode_paged_errors(context, workspace, &errors, stream, &error), HOPMLA_ERROR_CAPTURE);
    assert_int_equal(hopmla_graph_end(context, stream, &graph, NULL), HOPMLA_OK);
    assert_int_equal(errors, CANARY);
    assert_int_equal(hopmla_graph_launch(context, graph, stream, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_decode_paged_errors(context, workspace, &errors, stream, NULL), HOPMLA_OK);
    assert_int_equal(errors, 0);
    hopmla_graph_destroy(context, graph);
    hopmla_stream_destroy(context, stream);
}

/* The cache's strides. */

static void test_cache_strides(void **state)
{
    (void)state;
    const hopmla_status argument = HOPMLA_ERROR_ARGUMENT;
    const hopmla_status alignment = HOPMLA_ERROR_ALIGNMENT;
    SPOIL(decode, desc.latent_row_stride, 1152 + 8, alignment, "desc.latent_row_stride is 1160");
    SPOIL(decode, desc.latent_page_stride, 64 * 1152 + 2, alignment, "desc.latent_page_stride");
    SPOIL(decode, desc.latent_row_stride, 1024, argument, "make rows of 1152 bytes overlap");
    SPOIL(decode, desc.latent_page_stride, 1024, argument, "overlap");
    SPOIL(decode, desc.latent_page_stride, 63 * 1152, argument, "overlap");
    SPOIL(decode, desc.latent_row_stride, UINT64_C(1) << 40, argument, "desc.latent_row_stride");
    SPOIL(decode, desc.latent_row_stride, UINT64_MAX - 15, argument, "desc.latent_row_stride");
    SPOIL(decode, desc.latent_page_stride, UINT64_C(1) << 63, argument, "desc.latent_page_stride");

    call c = valid();
    c.kv_lens = no_tokens; /* so that no page is read */
    c.desc.latent_page_stride = (UINT64_C(1) << 40) - 16;
    check(prepare, &c, HOPMLA_OK, "");
    check(decode, &c, HOPMLA_OK, "");
    c = valid();
    check(prepare, &c, HOPMLA_OK, "");
    c.desc.pages = INT32_MAX;
    c.desc.latent_page_stride = 1 << 20;
    check(decode, &c, argument, "2^47");
    c.desc.pages = 1;
    c.desc.latent_page_stride = 16; /* of no consequence with one page */
    check(decode, &c, HOPMLA_OK, "");

    /* Rope in an array of its own, or in the same rows. */
    c = valid();
    c.rope = cache + HOPMLA_LATENT_DIM;
    c.desc.latent_row_stride = 1152;
    c.desc.rope_row_stride = 1152;
    check(decode, &c, HOPMLA_OK, "");
    c.desc.rope_row_stride = 112;
    check(decode, &c, argument,
          "desc.rope_page_stride 7168 and desc.rope_row_stride 112 make rows of 128 bytes overlap");
    c.desc.rope_row_stride = 136;
    check(decode, &c, alignment, "desc.rope_row_stride is 136");
    c.desc.rope_row_stride = 0;
    c.desc.rope_page_stride = 24;
    check(decode, &c, alignment, "desc.rope_page_stride is 24");

    /* Tokens outside, pages inside. */
    c = valid();
    c.desc.latent_page_stride = 1152;
    c.desc.latent_row_stride = PAGES * 1152;
    check(decode, &c, HOPMLA_OK, "");
}

/* Without a rope part there is no array of it, and rows are of 1024 bytes. */
static void test_no_rope(void **state)
{
    (void)state;
    for (int32_t format = HOPMLA_KV_BF16_NOPE; format <= HOPMLA_KV_FP16_NOPE; format++) {
        call c = valid();
        c.desc.format = format;
        check_all(&c, HOPMLA_OK, "");
        c.desc.latent_row_stride = 1024;
        c.desc.latent_page_stride = 64 * 1024;
        c.desc.rope_row_stride = 7; /* of no consequence, as always without an array */
        check_all(&c, HOPMLA_OK, "");
        c.desc.latent_row_stride = 1008;
        check(decode, &c, HOPMLA_ERROR_ARGUMENT, "make rows of 1024 bytes overlap");
        c = valid();
        c.desc.format = format;
        c.rope = cache;
        check(decode, &c, HOPMLA_ERROR_ARGUMENT, "rope is set, but desc.format has no rope part");
        c.rope = NULL;
        c.q_rope = q;
        check(decode, &c, HOPMLA_ERROR_ARGUMENT, "q_rope is set");
        c.q_rope = NULL;
        c.args.qr_token_stride = 64;
        check(decode, &c, HOPMLA_ERROR_ARGUMENT, "args.qr_token_stride is set");
    }
}

/* test_decode_args.c has the rest. */
static void test_decode_args_are_read(void **state)
{
    (void)state;
    SPOIL(decode, args.struct_size, 12, HOPMLA_ERROR_STRUCT_SIZE, "args.struct_size is 12");
    SPOIL(decode, args.rows, BATCH + 1, HOPMLA_ERROR_ENVELOPE, "args.rows is 3, must be at most 2");
    SPOIL(decode, args.rows, UINT32_MAX, HOPMLA_ERROR_ENVELOPE, "args.rows");
    SPOIL(decode, args.softmax_scale, 0.0f, HOPMLA_ERROR_ARGUMENT, "args.softmax_scale");
    SPOIL(decode, args.q_token_stride, -8, HOPMLA_ERROR_ARGUMENT, "args.q_token_stride");
    SPOIL(decode, args.layer, UINT32_MAX, HOPMLA_OK, ""); /* ignored */

    call c = valid();
    c.args.rows = 0;
    c.q = NULL;
    c.out = NULL;
    check(decode, &c, HOPMLA_OK, "");
}

/* Nothing is written by a call that fails. */
static void test_failure_writes_nothing(void **state)
{
    (void)state;
    call c = valid();
    memset(out, CANARY, sizeof(out));
    memset(lse, CANARY, sizeof(lse));
    c.desc.heads = HEADS + 300;
    check(decode, &c, HOPMLA_ERROR_ARGUMENT, "desc.heads");
    for (size_t i = 0; i < sizeof(out); i++) {
        assert_int_equal(((const unsigned char *)out)[i], CANARY);
    }
    for (size_t i = 0; i < sizeof(lse); i++) {
        assert_int_equal(((const unsigned char *)lse)[i], CANARY);
    }
}

static int open_context(void **state)
{
    (void)state;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 2;
    if (hopmla_context_create(&options, &context, NULL)) {
        return -1;
    }
    const call c = valid();
    void *memory = NULL;
    if (hopmla_decode_paged_workspace(context, &c.desc, &workspace_bytes, NULL) ||
        posix_memalign(&memory, 1024, (size_t)workspace_bytes)) {
        return -1;
    }
    workspace = memory;
    return hopmla_decode_paged_prepare(context, &c.desc, kv_lens, NULL, workspace, workspace_bytes, NULL, NULL);
}

static int close_context(void **state)
{
    (void)state;
    free(workspace);
    hopmla_context_destroy(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_description_is_null),
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_cache_strides),
        cmocka_unit_test(test_no_rope),
        cmocka_unit_test(test_decode_args_are_read),
        cmocka_unit_test(test_failure_writes_nothing),
    };
    return cmocka_run_group_tests(tests, open_context, close_context) ? 1 : 0;
}
