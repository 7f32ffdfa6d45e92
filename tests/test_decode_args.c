/* SPDX-License-Identifier: Apache-2.0 */
/* How the arguments of a decode are checked and turned into what backends take; hopmla_decode and hopmla_decode_paged
 * share it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/decode_args.h"

enum {
    BATCH = 2,
    Q_TOKENS = 3,
    HEADS = 4,
    ROWS = BATCH * Q_TOKENS,
    LAYERS = 8
};

static const hm_envelope envelope = {
    .max_batch = BATCH, .max_q_tokens = Q_TOKENS, .heads = HEADS, .format = HOPMLA_KV_BF16
};

/* Nothing is read through these. */
static _Alignas(16) char memory[2048];
static char *const q = memory;
static char *const rope = memory + 1040;
static char *const out = memory + 1056;
static char *const lse = memory + 1072;

static hopmla_decode_args valid(void)
{
    hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    args.rows = ROWS;
    args.layer = 7;
    args.softmax_scale = 0.5f;
    return args;
}

static void check(const hopmla_decode_args *args, const void *q_rope, hopmla_status expected, const char *words)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hm_decode made;
    hm_decode before;
    memset(&made, 0x77, sizeof(made));
    memcpy(&before, &made, sizeof(made));
    const hopmla_status status = hm_decode_args_read(args, &envelope, LAYERS, q, q_rope, out, lse, &made, &error);
    if (status != expected || (expected && (error.status != expected || !strstr(error.message, words)))) {
        fail_msg("expected %s with \"%s\", got %s: %s", hopmla_status_name(expected), words, hopmla_status_name(status),
                 error.message);
    }
    assert_int_equal(status != HOPMLA_OK, memcmp(&made, &before, sizeof(made)) == 0);
}

static void test_packed_strides(void **state)
{
    (void)state;
    hopmla_decode_args args = valid();
    hm_decode made;
    assert_int_equal(hm_decode_args_read(&args, &envelope, LAYERS, q, NULL, out, lse, &made, NULL), HOPMLA_OK);
    assert_ptr_equal(made.q, q);
    assert_ptr_equal(made.q_rope, q + 1024);
    assert_ptr_equal(made.out, out);
    assert_ptr_equal(made.lse, lse);
    assert_int_equal(made.q_token_stride, HEADS * 576);
    assert_int_equal(made.q_head_stride, 576);
    assert_int_equal(made.qr_token_stride, HEADS * 576);
    assert_int_equal(made.qr_head_stride, 576);
    assert_int_equal(made.out_token_stride, HEADS * 512);
    assert_int_equal(made.out_head_stride, 512);
    assert_int_equal(made.lse_token_stride, HEADS);
    assert_int_equal(made.lse_head_stride, 1);
    assert_int_equal(made.layer, 7);
    assert_int_equal(made.rows, ROWS);
    assert_true(made.softmax_scale == 0.5f);

    args.q_head_stride = 1024;
    assert_int_equal(hm_decode_args_read(&args, &envelope, 0, q, rope, out, NULL, &made, NULL), HOPMLA_OK);
    assert_ptr_equal(made.q_rope, rope);
    assert_int_equal(made.q_token_stride, HEADS * 512);
    assert_int_equal(made.q_head_stride, 1024);
    assert_int_equal(made.qr_token_stride, HEADS * 64);
    assert_int_equal(made.qr_head_stride, 64);
    assert_int_equal(made.layer, 0);
    assert_null(made.lse);
}

