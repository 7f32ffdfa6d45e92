/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_VALUES_CUH
#define HM_SM90_TILE_VALUES_CUH

/** @file
 * The two value warpgroups: each owns 256 of O's 512 columns, O += P·V over the pages, and stores O. */

#include "ptx/copy.cuh"
#include "ptx/grid.cuh"
#include "ptx/matrix.cuh"
#include "ptx/wgmma.cuh"
#include "tile_loader.cuh"

/** Multiplies O by the powers of two that the page's notes ask for. The warp's first lane reads these for all: it is the
 * one that gives them back. */
__device__ __forceinline__ void rescale(float (&o)[128], const PageNotes &notes)
{
    const int lane = thread_index() & 31;
    if (!__shfl_sync(~0u, lane == 0 ? notes.rescaled[group_warp()] : 0, 0)) {
        return;
    }
    uint4 rows = make_uint4(0, 0, 0, 0);
    if (lane == 0) {
        rows = *reinterpret_cast<const uint4 *>(&notes.rescale[group_warp() * 16]);
    }
    const uint32_t low = __shfl_sync(~0u, rows.x, 0), high = __shfl_sync(~0u, rows.y, 0);
    const uint32_t low8 = __shfl_sync(~0u, rows.z, 0), high8 = __shfl_sync(~0u, rows.w, 0);
    const int byte = lane / 4; /* of 8; the row, and the row + 8 */
    const float factor[2] = { exp2_fast((int8_t)__byte_perm(low, high, byte)),
                              exp2_fast((int8_t)__byte_perm(low8, high8, byte)) };
#pragma unroll
    for (int i = 0; i < 128; i++) {
        o[i] *= factor[i / 2 % 2];
    }
}

/** Clears the rows of V from `tokens` on: a probability of 0 does not silence a NaN. */
__device__ __forceinline__ void clear_tail(PageSlot &page, int half, int tokens)
{
    for (int word = group_thread(); word < (kPageTokens - tokens) * 32; word += kWarpgroup) {
        const int row = tokens + word / 32, tile = word / 8 % 4, chunk = word % 8;
        *reinterpret_cast<uint4 *>(page.latent[half] + tile * kColumnTileBytes + row * 128 + chunk * 16) =
            make_uint4(0, 0, 0, 0);
    }
    fence_async_proxy();
    barrier_sync(kBarrierValues + half, kWarpgroup);
}

/** Starts O (+)= P·V of a page. */
template <typename Element>
__device__ __forceinline__ void start_values(float (&o)[128], SharedMemory &shared, int slot, int half, bool accumulate)
{
    const uint64_t probabilities = describe_rows(uniform(shared_address(shared.pages[slot].rope)));
    const uint64_t values = describe_columns(uniform(shared_address(shared.pages[slot].latent[half])));
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; k++) {
        Wgmma<Element>::values(o, describe_at(probabilities, k * 2), describe_at(values, k * 128), k > 0 || accumulate);
    }
    wgmma_commit();
}

__device__ __forceinline__ float inverse_of(float sum)
{
    return sum > 0 ? reciprocal(sum) : 0;
}

/** A warp's rows of O, one in each of the first 16 lanes: where they go. */
__device__ __forceinline__ unsigned char *own_output_row(const Params &params, const Segment &segment, int first)
{
    return output_row(params, segment, first, group_warp() * 16 + (thread_index() & 15),
                      own_partial_row(params, blockIdx.y, segment, first));
}

/** O of a warp, by way of its part of the rope tile: eight rows of 64 columns at a time, each of which leaves as a line of
 * 128 bytes. */
template <typename Element>
__device__ __forceinline__ void store_output(const float (&o)[128], const float (&inverse)[2], unsigned char *rope,
                                             int half, unsigned char *own_row)
{
    constexpr int kRowBytes = 128;
    const int lane = thread_index() & 31;
    unsigned char *const staged = rope + (half * 4 + group_warp()) * 8 * kRowBytes;
    /* Matrices of a store: four tiles of 8 columns. */
    const uint32_t target = shared_address(staged) + (lane & 7) * kRowBytes;
    const int read_row = lane >> 3;
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
#pragma unroll
        for (int columns = 0; columns < 4; columns++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                uint32_t words[4];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float *pair = &o[(columns * 8 + i * 4 + j) * 4 + upper * 2];
                    words[j] = Element::pack(pair[0] * inverse[upper], pair[1] * inverse[upper]);
                }
                store_matrices(target + (((i * 4 + (lane >> 3)) ^ (lane & 7)) << 4), words[0], words[1], words[2],
                               words[3]);
            }
            __syncwarp();
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int row = i * 4 + read_row;
                const uint4 words =
                    *reinterpret_cast<const uint4 *>(staged + row * kRowBytes + (((lane & 7) ^ row) << 4));
                store_global(address_of_lane(own_row, upper * 8 + row),
                             half * 512 + columns * kRowBytes + (lane & 7) * 16, words);
            }
            __syncwarp();
        }
    }
}

