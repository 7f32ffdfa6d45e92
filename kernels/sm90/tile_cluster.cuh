/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_CLUSTER_CUH
#define HM_SM90_TILE_CLUSTER_CUH

/** @file
 * The consumers of a CTA of a cluster: a tile of 16 rows and one page or two, in the way of the tile of few rows. Every
 * CTA sends each row of its O to the one that merges the row. */

#include "ptx/cluster.cuh"
#include "tile_cluster_shared.cuh"
#include "tile_few.cuh"

/** Where a tile's rows go. */
struct ClusterTarget {
    struct Row {
        uint32_t out;
        uint32_t barrier;
    };

    const ClusterShared &shared;
    const ClusterRows rows;
    const int part = cluster_rank();

    __device__ __forceinline__ ClusterTarget(const ClusterShared &shared, const Params &params)
        : shared(shared), rows(params)
    {
    }
    /** The LSE of a row, in base 2. */
    __device__ __forceinline__ void store_lse(int row, float lse_log2) const
    {
        const int owner = rows.owner(row);
        store_cluster(cluster_address(shared_address(&shared.gathered_lse[rows.place(row, part)]), owner), lse_log2,
                      cluster_address(shared_address(&shared.lse_arrived), owner));
    }
    __device__ __forceinline__ Row row(int index) const
    {
        const int owner = rows.owner(index);
        return { cluster_address(shared_address(shared.gathered[rows.place(index, part)]), owner),
                 cluster_address(shared_address(&shared.arrived), owner) };
    }
    __device__ __forceinline__ void store(const Row &row, int byte, const uint4 &words) const
    {
        store_cluster(row.out + byte, words, row.barrier);
    }
};

template <typename Element, bool Rope>
struct ClusterTile : FewTile<Element, kClusterRows, Rope, ClusterShared, ClusterTarget> {
    using Tile = FewTile<Element, kClusterRows, Rope, ClusterShared, ClusterTarget>;
    using Tile::lane;
    using Tile::params;
    using Tile::shared;

    __device__ __forceinline__ ClusterTile(ClusterShared &shared, const Params &params) : Tile(shared, params) {}

    /** Scores of page i of the CTA's, with what must not be seen masked, what must not be read cleared. */
    __device__ __forceinline__ void score(const Segment &segment, int row, int i)
    {
        const int page = segment.page_begin + i, seen = segment.kv_len - page * kPageTokens;
        mbarrier_wait(shared_address(&shared.full[i]), 0);
        this->score_page(shared.pages[i]);
        /* The tile's first row sees least. */
        if (seen - max(QueryRow(params, segment, row).hidden, 0) < kPageTokens) {
            this->mask_scores(segment, row, page);
        }
        if (seen < kPageTokens) {
            this->clear_tail(shared.pages[i], seen);
        }
    }

    /** With so many pages at most, and one at least; Q's copies are on their way. */
    template <int Pages> __device__ __forceinline__ void run()
    {
        const Segment &segment = shared.work.head[0];
        const int row = first_row(shared.work.start), last = Pages == 1 ? 0 : page_count(segment) - 1;
        const ClusterTarget target(shared, params);
        this->start();
        copy_wait();
        fence_async_proxy();
        barrier_sync(kFewPublish, kFewConsumers); /* Q is in place */
        score(segment, row, 0);
        this->softmax_page(true, last == 0);
        if (Pages > 1 && last > 0) {
            this->start_values(shared.pages[0], true);
            wgmma_wait<0>();
            score(segment, row, 1);
            if (this->softmax_page(false, true)) {
                this->rescale();
            }
        }
        if (lane < 4) { /* has stored sums */
            mbarrier_arrive(shared_address(&shared.sums_ready));
        }
        this->start_values(shared.pages[last], last == 0);
        this->finish_sums();
        wgmma_wait<0>();
        this->store(target);
    }
};

#endif
