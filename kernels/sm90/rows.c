/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "kernels/sm90/args.h"
#include "kernels/sm90/launch.h"
#include "kernels/sm90/sm90.h"

/** @file
 * Launches of the kernels that write tables and move rows. */

#define THREADS 256u
#define WARPS (THREADS / 32)

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

static uint32_t at_most(uint64_t value, uint64_t limit)
{
    return (uint32_t)(value < limit ? value : limit);
}

static hm_row_layout layout_of(const hm_kv *kv, uint32_t layer)
{
    uint64_t offset = layer * kv->layer_stride;
    hm_row_layout pages = {
        .latent = kv->latent + offset,
        .rope = kv->rope ? kv->rope + offset : NULL,
        .latent_page_stride = kv->latent_page_stride,
        .latent_row_stride = kv->latent_row_stride,
        .rope_page_stride = kv->rope_page_stride,
        .rope_row_stride = kv->rope_row_stride,
        .count = kv->pages,
        .rope_vectors = hm_format_rope(kv->format) ? HM_ROPE_VECTORS : 0,
    };
    return pages;
}

static hopmla_status launch_apply(hm_device *device, const hm_table_memory *memory, const hm_staging *staging,
                                  hopmla_stream stream, hopmla_error *error)
{
    const char *base = (const char *)staging;
    const int32_t *rows = (const int32_t *)(const void *)(base + staging->rows_at);
    uint32_t count = staging->count;
    hm_apply_args args = {
        .kv_lens = rows,
        .q_lens = rows + count,
        .q_starts = rows + 2 * (uint64_t)count,
        .append_starts = rows + 3 * (uint64_t)count + 1,
        .runs = base + staging->runs_at,
        .page_ids = (const int32_t *)(const void *)(base + staging->pages_at),
        .to_count = memory->count,
        .to_kv_lens = memory->kv_lens,
        .to_q_lens = memory->q_lens,
        .to_q_starts = memory->q_starts,
        .to_append_starts = memory->append_starts,
        .to_block_table = memory->block_table,
        .table_stride = memory->table_stride,
        .count = count,
        .max_batch = memory->max_batch,
        .run_count = staging->runs,
    };
    args.q_total = args.q_starts[count];
    args.append_total = args.append_starts[count];
    args.row_ctas = at_most(divide_up(memory->max_batch + 1ull, THREADS), 2 * device->sm_count);

    hm_launch launch = { .kernel = HM_KERNEL_apply, .threads = THREADS };
    launch.grid[0] = args.row_ctas + at_most(divide_up(staging->runs, WARPS), 6 * device->sm_count);
    void *parameters[] = { &args };
    return hm_sm90_launch(device, &launch, parameters, stream, error);
}

/* A set of page numbers that may report too many: a bit for each, by the low bits of the number. */
#define SET_BITS 32768u

typedef struct page_set {
    uint64_t words[SET_BITS / 64];
} page_set;

static void set_add(page_set *set, int32_t page)
{
    uint32_t bit = (uint32_t)page % SET_BITS;
    set->words[bit / 64] |= 1ull << bit % 64;
}

static int set_may_hold(const page_set *set, int32_t page)
{
    uint32_t bit = (uint32_t)page % SET_BITS;
    return (int)(set->words[bit / 64] >> bit % 64 & 1);
}

static hopmla_status launch_copies(hm_device *device, const hm_kv *kv, const hm_copy *copies, uint32_t count,
                                   hopmla_stream stream, hopmla_error *error)
{
    hm_copy_pages_args args = {
        .pages = layout_of(kv, 0),
        .layer_stride = kv->layer_stride,
        .copies = copies,
        .layers = kv->layers,
    };
    hm_launch launch = { .kernel = HM_KERNEL_copy_pages, .threads = THREADS };
    launch.grid[0] = count;
    launch.grid[1] = at_most(kv->layers, divide_up(16ull * device->sm_count, count));
    void *parameters[] = { &args };
    return hm_sm90_launch(device, &launch, parameters, stream, error);
}

/* Copies are carried out as if one after the other, since a fork of a fork reads a page that an earlier copy fills. Those
 * that touch no page of an earlier one go together in one launch. */
