/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_PTX_COPY_CUH
#define HM_SM90_PTX_COPY_CUH

/** @file
 * Asynchronous copies of 16 bytes a thread from global to shared memory, prefetches, and stores without a branch. */

#include <stdint.h>

/** Starts a copy; without `valid` it brings zeros and reads nothing. */
__device__ __forceinline__ void copy_async(uint32_t destination, const void *source, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(valid ? 16 : 0)
                 : "memory");
}

/** The same, if it is wanted. */
__device__ __forceinline__ void copy_async(uint32_t destination, const void *source, bool valid, bool wanted)
{
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.u32 p, %3, 0;\n"
                 "@p cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
                 "}" ::"r"(destination),
                 "l"(source), "r"(valid ? 16 : 0), "r"((int)wanted)
                 : "memory");
}

/** Waits for this thread's copies. */
__device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/** Stores 16 bytes at row + offset; nothing where row is NULL. A branch here makes nvcc 13.0 lose sight, in all of the
 * kernel, of what is the same in all lanes. */
__device__ __forceinline__ void store_global(unsigned char *row, uint32_t offset, const uint4 &words)
{
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.u64 p, %0, 0;\n"
                 "@p st.global.v4.b32 [%1], {%2, %3, %4, %5};\n"
                 "}" ::"l"(row),
                 "l"(row + offset), "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
                 : "memory");
}

/** 16 bytes from global memory; zeros, and nothing is read, without `there`. */
__device__ __forceinline__ uint4 load_global(const uint4 *address, bool there)
{
    uint4 words;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.u32 p, %5, 0;\n"
                 "mov.b32 %0, 0;\n"
                 "mov.b32 %1, 0;\n"
                 "mov.b32 %2, 0;\n"
                 "mov.b32 %3, 0;\n"
                 "@p ld.global.v4.b32 {%0, %1, %2, %3}, [%4];\n"
                 "}"
                 : "=&r"(words.x), "=&r"(words.y), "=&r"(words.z), "=&r"(words.w)
                 : "l"(address), "r"((int)there)
                 : "memory");
    return words;
}

/** A word from global memory; 0, and nothing is read, without `there`. */
__device__ __forceinline__ int32_t load_global(const int32_t *address, bool there)
{
    int32_t value = 0;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.u32 p, %2, 0;\n"
                 "@p ld.global.b32 %0, [%1];\n"
                 "}"
                 : "+r"(value)
                 : "l"(address), "r"((int)there)
                 : "memory");
    return value;
}

/** A float from global memory; `otherwise`, and nothing is read, without `there`. */
__device__ __forceinline__ float load_global(const float *address, bool there, float otherwise)
{
    float value = otherwise;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.u32 p, %2, 0;\n"
                 "@p ld.global.f32 %0, [%1];\n"
                 "}"
                 : "+f"(value)
                 : "l"(address), "r"((int)there)
                 : "memory");
    return value;
}

/** Brings the cache line of an address to L2. */
__device__ __forceinline__ void prefetch_l2(const void *address)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

#endif
