/* SPDX-License-Identifier: Apache-2.0 */
/* A stranger's program, as C11 and as C++17: decodes one row through a pool. It serves three times: as a program, as a
 * plugin (PLUGIN: only the function), and with the layout of every public struct asserted (layout.h is made from
 * layout.tsv). */
#include <hopmla/hopmla.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "layout.h"

enum {
    TOKENS = 70,
    HEADS = 2
};

static uint16_t rows[TOKENS * HOPMLA_QK_DIM] __attribute__((aligned(16)));
static uint16_t q[HEADS * HOPMLA_QK_DIM] __attribute__((aligned(16)));
static uint16_t out[HEADS * HOPMLA_LATENT_DIM] __attribute__((aligned(16)));

static hopmla_status fail(const char *what, hopmla_status status, const hopmla_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->message);
    return status;
}

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        const hopmla_status status = (call);                                                                           \
        if (status != HOPMLA_OK) {                                                                                     \
            return fail(#call, status, &error);                                                                        \
        }                                                                                                              \
    } while (0)

#ifdef __cplusplus
extern "C"
#endif
    __attribute__((visibility("default"))) int
    decode_once(void);

int decode_once(void)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_context_options context_options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options pool_options = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plan_options = HOPMLA_PLAN_OPTIONS_INIT;
    hopmla_append_args append = HOPMLA_APPEND_ARGS_INIT;
    hopmla_decode_args decode = HOPMLA_DECODE_ARGS_INIT;
    hopmla_context *context = NULL;
    hopmla_pool *pool = NULL;
    hopmla_plan *plan = NULL;
    hopmla_seq seq = 0;
    const uint32_t tokens = TOKENS, queries = 1;

    for (int i = 0; i < TOKENS * HOPMLA_QK_DIM; i++) {
        rows[i] = 0x3f00; /* 0.5 */
    }
    memset(out, 0xff, sizeof(out));
    context_options.backend = HOPMLA_BACKEND_CPU;
    context_options.cpu_threads = 2;
    TRY(hopmla_context_create(&context_options, &context, &error));
    pool_options.format = HOPMLA_KV_BF16;
    pool_options.layers = 1;
    pool_options.pages = 4;
    TRY(hopmla_pool_create(context, &pool_options, &pool, &error));
    plan_options.max_batch = 1;
    plan_options.heads = HEADS;
    plan_options.max_kv_tokens = 128;
    TRY(hopmla_plan_create(pool, &plan_options, &plan, &error));
    TRY(hopmla_seq_create(pool, &seq, 1, &error));
    TRY(hopmla_seq_reserve(pool, &seq, &tokens, 1, &error));
    TRY(hopmla_plan_update(plan, &seq, &tokens, &queries, 1, NULL, &error));
    append.tokens = tokens;
    append.latent_stride = append.rope_stride = HOPMLA_QK_DIM;
    TRY(hopmla_append(plan, &append, rows, rows + HOPMLA_LATENT_DIM, NULL, &error));
    decode.rows = 1;
    decode.softmax_scale = 0.1352f;
    TRY(hopmla_decode(plan, &decode, q, NULL, out, NULL, NULL, &error));
    TRY(hopmla_plan_end(plan, NULL, &error));
    hopmla_context_destroy(context); /* in any order */
    hopmla_plan_destroy(plan);
    hopmla_pool_destroy(pool);
    for (int i = 0; i < HEADS * HOPMLA_LATENT_DIM; i++) {
        if (out[i] != 0x3f00) {
            fprintf(stderr, "value %d is %#x\n", i, (unsigned)out[i]);
            return 1;
        }
    }
    return 0;
}

#ifndef PLUGIN
int main(void)
{
    if (hopmla_abi_version() != HOPMLA_ABI_VERSION) {
        fprintf(stderr, "header and library differ\n");
        return 1;
    }
    return decode_once();
}
#endif