/* Without a rope part q has none, and nothing may say that it has. */
static void test_no_rope(void **state)
{
    (void)state;
    hm_envelope nope = envelope;
    hopmla_error error = HOPMLA_ERROR_INIT;
    hm_decode made;
    for (nope.format = HOPMLA_KV_BF16_NOPE; nope.format <= HOPMLA_KV_FP16_NOPE; nope.format++) {
        hopmla_decode_args args = valid();
        memset(&made, 0x77, sizeof(made));
#define READ(rope) hm_decode_args_read(&args, &nope, LAYERS, q, rope, out, lse, &made, &error)
        assert_int_equal(READ(NULL), HOPMLA_OK);
        assert_ptr_equal(made.q, q);
        assert_null(made.q_rope);
        assert_int_equal(made.q_token_stride, HEADS * 512);
        assert_int_equal(made.q_head_stride, 512);
        assert_int_equal(made.qr_token_stride, 0);
        assert_int_equal(made.qr_head_stride, 0);
        assert_int_equal(made.out_head_stride, 512);
        args.q_head_stride = 1024;
        args.q_token_stride = HEADS * 1024;
        assert_int_equal(READ(NULL), HOPMLA_OK);
        assert_int_equal(made.q_token_stride, HEADS * 1024);
        for (args.rows = 0; args.rows <= ROWS; args.rows += ROWS) {
            const hm_decode before = made;
            assert_int_equal(READ(rope), HOPMLA_ERROR_ARGUMENT);
            assert_string_equal(error.message, "q_rope is set, but the cache's format has no rope part");
            args.qr_token_stride = 64;
            assert_int_equal(READ(NULL), HOPMLA_ERROR_ARGUMENT);
            assert_non_null(strstr(error.message, "args.qr_token_stride is set"));
            args.qr_token_stride = 0;
            args.qr_head_stride = -64;
            assert_int_equal(READ(NULL), HOPMLA_ERROR_ARGUMENT);
            assert_non_null(strstr(error.message, "args.qr_head_stride is set"));
            args.qr_head_stride = 0;
            assert_memory_equal(&made, &before, sizeof(made));
        }
#undef READ
    }
}

static void test_numbers(void **state)
{
    (void)state;
    hopmla_decode_args args = valid();
    args.layer = LAYERS;
    check(&args, NULL, HOPMLA_ERROR_ARGUMENT, "args.layer is 8, must be less than 8");
    args = valid();
    args.rows = ROWS + 1;
    check(&args, NULL, HOPMLA_ERROR_ENVELOPE, "args.rows is 7, must be at most 6");
    args.rows = UINT32_MAX;
    check(&args, NULL, HOPMLA_ERROR_ENVELOPE, "args.rows");
    const float scales[] = { 0.0f, -0.0f, -1.0f, INFINITY, -INFINITY, NAN };
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        args = valid();
        args.softmax_scale = scales[i];
        check(&args, NULL, HOPMLA_ERROR_ARGUMENT, "args.softmax_scale");
    }
}

static void test_bad_strides(void **state)
{
    (void)state;
    static const struct {
        size_t field;
        const char *name;
        int aligned;
    } strides[] = {
#define STRIDE(field, aligned) { offsetof(hopmla_decode_args, field), "args." #field, aligned }
        STRIDE(q_token_stride, 1),   STRIDE(q_head_stride, 1),    STRIDE(qr_token_stride, 1),
        STRIDE(qr_head_stride, 1),   STRIDE(out_token_stride, 1), STRIDE(out_head_stride, 1),
        STRIDE(lse_token_stride, 0), STRIDE(lse_head_stride, 0),
    };
    for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
        const int64_t bad[] = { -1, -8, INT64_MIN, INT64_MAX - 7, INT64_C(1) << 46, 4 };
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
            const int misaligned = bad[k] == 4;
            if (misaligned && !strides[i].aligned) {
                continue;
            }
            hopmla_decode_args args = valid();
            memcpy((char *)&args + strides[i].field, &bad[k], sizeof(bad[k]));
            check(&args, rope, misaligned ? HOPMLA_ERROR_ALIGNMENT : HOPMLA_ERROR_ARGUMENT, strides[i].name);
        }
    }
}

static void test_views(void **state)
{
    (void)state;
    /* Heads outside: [heads, rows, 512]. */
    hopmla_decode_args args = valid();
    args.q_token_stride = 576;
    args.q_head_stride = ROWS * 576;
    args.out_token_stride = 512;
    args.out_head_stride = ROWS * 512;
    args.lse_token_stride = 1;
    args.lse_head_stride = ROWS;
    check(&args, NULL, HOPMLA_OK, "");
    /* Padded. */
    args = valid();
    args.q_token_stride = 2 * HEADS * 576;
    args.out_head_stride = 2 * 512;
    args.out_token_stride = 2 * HEADS * 512;
    args.lse_head_stride = 2;
    args.lse_token_stride = 2 * HEADS;
    check(&args, NULL, HOPMLA_OK, "");
    /* The largest that fits: the last element ends at 2^47 bytes. */
    args = valid();
    args.q_token_stride = ((INT64_C(1) << 46) - HEADS * 576) / (ROWS - 1) / 8 * 8;
    check(&args, NULL, HOPMLA_OK, "");
    args.q_token_stride += 8;
    check(&args, NULL, HOPMLA_ERROR_ARGUMENT, "args.q_token_stride");
}

