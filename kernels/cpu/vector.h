/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * A vector of VL floats, VB bytes, by the compilers' own vector types. Included by one file per instruction set, which
 * defines VB before and the rest of its vocabulary after (see tile.h): no include guard, so that each gets its own. */

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/isa.h"

typedef float vf __attribute__((vector_size(VB)));
typedef uint32_t vu __attribute__((vector_size(VB)));
typedef float vf_unaligned __attribute__((vector_size(VB), aligned(4), may_alias));

enum {
    VL = VB / 4
};

#define HM_INLINE static inline __attribute__((always_inline))

/* Before a short loop of constant length: its body indexes registers. */
#if defined(__clang__)
#define HM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HM_UNROLL _Pragma("GCC unroll 16")
#endif

HM_INLINE vf v_load(const float *from)
{
    return *(const vf_unaligned *)from;
}

HM_INLINE void v_store(float *to, vf a)
{
    *(vf_unaligned *)to = a;
}

/** where ? a : b, bit by bit. */
HM_INLINE vf v_select(vu where, vf a, vf b)
{
    return (vf)(((vu)a & where) | ((vu)b & ~where));
}
