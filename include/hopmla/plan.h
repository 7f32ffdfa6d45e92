/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_PLAN_H
#define HOPMLA_PLAN_H

#include "pool.h"

/** @file
 * An engine's step over a pool: what is appended and what decodes, and the calls that do it layer by layer.
 *
 *     hopmla_seq_reserve(pool, seqs, n_new, count)           pages for the step, all or nothing
 *     hopmla_plan_update(plan, seqs, n_append, q_lens, …)    tables travel to the device
 *     for each layer, on the same stream, or as one launch of a graph captured earlier:
 *         hopmla_append(plan, …)                             the new tokens' rows into their pages
 *         hopmla_decode(plan, …)                             q → out, lse
 *     hopmla_plan_end(plan, stream)                          a fence: pages stay pinned until it has passed
 *     hopmla_seq_commit(pool, seqs, n_append, count)
 *
 * A plan declares an envelope. The launches depend on nothing else, so a graph captured once, before any sequence exists
 * too, is right for every later update. On CUDA an envelope of few rows of up to 2048 tokens has kernels of its own, which
 * take less time than those that are ready for more: an engine that keeps a graph for each of several sizes may keep plans
 * of such envelopes besides.
 *
 * Thread-safety: a plan is used by one thread and on one stream at a time; different plans are independent, on the same
 * pool too. Streams: nothing here synchronises, append, gather and decode allocate nothing; on CUDA the caller's current
 * context is put back. The stream must belong to the pool's context (else MISMATCH).
 *
 * Append, gather and decode outside capture belong to the open step and to its stream: after hopmla_plan_end, or on
 * another stream, they are STATE while the batch has rows. Captured ones are made for steps to come.
 *
 * On CUDA decode may read pages while the launch before it on the stream is still running, but for those that the step
 * appends to: a kernel of the caller's that writes other cached rows must not release its dependents early
 * (griddepcontrol.launch_dependents) before it has written them.
 *
 * What the library cannot protect: writes by the caller's own kernels into pages or tables, and launches of a graph
 * after its plan was destroyed or between hopmla_plan_end and the next update. */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hopmla_plan hopmla_plan;

/** Convention of the log-sum-exp output; stored as int32_t. In all of them an empty row's output is 0. */
enum {
    HOPMLA_LSE_NATURAL = 0,        /**< natural logarithm, −inf for an empty row */
    HOPMLA_LSE_BASE2 = 1,          /**< base 2, −inf for an empty row (FlashInfer) */
    HOPMLA_LSE_NATURAL_POSINF = 2  /**< natural logarithm, +inf for an empty row (FlashMLA) */
};

/** The envelope and the conventions of a plan. */
typedef struct hopmla_plan_options {
    uint32_t struct_size;
    uint32_t max_batch;       /**< rows of a batch, 1 … 65535 */
    uint32_t max_q_tokens;    /**< query tokens of a row, 1 … 1024. Up to 8 is the fast range */
    uint32_t heads;           /**< query heads of this rank, 1 … 256 */
    uint64_t max_kv_tokens;   /**< tokens of a row, those appended in the step counted, 1 … 2^20 */
    int32_t lse;              /**< HOPMLA_LSE_* */
    uint32_t max_units;       /**< streaming multiprocessors that a call computes on at most, 0: all. Calls queued
                                   behind it may wait on others. Ignored on CPU */
    uint32_t staging_depth;   /**< updates that may be under way at one time, 1 … 64 */
    uint32_t reserved;        /**< 0 */
    void *memory;             /**< device memory for tables and workspace, 1024-byte aligned, or NULL: the library's */
    uint64_t memory_bytes;    /**< its size, at least what hopmla_plan_query says */
} hopmla_plan_options;

#define HOPMLA_PLAN_OPTIONS_INIT { sizeof(hopmla_plan_options), 0, 1, 0, 0, HOPMLA_LSE_NATURAL, 0, 4, 0, 0, 0 }

/** Sets every field to its default; max_batch, heads and max_kv_tokens have none. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_plan_options_init(hopmla_plan_options *options, uint64_t size);

/** Memory that a plan needs. @param device_bytes  receives the size for hopmla_plan_options.memory
 * @param pinned_bytes  receives the size of the staging ring, which the library allocates
 * Thread-safe. @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT. */
HOPMLA_API hopmla_status hopmla_plan_query(hopmla_pool *pool, const hopmla_plan_options *options,
                                           uint64_t *device_bytes, uint64_t *pinned_bytes, hopmla_error *error);

/** Creates a plan with count 0: append writes nothing and decode writes empty rows until the first update.
 *
 * Ownership: the caller's, until hopmla_plan_destroy; the plan keeps its pool alive. *plan is untouched on failure.
 * A pool holds at most 64 plans, those counted whose last step is still under way. Synchronises; not capturable.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, ALIGNMENT, NO_STORAGE, TOO_MANY, and the driver's. */
HOPMLA_API hopmla_status hopmla_plan_create(hopmla_pool *pool, const hopmla_plan_options *options, hopmla_plan **plan,
                                            hopmla_error *error);

