/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_POOL_H
#define HOPMLA_POOL_H

#include "context.h"

/** @file
 * The paged latent-KV pool and the sequences in it.
 *
 * A pool holds `layers` × `pages` pages of 64 tokens; a token is a row of 576 values of 16 bits: 512 of the latent,
 * then 64 of the rotary part (already rotated by the caller), or, in the NOPE formats, the 512 alone. A page id means the
 * same page number in every layer, so a sequence has one list of page ids for all layers.
 *
 * Thread-safety: every function of this file may be called from any thread at any time, on the same pool too; a short
 * mutex guards the books. None of them enqueues device work or makes a driver call, except creation and the release of
 * a pool's last reference. All arrays are read before the call returns.
 *
 * Determinism: the same calls in the same order give the same page ids, on any device and whatever the timing. */

#ifdef __cplusplus
extern "C" {
#endif

enum {
    HOPMLA_PAGE_TOKENS = 64,
    HOPMLA_LATENT_DIM = 512,
    HOPMLA_ROPE_DIM = 64,
    HOPMLA_QK_DIM = 576 /**< with a rope part; without one HOPMLA_LATENT_DIM */
};

/** Element types of tensors; stored as int32_t. */
enum {
    HOPMLA_DTYPE_BF16 = 1,
    HOPMLA_DTYPE_FP16 = 2,
    HOPMLA_DTYPE_FP32 = 3
};

/** The bytes of a cached token; stored as int32_t. */
enum {
    HOPMLA_KV_BF16 = 1,      /**< 512 latent then 64 rope values of bfloat16: 1152 bytes */
    HOPMLA_KV_FP16 = 2,      /**< the same of IEEE half precision */
    HOPMLA_KV_BF16_NOPE = 3, /**< 512 latent values of bfloat16, no rope part: 1024 bytes */
    HOPMLA_KV_FP16_NOPE = 4  /**< the same of IEEE half precision */
};

/** Whose memory the pages are; stored as int32_t. */
enum {
    HOPMLA_STORAGE_LIBRARY = 1, /**< allocated at creation */
    HOPMLA_STORAGE_CALLER = 2,  /**< the caller's, given at creation, which must outlive the pool and every launch */
    HOPMLA_STORAGE_NONE = 3     /**< none: the pool only books, for a scheduler process; no plan can be made on it */
};

typedef struct hopmla_pool hopmla_pool;

/** A sequence in a pool. Ids carry a generation: one that was released is STALE_ID, one of another pool FOREIGN_ID (a
 * process that makes more than 65,535 pools meets the same marks again). 0 is never an id. */
typedef uint64_t hopmla_seq;

typedef struct hopmla_pool_options {
    uint32_t struct_size;
    int32_t format;          /**< HOPMLA_KV_*; no default */
    int32_t storage;         /**< HOPMLA_STORAGE_* */
    uint32_t layers;         /**< 1 … 65535 */
    uint64_t pages;          /**< pages a layer, 1 … 2^31 − 1; or 0 to give bytes */
    uint64_t bytes;          /**< capacity in bytes over all layers, rounded down to whole pages; or 0 to give pages */
    uint32_t max_sequences;  /**< live at one time, 1 … 2^24 − 1 */
    uint32_t page_tokens;    /**< 64 */
    void *memory;            /**< STORAGE_CALLER: device memory, 1024-byte aligned, layers × pages × page bytes */
    uint64_t memory_bytes;   /**< STORAGE_CALLER: its size */
} hopmla_pool_options;

#define HOPMLA_POOL_OPTIONS_INIT { sizeof(hopmla_pool_options), 0, HOPMLA_STORAGE_LIBRARY, 0, 0, 0, 65536, \
    HOPMLA_PAGE_TOKENS, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_pool_options_init(hopmla_pool_options *options, uint64_t size);

/** Where every byte of a pool is, for engines and transfer libraries that touch pages themselves. Row t of page p of
 * layer l starts at base + l·layer_stride + p·page_stride + t·row_stride. */
typedef struct hopmla_pool_layout {
    uint32_t struct_size;
    int32_t format;
    int32_t storage;
    int32_t backend;       /**< HOPMLA_BACKEND_CPU or HOPMLA_BACKEND_CUDA: the kind of memory */
    int32_t device;        /**< ordinal; -1 on CPU */
    uint32_t layers;
    uint32_t page_tokens;
    uint32_t row_stride;   /**< bytes */
    uint64_t pages;
    uint64_t page_stride;  /**< bytes */
    uint64_t layer_stride; /**< bytes */
    uint64_t bytes;        /**< of the whole region, one piece */
    uint64_t host_bytes;   /**< of the books, in ordinary host memory, before any sequence exists */
    void *base;            /**< NULL without storage, or before creation */
} hopmla_pool_layout;

#define HOPMLA_POOL_LAYOUT_INIT { sizeof(hopmla_pool_layout), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Sizes of a pool before it is made. @param layout  struct_size set by the caller; the rest is written on success
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, OVERFLOW. */
HOPMLA_API hopmla_status hopmla_pool_query(hopmla_context *context, const hopmla_pool_options *options,
                                           hopmla_pool_layout *layout, hopmla_error *error);

/** Creates a pool. Pages are not cleared: a page's rows hold whatever was there until they are appended, and no kernel
 * lets them reach a result.
 *
 * Ownership: the caller's, until hopmla_pool_destroy; the pool keeps its context alive. *pool is untouched on failure.
 * Not capturable.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, OVERFLOW, ALIGNMENT, and the driver's. */
HOPMLA_API hopmla_status hopmla_pool_create(hopmla_context *context, const hopmla_pool_options *options,
                                            hopmla_pool **pool, hopmla_error *error);

/** Drops the caller's reference and with it every sequence; storage goes when the last plan has gone too and the last
 * step has passed its fence. NULL is allowed. */
HOPMLA_API void hopmla_pool_destroy(hopmla_pool *pool);

/** Says where the pool's bytes are. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_pool_describe(hopmla_pool *pool, hopmla_pool_layout *layout, hopmla_error *error);

typedef struct hopmla_pool_stats {
    uint32_t struct_size;
    uint32_t sequences;         /**< live */
    uint64_t pages_total;
    uint64_t pages_free;        /**< that a reserve can take, pinned ones included */
    uint64_t pages_used;        /**< owned by a sequence, or the source of a copy until its sequence's next commit */
    uint64_t pages_shared;      /**< of these, owned by more than one */
    uint64_t pages_pinned;      /**< used or free, that a step not yet past its fence may touch */
    uint64_t pages_high_water;  /**< most ever used */
    uint64_t tokens_committed;  /**< over all sequences, shared ones counted for each */
    uint64_t tokens_reserved;   /**< reserved and not yet committed */
    uint64_t copies_owed;       /**< copy-on-write copies booked and not yet enqueued */
} hopmla_pool_stats;

