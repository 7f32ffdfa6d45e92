/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_SCORES_CUH
#define HM_SM90_TILE_SCORES_CUH

/** @file
 * The score warpgroup: S = Q·Kᵀ of every page, softmax with a running reference, probabilities to shared memory. */

#include "ptx/grid.cuh"
#include "ptx/wgmma.cuh"
#include "tile_loader.cuh"
#include "tile_query.cuh"

/** Online softmax of a thread's two rows. Probabilities are 2^(s·scale − reference). The reference starts at the first
 * page's maximum. Later it moves so that the largest probability is one that the element type has: a token that outweighs
 * all others is not rounded. That is nearly a whole power of two; O is multiplied by the power, and `excess` is by how much
 * what O is to be divided by exceeds the sum. Sums are of the thread's columns. */
struct SoftmaxState {
    float reference[2] = { kNoReference, kNoReference };
    float sum[2] = { 0, 0 };
    float excess[2] = { 0, 0 };
};

/** Scores of hidden tokens become −inf; whatever the cache holds beyond the request's end, NaN too, is dropped here. */
__device__ __forceinline__ void mask_scores(float (&s)[32], const Params &params, const Segment &segment, int first,
                                            int page)
{
    const int row = accumulator_row();
    const int column = page * kPageTokens + 2 * (thread_index() & 3);
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
        const QueryRow query(params, segment, first + row + upper * 8);
        const int visible = segment.kv_len - max(query.hidden, 0) - column;
#pragma unroll
        for (int t = 0; t < 8; t++) {
#pragma unroll
            for (int j = 0; j < 2; j++) {
                float &score = s[t * 4 + upper * 2 + j];
                score = t * 8 + j < visible ? score : -INFINITY;
            }
        }
    }
}

__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

/** Turns scores into packed probabilities (words as for stmatrix) and tells the value warpgroups how to rescale. */
template <typename Element>
__device__ __forceinline__ void softmax_page(const float (&s)[32], uint32_t (&packed)[16], SoftmaxState &state,
                                             PageNotes &notes, float scale)
{
    float top[2] = { fmaxf(s[0], s[1]), fmaxf(s[2], s[3]) };
#pragma unroll
    for (int t = 1; t < 8; t++) {
        top[0] = fmaxf(top[0], fmaxf(s[t * 4], s[t * 4 + 1]));
        top[1] = fmaxf(top[1], fmaxf(s[t * 4 + 2], s[t * 4 + 3]));
    }
    const float growth = fmaxf(fmaf(top[0], scale, -state.reference[0]), fmaf(top[1], scale, -state.reference[1]));
    const bool rescaled = __any_sync(~0u, growth > kLazyBits);
    if (rescaled) {
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
            const float page_top = quad_max(top[upper]) * scale;
            float bits = 0;
            if (state.reference[upper] == kNoReference) {
                /* Nothing was summed yet; a row that sees nothing of this page stays as it is. */
                state.reference[upper] = fmaxf(page_top, kNoReference);
            } else {
                const float before = state.reference[upper];
                bits = fmaxf(ceilf(page_top - before), 0.f);
                const float largest = Element::round(exp2_fast(page_top - before - bits));
                state.reference[upper] = bits > 0 ? page_top - log2_fast(largest) : before;
                const float power = exp2_fast(-bits), factor = exp2_fast(before - state.reference[upper]);
                state.excess[upper] = state.excess[upper] * power + state.sum[upper] * (power - factor);
                state.sum[upper] *= factor;
            }
            if ((thread_index() & 3) == 0) {
                notes.rescale[accumulator_row() + upper * 8] = (int8_t)-fminf(bits, 126.f);
            }
        }
    }
    if ((thread_index() & 31) == 0) {
        notes.rescaled[group_warp()] = rescaled;
    }
