/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_ARGS_H
#define HM_SM90_ARGS_H

/** @file
 * Arguments of the small kernels: filled by the host's C, read by CUDA C++. Strides are in bytes. */

#include <stdint.h>

enum {
    HM_PAGE_TOKENS = 64,
    HM_LATENT_VECTORS = 64, /* of 16 bytes: 512 values of 16 bits */
    HM_ROPE_VECTORS = 8     /* the 64 rotary values, of formats that have them */
};

/** Rows of one layer, or of layer 0 where the kernel walks over layers itself. */
typedef struct hm_row_layout {
    char *latent;
    char *rope; /* or NULL: no rope part */
    uint64_t latent_page_stride;
    uint64_t latent_row_stride;
    uint64_t rope_page_stride;
    uint64_t rope_row_stride;
    uint64_t count;
    uint32_t rope_vectors; /* HM_ROPE_VECTORS or 0 */
    uint32_t reserved;
} hm_row_layout;

/** hm_apply: an update of a plan's tables out of pinned host memory. */
typedef struct hm_apply_args {
    const int32_t *kv_lens; /* [count] each, in the staging buffer */
    const int32_t *q_lens;
    const int32_t *q_starts;
    const int32_t *append_starts;
    const void *runs; /* hm_run[run_count] */
    const int32_t *page_ids;
    int32_t *to_count; /* the plan's tables */
    int32_t *to_kv_lens;
    int32_t *to_q_lens;
    int32_t *to_q_starts;
    int32_t *to_append_starts;
    int32_t *to_block_table;
    uint64_t table_stride;
    uint32_t count;
    uint32_t max_batch;
    uint32_t run_count;
    int32_t q_total; /* of all rows: what stands beyond count */
    int32_t append_total;
    uint32_t row_ctas; /* that write rows; the others write runs */
} hm_apply_args;

/** hm_copy_pages: copies that do not depend on one another. */
typedef struct hm_copy_pages_args {
    hm_row_layout pages;
    uint64_t layer_stride;
    const void *copies; /* hm_copy[gridDim.x], in the staging buffer */
    uint32_t layers;
    uint32_t reserved;
} hm_copy_pages_args;

/** hm_append_*: source row i goes to the place of the i-th appended token. */
typedef struct hm_append_args {
    hm_row_layout pages;
    const char *latent;
    const char *rope;
    int64_t latent_stride;
    int64_t rope_stride;
    const int32_t *append_starts; /* [max_batch + 1] */
    const int32_t *kv_lens;
    const int32_t *block_table;
    uint64_t table_stride;
    uint64_t tokens;
    uint32_t max_batch;
    uint32_t reserved;
} hm_append_args;

/** hm_gather. */
typedef struct hm_gather_args {
    hm_row_layout pages;
    char *destination;
    int64_t stride;
    const int32_t *row_count;   /* or NULL */
    const int32_t *kv_len;      /* of the row */
    const int32_t *block_table; /* of the row */
    uint64_t first;
    uint64_t count;
    uint32_t row;
    uint32_t reserved;
} hm_gather_args;

#endif
