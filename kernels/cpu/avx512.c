/* SPDX-License-Identifier: Apache-2.0 */

/* AVX-512 F, BW, DQ, VL: sixteen floats, thirty-two registers. */

#include <immintrin.h>

#define VB 64
#include "kernels/cpu/vector.h"

#define HM_ISA hm_isa_avx512
#define QK_ROWS 4
#define PV_ROWS 6
#define PV_COLS 4

HM_INLINE vf v_set1(float a)
{
    return _mm512_set1_ps(a);
}

HM_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

HM_INLINE vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

HM_INLINE float v_max_of(vf a)
{
    return _mm512_reduce_max_ps(a);
}

HM_INLINE float v_sum_of(vf a)
{
    return _mm512_reduce_add_ps(a);
}

HM_INLINE void v_store_sums(float *to, vf a, vf b, vf c, vf d)
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 sums = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))),
                                _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps(sums, 1));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

HM_INLINE vf v_widen_bf16(const uint16_t *from)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

HM_INLINE vf v_widen_fp16(const uint16_t *from)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}

HM_INLINE void v_narrow_bf16(uint16_t *to, vf a)
{
    vu bits = (vu)a;
    vu rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    vu nan = bits >> 16 | 0x40u;
    __m512i words = (__m512i)v_select((vu)(a != a), (vf)nan, (vf)rounded);
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(words));
}

HM_INLINE void v_narrow_fp16(uint16_t *to, vf a)
{
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#include "kernels/cpu/tile.h"