#pragma unroll
    for (int t = 0; t < 8; t++) {
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
            const float a = exp2_fast(fmaf(s[t * 4 + upper * 2], scale, -state.reference[upper]));
            const float b = exp2_fast(fmaf(s[t * 4 + upper * 2 + 1], scale, -state.reference[upper]));
            state.sum[upper] += a + b;
            packed[t * 2 + upper] = Element::pack(a, b);
        }
    }
}

/** Probabilities to the page's rope tile, as the A operand of the value products. */
__device__ __forceinline__ void store_probabilities(SharedMemory &shared, int slot, const uint32_t (&packed)[16])
{
    const int thread = thread_index();
    const int row = group_warp() * 16 + (thread & 15), chunk = (thread >> 4) & 1;
    const uint32_t tile = shared_address(shared.pages[slot].rope);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        store_matrices(tile + swizzled(row, k * 2 + chunk), packed[k * 4], packed[k * 4 + 1], packed[k * 4 + 2],
                       packed[k * 4 + 3]);
    }
}

/** The probabilities in `slot` may be read. */
__device__ __forceinline__ void publish(int slot)
{
    fence_async_proxy();
    barrier_arrive(kBarrierReady + slot, 2 * kWarpgroup);
    barrier_arrive(kBarrierReady + kSlots + slot, 2 * kWarpgroup);
}

/** The value products of `slot` may start. */
__device__ __forceinline__ void open_gate(int slot)
{
    barrier_arrive(kBarrierGate + slot, 2 * kWarpgroup);
    barrier_arrive(kBarrierGate + kSlots + slot, 2 * kWarpgroup);
}

/** S of one page. The page before is published under the first products, so that its fence costs nothing, and its value
 * products are held back until most of these are done: run side by side, both would end late, and the softmax would
 * find the tensor cores idle. */
template <typename Element, bool Rope>
__device__ __forceinline__ void score_page(float (&s)[32], const QueryTile &query, SharedMemory &shared,
                                           const Ring<kSlots> &ring, bool follows)
{
    const int slot = ring.slot;
    mbarrier_wait(shared_address(&shared.latent_full[0][slot]), ring.parity);
    wgmma_fence();
    const uint64_t keys = describe_rows(uniform(shared_address(&shared.pages[slot])));
    const uint64_t query_rope = describe_rows(shared_address(shared.query_rope));
    const uint64_t query_step = describe_blocks(shared_address(shared.query_step));
#pragma unroll
    for (int tile = 0; tile < (Rope ? 9 : 8); tile++) {
        if (tile == 4) {
            mbarrier_wait(shared_address(&shared.latent_full[1][slot]), ring.parity);
            wgmma_fence();
        }
        if (tile == 8) {
            mbarrier_wait(shared_address(&shared.rope_full[slot]), ring.parity);
            wgmma_fence();
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int step = tile * 4 + k;
            const uint64_t key = describe_at(keys, tile * (kColumnTileBytes / 16) + k * 2);
            if (step < kQuerySteps) {
                Wgmma<Element>::scores_reg(s, query.steps + step * 4, key, step > 0);
            } else if (step == kQuerySteps) {
                Wgmma<Element>::scores(s, query_step, key, 1);
            } else {
                Wgmma<Element>::scores(s, describe_at(query_rope, k * 2), key, 1);
            }
        }
        wgmma_commit();
        if (tile == 0) {
            if (follows) {
                publish(ring.before());
            }
            mbarrier_wait(shared_address(&shared.notes_free[slot]), ring.parity ^ 1);
            wgmma_fence();
        }
    }
    if (follows) {
        wgmma_wait<1>();
        open_gate(ring.before());
    }
    wgmma_wait<0>();
}

/** Makes the sums of the rows, and hands them to the value warpgroups. */
__device__ __forceinline__ void hand_over_sums(SoftmaxState &state, SharedMemory &shared)
{
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
        state.sum[upper] = quad_sum(state.sum[upper]);
        const float excess = quad_sum(state.excess[upper]);
        if ((thread_index() & 3) == 0) {
            shared.row_sum[accumulator_row() + upper * 8] = state.sum[upper] + excess;
        }
    }
    mbarrier_arrive(shared_address(&shared.sums_ready));
}