/** The warpgroup's first thread acts when all four warps are through with a slot; the others do not wait. */
template <typename Action> __device__ __forceinline__ void when_read(int half, const Action &action)
{
    if (group_warp() == 0) {
        barrier_sync(kBarrierValues + half, kWarpgroup);
        if (group_thread() == 0) {
            action();
        }
        __syncwarp();
    } else {
        barrier_arrive(kBarrierValues + half, kWarpgroup);
    }
}

/** Both run the same code: apart, it would be fetched twice. */
template <typename Element, bool Rope>
__device__ __forceinline__ void run_value_warpgroup(SharedMemory &shared, int half, const Params &params,
                                                    const CacheMaps &maps)
{
    WorkIterator work(blockIdx.x * kTileRows);
    Ring<kSlots> ring;
    Loader<Rope> loader(half);
    uint32_t segments = 0; /* whose row sums were taken */
    float o[128];
    if (group_thread() == 0) {
        loader.start(shared, params);
        if (loader.have) {
            const int loaded = loader.load_ahead(shared, params, maps);
            if (params.early) {
                grid_wait_for_predecessor();
            }
            mbarrier_wait(shared_address(&shared.query_sent), 0); /* behind a full ring of pages, Q would come late */
#pragma unroll 1
            for (int slot = loaded; slot < kSlots; slot++) {
                loader.refill(shared, params, maps, slot, 0, true);
            }
        }
    }
    __syncwarp();
    if (params.early) {
        grid_wait_for_predecessor();
    }
    while (work.next(shared.work, params)) {
        int left = page_count(work.segment());
        bool first = true;
#pragma unroll 1
        for (;; left--) {
            const int slot = ring.slot;
            barrier_sync(kBarrierReady + half * kSlots + slot, 2 * kWarpgroup);
            if (!first) {
                rescale(o, shared.notes[slot]);
            }
            if (left > 1 && (thread_index() & 31) == 0) {
                mbarrier_arrive(shared_address(&shared.notes_free[slot]), 32);
            }
            __syncwarp();
            if (left == 1) {
                const Segment &segment = work.segment();
                const int tokens = segment.kv_len - (segment.page_end - 1) * kPageTokens;
                if (tokens < kPageTokens) {
                    clear_tail(shared.pages[slot], half, tokens);
                }
            }
            barrier_sync(kBarrierGate + half * kSlots + slot, 2 * kWarpgroup);
            start_values<Element>(o, shared, slot, half, !first);
            first = false;
            if (left == 1) {
                break;
            }
            wgmma_wait<0>();
            when_read(half, [&] {
                if (Rope && half == 0) {
                    mbarrier_arrive(shared_address(&shared.rope_free[slot]));
                }
                loader.refill(shared, params, maps, slot, ring.parity, false);
            });
            ring.advance();
        }
        /* O leaves by way of the last page's rope tile, once P was read from it; its latent part is refilled at once. */
        const int slot = ring.slot;
        const int row = accumulator_row();
        mbarrier_wait(shared_address(&shared.sums_ready), segments & 1);
        const float inverse[2] = { inverse_of(shared.row_sum[row]), inverse_of(shared.row_sum[row + 8]) };
        mbarrier_arrive(shared_address(&shared.sums_free));
        unsigned char *const own_row = own_output_row(params, work.segment(), work.row);
        wgmma_wait<0>();
        when_read(half, [&] {
            mbarrier_arrive(shared_address(&shared.values_done));
            loader.load_latent(shared, params, maps, slot);
        });
        mbarrier_wait(shared_address(&shared.values_done), segments++ & 1);
        store_output<Element>(o, inverse, shared.pages[slot].rope, half, own_row);
        fence_async_proxy();
        mbarrier_arrive(shared_address(&shared.notes_free[slot]));
        if (group_thread() != 0) {
            lend_slot(shared, half);
        }
        __syncwarp();
        barrier_sync(kBarrierValues - 1 + thread_index() / kWarpgroup, kWarpgroup); /* half, kept, is spilled here */
        if (group_thread() == 0) {
            if (Rope && half == 0) {
                mbarrier_arrive(shared_address(&shared.rope_free[slot]));
            }
            loader.finish_refill(shared, params, maps, slot, ring.parity, false, 1);
        }
        __syncwarp();
        ring.advance();
    }
}

#endif
