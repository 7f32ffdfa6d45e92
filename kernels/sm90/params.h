/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PARAMS_H
#define HM_SM90_PARAMS_H

/** @file
 * What host and kernels of the decode agree on: the workspace and the kernels' parameters. C11 and CUDA C++.
 *
 * A workspace, every part aligned to 256 bytes (hm_sm90_lay_out):
 *   header        hm_sm90_header, starts with the error word
 *   groups        hm_sm90_group[groups]
 *   splits        hm_sm90_split[groups]
 *   segments      hm_sm90_segment[max_batch + groups]
 *   empties       int32[max_batch]         requests with query rows and no cached token
 *   kv_lens, q_lens, q_starts              canonical copies: int32[max_batch], [max_batch], [max_batch + 1]
 *   live          int32[max_batch]         requests with query rows and cached tokens, in batch order
 *   costs         int64[max_batch + 1]     cost of all live requests before this one; live and costs are read where
 *                                          requests are too many for shared memory
 *   partial_lse   float[2·groups·tiles·tile_rows], none with one group or with clusters
 *   partial_out   the element type, [2·groups·tiles·tile_rows][512], likewise */

#include <stdint.h>

#ifdef __cplusplus
#define HM_STATIC_ASSERT static_assert
#else
#define HM_STATIC_ASSERT _Static_assert
#endif

enum {
    HM_SM90_PAGE_TOKENS = 64,
    HM_SM90_MAX_UNITS = 160, /* more than any processor of compute capability 9.0 has */
    HM_SM90_INLINE_SEGMENTS = 7,
    HM_SM90_ROW_BYTES = 1024, /* of a partial O */

    /* A tile: the query rows (token, head) that a CTA holds, and what its kernel takes. */
    HM_SM90_TILE_ROWS = 64,
    HM_SM90_NARROW_ROWS = 16, /* in short steps */
    HM_SM90_DECODE_THREADS = 384,
    HM_SM90_DECODE_SHARED = 232448,
    HM_SM90_FEW_SHARED = 214 * 1024, /* with 16 rows 190 would do, but leave too little for combine beside it */

    /* Clusters of 2, 4, 8 or 16 CTAs that share a tile of HM_SM90_NARROW_ROWS, with a page or two each. */
    HM_SM90_CLUSTER_SIZES = 4,
    HM_SM90_CLUSTER_THREADS = 288,
    HM_SM90_CLUSTER_PAGES = 2,
    HM_SM90_CLUSTER_SHARED = 188 * 1024,

    HM_SM90_COMBINE_THREADS = 256,
    HM_SM90_COMBINE_REGISTERS = 96,
    HM_SM90_SCHEDULE_THREADS = 1024,
    HM_SM90_SCHEDULE_SHARED = 120 * 1024,

    /* The error word; the public HOPMLA_PAGED_BAD_*. */
    HM_SM90_BAD_PAGE = 1,
    HM_SM90_BAD_LENGTH = 2,
    HM_SM90_BAD_ROWS = 4
};

/** Convention of the LSE output; the public HOPMLA_LSE_*. */
enum {
    HM_SM90_LSE_NATURAL = 0,
    HM_SM90_LSE_BASE2 = 1,
    HM_SM90_LSE_NATURAL_POSINF = 2
};

/** Pages [page_begin, page_end) of one request: what a group of CTAs does before it stores O. */
typedef struct hm_sm90_segment {
    int32_t request;
    int32_t page_begin;
    int32_t page_end;
    int32_t kv_len;
    int32_t q_len;
    int32_t q_start;
    int32_t
        part; /* -1: the whole request; else the group's slot for partial results: 1 when it starts the request. Where
                   * clusters hold requests: how many of the CTAs have pages */
    int32_t fresh_page; /* first page that an append of the step may write; INT32_MAX: none */
} hm_sm90_segment;

/** What the CTAs with one blockIdx.y have to do: a group's work, or with narrow tiles a half or a quarter of it. */
typedef struct hm_sm90_start {
    int32_t first; /* of `segments` */
    int32_t count;
    int32_t early_page; /* id of the first segment's first page; -1: not known, or an append of the step touches it */
    int32_t early_rows; /* (query token, head) of the first segment */
    int32_t
        early_whole; /* the page need not be asked for in halves: at most half of the groups have work, or combine is not beside it */
    int32_t group; /* whose partial results these are; with narrow tiles several records have the same */
    int32_t rows;  /* of a tile */
    int32_t row;   /* where the tile of the record's first CTA starts */
} hm_sm90_start;

/** The same with the first segments, so that a CTA needs one read to start. */
typedef struct hm_sm90_group {
    hm_sm90_start start;
    hm_sm90_segment head[HM_SM90_INLINE_SEGMENTS];
} hm_sm90_group;

/** A request cut over groups first_group … first_group + parts − 1: slot 1 of the first, slot 0 of the others. */
typedef struct hm_sm90_split {
    int32_t q_start;
    int32_t row_end; /* rows (query token, head) of the splits up to and with this one */
    int32_t first_group;
    int32_t parts;
} hm_sm90_split;

