/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_CONVERT_CUH
#define HM_SM90_PTX_CONVERT_CUH

/** @file
 * Element types, packing of pairs, base-2 exponential. */

#include <stdint.h>

struct Bf16 {
    /** Two values rounded to nearest even; the first in the low half. */
    static __device__ __forceinline__ uint32_t pack(float low, float high)
    {
        uint32_t pair;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
        return pair;
    }
    static __device__ __forceinline__ float round(float value) { return unpack(pack(value, value)).x; }
    static __device__ __forceinline__ float2 unpack(uint32_t pair)
    {
        return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000));
    }
};

struct Fp16 {
    static __device__ __forceinline__ uint32_t pack(float low, float high)
    {
        uint32_t pair;
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
        return pair;
    }
    static __device__ __forceinline__ float round(float value) { return unpack(pack(value, value)).x; }
    static __device__ __forceinline__ float2 unpack(uint32_t pair)
    {
        float2 values;
        asm("{.reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
            : "=f"(values.x), "=f"(values.y)
            : "r"(pair));
        return values;
    }
};

/** 2^x, relative error 2^-22; 0 for −inf. */
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/** 1 / x, relative error 2^-23. */
__device__ __forceinline__ float reciprocal(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/** log2 x for x > 0, absolute error 2^-22 near 1, relative elsewhere. */
__device__ __forceinline__ float log2_fast(float x)
{
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
