/* SPDX-License-Identifier: Apache-2.0 */

/* Any processor: vectors of four floats by the compiler's own types, no intrinsics. */

#define VB 16
#include "kernels/cpu/vector.h"
#include "kernels/cpu/convert.h"

#define HM_ISA hm_isa_portable
#define QK_ROWS 2
#define PV_ROWS 4
#define PV_COLS 2

HM_INLINE vf v_set1(float a)
{
    return (vf){ a, a, a, a };
}

HM_INLINE vf v_fma(vf a, vf b, vf c)
{
    return a * b + c;
}

HM_INLINE vf v_max(vf a, vf b)
{
    return v_select((vu)(a > b), a, b);
}

HM_INLINE float v_max_of(vf a)
{
    float low = a[0] > a[1] ? a[0] : a[1], high = a[2] > a[3] ? a[2] : a[3];
    return low > high ? low : high;
}

HM_INLINE float v_sum_of(vf a)
{
    return (a[0] + a[1]) + (a[2] + a[3]);
}

HM_INLINE void v_store_sums(float *to, vf a, vf b, vf c, vf d)
{
    v_store(to, (vf){ v_sum_of(a), v_sum_of(b), v_sum_of(c), v_sum_of(d) });
}

HM_INLINE vf v_widen_bf16(const uint16_t *from)
{
    return (vf)((vu){ from[0], from[1], from[2], from[3] } << 16);
}

HM_INLINE vf v_widen_fp16(const uint16_t *from)
{
    return (vf){ hm_fp16_to_float(from[0]), hm_fp16_to_float(from[1]), hm_fp16_to_float(from[2]),
                 hm_fp16_to_float(from[3]) };
}

HM_INLINE void v_narrow_bf16(uint16_t *to, vf a)
{
    for (int i = 0; i < VL; i++) {
        to[i] = hm_bf16_from_float(a[i]);
    }
}

HM_INLINE void v_narrow_fp16(uint16_t *to, vf a)
{
    for (int i = 0; i < VL; i++) {
        to[i] = hm_fp16_from_float(a[i]);
    }
}

#include "kernels/cpu/tile.h"
