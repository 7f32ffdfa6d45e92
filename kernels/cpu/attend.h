/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_ATTEND_H
#define HM_CPU_ATTEND_H

#include "kernels/cpu/workspace.h"

/** One decode, as its tasks see it. */
typedef struct hm_decode_job {
    const hm_isa *isa;
    const hm_envelope *envelope;
    const hm_kv *kv;
    const hm_tables *tables;
    const hm_decode *decode;
    hm_threads *threads;
    hm_cpu_workspace workspace;
    float factor;          /* softmax scale · log2(e) */
    uint64_t fills;        /* tasks that write empty rows, after those of the schedule */
    _Atomic uint64_t next; /* task that nobody has taken */
} hm_decode_job;

/** A block of rows of one request. */
typedef struct hm_block {
    uint32_t request;
    uint32_t first_row; /* of the request: query token · heads + head */
    uint32_t rows;      /* 0 when all lie beyond decode->rows */
    uint32_t blocks;    /* of the request */
    uint32_t splits;    /* of each */
    uint32_t kv_len;
    uint32_t q_len;
    uint64_t q_start; /* the request's first query token */
} hm_block;

/** Attention of a block over tokens first … end − 1 of its request: leaves Σ 2^(s − m)·v in o, m and l in the scratch.
 * Of a block that sees none of these tokens o is not written, and every l is 0. */
void hm_attend(hm_decode_job *job, const hm_block *block, uint32_t first, uint32_t end, hm_scratch *scratch,
               float (*o)[HOPMLA_LATENT_DIM]);

/** Writes output and LSE of a block's row from Σ 2^(s − m)·v, m and Σ 2^(s − m). With l = 0 `o` is not read. */
void hm_write_row(const hm_decode_job *job, const hm_block *block, uint32_t row, const float *o, float m, float l);

/** Writes output 0 and the empty LSE of a query token of the batch. */
void hm_write_empty(const hm_decode_job *job, uint64_t q_token);

#endif
