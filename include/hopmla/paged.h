/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_PAGED_H
#define HOPMLA_PAGED_H

#include "plan.h"

/** @file
 * The raw entry: the same decode over the caller's own pages, tables and lengths, without a pool. */

#ifdef __cplusplus
extern "C" {
#endif

/** The caller's cache and batch. Everything but sizes lives on the device. */
typedef struct hopmla_paged_desc {
    uint32_t struct_size;
    int32_t format;               /**< HOPMLA_KV_* */
    uint32_t batch;               /**< rows, 1 … 65535 */
    uint32_t max_q_tokens;        /**< host maximum of q_lens, 1 … 1024 */
    uint64_t max_kv_tokens;       /**< host maximum of kv_lens, 1 … 2^20 */
    uint32_t heads;               /**< 1 … 256 */
    int32_t lse;                  /**< HOPMLA_LSE_* */
    uint32_t max_units;           /**< as in hopmla_plan_options */
    uint32_t page_tokens;         /**< 64 */
    uint64_t pages;               /**< pages in the arrays, 1 … 2^31 − 1; larger or negative table entries are refused */
    uint64_t table_stride;        /**< entries between rows of the block table, at least max_kv_tokens / 64 rounded up */
    uint64_t latent_page_stride;  /**< bytes, a multiple of 16; 0: 64 × the row stride */
    uint64_t latent_row_stride;   /**< bytes, a multiple of 16; 0: 1152 when rope is NULL, else, and in the NOPE
                                       formats, 1024 */
    uint64_t rope_page_stride;    /**< bytes; used when rope is an array of its own; 0: 64 × the row stride */
    uint64_t rope_row_stride;     /**< bytes; 0: 128 */
} hopmla_paged_desc;

#define HOPMLA_PAGED_DESC_INIT { sizeof(hopmla_paged_desc), 0, 0, 1, 0, 0, HOPMLA_LSE_NATURAL, 0, HOPMLA_PAGE_TOKENS, \
    0, 0, 0, 0, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_paged_desc_init(hopmla_paged_desc *desc, uint64_t size);

/** Bytes of workspace that a description needs. Needs no zeroing; 1024-byte aligned; one per stream in use.
 * Thread-safe. @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, OVERFLOW. */
HOPMLA_API hopmla_status hopmla_decode_paged_workspace(hopmla_context *context, const hopmla_paged_desc *desc,
                                                       uint64_t *bytes, hopmla_error *error);

/** Schedules a batch on the device. One call serves every layer that is decoded with the same lengths and the same
 * workspace afterwards. Clears the error word.
 *
 * @param kv_lens   [batch] int32, tokens; 0 is allowed
 * @param q_lens    [batch] int32, 0 … max_q_tokens, or NULL: max_q_tokens each
 * @param workspace device memory as hopmla_decode_paged_workspace says
 * A length outside its range is cut to it and reported in the error word. Enqueues; capturable.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT (a workspace that is too small too: error->value says what
 *         is needed), OVERFLOW, ALIGNMENT, MISMATCH, and the driver's. */
HOPMLA_API hopmla_status hopmla_decode_paged_prepare(hopmla_context *context, const hopmla_paged_desc *desc,
                                                     const int32_t *kv_lens, const int32_t *q_lens, void *workspace,
                                                     uint64_t workspace_bytes, hopmla_stream stream,
                                                     hopmla_error *error);

/** Decodes one layer. desc must be the one that was prepared.
 *
 * @param args         shapes and strides; args->rows at most batch × max_q_tokens, layer ignored
 * @param latent       pages of [64, 512] latent values, or of [64, 576] when rope is NULL and the format has a rope part
 * @param rope         pages of [64, 64] rotary values, or NULL. NULL in the NOPE formats (else ARGUMENT)
 * @param block_table  [batch, table_stride] int32. Entries that a row's length does not need are never read; one outside
 *                     0 … pages − 1 that it needs is reported in the error word, and the page counts as all zeros
 * Other parameters as for hopmla_decode. Enqueues; capturable. With args->rows 0 nothing is enqueued.
 * @return as for hopmla_decode_paged_prepare, and ENVELOPE for args->rows beyond that. Page and row strides are checked
 *         here, since what 0 means depends on rope: below 2^40, rows and pages not overlapping, else
 *         ARGUMENT or ALIGNMENT. */
HOPMLA_API hopmla_status hopmla_decode_paged(hopmla_context *context, const hopmla_paged_desc *desc,
                                             const hopmla_decode_args *args, const void *latent, const void *rope,
                                             const int32_t *block_table, const void *q, const void *q_rope, void *out,
                                             void *lse, void *workspace, uint64_t workspace_bytes,
                                             hopmla_stream stream, hopmla_error *error);

/** What the device found wrong; bits of the error word. */
enum {
    HOPMLA_PAGED_BAD_PAGE = 1,    /**< a table entry outside the pages */
    HOPMLA_PAGED_BAD_LENGTH = 2,  /**< a length outside its range */
    HOPMLA_PAGED_BAD_ROWS = 4     /**< query rows beyond args->rows: they were not written */
};

/** Reads the error word of a workspace. Synchronises the stream; not capturable.
 * @param word  receives HOPMLA_PAGED_BAD_* bits, 0 when nothing was wrong since the last prepare
 * @return OK, NULL, ALIGNMENT, CAPTURE, MISMATCH, and the driver's. */
HOPMLA_API hopmla_status hopmla_decode_paged_errors(hopmla_context *context, const void *workspace, uint32_t *word,
                                                    hopmla_stream stream, hopmla_error *error);

#ifdef __cplusplus
}
#endif

#endif
