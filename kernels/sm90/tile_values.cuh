/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_VALUES_CUH
#define HM_SM90_TILE_VALUES_CUH

/** @file
 * The two value warpgroups: each owns 256 of O's 512 columns, O += P·V over the pages, and stores O. */

#include "ptx/grid.cuh"
#include "ptx/matrix.cuh"
#include "ptx/wgmma.cuh"
#include "tile_loader.cuh"

/** Multiplies O by the powers of two that the page's notes ask for. */
__device__ __forceinline__ void rescale(float (&o)[128], const PageNotes &notes)
{
    if (!notes.rescaled[group_warp()]) {
        return;
    }
    const int row = accumulator_row();
    const float factor[2] = { exp2_fast(notes.rescale[row]), exp2_fast(notes.rescale[row + 8]) };
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

/** 16 bytes a lane after a transpose in each quad. */
template <typename Element>
__device__ __forceinline__ void store_output(const float (&o)[128], const float (&inverse)[2], int half,
                                             const Params &params, const Segment &segment, int tile)
{
    const int64_t partial = own_partial_row(params, segment, tile);
    unsigned char *const out[2] = { output_row(params, segment, tile, accumulator_row(), partial),
                                    output_row(params, segment, tile, accumulator_row() + 8, partial) };
#pragma unroll
    for (int block = 0; block < 8; block++) {
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
            uint32_t words[4];
#pragma unroll
            for (int t = 0; t < 4; t++) {
                const int i = (block * 4 + t) * 4 + upper * 2;
                words[t] = Element::pack(o[i] * inverse[upper], o[i + 1] * inverse[upper]);
            }
            transpose_quad(words[0], words[1], words[2], words[3]);
            if (out[upper]) {
                *reinterpret_cast<uint4 *>(out[upper] + half * 512 + block * 64 + (thread_index() & 3) * 16) =
                    make_uint4(words[0], words[1], words[2], words[3]);
            }
        }
    }
}

/** Both run the same code: apart, it would be fetched twice. */
template <typename Element>
__device__ __forceinline__ void run_value_warpgroup(SharedMemory &shared, int half, const Params &params,
                                                    const CacheMaps &maps)
{
    WorkIterator work(params);
    Ring<kSlots> ring;
    Loader loader(half);
    float o[128];
    int loaded = 0;
    if (group_thread() == 0) {
        loader.start(shared, params);
        loaded = loader.load_ahead(shared, params, maps);
    }
    __syncwarp();
    if (params.early) {
        grid_wait_for_predecessor();
    }
    barrier_sync(kBarrierGate + half * kSlots, 2 * kWarpgroup); /* Q is on its way */
    if (group_thread() == 0) {
#pragma unroll 1
        for (int slot = loaded; slot < kSlots; slot++) {
            loader.refill(shared, params, maps, slot, 0, true);
        }
    }
    __syncwarp();
    while (work.next(shared.work, params)) {
        float inverse[2];
        int left = page_count(work.segment(shared.work, params));
        bool first = true;
#pragma unroll 1
        for (; left > 0; left--) {
            const int slot = ring.slot;
            barrier_sync(kBarrierReady + half * kSlots + slot, 2 * kWarpgroup);
            if (!first) {
                rescale(o, shared.notes[slot]);
            }
            if (left == 1) {
                const Segment &segment = work.segment(shared.work, params);
                const int tokens = segment.kv_len - (segment.page_end - 1) * kPageTokens;
                if (tokens < kPageTokens) {
                    clear_tail(shared.pages[slot], half, tokens);
                }
            }
            barrier_sync(kBarrierGate + half * kSlots + slot, 2 * kWarpgroup);
            const uint64_t probabilities = describe_rows(shared_address(shared.pages[slot].rope));
            const uint64_t values = describe_columns(shared_address(shared.pages[slot].latent[half]));
            wgmma_fence();
#pragma unroll
            for (int k = 0; k < 4; k++) {
                Wgmma<Element>::values(o, probabilities + k * 2, values + k * 128, k > 0 || !first);
            }
            first = false;
            wgmma_commit();
            wgmma_wait<0>();
            if (left == 1) {
                const int row = accumulator_row();
#pragma unroll
                for (int upper = 0; upper < 2; upper++) {
                    const float sum = shared.row_sum[row + upper * 8];
                    inverse[upper] = sum > 0 ? 1 / sum : 0;
                }
            }
            /* The first warp refills the slot once the others are through with it. */
            if (group_warp() == 0) {
                barrier_sync(kBarrierValues + half, kWarpgroup);
                if (group_thread() == 0) {
                    if (half == 0) {
                        mbarrier_arrive(shared_address(&shared.rope_free[slot]));
                    }
                    if (left == 1) {
                        mbarrier_arrive(shared_address(&shared.sums_free));
                    }
                    loader.refill(shared, params, maps, slot, ring.parity, false);
                }
                __syncwarp();
            } else {
                barrier_arrive(kBarrierValues + half, kWarpgroup);
            }
            ring.advance();
        }
        const Segment &segment = work.segment(shared.work, params);
        store_output<Element>(o, inverse, half, params, segment, work.tile);
    }
}

#endif
