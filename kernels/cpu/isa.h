/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_ISA_H
#define HM_CPU_ISA_H

/** @file
 * What an instruction set provides, and the scratch memory it works in. One table per instruction set, filled by
 * including tile.h in a file that is compiled for it. */

#include <stddef.h>

#include "kernels/backend.h"

enum {
    HM_BLOCK_ROWS = 64,                 /* query rows (token, head) that a task takes together */
    HM_TILE_TOKENS = HOPMLA_PAGE_TOKENS /* cached tokens that they meet at one time */
};

/** What a thread works in while it decodes. Some 450 KB: with 64 rows it stays in a core's L2 cache. */
typedef struct hm_scratch {
    _Alignas(64) float q[HM_BLOCK_ROWS][HOPMLA_QK_DIM]; /* of formats without a rope part the first 512 */
    float k[HM_TILE_TOKENS][HOPMLA_QK_DIM];
    float s[HM_BLOCK_ROWS][HM_TILE_TOKENS];    /* scores, then probabilities */
    float o[HM_BLOCK_ROWS][HOPMLA_LATENT_DIM]; /* where hm_tile.o may point */
    float m[HM_BLOCK_ROWS];                    /* largest score so far, in units of log 2 */
    float l[HM_BLOCK_ROWS];                    /* Σ 2^(s − m) */
    float rescale[HM_BLOCK_ROWS];              /* 2^(former m − m): brings o up to date */
    int32_t limit[HM_BLOCK_ROWS];              /* tokens of the sequence that a row sees */
} hm_scratch;

/** Some rows of a page. A page that is not there has strides of 0 and rows of zeros. */
typedef struct hm_tile {
    const char *latent;
    const char *rope;
    uint64_t latent_stride; /* bytes */
    uint64_t rope_stride;
    int32_t format;                /* HOPMLA_KV_*; without a rope part rope is not read */
    uint32_t tokens;               /* 1 … HM_TILE_TOKENS: nothing beyond them is read */
    uint32_t rows;                 /* of hm_scratch.q */
    int32_t first_token;           /* of the tile in its sequence */
    float factor;                  /* softmax scale · log2(e) */
    int32_t first;                 /* o holds nothing yet */
    float (*o)[HOPMLA_LATENT_DIM]; /* [rows] Σ 2^(s − m)·v */
} hm_tile;

typedef struct hm_isa {
    /** n values of HOPMLA_DTYPE_BF16 or _FP16 to float32; n is a multiple of 64. */
    void (*widen)(float *to, const void *from, uint32_t n, int32_t dtype);
    /** factor·from, rounded to nearest even; n is a multiple of 64. */
    void (*narrow)(void *to, const float *from, float factor, uint32_t n, int32_t dtype);
    /** One step of attention: q·k over a tile, the softmax so far, o += p·v. */
    void (*attend)(const hm_tile *tile, hm_scratch *scratch);
    /** to += weight·from, n a multiple of 64. */
    void (*accumulate)(float *to, const float *from, float weight, uint32_t n);
    /** Reads n floats (a multiple of 1024) and gives something that depends on them all. */
    float (*read)(const float *from, size_t n);
    /** Multiplies and adds in registers, from 64 floats. @return floating point operations done */
    uint64_t (*multiply_add)(uint32_t rounds, float *values);
} hm_isa;

extern const hm_isa hm_isa_portable;
#if HOPMLA_HAVE_AVX2
extern const hm_isa hm_isa_avx2;
#endif
#if HOPMLA_HAVE_AVX512
extern const hm_isa hm_isa_avx512;
#endif

/** The table for HOPMLA_CPU_ISA_*, or for the best one below it that this build has. */
const hm_isa *hm_cpu_isa(int32_t isa);

#endif
