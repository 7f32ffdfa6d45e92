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

/** The address that a lane has. */
__device__ __forceinline__ unsigned char *address_of_lane(unsigned char *address, int lane)
{
    uint32_t low = (uint32_t)(uint64_t)address, high = (uint32_t)((uint64_t)address >> 32);
    asm volatile("shfl.sync.idx.b32 %0, %0, %1, 0x1f, 0xffffffff;" : "+r"(low) : "r"(lane));
    asm volatile("shfl.sync.idx.b32 %0, %0, %1, 0x1f, 0xffffffff;" : "+r"(high) : "r"(lane));
    return reinterpret_cast<unsigned char *>((uint64_t)high << 32 | low);
}

#endif