/** Destroys a plan. Waits for its steps that have not passed their fence; a step that was never ended is waited for by
 * synchronising the context. Graphs that hold its launches must not be launched afterwards. NULL is allowed.
 * Not capturable. */
HOPMLA_API void hopmla_plan_destroy(hopmla_plan *plan);

/** Starts a step: says which rows append how many tokens and decode how many query tokens.
 *
 * Row i of the batch is seqs[i]. Its length in this step is committed + n_append[i]; n_append[i] must be reserved. Query
 * token j of q_lens[i] sees the first length − (q_lens[i] − 1 − j) tokens: causal, bottom-right. Rows of all tensors are
 * packed in batch order.
 *
 * @param seqs      [count], no id twice
 * @param n_append  [count], tokens, or NULL for none. Any number that fits max_kv_tokens
 * @param q_lens    [count], query tokens, 0 … max_q_tokens, or NULL for none
 * @param count     0 … max_batch
 *
 * Arrays are read before it returns. Enqueues one transfer of what has changed, waits of the stream for other plans'
 * steps that touched the same pages, and the copies that forks owe. Not capturable.
 * @return OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, ENVELOPE (n_append adds up to 2^31 or more, too), RANGE,
 *         MISMATCH, CAPTURE; STATE when the last step was started on another stream and not ended; BUSY when every staging
 *         buffer is in use, when the last step ran on another stream and is not past its fence, or when a page is still
 *         in a step of another plan that was not ended. Nothing is changed then. After one of the driver's the step may
 *         be open: update again or end it. */
HOPMLA_API hopmla_status hopmla_plan_update(hopmla_plan *plan, const hopmla_seq *seqs, const uint32_t *n_append,
                                            const uint32_t *q_lens, uint32_t count, hopmla_stream stream,
                                            hopmla_error *error);

/** Ends the step: enqueues its fence. Pages that the step reads or writes are pinned from hopmla_plan_update until the
 * stream has passed it. An update after an update without an end between them belongs to the same step.
 *
 * Enqueues one write to host memory. Not capturable.
 * @return OK, NULL, STATE when no step is open or it runs on another stream, CAPTURE, MISMATCH, and the driver's: the
 *         step stays open then; end it again. */
HOPMLA_API hopmla_status hopmla_plan_end(hopmla_plan *plan, hopmla_stream stream, hopmla_error *error);

/** Says whether every ended step is past its fence. @param done  receives 1 or 0.
 * Thread-safe. Makes no driver call. @return OK, NULL. */
HOPMLA_API hopmla_status hopmla_plan_done(hopmla_plan *plan, int32_t *done, hopmla_error *error);

/** Where the new tokens' rows are. Strides are in elements; 0 means packed. Source row i belongs to the i-th appended
 * token of the step, in batch order. */
typedef struct hopmla_append_args {
    uint32_t struct_size;
    uint32_t layer;
    int32_t dtype;            /**< of both sources: the pool's own, or HOPMLA_DTYPE_FP32, rounded to nearest even */
    uint32_t reserved;        /**< 0 */
    uint64_t tokens;          /**< rows that the sources hold, 0 … 2^31 − 1: at least those that the step appends; under
                                   graph replay tokens beyond them are left out. With 0 nothing is enqueued, and the
                                   sources may be NULL */
    int64_t latent_stride;    /**< between tokens; packed: 512 */
    int64_t rope_stride;      /**< between tokens; packed: 64; without a rope part 0 */
} hopmla_append_args;

#define HOPMLA_APPEND_ARGS_INIT { sizeof(hopmla_append_args), 0, HOPMLA_DTYPE_BF16, 0, 0, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_append_args_init(hopmla_append_args *args, uint64_t size);

/** Writes the step's new tokens into one layer of their pages.
 *
 * @param latent  [tokens, 512] with its stride, device memory, 16-byte aligned, rows too
 * @param rope    [tokens, 64] likewise; rotated already. NULL for a pool without a rope part (else ARGUMENT)
 *
 * The sources must stay valid until the stream is past it. Enqueues; capturable.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT, DTYPE, ALIGNMENT, RANGE when the step appends more than `tokens`,
 *         MISMATCH, STATE, and the driver's. */
HOPMLA_API hopmla_status hopmla_append(hopmla_plan *plan, const hopmla_append_args *args, const void *latent,
                                       const void *rope, hopmla_stream stream, hopmla_error *error);

/** Which rows of a layer to read back. */
typedef struct hopmla_gather_args {
    uint32_t struct_size;
    uint32_t layer;
    uint32_t row;            /**< of the batch */
    uint32_t reserved;       /**< 0 */
    uint64_t first;          /**< token of the sequence */
    uint64_t count;          /**< tokens */
    int64_t stride;          /**< of the destination between tokens, in elements; 0: packed, 576, or 512 without a rope
                                  part */
} hopmla_gather_args;

#define HOPMLA_GATHER_ARGS_INIT { sizeof(hopmla_gather_args), 0, 0, 0, 0, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_gather_args_init(hopmla_gather_args *args, uint64_t size);

