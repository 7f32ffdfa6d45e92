/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_WGMMA_CUH
#define HM_SM90_PTX_WGMMA_CUH

/** @file
 * Warpgroup matrix products of 16-bit values with float32 sums. Every call of a product is made by the four warps of a
 * warpgroup; it runs asynchronously until wgmma_wait. The 64 rows of D: warp w of the group has rows 16w … 16w + 15,
 * lane i of it rows i / 4 and i / 4 + 8, and of each tile of 8 columns the columns 2 (i % 4) and + 1:
 *     d[4 t + 0, 1]: row i / 4, columns 8 t + 2 (i % 4) + 0, 1        d[4 t + 2, 3]: row i / 4 + 8, the same columns */

#include "convert.cuh"

/** Orders register and shared-memory accesses before the products that follow. Needed after a wait loop on an mbarrier
 * too: without it nvcc 13.0 serialises the products (C7520). */
__device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/** Waits until at most Pending of the committed groups still run. */
template <int Pending> __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

/** Descriptor of a matrix whose rows are 128 bytes along the summed dimension, 128-byte swizzle, 8-row groups 1024
 * bytes apart. Add 2 for each 16 columns. `address` is a multiple of 1024. */
__device__ __forceinline__ uint64_t describe_rows(uint32_t address)
{
    return (uint64_t)((address & 0x3FFFF) >> 4) | (uint64_t)1 << 16 | (uint64_t)64 << 32 | (uint64_t)1 << 62;
}

/** Descriptor of a matrix whose rows of 128 bytes run along the other dimension (V: a row is a token): 128-byte
 * swizzle, tiles of 64 columns 8192 bytes apart, 8-row groups 1024 bytes apart. Add 128 for each 16 rows. */
__device__ __forceinline__ uint64_t describe_columns(uint32_t address)
{
    return (uint64_t)((address & 0x3FFFF) >> 4) | (uint64_t)512 << 16 | (uint64_t)64 << 32 | (uint64_t)1 << 62;
}

/** Descriptor of 64 rows × 16 values without swizzle, as 8×8 matrices of 128 bytes: the two of 8 rows side by side,
 * 256 bytes from one group of 8 rows to the next. */
__device__ __forceinline__ uint64_t describe_blocks(uint32_t address)
{
    return (uint64_t)((address & 0x3FFFF) >> 4) | (uint64_t)8 << 16 | (uint64_t)16 << 32;
}

/** A descriptor of what is `offset` further on. The address is in the low word and does not outgrow it: a product then
 * costs one 32-bit addition, in the uniform registers where the base is there. */
__device__ __forceinline__ uint64_t describe_at(uint64_t base, uint32_t offset)
{
    return (base & 0xFFFFFFFF00000000ull) | (uint32_t)((uint32_t)base + offset);
}

/* Operand lists of the products below. */
#define HM_D32_NAMES                                                                                                   \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                           \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define HM_D32_OPERANDS(d)                                                                                             \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),        \
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]),         \
        "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]),        \
        "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define HM_D128_NAMES                                                                                                  \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                           \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                                 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                                 \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "                                 \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "                                 \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "                                 \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "                     \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define HM_D128_OPERANDS(d)                                                                                            \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),        \
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]),         \
        "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]),        \
        "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]),        \
        "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]),        \
        "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),        \
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),        \
        "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]), "+f"(d[64]),        \
        "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), "+f"(d[72]),        \
        "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]),        \
        "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]),        \
        "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), "+f"(d[96]),        \
        "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]),   \
        "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),              \
        "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]),              \
        "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]),              \
        "+f"(d[126]), "+f"(d[127])

template <typename Element> struct Wgmma;

/* The products of one element type:
 *   scores      d[64×64] (+)= a[64×16, shared] · b[64×16, shared]ᵀ      both from describe_rows or describe_blocks
 *   scores_reg  the same with a in registers: the words are (row i / 4, columns 2 (i % 4)), (row + 8, the same),
 *               (row i / 4, columns + 8), (row + 8, columns + 8)
 *   values      d[64×256] (+)= a[64×16, shared] · b[16×256, shared]     b from describe_columns
 * `accumulate` 0 ignores what d held. */
#define HM_WGMMA(Element, TYPE)                                                                                        \
    template <> struct Wgmma<Element> {                                                                                \
        static __device__ __forceinline__ void scores(float (&d)[32], uint64_t a, uint64_t b, int accumulate)          \
        {                                                                                                              \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0; "                                                      \
                         "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" HM_D32_NAMES                 \
                         "}, %32, %33, p, 1, 1, 0, 0;}"                                                                \
                         : HM_D32_OPERANDS(d)                                                                          \
                         : "l"(a), "l"(b), "r"(accumulate));                                                           \
        }                                                                                                              \
        static __device__ __forceinline__ void scores_reg(float (&d)[32], const uint32_t *a, uint64_t b,               \
                                                          int accumulate)                                              \
        {                                                                                                              \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %37, 0; "                                                      \
                         "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" HM_D32_NAMES                 \
                         "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;}"                                                  \
                         : HM_D32_OPERANDS(d)                                                                          \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));                       \
        }                                                                                                              \
        static __device__ __forceinline__ void values(float (&d)[128], uint64_t a, uint64_t b, int accumulate)         \
        {                                                                                                              \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %130, 0; "                                                     \
                         "wgmma.mma_async.sync.aligned.m64n256k16.f32." TYPE "." TYPE " {" HM_D128_NAMES               \
                         "}, %128, %129, p, 1, 1, 0, 1;}"                                                              \
                         : HM_D128_OPERANDS(d)                                                                         \
                         : "l"(a), "l"(b), "r"(accumulate));                                                           \
        }                                                                                                              \
    };

HM_WGMMA(Bf16, "bf16")
HM_WGMMA(Fp16, "f16")

#undef HM_WGMMA
#undef HM_D32_NAMES
#undef HM_D32_OPERANDS
#undef HM_D128_NAMES
#undef HM_D128_OPERANDS

#endif
