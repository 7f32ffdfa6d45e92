/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_FEW_CUH
#define HM_SM90_TILE_FEW_CUH

/** @file
 * The consumers of the tile of few rows: heads are columns of the products, so that none is padded to 64.
 *     Oᵀ += Vᵀ·Pᵀ: 256 columns of V for each warpgroup, all heads. */

#include "tile_few_softmax.cuh"

/** Where a tile's rows go, one a lane: to the caller, or to the partial results. Found while the pages are on their way. */
struct FewTarget {
    using Row = unsigned char *;

    int64_t partial;
    unsigned char *out;
    float *lse;

    template <int N>
    __device__ __forceinline__ FewTarget(const FewShared<N> &shared, const Params &params, const Segment &segment,
                                         int first)
        : partial(own_partial_row(params, shared.work.start.group, segment, first)),
          out(output_row(params, segment, first, (threadIdx.x & 31) % N, partial)),
          lse(output_lse(params, segment, first, (threadIdx.x & 31) % N, partial))
    {
    }
    /** The LSE of the lane's row, in base 2. */
    __device__ __forceinline__ void store_lse(const Params &params, float lse_log2) const
    {
        *lse = partial >= 0 ? lse_log2 : convert_lse(lse_log2, params.lse_kind);
    }
    __device__ __forceinline__ Row row(int index) const { return address_of_lane(out, index); }
    __device__ __forceinline__ void store(Row row, int byte, const uint4 &words) const
    {
        store_global(row, byte, words);
    }
};

template <typename Element, int N, bool Rope, typename Shared = FewShared<N>, typename Target = FewTarget>
struct FewTile : FewSoftmax<Element, N, Rope, Shared> {
    using Softmax = FewSoftmax<Element, N, Rope, Shared>;
    using Softmax::group;
    using Softmax::lane;
    using Softmax::params;
    using Softmax::shared;
    using Softmax::warp;
    static constexpr int kBlocks = N / 8; /* of 8 heads */

    float o[4][N / 2]; /* 64 columns of V each */
    float inverse[kBlocks * 2];

    __device__ __forceinline__ FewTile(Shared &shared, const Params &params) : Softmax(shared, params) {}

    /** Clears the rows of V from `tokens` on: a probability of 0 does not silence a NaN. */
    __device__ __forceinline__ void clear_tail(PageSlot &page, int tokens)
    {
        for (int word = threadIdx.x; word < (kPageTokens - tokens) * 64; word += kFewConsumers) {
            const int row = tokens + word / 64, tile = word / 8 % 8, chunk = word % 8;
            *reinterpret_cast<uint4 *>(page.latent[0] + tile * kColumnTileBytes + row * 128 + chunk * 16) =
                make_uint4(0, 0, 0, 0);
        }
    }

    __device__ __forceinline__ void rescale()
    {
#pragma unroll
        for (int i = 0; i < kBlocks * 2; i++) {
            const float factor = shared.factors[few_head(i / 2) + i % 2];
#pragma unroll
            for (int tile = 0; tile < 4; tile++) {
                o[tile][i / 2 * 4 + i % 2] *= factor;
                o[tile][i / 2 * 4 + 2 + i % 2] *= factor;
            }
        }
    }

