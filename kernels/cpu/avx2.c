/* SPDX-License-Identifier: Apache-2.0 */

/* AVX2, FMA, F16C: eight floats, sixteen registers. */

#include <immintrin.h>

#define VB 32
#include "kernels/cpu/vector.h"

#define HM_ISA hm_isa_avx2
#define QK_ROWS 3
#define PV_ROWS 6
#define PV_COLS 2

HM_INLINE vf v_set1(float a)
{
    return _mm256_set1_ps(a);
}

HM_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

HM_INLINE vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

HM_INLINE float v_max_of(vf a)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

HM_INLINE float v_sum_of(vf a)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

HM_INLINE void v_store_sums(float *to, vf a, vf b, vf c, vf d)
{
    __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
}

HM_INLINE vf v_widen_bf16(const uint16_t *from)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

HM_INLINE vf v_widen_fp16(const uint16_t *from)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}

HM_INLINE void v_narrow_bf16(uint16_t *to, vf a)
{
    vu bits = (vu)a;
    vu rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    vu nan = bits >> 16 | 0x40u;
    __m256i words = (__m256i)v_select((vu)(a != a), (vf)nan, (vf)rounded);
    words = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0xd8);
    _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(words));
}

HM_INLINE void v_narrow_fp16(uint16_t *to, vf a)
{
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#include "kernels/cpu/tile.h"
