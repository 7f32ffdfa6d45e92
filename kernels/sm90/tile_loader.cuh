/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_LOADER_CUH
#define HM_SM90_TILE_LOADER_CUH

/** @file
 * Keeps the ring of pages full. There is no producer warp (a fourth warpgroup would take registers that the others
 * need): the first thread of each value warpgroup refills the half of a slot that its warpgroup has consumed.
 * The left half of the CTA's first page is asked for sooner, by the thread that sets the barriers up.
 *
 * The slot behind a segment's first page is lent to the segment's Q; then the score warpgroup loads the page that it was
 * meant for. At the start, when all slots are free, it is the third if the segment has two pages for the others. */

#include "tile_shared.cuh"
#include "tile_work.cuh"

/** Half of the latent part of the page with coordinate w, to a slot. */
__device__ __forceinline__ void load_half(SharedMemory &shared, const CacheMaps &maps, int slot, int half, int w)
{
    const uint32_t full = shared_address(&shared.latent_full[half][slot]);
    mbarrier_expect(full, kHalfBytes);
    tma_load(shared_address(shared.pages[slot].latent[half]), &maps.latent, 0, 0, half * 4, w, full, kEvictFirst);
}

/** Its rope part. */
__device__ __forceinline__ void load_rope(SharedMemory &shared, const CacheMaps &maps, int slot, int w)
{
    const uint32_t full = shared_address(&shared.rope_full[slot]);
    mbarrier_expect(full, kColumnTileBytes);
    tma_load(shared_address(shared.pages[slot].rope), &maps.rope, 0, 0, 0, w, full, kEvictFirst);
}

__device__ __forceinline__ int first_lent_slot(const Segment &segment)
{
    return page_count(segment) > 1 ? 2 : 1;
}

/** Asks for the left half of the first page before the CTA's work is there for all to read. The whole page would be in the
 * way of Q. */
__device__ __forceinline__ void load_early_half(SharedMemory &shared, const Params &params, const CacheMaps &maps,
                                                const hm_sm90_start &start)
{
    const EarlyPage early(start, params);
    if (early.known) {
        load_half(shared, maps, 0, 0, page_coordinate(params, early.page, true));
    }
}

/** One per value warpgroup, used by its first thread alone. What is not needed between two pages is in shared
 * memory. */