#define HOPMLA_POOL_STATS_INIT { sizeof(hopmla_pool_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Reads the books. While a step is pending, counting pinned pages takes time in proportion to the pool's pages; the
 * mutex is let go between pieces, so figures may be of slightly different moments while other threads work.
 * @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_pool_get_stats(hopmla_pool *pool, hopmla_pool_stats *stats, hopmla_error *error);

/** Creates `count` empty sequences. Takes no page.
 * @param seqs  [count], receives the ids; untouched on failure
 * @return OK, NULL, TOO_MANY, OUT_OF_HOST_MEMORY. */
HOPMLA_API hopmla_status hopmla_seq_create(hopmla_pool *pool, hopmla_seq *seqs, uint32_t count, hopmla_error *error);

/** As the length of a fork: every committed token. */
#define HOPMLA_ALL_TOKENS UINT64_MAX

/** Makes a sequence that shares the first `length` committed tokens of another. No page is taken or copied now: whoever
 * first appends into a shared partial page gets a page of its own at hopmla_seq_reserve, filled by a copy of all layers
 * that the next hopmla_plan_update with that sequence enqueues after the writes it depends on.
 *
 * @param length  0 … committed tokens of the parent, or HOPMLA_ALL_TOKENS
 * @param child   receives the id; untouched on failure
 * @return OK, NULL, STALE_ID, FOREIGN_ID, RANGE, TOO_MANY, OUT_OF_HOST_MEMORY; STATE when the parent committed tokens
 *         behind a copy that no plan update has enqueued yet. */
