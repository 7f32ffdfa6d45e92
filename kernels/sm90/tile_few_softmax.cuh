/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_TILE_FEW_SOFTMAX_CUH
#define HM_SM90_TILE_FEW_SOFTMAX_CUH

/** @file
 * Scores and probabilities of the tile of few rows.
 *     Sᵀ = K·Qᵀ: 64 tokens × N heads. Each warpgroup sums over half of the columns, both swap halves of the heads, and
 *     each turns its half of the heads into probabilities. */

#include "ptx/matrix.cuh"
#include "ptx/wgmma_few.cuh"
#include "tile_few_loader.cuh"

__device__ __forceinline__ float &element(float4 &four, int i)
{
    return reinterpret_cast<float *>(&four)[i];
}

/** The sum of a head's probabilities, from those of four warps. */
template <typename Shared> __device__ __forceinline__ float few_total(const Shared &shared, int head)
{
    const float4 sums = shared.sums[head];
    return sums.x + sums.y + (sums.z + sums.w);
}

/** The LSE of a head, in base 2. */
template <typename Shared> __device__ __forceinline__ float few_lse(const Shared &shared, int head)
{
    const float all = few_total(shared, head);
    return all == 0 ? -INFINITY : shared.references[head] + log2_fast(all);
}

template <typename Element, int N, bool Rope, typename Shared> struct FewSoftmax {
    static constexpr int kOwn = N / 16; /* blocks of 8 heads of a warpgroup */

    Shared &shared;
    const Params &params;
    const int group = uniform(threadIdx.x / kWarpgroup);
    const int warp = uniform(threadIdx.x / 32 & 3);
    const int lane = threadIdx.x & 31;
    const int thread = threadIdx.x & (kWarpgroup - 1);

    float s[kOwn * 4];         /* own heads; tokens warp · 16 + lane / 4 and + 8 */
    float reference[kOwn * 2]; /* probabilities are 2^(s·scale − reference) */
    float sum[kOwn * 2];       /* of the thread's tokens */

    __device__ __forceinline__ FewSoftmax(Shared &shared, const Params &params) : shared(shared), params(params) {}

    __device__ __forceinline__ int own_head(int i) const { return few_head(group * kOwn + i / 2) + i % 2; }

    __device__ __forceinline__ void start()
    {
#pragma unroll
        for (int i = 0; i < kOwn * 2; i++) {
            reference[i] = kNoReference;
            sum[i] = 0;
        }
    }

    /** S of a page: own heads. */
    __device__ __forceinline__ void score_page(const PageSlot &page)
    {
        /* Two chains of sums: the products are short, and one would wait for another. */
        float even[N / 2], odd[N / 2];
        constexpr int kQueryTile = N * 128 / 16, kPageTile = kColumnTileBytes / 16;
        const uint64_t keys = describe_rows(uniform(shared_address(&page)));
        const uint64_t query = describe_rows(uniform(shared_address(shared.query)));
        const uint64_t own_keys = describe_at(keys, group * 4 * kPageTile);
        const uint64_t own_query = describe_at(query, group * 4 * kQueryTile);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < 16; step += 2) {
            const uint64_t key = describe_at(own_keys, step / 4 * kPageTile + step % 4 * 2);
            const uint64_t column = describe_at(own_query, step / 4 * kQueryTile + step % 4 * 2);
            WgmmaFew<Element, N>::scores(even, key, column, step > 0);
            WgmmaFew<Element, N>::scores(odd, describe_at(key, 2), describe_at(column, 2), step > 0);
        }
        if constexpr (Rope) {
            const uint64_t key = describe_at(keys, 8 * kPageTile + group * 4);
            const uint64_t column = describe_at(query, 8 * kQueryTile + group * 4);
            WgmmaFew<Element, N>::scores(even, key, column, 1);
            WgmmaFew<Element, N>::scores(odd, describe_at(key, 2), describe_at(column, 2), 1);
        }
        wgmma_commit();
        wgmma_wait<0>();
        float other[kOwn * 4];
#pragma unroll
        for (int i = 0; i < kOwn * 4; i++) {
            const float low = even[i] + odd[i], high = even[kOwn * 4 + i] + odd[kOwn * 4 + i];
            s[i] = group == 0 ? low : high;
            other[i] = group == 0 ? high : low;
        }
#pragma unroll
        for (int b = 0; b < kOwn; b++) {
            shared.exchange[group][b][thread] =
                make_float4(other[b * 4], other[b * 4 + 1], other[b * 4 + 2], other[b * 4 + 3]);
        }
        barrier_sync(kFewScores, kFewConsumers);
#pragma unroll
        for (int b = 0; b < kOwn; b++) {
            const float4 more = shared.exchange[group ^ 1][b][thread];
            s[b * 4] += more.x;
            s[b * 4 + 1] += more.y;
            s[b * 4 + 2] += more.z;
            s[b * 4 + 3] += more.w;
        }
    }

    /** Scores of hidden tokens become −inf; whatever the cache holds beyond the request's end, NaN too, is dropped. */
    __device__ __forceinline__ void mask_scores(const Segment &segment, int first, int page)
    {
        const int token = page * kPageTokens + warp * 16 + lane / 4;
#pragma unroll
        for (int i = 0; i < kOwn * 2; i++) {
            const QueryRow query(params, segment, first + own_head(i));
            const int visible = segment.kv_len - max(query.hidden, 0) - token;
#pragma unroll
            for (int upper = 0; upper < 2; upper++) {
                float &score = s[i / 2 * 4 + upper * 2 + i % 2];
                score = upper * 8 < visible ? score : -INFINITY;
            }
        }
    }

    /** Stores the probabilities of own heads; returns the thread's sums. */
    __device__ __forceinline__ void store_probabilities(float (&added)[kOwn * 2])
    {
        uint32_t words[kOwn * 2];
#pragma unroll
        for (int b = 0; b < kOwn; b++) {
#pragma unroll
            for (int upper = 0; upper < 2; upper++) {
                const float low = exp2_fast(fmaf(s[b * 4 + upper * 2], params.scale_log2, -reference[b * 2]));
                const float high = exp2_fast(fmaf(s[b * 4 + upper * 2 + 1], params.scale_log2, -reference[b * 2 + 1]));
                added[b * 2] = upper ? added[b * 2] + low : low;
                added[b * 2 + 1] = upper ? added[b * 2 + 1] + high : high;
                words[b * 2 + upper] = Element::pack(low, high);
            }
        }
        const int head = (group * kOwn + (lane / 16) % kOwn) * 8 + (lane & 7), chunk = warp * 2 + (lane / 8 & 1);
        const uint32_t row = shared_address(shared.probabilities) + swizzled(head, chunk);
        if constexpr (kOwn == 1) {
            store_transposed(row, words[0], words[1]);
        } else {
            store_transposed(row, words[0], words[1], words[2], words[3]);
        }
        fence_async_proxy();
    }

    /** Moves the references of own heads up to the page's largest scores, whose probabilities are 1 then: a token that
     * outweighs all others is not rounded. */
    __device__ __forceinline__ void raise_references()
    {
        float top[kOwn * 2];
#pragma unroll
        for (int i = 0; i < kOwn * 2; i++) {
            top[i] = fmaxf(s[i / 2 * 4 + i % 2], s[i / 2 * 4 + 2 + i % 2]);
        }
#pragma unroll
        for (int distance = 4; distance < 32; distance *= 2) {
#pragma unroll
            for (int i = 0; i < kOwn * 2; i++) {
                top[i] = fmaxf(top[i], __shfl_xor_sync(~0u, top[i], distance));
            }
        }
        if (lane < 4) {
#pragma unroll
            for (int i = 0; i < kOwn * 2; i++) {
                element(shared.tops[own_head(i)], warp) = top[i];
            }
        }
        barrier_sync(kFewTops + group, kWarpgroup);
#pragma unroll
        for (int i = 0; i < kOwn * 2; i++) {
            const int head = own_head(i);
            const float4 tops = shared.tops[head];
            const float page_top = fmaxf(fmaxf(tops.x, tops.y), fmaxf(tops.z, tops.w)) * params.scale_log2;
            float factor = 1;
            if (reference[i] == kNoReference) {
                reference[i] = fmaxf(page_top, kNoReference);
            } else {
                const float bits = fmaxf(page_top - reference[i], 0.f);
                reference[i] += bits;
                factor = exp2_fast(-bits);
                sum[i] *= factor;
            }
            if (warp == 0 && lane < 4) {
                shared.factors[head] = factor;
            }
        }
    }

    /** Stores the warp's sums of own heads, a page's among them, and the references. */
    __device__ __forceinline__ void store_sums(const float (&added)[kOwn * 2])
    {
        float all[kOwn * 2];
#pragma unroll
        for (int i = 0; i < kOwn * 2; i++) {
            all[i] = sum[i] + added[i];
        }
#pragma unroll
        for (int distance = 4; distance < 32; distance *= 2) {
#pragma unroll
            for (int i = 0; i < kOwn * 2; i++) {
                all[i] += __shfl_xor_sync(~0u, all[i], distance);
            }
        }
        if (lane < 4) {
#pragma unroll
            for (int i = 0; i < kOwn * 2; i++) {
                element(shared.sums[own_head(i)], warp) = all[i];
                if (warp == 0) {
                    shared.references[own_head(i)] = reference[i];
                }
            }
        }
    }

    /** Publishes the page's probabilities, and behind the segment's last page the sums of all. Some head's largest score
     * may have grown much: then it returns true, and O is to be multiplied by the factors. */
    __device__ __forceinline__ bool softmax_page(bool first, bool last)
    {
        float added[kOwn * 2];
        if (!first) {
            float growth = -INFINITY;
#pragma unroll
            for (int i = 0; i < kOwn * 2; i++) {
                const float top = fmaxf(s[i / 2 * 4 + i % 2], s[i / 2 * 4 + 2 + i % 2]);
                growth = fmaxf(growth, fmaf(top, params.scale_log2, -reference[i]));
            }
            store_probabilities(added);
            if (last) {
                store_sums(added);
            }
            if (!barrier_any(kFewPublish, kFewConsumers, growth > kLazyBits)) {
#pragma unroll
                for (int i = 0; i < kOwn * 2; i++) {
                    sum[i] += added[i];
                }
                return false;
            }
        }
        raise_references();
        store_probabilities(added);
        if (last) {
            store_sums(added);
        }
#pragma unroll
        for (int i = 0; i < kOwn * 2; i++) {
            sum[i] += added[i];
        }
        barrier_sync(kFewPublish, kFewConsumers);
        return !first;
    }
};

#endif