template <bool Rope> struct Loader {
    int half;
    int32_t page = 0; /* id of the page that is loaded next, read from the table one step ahead */
    bool have = false;

    __device__ __forceinline__ explicit Loader(int half) : half(half) {}

    /** Reads the next entry of the block table. The load is not waited for: `page` must not be touched before it is
     * needed, a multiply behind it costs 500 cycles. */
    __device__ __forceinline__ void look_ahead(SharedMemory &shared, const Params &params)
    {
        PageCursor &cursor = shared.cursors[half];
        cursor.lent = cursor.lend_in == 1;
        cursor.lend_in -= cursor.lend_in > 0;
        if (cursor.left == 0) {
            WorkIterator work(cursor.row, cursor.index);
            have = work.next(shared.work, params);
            cursor.row = work.row;
            cursor.index = work.index;
            if (!have) {
                return;
            }
            const Segment &segment = work.segment();
            cursor.segment = &segment;
            cursor.left = page_count(segment);
            cursor.lend_in = 1;
            cursor.entry = params.block_table + segment.request * params.table_stride + segment.page_begin;
        }
        page = *cursor.entry;
        cursor.entry++;
        cursor.left--;
    }

    __device__ __forceinline__ void start(SharedMemory &shared, const Params &params)
    {
        const WorkIterator work(blockIdx.x * kTileRows);
        shared.cursors[half].left = 0;
        shared.cursors[half].lend_in = 0;
        shared.cursors[half].unasked = true;
        shared.cursors[half].turn = 0;
        shared.cursors[half].row = work.row;
        shared.cursors[half].index = work.index;
        look_ahead(shared, params);
        if (have) {
            PageCursor &cursor = shared.cursors[half];
            cursor.lend_in = first_lent_slot(*cursor.segment);
        }
    }

    /** Loads the first page ahead of the wait for the kernel before, if no append of this step touches it; returns how many
     * were loaded. More would be in the way of Q, and of what the kernel before still reads. */
    __device__ __forceinline__ int load_ahead(SharedMemory &shared, const Params &params, const CacheMaps &maps)
    {
        const PageCursor &cursor = shared.cursors[half];
        const Segment &segment = *cursor.segment;
        if (!params.early || segment.page_begin >= segment.fresh_page) {
            return 0;
        }
        if (half == 1 || !EarlyPage(shared.work.start, params).known) {
            load_latent(shared, params, maps, 0);
        }
        finish_refill(shared, params, maps, 0, 0, true, kWarpgroup);
        return 1;
    }

    __device__ __forceinline__ int coordinate(const Params &params) const
    {
        return page_coordinate(params, page, half == 0);
    }

    /** Starts to load the next page into a slot whose half is free but for the rope tile, unless the slot is lent. */
    __device__ __forceinline__ void load_latent(SharedMemory &shared, const Params &params, const CacheMaps &maps,
                                                int slot)
    {
        if (have && !shared.cursors[half].lent) {
            load_half(shared, maps, slot, half, coordinate(params));
        }
    }

    /** Loads the page's rope tile, or lends the slot, for so many threads. `rope_parity` is the parity of rope_free to
     * wait for; `first` says that the slot was never used. */
    __device__ __forceinline__ void finish_refill(SharedMemory &shared, const Params &params, const CacheMaps &maps,
                                                  int slot, uint32_t rope_parity, bool first, uint32_t threads)
    {
        PageCursor &cursor = shared.cursors[half];
        if (!have && !cursor.lent) {
            return;
        }
        if (Rope && half == 1 && !first) {
            mbarrier_wait(shared_address(&shared.rope_free[slot]), rope_parity);
        }
        if (cursor.lent) {
            if (!cursor.unasked) {
                cursor.turn ^= 1;
                mbarrier_arrive(shared_address(&shared.query_free[cursor.turn]), threads);
            }
            cursor.unasked = false;
        } else if (Rope && half == 1) {
            load_rope(shared, maps, slot, coordinate(params));
        }
        look_ahead(shared, params);
    }

    /** Both, for a slot whose half is free. */
    __device__ __forceinline__ void refill(SharedMemory &shared, const Params &params, const CacheMaps &maps, int slot,
                                           uint32_t rope_parity, bool first)
    {
        load_latent(shared, params, maps, slot);
        finish_refill(shared, params, maps, slot, rope_parity, first, kWarpgroup);
    }
};

/** Lends a slot for one thread, if the refill that comes next lends it. */
__device__ __forceinline__ void lend_slot(SharedMemory &shared, int half)
{
    const PageCursor &cursor = shared.cursors[half];
    if (cursor.lent && !cursor.unasked) {
        mbarrier_arrive(shared_address(&shared.query_free[cursor.turn ^ 1]));
    }
}

/** Where the page that is `ahead` pages behind a segment's first stands in the block table; NULL where there is none. */
__device__ __forceinline__ const int32_t *lent_entry(const SharedMemory &shared, const Params &params,
                                                     WorkIterator work, int ahead)
{
    int page = work.segment().page_begin + ahead;
    if (page >= work.segment().page_end) { /* the next segment's first */
        if (!work.next(shared.work, params)) {
            return nullptr;
        }
        page = work.segment().page_begin;
    }
    return params.block_table + work.segment().request * params.table_stride + page;
}

/** Loads a page into the slot that Q has left. */
template <bool Rope>
__device__ __forceinline__ void load_lent(SharedMemory &shared, const Params &params, const CacheMaps &maps, int slot,
                                          int32_t page)
{
    const int w = page_coordinate(params, page, true);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        load_half(shared, maps, slot, half, w);
    }
    if constexpr (Rope) {
        load_rope(shared, maps, slot, w);
    }
}

#endif