/** Copies cached rows of one batch row's sequence to a dense array, for a prefill attention or an export.
 *
 * @param destination  [count, 576], or [count, 512] without a rope part, of the pool's element type, device memory,
 *                     16-byte aligned, rows too
 *
 * Enqueues; capturable: rows beyond the sequence's length at replay are written as 0.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT (first + count beyond max_kv_tokens too), ALIGNMENT, MISMATCH,
 *         STATE, and the driver's; outside capture also RANGE when first + count exceeds the row's length or the row does
 *         not exist. */
HOPMLA_API hopmla_status hopmla_gather(hopmla_plan *plan, const hopmla_gather_args *args, void *destination,
                                       hopmla_stream stream, hopmla_error *error);

/** Shapes and strides of a decode. Strides are in elements; 0 means packed. Byte strides must be multiples of 16 for
 * q and out. */
typedef struct hopmla_decode_args {
    uint32_t struct_size;
    uint32_t layer;           /**< ignored by hopmla_decode_paged */
    uint32_t rows;            /**< query-token rows that q, out and lse hold: at least the sum of q_lens, at most
                                   max_batch × max_q_tokens. Rows beyond the sum get output 0 and the empty LSE.
                                   With 0 nothing is enqueued, and q and out may be NULL */
    float softmax_scale;      /**< factor on q·k before the softmax; no default, finite and > 0 */
    int64_t q_token_stride;   /**< packed joint: heads × 576; packed split, and without a rope part: heads × 512 */
    int64_t q_head_stride;    /**< packed joint: 576; packed split, and without a rope part: 512 */
    int64_t qr_token_stride;  /**< split only; packed: heads × 64; without a rope part 0 */
    int64_t qr_head_stride;   /**< split only; packed: 64; without a rope part 0 */
    int64_t out_token_stride; /**< packed: heads × 512 */
    int64_t out_head_stride;  /**< packed: 512 */
    int64_t lse_token_stride; /**< packed: heads */
    int64_t lse_head_stride;  /**< packed: 1 */
} hopmla_decode_args;

#define HOPMLA_DECODE_ARGS_INIT { sizeof(hopmla_decode_args), 0, 0, 0.0f, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_decode_args_init(hopmla_decode_args *args, uint64_t size);

/** Attention of the step's query rows over one layer of their sequences, with absorbed weights: for every query token
 * and head, s_t = softmax_scale · q·k_t over the visible tokens, out = Σ softmax(s)_t · k_t[0:512], lse = log Σ exp(s_t).
 *
 * @param q     [rows, heads, 576], or with q_rope the first 512 values: [rows, heads, 512]; pool's element type.
 *               Without a rope part [rows, heads, 512]
 * @param q_rope [rows, heads, 64] the rotated part, or NULL for a joint q. NULL without a rope part (else ARGUMENT)
 * @param out   [rows, heads, 512], pool's element type
 * @param lse   [rows, heads] float32, or NULL
 *
 * Device memory, 16-byte aligned (lse: 4), valid until the stream is past it. Sums are float32; probabilities may be
 * rounded to the element type before they meet the values, and partial results of a row that is split. Two runs of the
 * same step give the same bits.
 * Enqueues; capturable.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT, ALIGNMENT, ENVELOPE, RANGE when rows is less than the sum of
 *         q_lens, MISMATCH, STATE, and the driver's.
 * Source: DeepSeek-V2, arXiv:2405.04434, section 2.1; the absorbed form of its appendix C. */
HOPMLA_API hopmla_status hopmla_decode(hopmla_plan *plan, const hopmla_decode_args *args, const void *q,
                                       const void *q_rope, void *out, void *lse, hopmla_stream stream,
                                       hopmla_error *error);

/** The plan's tables on the device, at fixed addresses, for engines that run kernels of their own over the same cache.
 * To be read only. int32 each. */
typedef struct hopmla_plan_tables {
    uint32_t struct_size;
    uint32_t max_batch;
    uint32_t table_stride;         /**< entries between rows of block_table */
    uint32_t reserved;
    const int32_t *count;          /**< [1] rows of the batch */
    const int32_t *kv_lens;        /**< [max_batch] tokens, those of this step counted; 0 beyond count */
    const int32_t *q_lens;         /**< [max_batch]; 0 beyond count */
    const int32_t *q_starts;       /**< [max_batch + 1] first query row of each batch row; the total beyond count */
    const int32_t *append_starts;  /**< [max_batch + 1] first appended token of each batch row, likewise */
    const int32_t *block_table;    /**< [max_batch, table_stride] page ids; entries beyond a row's pages are garbage */
    uint64_t number;               /**< of the plan in the process, from 1, as records and totals have it */
} hopmla_plan_tables;

#define HOPMLA_PLAN_TABLES_INIT { sizeof(hopmla_plan_tables), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Describes the tables. Thread-safe. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_plan_get_tables(hopmla_plan *plan, hopmla_plan_tables *tables, hopmla_error *error);

#ifdef __cplusplus
}
#endif

#endif
