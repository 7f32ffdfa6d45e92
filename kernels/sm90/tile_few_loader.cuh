/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_FEW_LOADER_CUH
#define HM_SM90_TILE_FEW_LOADER_CUH

/** @file
 * The loader warp of the tile of few rows, and the loads of Q. */

#include "ptx/copy.cuh"
#include "ptx/grid.cuh"
#include "tile_few_shared.cuh"

/** Page ids of a segment from its page `first` on, one a lane. */
__device__ __forceinline__ int32_t read_ids(const Params &params, const Segment &segment, int first)
{
    const int page = segment.page_begin + first + (threadIdx.x & 31);
    return page < segment.page_end ? params.block_table[segment.request * params.table_stride + page] : 0;
}

/** Brings a page to L2. */
template <bool Rope> __device__ __forceinline__ void prefetch_page(const CacheMaps &maps, int w)
{
    tma_prefetch(&maps.latent, 0, 0, 0, w);
    tma_prefetch(&maps.latent, 0, 0, 4, w);
    if constexpr (Rope) {
        tma_prefetch(&maps.rope, 0, 0, 0, w);
    }
}

/** The first half of a page's latent part, to a slot. */
__device__ __forceinline__ void load_left(PageSlot &slot, uint32_t full, const CacheMaps &maps, int w)
{
    tma_load(shared_address(slot.latent[0]), &maps.latent, 0, 0, 0, w, full, kEvictFirst);
}

/** The rest of the page. */
template <bool Rope>
__device__ __forceinline__ void load_right(PageSlot &slot, uint32_t full, const CacheMaps &maps, int w)
{
    tma_load(shared_address(slot.latent[1]), &maps.latent, 0, 0, 4, w, full, kEvictFirst);
    if constexpr (Rope) {
        tma_load(shared_address(slot.rope), &maps.rope, 0, 0, 0, w, full, kEvictFirst);
    }
}

template <bool Rope> constexpr int kRightBytes = kHalfBytes + (Rope ? kColumnTileBytes : 0);

/** Loads a page into a slot. */
template <bool Rope>
__device__ __forceinline__ void load_page(PageSlot &slot, uint32_t full, const CacheMaps &maps, int w)
{
    mbarrier_expect(full, kHalfBytes + kRightBytes<Rope>);
    load_left(slot, full, maps, w);
    load_right<Rope>(slot, full, maps, w);
}

/** The same in two halves, each with a barrier of its own. The second one's says that the page is there if it is asked for
 * when the first has come. */
__device__ __forceinline__ void load_first_half(PageSlot &slot, uint32_t half_full, const CacheMaps &maps, int w)
{
    mbarrier_expect(half_full, kHalfBytes);
    load_left(slot, half_full, maps, w);
}

template <bool Rope>
__device__ __forceinline__ void load_second_half(PageSlot &slot, uint32_t full, const CacheMaps &maps, int w)
{
    mbarrier_expect(full, kRightBytes<Rope>);
    load_right<Rope>(slot, full, maps, w);
}

/** Asks for the first page, or its first half, before the CTA's work is there for all to read. One thread. */
template <bool Rope>
__device__ __forceinline__ void load_early_page(FewCommon &shared, const Params &params, const CacheMaps &maps,
                                                const hm_sm90_start &start)
{
    const EarlyPage early(start, params);
    if (!early.known) {
        return;
    }
    const int w = page_coordinate(params, early.page, true);
    if (early.whole) {
        load_page<Rope>(shared.pages[0], shared_address(&shared.full[0]), maps, w);
    } else {
        load_first_half(shared.pages[0], shared_address(&shared.half_full), maps, w);
    }
}

/** Waits until the CTA's first slot is free again. Memory has nothing to do meanwhile if the page in the last slot is
 * there: then it brings the next page to L2. */
