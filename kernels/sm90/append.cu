/* SPDX-License-Identifier: Apache-2.0 */

#include "args.h"
#include "ptx/convert.cuh"
#include "ptx/grid.cuh"
#include "rows.cuh"

/** @file
 * New tokens' rows into their pages. A warp takes a token at a time, or a few neighbours when there are more tokens than
 * warps. Which batch row a token belongs to is read from the tables, so one launch serves every batch. */

struct CopySource {
    static __device__ __forceinline__ RowPart load(const char *latent, const char *rope, uint32_t lane,
                                                   uint32_t rope_vectors)
    {
        return load_row(latent, rope, lane, rope_vectors);
    }
};

/** Eight float32 values become one vector. */
template <class Element> struct Fp32Source {
    static __device__ __forceinline__ uint4 pack(const float4 &a, const float4 &b)
    {
        return make_uint4(Element::pack(a.x, a.y), Element::pack(a.z, a.w), Element::pack(b.x, b.y),
                          Element::pack(b.z, b.w));
    }

    static __device__ __forceinline__ RowPart load(const char *latent, const char *rope, uint32_t lane,
                                                   uint32_t rope_vectors)
    {
        const float4 *l = reinterpret_cast<const float4 *>(latent);
        const float4 a = l[2 * lane];
        const float4 b = l[2 * lane + 1];
        const float4 c = l[2 * (lane + kWarp)];
        const float4 d = l[2 * (lane + kWarp) + 1];
        float4 e = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        float4 f = e;
        if (lane < rope_vectors) {
            e = reinterpret_cast<const float4 *>(rope)[2 * lane];
            f = reinterpret_cast<const float4 *>(rope)[2 * lane + 1];
        }
        return { pack(a, b), pack(c, d), pack(e, f) };
    }
};

/** The last row whose first appended token is at or before `token`: rows that append nothing are passed over. The whole
 * warp probes 32 places at a time: two dependent loads for 256 rows, four for 65535. */
__device__ __forceinline__ uint32_t find_row(const int32_t *starts, uint32_t rows, int32_t token, uint32_t lane)
{
    uint32_t low = 0;     /* starts[low] <= token */
    uint32_t high = rows; /* starts[high] > token */
    while (high - low > 1) {
        const uint32_t step = (high - low + kWarp - 1) / kWarp;
        const uint32_t place = low + (lane + 1) * step;
        const bool at_or_before = place < high && starts[place] <= token;
        low += __popc(__ballot_sync(~0u, at_or_before)) * step;
        high = min(high, low + step);
    }
    return low;
}

/** Finds where tokens go, one after the other. */
struct Places {
    const hm_append_args &args;
    const uint32_t lane;
    int64_t row_end = 0; /* first token beyond the batch row of the last one */
    int64_t shift = 0;   /* from a token's number in the step to its place in the sequence */
    const int32_t *page_ids = nullptr;

    /** nullptr in `latent` when the table holds no page of the pool there. */
    __device__ __forceinline__ RowAddress find(uint64_t token)
    {
        if (static_cast<int64_t>(token) >= row_end) {
            const uint32_t row = find_row(args.append_starts, args.max_batch, static_cast<int32_t>(token), lane);
            row_end = args.append_starts[row + 1];
            shift = args.kv_lens[row] - row_end;
            page_ids = args.block_table + row * args.table_stride;
        }
        const uint64_t place = static_cast<uint64_t>(shift + static_cast<int64_t>(token));
        const uint32_t page = static_cast<uint32_t>(page_ids[place / HM_PAGE_TOKENS]);
        if (page >= args.pages.count) {
            return { nullptr, nullptr };
        }
        return row_in_page(args.pages, page, place % HM_PAGE_TOKENS);
    }
};

template <class Source> __device__ __forceinline__ void append(const hm_append_args &args)
{
    grid_release_dependents();

    const uint32_t lane = threadIdx.x % kWarp;
    const uint64_t warp = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
    const uint64_t warps = static_cast<uint64_t>(gridDim.x) * blockDim.x / kWarp;
    const uint64_t tokens = min(static_cast<uint64_t>(args.append_starts[args.max_batch]), args.tokens);
    const uint64_t share = (tokens + warps - 1) / warps;
    const uint64_t end = min((warp + 1) * share, tokens);
    uint64_t token = warp * share;
    const uint32_t rope_vectors = args.pages.rope_vectors;
    const auto load = [&](uint64_t i) {
        return Source::load(args.latent + static_cast<int64_t>(i) * args.latent_stride,
                            args.rope + static_cast<int64_t>(i) * args.rope_stride, lane, rope_vectors);
    };

    /* The tables may be read before the kernel ahead has ended: an update writes them, and no launch follows an update
     * but after a write of the stream to a fence, which waits for it. */
    Places places{ args, lane };
    RowAddress to = token < end ? places.find(token) : RowAddress{};
    grid_wait_for_predecessor();
    if (token >= end) {
        return;
    }
    RowPart part = load(token);
    while (++token < end) {
        const RowPart next = load(token);
        if (to.latent) {
            store_row(to, part, lane, rope_vectors);
        }
        to = places.find(token);
        part = next;
    }
    if (to.latent) {
        store_row(to, part, lane, rope_vectors);
    }
}

extern "C" __global__ void __launch_bounds__(256) hm_append_copy(const __grid_constant__ hm_append_args args)
{
    append<CopySource>(args);
}

extern "C" __global__ void __launch_bounds__(256) hm_append_fp32_to_bf16(const __grid_constant__ hm_append_args args)
{
    append<Fp32Source<Bf16>>(args);
}

extern "C" __global__ void __launch_bounds__(256) hm_append_fp32_to_fp16(const __grid_constant__ hm_append_args args)
{
    append<Fp32Source<Fp16>>(args);
}