HOPMLA_API hopmla_status hopmla_seq_fork(hopmla_pool *pool, hopmla_seq parent, uint64_t length, hopmla_seq *child,
                                         hopmla_error *error);

/** Makes room for new tokens: afterwards sequence i can take n_new[i] tokens beyond its committed ones. All or nothing
 * for the whole batch. Reserving again replaces the former figure where it is larger, and changes nothing where it is
 * smaller.
 *
 * @param seqs   [count], no id twice
 * @param n_new  [count], tokens; 0 is allowed. A sequence may hold 2^20 tokens
 * @return OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, RANGE, OUT_OF_HOST_MEMORY, or OUT_OF_PAGES with the number of
 *         missing pages in error->value. */
HOPMLA_API hopmla_status hopmla_seq_reserve(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_new,
                                            uint32_t count, hopmla_error *error);

/** Moves reserved tokens into the sequence. To be called once a step's append is enqueued (or has run). All or nothing.
 *
 * @param n_tokens  [count], at most what is reserved; 0 is allowed
 * @return OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, RANGE. */
HOPMLA_API hopmla_status hopmla_seq_commit(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_tokens,
                                           uint32_t count, hopmla_error *error);

/** Shortens sequences: tokens beyond lengths[i], committed or reserved, are dropped and their pages freed. All or
 * nothing. Steps in flight may still read them: a page is not reused before they have passed.
 *
 * @param lengths  [count], tokens, 0 … committed + reserved. A length beyond the committed tokens drops reserved ones
 * @return OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, RANGE. */
HOPMLA_API hopmla_status hopmla_seq_truncate(hopmla_pool *pool, const hopmla_seq *seqs, const uint64_t *lengths,
                                             uint32_t count, hopmla_error *error);

/** Releases sequences and their pages; safe while steps in flight read them. All or nothing. The ids are stale
 * afterwards.
 * @return OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID. */
HOPMLA_API hopmla_status hopmla_seq_release(hopmla_pool *pool, const hopmla_seq *seqs, uint32_t count,
                                            hopmla_error *error);

typedef struct hopmla_seq_info {
    uint32_t struct_size;
    uint32_t pages;         /**< in its list */
    uint32_t pages_shared;  /**< of these, owned by another sequence too */
    uint32_t copy_owed;     /**< 1 when the next plan update copies its partial page */
    uint64_t committed;     /**< tokens */
    uint64_t reserved;      /**< tokens beyond the committed ones */
} hopmla_seq_info;

#define HOPMLA_SEQ_INFO_INIT { sizeof(hopmla_seq_info), 0, 0, 0, 0, 0 }

/** Describes a sequence. @return OK, NULL, STRUCT_SIZE, STALE_ID, FOREIGN_ID. */
HOPMLA_API hopmla_status hopmla_seq_describe(hopmla_pool *pool, hopmla_seq seq, hopmla_seq_info *info,
                                             hopmla_error *error);

/** Reads a sequence's page ids, in order of its tokens.
 *
 * @param pages     [capacity], int32; may be NULL when capacity is 0
 * @param n_pages   receives the number of pages; never more than capacity are written
 * @return OK, NULL, STALE_ID, FOREIGN_ID. */
HOPMLA_API hopmla_status hopmla_seq_pages(hopmla_pool *pool, hopmla_seq seq, int32_t *pages, uint32_t capacity,
                                          uint32_t *n_pages, hopmla_error *error);

#ifdef __cplusplus
}
#endif

#endif
