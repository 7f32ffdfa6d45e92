/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_MATRIX_CUH
#define HM_SM90_PTX_MATRIX_CUH

/** @file
 * Moves of 8×8 matrices of 16-bit values between a warp's registers and rows. */

#include <stdint.h>

/** Stores four matrices; lane i gives the address of row i % 8 of matrix i / 8. */
__device__ __forceinline__ void store_matrices(uint32_t row, uint32_t m0, uint32_t m1, uint32_t m2, uint32_t m3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(m0), "r"(m1),
                 "r"(m2), "r"(m3)
                 : "memory");
}

/** Loads four matrices, as store_matrices stores them. */
__device__ __forceinline__ void load_matrices(uint32_t *m, uint32_t row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(row)
                 : "memory");
}

/** Stores transposed matrices: lane i gives the address of column i % 8 of matrix i / 8, which becomes a row. */
__device__ __forceinline__ void store_transposed(uint32_t row, uint32_t m0, uint32_t m1)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(row), "r"(m0), "r"(m1)
                 : "memory");
}

__device__ __forceinline__ void store_transposed(uint32_t row, uint32_t m0, uint32_t m1, uint32_t m2, uint32_t m3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(m0), "r"(m1),
                 "r"(m2), "r"(m3)
                 : "memory");
}

/** The word of lane ^ Mask. */
template <int Mask> __device__ __forceinline__ uint32_t exchange(uint32_t word)
{
    uint32_t other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(other) : "r"(word), "n"(Mask));
    return other;
}

/** The address that a lane has. */
__device__ __forceinline__ unsigned char *address_of_lane(unsigned char *address, int lane)
{
    uint32_t low = (uint32_t)(uint64_t)address, high = (uint32_t)((uint64_t)address >> 32);
    asm volatile("shfl.sync.idx.b32 %0, %0, %1, 0x1f, 0xffffffff;" : "+r"(low) : "r"(lane));
    asm volatile("shfl.sync.idx.b32 %0, %0, %1, 0x1f, 0xffffffff;" : "+r"(high) : "r"(lane));
    return reinterpret_cast<unsigned char *>((uint64_t)high << 32 | low);
}

/** Transposes 4×4 words inside every quad: afterwards word j of lane c is what word c of lane j was. Turns a row of an
 * accumulator (2 values a lane and tile) into 16 contiguous bytes a lane, and back. */
__device__ __forceinline__ void transpose_quad(uint32_t &w0, uint32_t &w1, uint32_t &w2, uint32_t &w3)
{
    const uint32_t lane = threadIdx.x;
    const bool odd = lane & 1;
    const bool high = lane & 2;
    const uint32_t a = exchange<1>(odd ? w0 : w1);
    const uint32_t b = exchange<1>(odd ? w2 : w3);
    w0 = odd ? a : w0;
    w1 = odd ? w1 : a;
    w2 = odd ? b : w2;
    w3 = odd ? w3 : b;
    const uint32_t c = exchange<2>(high ? w0 : w2);
    const uint32_t d = exchange<2>(high ? w1 : w3);
    w0 = high ? c : w0;
    w2 = high ? w2 : c;
    w1 = high ? d : w1;
    w3 = high ? w3 : d;
}

#endif