static hopmla_status copy_pages(hm_device *device, const hm_kv *kv, const hm_copy *copies, uint32_t count,
                                hopmla_stream stream, hopmla_error *error)
{
    page_set read = { { 0 } }, written = { { 0 } };
    hopmla_status status = HOPMLA_OK;
    uint32_t first = 0;

    for (uint32_t i = 0; i < count && status == HOPMLA_OK; i++) {
        const hm_copy *copy = &copies[i];
        if (set_may_hold(&written, copy->source) || set_may_hold(&written, copy->destination) ||
            set_may_hold(&read, copy->destination)) {
            status = launch_copies(device, kv, copies + first, i - first, stream, error);
            first = i;
            memset(&read, 0, sizeof(read));
            memset(&written, 0, sizeof(written));
        }
        set_add(&read, copy->source);
        set_add(&written, copy->destination);
    }
    if (status == HOPMLA_OK && first < count) {
        status = launch_copies(device, kv, copies + first, count - first, stream, error);
    }
    return status;
}

hopmla_status hm_sm90_apply(hm_device *device, const hm_kv *kv, const hm_table_memory *memory,
                            const hm_staging *staging, hopmla_stream stream, hopmla_error *error)
{
    hopmla_status status = launch_apply(device, memory, staging, stream, error);
    if (status == HOPMLA_OK && staging->copies > 0) {
        const hm_copy *copies = (const hm_copy *)(const void *)((const char *)staging + staging->copies_at);
        status = copy_pages(device, kv, copies, staging->copies, stream, error);
        if (status != HOPMLA_OK) {
            hm_cu.cuStreamSynchronize(
                stream); /* what was launched reads the staging buffer, which is free from here on */
        }
    }
    return status;
}

/* CTAs for `rows` rows, a warp each; a CTA on no more processors than the plan may use. */
static uint32_t row_ctas(const hm_device *device, const hm_envelope *envelope, uint64_t rows)
{
    uint64_t limit = envelope->max_units ? envelope->max_units : 4ull * device->sm_count;
    return at_most(divide_up(rows, WARPS), limit);
}

hopmla_status hm_sm90_append(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                             const hm_append *append, hopmla_stream stream, hopmla_error *error)
{
    int32_t is_fp32 = append->dtype == HOPMLA_DTYPE_FP32;
    int64_t element = is_fp32 ? 4 : 2;
    hm_append_args args = {
        .pages = layout_of(kv, append->layer),
        .latent = append->latent,
        .rope = append->rope,
        .latent_stride = append->latent_stride * element,
        .rope_stride = append->rope_stride * element,
        .append_starts = tables->append_starts,
        .kv_lens = tables->kv_lens,
        .block_table = tables->block_table,
        .table_stride = tables->table_stride,
        .tokens = append->tokens,
        .max_batch = envelope->max_batch,
    };
    hm_launch launch = { .kernel = HM_KERNEL_append_copy, .threads = THREADS, .programmatic = 1 };
    if (is_fp32) {
        const int bf16 = hm_format_dtype(kv->format) == HOPMLA_DTYPE_BF16;
        launch.kernel = bf16 ? HM_KERNEL_append_fp32_to_bf16 : HM_KERNEL_append_fp32_to_fp16;
    }
    launch.grid[0] = row_ctas(device, envelope, append->tokens);
    void *parameters[] = { &args };
    return hm_sm90_launch(device, &launch, parameters, stream, error);
}

hopmla_status hm_sm90_gather(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                             const hm_gather *gather, hopmla_stream stream, hopmla_error *error)
{
    hm_gather_args args = {
        .pages = layout_of(kv, gather->layer),
        .destination = gather->destination,
        .stride = gather->stride * 2,
        .row_count = tables->count,
        .kv_len = tables->kv_lens + gather->row,
        .block_table = tables->block_table + gather->row * tables->table_stride,
        .first = gather->first,
        .count = gather->count,
        .row = gather->row,
    };
    hm_launch launch = { .kernel = HM_KERNEL_gather, .threads = THREADS, .programmatic = 1 };
    launch.grid[0] = row_ctas(device, envelope, gather->count);
    void *parameters[] = { &args };
    return hm_sm90_launch(device, &launch, parameters, stream, error);
}
