/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIMT_H
#define SIMT_H

/** @file
 * CUDA C++ as far as the schedule and combine kernels use it, on the host: threads of a CTA are fibers, that run one after
 * the other from one barrier or exchange to the next. Include it ahead of a kernel's .cu. */

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

struct simt_index {
    unsigned x;
    unsigned y = 0; /* grids of one dimension */
};

/** Who runs. */
struct simt_thread {
    simt_index thread, block, grid;
    unsigned turn; /* exchanges so far: neighbouring ones use different rows of simt_warp */
};
extern simt_thread *simt_now;

/** What the lanes of a warp tell each other, and in which of its exchanges a lane said it, from 1 on. */
struct simt_row {
    unsigned char value[32][16];
    unsigned turn[32];
};
struct simt_warp {
    simt_row rows[2];
};

/** Waits for the lanes of the warp, or the threads of the CTA, that have not returned. */
void simt_meet_warp();
void simt_meet_cta();
simt_warp &simt_own_warp();
/** Ends the thread. */
[[noreturn]] void simt_exit();
/** Runs `kernel` for one CTA after the other. Ends the program where threads wait for each other in vain. */
void simt_run(unsigned grid, unsigned threads, void (*kernel)(void *), void *user);

extern "C" unsigned char shared_bytes[]; /* dynamic shared memory, as the kernel declares it */

#define __device__
#define __host__
#define __global__
/* __shared__ is left to the one who includes: `static`, or nothing where it stands behind `extern`. */
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __align__(n) __attribute__((aligned(n)))
#define threadIdx (simt_now->thread)
#define blockIdx (simt_now->block)
#define gridDim (simt_now->grid)

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return { x, y, z, w };
}
inline float2 make_float2(float x, float y)
{
    return { x, y };
}
inline float4 make_float4(float x, float y, float z, float w)
{
    return { x, y, z, w };
}

template <typename A, typename B> std::common_type_t<A, B> min(A a, B b)
{
    using T = std::common_type_t<A, B>;
    return T(a) < T(b) ? T(a) : T(b);
}
template <typename A, typename B> std::common_type_t<A, B> max(A a, B b)
{
    using T = std::common_type_t<A, B>;
    return T(a) < T(b) ? T(b) : T(a);
}

inline void __syncthreads()
{
    simt_meet_cta();
}
inline void __syncwarp()
{
    simt_meet_warp();
}

/** Tells the other lanes a value, and returns where those of all stand until the next but one exchange. */
template <typename T> const simt_row &simt_tell(const T &own)
{
    static_assert(sizeof(T) <= 16, "a lane's place");
    const unsigned lane = simt_now->thread.x & 31, turn = ++simt_now->turn;
    simt_row &row = simt_own_warp().rows[turn & 1];
    std::memcpy(row.value[lane], &own, sizeof(T));
    row.turn[lane] = turn;
    simt_meet_warp();
    return row;
}
/** What lane `source` says; a lane's own where there is no such lane. */
template <typename T> T simt_exchange(const T &own, int source)
{
    T value = own;
    const simt_row &row = simt_tell(own);
    if (source >= 0 && source < 32) {
        std::memcpy(&value, row.value[source], sizeof(T));
    }
    return value;
}
template <typename T> T __shfl_sync(uint32_t, T value, int lane)
{
    return simt_exchange(value, lane);
}
template <typename T> T __shfl_xor_sync(uint32_t, T value, int mask)
{
    return simt_exchange(value, int(simt_now->thread.x & 31) ^ mask);
}
template <typename T> T __shfl_up_sync(uint32_t, T value, int distance)
{
    return simt_exchange(value, int(simt_now->thread.x & 31) - distance);
}
/** Of all lanes that take part: those that had returned before do not. */
template <typename T, typename Add> T simt_reduce(T own, Add add)
{
    const simt_row &row = simt_tell(own);
    T all = own;
    for (unsigned lane = 0; lane < 32; lane++) {
        T other;
        std::memcpy(&other, row.value[lane], sizeof(T));
        if (row.turn[lane] == simt_now->turn && lane != (simt_now->thread.x & 31)) {
            all = add(all, other);
        }
    }
    return all;
}
inline uint32_t __ballot_sync(uint32_t, bool yes)
{
    return simt_reduce<uint32_t>(uint32_t(yes) << (simt_now->thread.x & 31), [](auto a, auto b) { return a | b; });
}
inline int __reduce_add_sync(uint32_t, int value)
{
    return simt_reduce(value, [](int a, int b) { return a + b; });
}
inline int __reduce_max_sync(uint32_t, int value)
{
    return simt_reduce(value, [](int a, int b) { return a < b ? b : a; });
}
inline int __popc(uint32_t bits)
{
    return __builtin_popcount(bits);
}
inline int __ffs(uint32_t bits)
{
    return __builtin_ffs(int(bits));
}

template <typename T> T atomicMax(T *at, T value)
{
    const T before = *at;
    *at = before < value ? value : before;
    return before;
}
inline uint32_t atomicOr(uint32_t *at, uint32_t bits)
{
    const uint32_t before = *at;
    *at |= bits;
    return before;
}

/* In place of the headers of kernels/sm90/ptx, whose guards are taken. */
#define HM_SM90_PTX_BARRIER_CUH
#define HM_SM90_PTX_CONVERT_CUH
#define HM_SM90_PTX_COPY_CUH
#define HM_SM90_PTX_GRID_CUH
#define HM_SM90_PTX_MBARRIER_CUH
#define HM_SM90_PTX_TMA_CUH

struct TensorMap {
};

/** Whether the kernel before was waited for, in any thread, since it was last set to false. */
extern bool simt_waited;

inline void grid_release_dependents() {}
inline void grid_wait_for_predecessor()
{
    simt_waited = true;
}

inline void exit_thread()
{
    simt_exit();
}

struct Bf16 {
    static uint32_t round(float value)
    {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    }
    static float widen(uint32_t bits)
    {
        float value;
        bits <<= 16;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }
    static uint32_t pack(float low, float high) { return round(high) << 16 | round(low); }
    static float2 unpack(uint32_t pair) { return { widen(pair & 0xFFFF), widen(pair >> 16) }; }
};
/* The kernels differ in the element alone: one is enough. */
struct Fp16 {
    static uint32_t pack(float, float) { std::abort(); }
    static float2 unpack(uint32_t) { std::abort(); }
};

inline float exp2_fast(float x)
{
    return std::exp2(x);
}
inline float log2_fast(float x)
{
    return std::log2(x);
}
inline float reciprocal(float x)
{
    return 1 / x;
}
inline uint4 load_global(const uint4 *address, bool there)
{
    return there ? *address : uint4{ 0, 0, 0, 0 };
}
inline float load_global(const float *address, bool there, float otherwise)
{
    return there ? *address : otherwise;
}

#endif