template <bool Rope>
__device__ __forceinline__ void wait_for_first_slot(FewCommon &shared, const CacheMaps &maps, int w)
{
    bool asked = false;
    while (!mbarrier_test(shared_address(&shared.empty[0]), 0)) {
        if (!asked && mbarrier_test(shared_address(&shared.full[kFewSlots - 1]), 0)) {
            prefetch_page<Rope>(maps, w);
            asked = true;
        }
    }
}

/** Loads all pages of the CTA's work. Ahead of the wait for the kernel before, if `early`, as many as there are slots, if
 * no append of this step touches them, half a page at a time: L2 answers what the kernels before still read behind what
 * it has to bring from memory first. */
template <bool Rope>
__device__ __forceinline__ void run_few_loader(FewCommon &shared, const Params &params, const CacheMaps &maps)
{
    const int lane = threadIdx.x & 31;
    const uint32_t half_full = shared_address(&shared.half_full);
    const EarlyPage early(shared.work.start, params);
    bool waited = !params.early;
    WorkIterator work(first_row(shared.work.start));
    Ring<kFewSlots> ring;
    int loaded = 0;
    uint32_t halves = 0; /* that came alone */
    bool more = work.next(shared.work, params);
    int32_t ids = more ? read_ids(params, work.segment(), 0) : 0;
    while (more) {
        const Segment segment = work.segment();
        more = work.next(shared.work, params);
        const int32_t next_ids = more ? read_ids(params, work.segment(), 0) : 0;
        for (int i = 0; i < page_count(segment); i++) {
            if (i > 0 && i % 32 == 0) {
                ids = read_ids(params, segment, i);
            }
            const int32_t page = __shfl_sync(~0u, ids, i % 32);
            if (!waited && (loaded == kFewSlots || segment.page_begin + i >= segment.fresh_page)) {
                grid_wait_for_predecessor();
                waited = true;
            }
            if (lane == 0) {
                PageSlot &slot = shared.pages[ring.slot];
                const uint32_t full = shared_address(&shared.full[ring.slot]);
                const int w = page_coordinate(params, page, true);
                const bool asked = loaded == 0 && early.known;
                if (waited) {
                    if (loaded == kFewSlots) {
                        wait_for_first_slot<Rope>(shared, maps, w);
                    } else {
                        mbarrier_wait(shared_address(&shared.empty[ring.slot]), ring.parity ^ 1);
                    }
                    load_page<Rope>(slot, full, maps, w);
                } else if (!asked || !early.whole) {
                    if (loaded > 0) {
                        mbarrier_wait(shared_address(&shared.full[0]), 0);
                    }
                    if (!asked) {
                        load_first_half(slot, half_full, maps, w);
                    }
                    mbarrier_wait(half_full, halves++ & 1);
                    load_second_half<Rope>(slot, full, maps, w);
                }
            }
            __syncwarp();
            loaded++;
            ring.advance();
        }
        ids = next_ids;
    }
    if (!waited) {
        grid_wait_for_predecessor();
    }
}

/** The copies of a tile of Q to shared memory, both consumer warpgroups; rows that do not exist are zeros. */
template <int N, bool Rope> struct FewQuery {
    const unsigned char *latent;
    const unsigned char *rope;
    bool valid;

    __device__ __forceinline__ FewQuery(const Params &params, const Segment &segment, int first)
    {
        const QueryRow row(params, segment, first + threadIdx.x / 8 % N);
        latent = query_row(params.q, params.q_token_stride, params.q_head_stride, row);
        rope = Rope ? query_row(params.q_rope, params.qr_token_stride, params.qr_head_stride, row) : nullptr;
        valid = row.valid;
    }

    template <typename Shared> __device__ __forceinline__ void start(Shared &shared) const
    {
        const int chunk = threadIdx.x & 7, head = threadIdx.x / 8 % N;
#pragma unroll
        for (int column = threadIdx.x / 8 / N; column < (Rope ? 9 : 8); column += kFewConsumers / 8 / N) {
            const unsigned char *source = column < 8 ? latent + column * 128 : rope;
            copy_async(shared_address(shared.query[column]) + swizzled(head, chunk), source + chunk * 16, valid);
        }
    }
};

#endif