    /** Starts the products of a page's values. What does not touch O may go on beside them. */
    __device__ __forceinline__ void start_values(const PageSlot &page, bool first)
    {
        const uint64_t values =
            describe_at(describe_columns(uniform(shared_address(page.latent[0]))), group * (kHalfBytes / 16));
        const uint64_t probabilities = describe_rows(uniform(shared_address(shared.probabilities)));
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; k++) {
#pragma unroll
            for (int tile = 0; tile < 4; tile++) {
                WgmmaFew<Element, N>::values(o[tile], describe_at(values, tile * (kColumnTileBytes / 16) + k * 128),
                                             describe_at(probabilities, k * 2), k > 0 || !first);
            }
        }
        wgmma_commit();
    }

    /** From the segment's sums what O is to be multiplied by. */
    __device__ __forceinline__ void finish_sums()
    {
#pragma unroll
        for (int i = 0; i < kBlocks * 2; i++) {
            const float all = few_total(shared, few_head(i / 2) + i % 2);
            inverse[i] = all > 0 ? reciprocal(all) : 0;
        }
    }

    /** O, 16 heads at a time, a warp a row of the warpgroup's columns. */
    __device__ __forceinline__ void store(const Target &target)
    {
#pragma unroll
        for (int half = 0; half < N / 16; half++) {
            if (half > 0) {
                barrier_sync(kFewTops + group, kWarpgroup); /* the heads before were read */
            }
            stage(half);
            barrier_sync(kFewTops + group, kWarpgroup);
            const int byte = group * 512 + lane * 16;
            typename Target::Row rows[4];
            uint4 words[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                rows[i] = target.row(half * 16 + i * 4 + warp);
                words[i] = *reinterpret_cast<const uint4 *>(shared.staged[i * 4 + warp] + byte);
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                target.store(rows[i], byte, words[i]);
            }
        }
    }

    /** Heads half · 16 … + 15 of O, divided by their sums, to shared memory: 8×8 blocks are transposed on the way. */
    __device__ __forceinline__ void stage(int half)
    {
#pragma unroll
        for (int b = 0; b < 2; b++) {
            const int block = half * 2 + b;
            /* Matrices of a store: columns + 0, + 8 of two tiles. */
            const uint32_t row = shared_address(shared.staged[b * 8 + (lane & 7)]) + group * 512 + (lane >> 4) * 128 +
                                 warp * 32 + (lane >> 3 & 1) * 16;
#pragma unroll
            for (int pair = 0; pair < 2; pair++) {
                uint32_t words[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float *d = &o[pair * 2 + i / 2][block * 4 + i % 2 * 2];
                    words[i] = Element::pack(d[0] * inverse[block * 2], d[1] * inverse[block * 2 + 1]);
                }
                store_transposed(row + pair * 256, words[0], words[1], words[2], words[3]);
            }
        }
    }

    __device__ __forceinline__ void run()
    {
        WorkIterator work(first_row(shared.work.start));
        Ring<kFewSlots> ring;
        bool more = work.next(shared.work, params);
        if (more) {
            const FewQuery<N, Rope> query(params, work.segment(), work.row);
            if (params.early) {
                grid_wait_for_predecessor();
            }
            query.start(shared);
        } else if (params.early) {
            grid_wait_for_predecessor();
        }
        while (more) {
            const WorkIterator current = work;
            const Segment &segment = current.segment();
            const int page_end = segment.page_end;
            /* The tile's first row sees least; from this page on some score is masked. */
            const int masked_page =
                (segment.kv_len - max(QueryRow(params, segment, current.row).hidden, 0)) / kPageTokens;
            this->start();
            const Target target(shared, params, segment, current.row);
            copy_wait();
            fence_async_proxy();
            int page = segment.page_begin;
            barrier_sync(kFewPublish, kFewConsumers); /* Q is in place */
            bool first = true;
#pragma unroll 1
            for (; page < page_end; page++) {
                PageSlot &slot = shared.pages[ring.slot];
                mbarrier_wait(shared_address(&shared.full[ring.slot]), ring.parity);
                this->score_page(slot);
                if (page >= masked_page) {
                    this->mask_scores(segment, current.row, page);
                }
                const bool last = page == page_end - 1;
                if (last && segment.kv_len < page_end * kPageTokens) {
                    clear_tail(slot, segment.kv_len - page * kPageTokens);
                }
                if (this->softmax_page(first, last)) {
                    rescale();
                }
                start_values(slot, first);
                if (last) {
                    finish_sums();
                    if (threadIdx.x < N && target.lse) {
                        target.store_lse(params, few_lse(shared, threadIdx.x));
                    }
                    more = work.next(shared.work, params);
                    if (more) {
                        FewQuery<N, Rope>(params, work.segment(), work.row).start(shared);
                    }
                }
                wgmma_wait<0>();
                if (lane == 0) {
                    mbarrier_arrive(shared_address(&shared.empty[ring.slot]));
                }
                ring.advance();
                first = false;
            }
            store(target);
        }
    }
};

#endif