/** Free of branches that depend on the thread: behind one, nvcc 13.0 no longer knows that the ring's position is the
 * same in all lanes, computes descriptors lane by lane and spills. */
__device__ __forceinline__ void store_lse(const SoftmaxState &state, const Params &params, const Segment &segment,
                                          int first_row)
{
    const bool partial = segment.part >= 0;
    const int64_t first = partial ? partial_row(params, blockIdx.y, segment.part, first_row) : 0;
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
        const int row = accumulator_row() + upper * 8;
        const QueryRow query(params, segment, first_row + row);
        const float sum = state.sum[upper];
        const float lse = sum == 0 ? -INFINITY : state.reference[upper] + log2_fast(sum);
        float *target =
            partial ? params.workspace.partial_lse + first + row : caller_lse(params, query.token, query.head);
        if ((thread_index() & 3) == 0 && (partial || (params.lse && query.valid))) {
            *target = partial ? lse : convert_lse(lse, params.lse_kind);
        }
    }
}

template <typename Element, bool Rope>
__device__ __forceinline__ void run_score_warpgroup(SharedMemory &shared, const Params &params, const CacheMaps &maps)
{
    WorkIterator work(blockIdx.x * kTileRows);
    Ring<kSlots> ring;
    uint32_t segments = 0; /* done; sums_free passes at once for the first */
    QueryTile query;
    float s[32];
    bool more = work.next(shared.work, params);
    if (!more && params.early) {
        grid_wait_for_predecessor();
    }
    while (more) {
        int page, page_end, masked_page;
        {
            const Segment &segment = work.segment();
            const QueryCopy<Rope> copy(params, segment, work.row);
            const int ahead = segments > 0 ? 1 : first_lent_slot(segment);
            const int slot = segments > 0 ? ring.after() : ahead;
            if (segments > 0) {
                mbarrier_wait(shared_address(&shared.query_free[segments & 1]), (segments - 1) >> 1 & 1);
            } else if (params.early) {
                grid_wait_for_predecessor();
            }
            copy.start(shared, shared.pages[slot]);
            if (segments == 0) {
                mbarrier_arrive(shared_address(&shared.query_sent));
            }
            const int32_t *const entry = lent_entry(shared, params, work, ahead);
            const int32_t lent = entry ? *entry : 0;
            page = segment.page_begin;
            page_end = segment.page_end;
            /* The tile's first row sees least; from this page on some score is masked. */
            masked_page = (segment.kv_len - max(QueryRow(params, segment, work.row).hidden, 0)) / kPageTokens;
            read_query(query, shared.pages[slot]);
            if (entry && group_thread() == 0) {
                load_lent<Rope>(shared, params, maps, slot, lent);
            }
            __syncwarp();
        }
        SoftmaxState state;
        bool follows = false;
#pragma unroll 1
        for (; page < page_end; page++) {
            score_page<Element, Rope>(s, query, shared, ring, follows);
            if (page >= masked_page) {
                mask_scores(s, params, work.segment(), work.row, page);
            }
            uint32_t packed[16];
            softmax_page<Element>(s, packed, state, shared.notes[ring.slot], params.scale_log2);
            barrier_sync(kBarrierScores, kWarpgroup); /* every warp's products have read the rope tile, and Q */
            store_probabilities(shared, ring.slot, packed);
            ring.advance();
            if (!follows) {
                follows = true;
                WorkIterator later = work;
                if (later.next(shared.work, params)) {
                    prefetch_query<Rope>(params, later.segment(), later.row);
                }
            }
        }
        mbarrier_wait(shared_address(&shared.sums_free), (segments & 1) ^ 1);
        segments++;
        hand_over_sums(state, shared);
        publish(ring.before());
        open_gate(ring.before());
        store_lse(state, params, work.segment(), work.row);
        more = work.next(shared.work, params);
        __syncwarp(); /* keeps the ring's position, and with it the descriptors, in uniform registers */
    }
}

#endif
