/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_VALUES_CUH
#define HM_SM90_TILE_VALUES_CUH

/** @file
 * The two value warpgroups: each owns 256 of O's 512 columns, O += P·V over the pages, and stores O. */

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

/** Where a row's O goes: this lane's first 16 bytes of it. NULL for a row that does not exist. */
__device__ __forceinline__ unsigned char *output_row(const Params &params, const Segment &segment, int tile, int row)
{
    const QueryRow query(params, segment, tile, row);
    if (!query.valid) {
        return nullptr;
    }
    return static_cast<unsigned char *>(params.out) + (thread_index() & 3) * 16 +
           (query.token * params.out_token_stride + query.head * params.out_head_stride) * 2;
}

/** O of a whole request: 16 bytes a lane after a transpose in each quad. */
template <typename Element>
__device__ __forceinline__ void store_output(const float (&o)[128], const float (&inverse)[2], int half,
                                             const Params &params, const Segment &segment, int tile)
{
    unsigned char *const out[2] = { output_row(params, segment, tile, accumulator_row()),
                                    output_row(params, segment, tile, accumulator_row() + 8) };
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
                *reinterpret_cast<uint4 *>(out[upper] + half * 512 + block * 64) =
                    make_uint4(words[0], words[1], words[2], words[3]);
            }
        }
    }
}

/** O of a part of a request, in float32, in the order of the accumulators. */
__device__ __forceinline__ void store_partial(const float (&o)[128], const float (&inverse)[2], int half,
                                              const Params &params, const Segment &segment, int tile)
{
    const int warp = group_warp();
    if (warp >= params.shape.warps) {
        return;
    }
    const int group = blockIdx.x / params.shape.tile_stride;
    const int64_t partial = partial_index(params, group, segment.part, tile);
    float4 *words = reinterpret_cast<float4 *>(params.workspace.partial_out) +
                    partial_word(params, partial, warp, half * 32, thread_index() & 31);
#pragma unroll
    for (int t = 0; t < 32; t++) {
        words[t * 32] = make_float4(o[t * 4] * inverse[0], o[t * 4 + 1] * inverse[0], o[t * 4 + 2] * inverse[1],
                                    o[t * 4 + 3] * inverse[1]);
    }
}

/** Both run the same code: apart, it would be fetched twice. */
template <typename Element>
__device__ __forceinline__ void run_value_warpgroup(SharedMemory &shared, int half, const Params &params,
                                                    const CacheMaps &maps)
{
    WorkIterator work(params);
    Ring ring;
    Loader loader(half);
    float o[128];
    barrier_sync(kBarrierGate + half * kSlots, 2 * kWarpgroup); /* Q is on its way */
    if (group_thread() == 0) {
        loader.start(shared, params);
#pragma unroll 1
        for (int slot = 0; slot < kSlots; slot++) {
            loader.refill(shared, params, maps, slot, 0, true);
        }
    }
    __syncwarp();
    while (work.next(shared, params)) {
        float inverse[2];
        int left = page_count(work.segment(shared, params));
        bool first = true;
#pragma unroll 1
        for (; left > 0; left--) {
            const int slot = ring.slot;
            barrier_sync(kBarrierReady + half * kSlots + slot, 2 * kWarpgroup);
            if (!first) {
                rescale(o, shared.notes[slot]);
            }
            if (left == 1) {
                const Segment &segment = work.segment(shared, params);
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
        const Segment &segment = work.segment(shared, params);
        if (segment.part < 0) {
            store_output<Element>(o, inverse, half, params, segment, work.tile);
        } else {
            store_partial(o, inverse, half, params, segment, work.tile);
        }
    }
}

#endif
