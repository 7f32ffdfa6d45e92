/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_CONVERT_H
#define HM_CPU_CONVERT_H

/** @file
 * bfloat16 and IEEE half precision, one value at a time. To float32 is exact; from float32 rounds to nearest even. NaN
 * stays NaN, quiet, with the sign and the top of its payload. */

#include <stdint.h>
#include <string.h>

static inline uint32_t hm_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float hm_bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float hm_bf16_to_float(uint16_t value)
{
    return hm_bits_float((uint32_t)value << 16);
}

static inline uint16_t hm_bf16_from_float(float value)
{
    uint32_t bits = hm_float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float hm_fp16_to_float(uint16_t value)
{
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16;
    uint32_t magnitude = value & 0x7fffu;
    if (magnitude >= 0x7c00u) {
        uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0u;
        return hm_bits_float(sign | 0x7f800000u | quiet | (magnitude & 0x3ffu) << 13);
    }
    if (magnitude < 0x400u) { /* 0 and subnormals: an integer times 2^−24 */
        return hm_bits_float(sign | hm_float_bits((float)magnitude * 0x1p-24f));
    }
    return hm_bits_float(sign | ((magnitude << 13) + (112u << 23)));
}

static inline uint16_t hm_fp16_from_float(float value)
{
    uint32_t bits = hm_float_bits(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    }
    if (magnitude >= 0x477ff000u) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^−14: adding 1/2 leaves the rounded multiple of 2^−24 in the low bits */
        return (uint16_t)(sign | (hm_float_bits(hm_bits_float(magnitude) + 0.5f) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13));
}

#endif