/** Who merges an item. A warp: half a row of 8 parts at one time, a row of 4, two rows of 2; or the threads of a CTA: the
 * columns of some lanes, 8 each, of a row. */
enum {
    HM_SM90_MERGE_HALF_ROWS = 0,
    HM_SM90_MERGE_ROWS = 1,
    HM_SM90_MERGE_PAIRS = 2,
    HM_SM90_MERGE_BY_CTA = 3 /* + log2 of the lanes − 3, which are 8 … 64 */
};

typedef struct hm_sm90_header {
    uint32_t error;
    int32_t count;   /* requests */
    int32_t q_total; /* query tokens of all requests */
    int32_t splits;
    int32_t empties;
    int32_t merge_way;   /* HM_SM90_MERGE_* */
    int32_t merge_items; /* in which rows of splits are merged */
    int32_t merge_ctas;  /* that do it; those beyond have nothing to do */
} hm_sm90_header;

/** Addresses of a workspace's parts. */
typedef struct hm_sm90_workspace {
    hm_sm90_header *header;
    hm_sm90_group *groups;
    hm_sm90_split *splits;
    hm_sm90_segment *segments;
    int32_t *empties;
    int32_t *kv_lens;
    int32_t *q_lens;
    int32_t *q_starts;
    int32_t *live;
    int64_t *costs;
    float *partial_lse;
    void *partial_out;
} hm_sm90_workspace;

/** How CTAs divide the work, from the envelope and the device alone. */
typedef struct hm_sm90_shape {
    int32_t heads;
    int32_t tiles;       /* of the largest request */
    int32_t tile_stride; /* CTAs of a group: CTA (c, group) has tiles c + i·tile_stride, unless they are narrow */
    int32_t groups;
    int32_t tile_rows; /* 16, 32 or 64 */
    int32_t max_batch;
    int32_t max_q;
    int32_t max_kv;
    int32_t parts; /* CTAs of the clusters, in each of which a request has one tile; 0: the schedule divides it */
    int32_t padding;
} hm_sm90_shape;

typedef struct hm_sm90_schedule_params {
    const int32_t *count; /* or NULL: max_batch */
    const int32_t *kv_lens;
    const int32_t *q_lens;        /* or NULL: max_q each */
    const int32_t *append_starts; /* or NULL: nothing is appended */
    const int32_t *block_table;   /* or NULL: not known yet */
    uint64_t table_stride;
    int32_t merge_grid;  /* CTAs of combine */
    int32_t narrow_rows; /* of a tile in short steps: HM_SM90_NARROW_ROWS, or shape.tile_rows */
    hm_sm90_shape shape;
    hm_sm90_workspace workspace;
} hm_sm90_schedule_params;

/** Parameters of decode and combine. Strides in elements. */
typedef struct hm_sm90_decode_params {
    const void *q;
    const void *q_rope;
    void *out;
    float *lse; /* or NULL */
    int64_t q_token_stride;
    int64_t q_head_stride;
    int64_t qr_token_stride;
    int64_t qr_head_stride;
    int64_t out_token_stride;
    int64_t out_head_stride;
    int64_t lse_token_stride;
    int64_t lse_head_stride;
    const int32_t *block_table;
    uint64_t table_stride;
    int32_t page_base;    /* coordinate of this layer's first page */
    int32_t pages;        /* of a layer */
    int32_t page_outside; /* a coordinate outside the maps */
    int32_t rows;         /* query tokens that q, out and lse hold */
    float scale_log2;     /* softmax scale · log2 e */
    int32_t lse_kind;
    float heads_inverse; /* 1 / heads: a row's token is ⌊(row + 0.5) · heads_inverse⌋, right for every row < 2^18 */
    int32_t early;       /* tables and schedule were complete before any launch that this one may overlap */
    hm_sm90_shape shape;
    hm_sm90_workspace workspace;
} hm_sm90_decode_params;

HM_STATIC_ASSERT(sizeof(hm_sm90_segment) == 32, "read as two 16-byte words");
HM_STATIC_ASSERT(sizeof(hm_sm90_start) == 32, "read as two 16-byte words");
HM_STATIC_ASSERT(sizeof(hm_sm90_group) == 256, "read by 64 threads, one word each");
HM_STATIC_ASSERT(sizeof(hm_sm90_split) == 16, "read as one 16-byte word");
HM_STATIC_ASSERT(sizeof(hm_sm90_header) == 32, "read as two 16-byte words");
HM_STATIC_ASSERT(sizeof(hm_sm90_workspace) == 12 * sizeof(void *), "no padding");
HM_STATIC_ASSERT(sizeof(hm_sm90_shape) == 40, "no padding");
HM_STATIC_ASSERT(sizeof(hm_sm90_decode_params) == 144 + 40 + 96, "no padding");

#endif