static void test_outputs_must_not_overlap(void **state)
{
    (void)state;
    hopmla_decode_args args = valid();
    args.q_token_stride = 8; /* inputs may */
    check(&args, NULL, HOPMLA_OK, "");
    args.out_token_stride = 512;
    check(&args, NULL, HOPMLA_ERROR_ARGUMENT, "args.out_token_stride 512 and args.out_head_stride 512 make rows");
    args = valid();
    args.out_head_stride = 512 - 8;
    check(&args, NULL, HOPMLA_ERROR_ARGUMENT, "args.out_head_stride 504");
    args = valid();
    args.lse_token_stride = HEADS - 1;
    check(&args, NULL, HOPMLA_ERROR_ARGUMENT, "args.lse_token_stride 3");
    hm_decode made;
    assert_int_equal(hm_decode_args_read(&args, &envelope, 0, q, NULL, out, NULL, &made, NULL), HOPMLA_OK);
}

static void test_pointers(void **state)
{
    (void)state;
    const hopmla_decode_args args = valid();
    hopmla_error error = HOPMLA_ERROR_INIT;
    hm_decode made;
#define READ(q, rope, out, lse) hm_decode_args_read(&args, &envelope, 0, q, rope, out, lse, &made, &error)
    assert_int_equal(READ(NULL, NULL, out, lse), HOPMLA_ERROR_NULL);
    assert_string_equal(error.message, "q is NULL");
    assert_int_equal(READ(q, NULL, NULL, lse), HOPMLA_ERROR_NULL);
    assert_string_equal(error.message, "out is NULL");
    assert_int_equal(READ(q + 8, NULL, out, lse), HOPMLA_ERROR_ALIGNMENT);
    assert_int_equal(strncmp(error.message, "q is 0x", 7), 0);
    assert_int_equal(READ(q, rope + 2, out, lse), HOPMLA_ERROR_ALIGNMENT);
    assert_int_equal(strncmp(error.message, "q_rope is 0x", 12), 0);
    assert_int_equal(READ(q, rope, out + 4, lse), HOPMLA_ERROR_ALIGNMENT);
    assert_int_equal(strncmp(error.message, "out is 0x", 9), 0);
    assert_int_equal(READ(q, rope, out, lse + 2), HOPMLA_ERROR_ALIGNMENT);
    assert_int_equal(strncmp(error.message, "lse is 0x", 9), 0);
    assert_int_equal(READ(q, rope, out, lse + 4), HOPMLA_OK);
#undef READ
    assert_int_equal(hm_decode_args_read(NULL, &envelope, 0, q, NULL, out, lse, &made, &error), HOPMLA_ERROR_NULL);
    assert_string_equal(error.message, "args is NULL");
}

/* A step that only appends may call decode all the same. */
static void test_no_rows(void **state)
{
    (void)state;
    hopmla_decode_args args = valid();
    hm_decode made;
    args.rows = 0;
    assert_int_equal(hm_decode_args_read(&args, &envelope, LAYERS, NULL, NULL, NULL, NULL, &made, NULL), HOPMLA_OK);
    assert_int_equal(made.rows, 0);
    assert_null(made.q_rope);
    args.q_token_stride = -8;
    check(&args, NULL, HOPMLA_ERROR_ARGUMENT, "args.q_token_stride");
}

static void test_overlap(void **state)
{
    (void)state;
    assert_false(hm_strides_overlap(0, 0, 5, 0, 9));
    assert_false(hm_strides_overlap(1, 0, 1, 0, 9));
    assert_false(hm_strides_overlap(1, 0, 4, 9, 9));
    assert_true(hm_strides_overlap(1, 0, 4, 8, 9));
    assert_false(hm_strides_overlap(4, 9, 1, 0, 9));
    assert_true(hm_strides_overlap(4, 8, 1, 0, 9));
    assert_false(hm_strides_overlap(3, 36, 4, 9, 9));
    assert_true(hm_strides_overlap(3, 35, 4, 9, 9));
    assert_false(hm_strides_overlap(3, 9, 4, 27, 9));
    assert_true(hm_strides_overlap(3, 9, 4, 26, 9));
    assert_true(hm_strides_overlap(3, 9, 4, 9, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_strides), cmocka_unit_test(test_no_rope),
        cmocka_unit_test(test_numbers),        cmocka_unit_test(test_bad_strides),
        cmocka_unit_test(test_views),          cmocka_unit_test(test_outputs_must_not_overlap),
        cmocka_unit_test(test_pointers),       cmocka_unit_test(test_no_rows),
        cmocka_unit_test(test_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
