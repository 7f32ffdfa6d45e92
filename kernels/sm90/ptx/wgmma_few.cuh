/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_WGMMA_FEW_CUH
#define HM_SM90_PTX_WGMMA_FEW_CUH

/** @file
 * Warpgroup matrix products with few columns: 64 rows of tokens or of V's columns, N = 16 or 32 columns of heads. As in
 * wgmma.cuh; of a thread's N / 2 sums, d[4 t + 0 … 3] belong to columns 8 t … 8 t + 7. */

#include "wgmma.cuh"

/* Operand lists of the products below. */
#define HM_D8_NAMES "%0, %1, %2, %3, %4, %5, %6, %7"
#define HM_D8_OPERANDS(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define HM_D16_NAMES                                                                                                   \
    "%0, %1, %2, %3, %4, %5, %6, %7, "                                                                                 \
    "%8, %9, %10, %11, %12, %13, %14, %15"
#define HM_D16_OPERANDS(d)                                                                                             \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),        \
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])

template <typename Element, int N> struct WgmmaFew;

/* The products of one element type and N:
 *   scores   d[64×N] (+)= a[64×16] · b[N×16]ᵀ       both from describe_rows
 *   values   d[64×N] (+)= a[16×64]ᵀ · b[N×16]ᵀ      a from describe_columns, 64 columns of it; b from describe_rows
 * `accumulate` 0 ignores what d held. */
#define HM_WGMMA_FEW(Element, TYPE, N, D, A, B, P)                                                                     \
    template <> struct WgmmaFew<Element, N> {                                                                          \
        static __device__ __forceinline__ void scores(float (&d)[D], uint64_t a, uint64_t b, int accumulate)           \
        {                                                                                                              \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %" P ", 0; "                                                   \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" HM_D##D##_NAMES          \
                         "}, %" A ", %" B ", p, 1, 1, 0, 0;}"                                                          \
                         : HM_D##D##_OPERANDS(d)                                                                       \
                         : "l"(a), "l"(b), "r"(accumulate));                                                           \
        }                                                                                                              \
        static __device__ __forceinline__ void values(float (&d)[D], uint64_t a, uint64_t b, int accumulate)           \
        {                                                                                                              \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %" P ", 0; "                                                   \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" HM_D##D##_NAMES          \
                         "}, %" A ", %" B ", p, 1, 1, 1, 0;}"                                                          \
                         : HM_D##D##_OPERANDS(d)                                                                       \
                         : "l"(a), "l"(b), "r"(accumulate));                                                           \
        }                                                                                                              \
    };

HM_WGMMA_FEW(Bf16, "bf16", 16, 8, "8", "9", "10")
HM_WGMMA_FEW(Fp16, "f16", 16, 8, "8", "9", "10")
HM_WGMMA_FEW(Bf16, "bf16", 32, 16, "16", "17", "18")
HM_WGMMA_FEW(Fp16, "f16", 32, 16, "16", "17", "18")

#undef HM_WGMMA_FEW
#undef HM_D8_NAMES
#undef HM_D8_OPERANDS
#undef HM_D16_NAMES
#undef HM_D16_OPERANDS

#endif
