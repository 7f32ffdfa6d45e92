/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "kernels/sm90/decode.h"
#include "kernels/sm90/launch.h"
#include "kernels/sm90/shape.h"
#include "lib/error.h"

_Static_assert((int)HM_SM90_BAD_PAGE == (int)HOPMLA_PAGED_BAD_PAGE, "the error word is public");
_Static_assert((int)HM_SM90_BAD_LENGTH == (int)HOPMLA_PAGED_BAD_LENGTH, "the error word is public");
_Static_assert((int)HM_SM90_BAD_ROWS == (int)HOPMLA_PAGED_BAD_ROWS, "the error word is public");
_Static_assert((int)HM_SM90_LSE_NATURAL == (int)HOPMLA_LSE_NATURAL, "passed on as it is");
_Static_assert((int)HM_SM90_LSE_BASE2 == (int)HOPMLA_LSE_BASE2, "passed on as it is");
_Static_assert((int)HM_SM90_LSE_NATURAL_POSINF == (int)HOPMLA_LSE_NATURAL_POSINF, "passed on as it is");
_Static_assert((int)HM_SM90_PAGE_TOKENS == (int)HOPMLA_PAGE_TOKENS, "one page is one tile of K");
_Static_assert(sizeof(hm_binding) == 2 * sizeof(hm_tensor_map),
               "a binding is the two maps, latent and rope; the latter of zeros where there is none");

#define LOG2_E 1.44269504088896340736
#define COLUMN_TILE_BYTES 128

/** A map over one part of the cached rows: {64 columns, 64 rows, column tiles, pages of all layers}. */
static hopmla_status encode_map(hm_tensor_map *map, const hm_kv *kv, char *base, uint64_t row_stride,
                                uint64_t page_stride, uint32_t column_tiles, uint32_t box_tiles, hopmla_error *error)
{
    const int type = hm_format_dtype(kv->format) == HOPMLA_DTYPE_FP16 ? HM_CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                                      : HM_CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    const uint64_t sizes[4] = { 64, HOPMLA_PAGE_TOKENS, column_tiles, kv->layers * kv->pages };
    const uint64_t strides[3] = { row_stride, COLUMN_TILE_BYTES, page_stride };
    const uint32_t box[4] = { 64, HOPMLA_PAGE_TOKENS, box_tiles, 1 };
    const uint32_t steps[4] = { 1, 1, 1, 1 };
    HM_CU_TRY(error, cuTensorMapEncodeTiled, map, type, 4, base, sizes, strides, box, steps,
              HM_CU_TENSOR_MAP_INTERLEAVE_NONE, HM_CU_TENSOR_MAP_SWIZZLE_128B, HM_CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
              HM_CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return HOPMLA_OK;
}

hopmla_status hm_sm90_bind(hm_device *device, const hm_kv *kv, hm_binding *binding, hopmla_error *error)
{
    hm_tensor_map maps[2] = { 0 };
    hopmla_status status;

    (void)device;
    /* Page coordinates are int32, and the number of pages is one too: it stands for a page outside. */
    if (kv->layers * kv->pages > INT32_MAX) {
        return hm_fail(error, HOPMLA_ERROR_OVERFLOW, "%llu pages in %u layers are more than 2^31 - 1 in all",
                       (unsigned long long)kv->pages, kv->layers);
    }
    status = encode_map(&maps[0], kv, kv->latent, kv->latent_row_stride, kv->latent_page_stride, 8, 4, error);
    if (status != HOPMLA_OK) {
        return status;
    }
    if (kv->rope) {
        status = encode_map(&maps[1], kv, kv->rope, kv->rope_row_stride, kv->rope_page_stride, 1, 1, error);
    }
    if (status != HOPMLA_OK) {
        return status;
    }
    memcpy(binding->bytes, maps, sizeof(maps));
    return HOPMLA_OK;
}

uint64_t hm_sm90_workspace_bytes(const hm_device *device, const hm_envelope *envelope)
{
    const hm_sm90_shape shape = hm_sm90_shape_of(device, envelope);
    hm_sm90_workspace workspace;
    return hm_sm90_lay_out(&shape, NULL, &workspace);
}

hopmla_status hm_sm90_schedule(hm_device *device, const hm_envelope *envelope, const hm_tables *tables, void *workspace,
                               hopmla_stream stream, hopmla_error *error)
{
    hm_sm90_schedule_params params = {
        .count = tables->count,
        .kv_lens = tables->kv_lens,
        .q_lens = tables->q_lens,
        .append_starts = tables->append_starts,
        .block_table = tables->block_table,
        .table_stride = tables->table_stride,
        .shape = hm_sm90_shape_of(device, envelope),
    };
    void *parameters[] = { &params };
    const hm_launch launch = {
        .kernel = HM_KERNEL_schedule,
        .threads = HM_SM90_SCHEDULE_THREADS,
        .shared_bytes = HM_SM90_SCHEDULE_SHARED,
        .programmatic = 1,
    };
    /* A tile that is asked for is to be had. */
    params.narrow_rows = device->forced_rows ? params.shape.tile_rows : HM_SM90_NARROW_ROWS;
    params.merge_grid = (int32_t)hm_sm90_merge_grid(device, envelope, &params.shape);
    hm_sm90_lay_out(&params.shape, workspace, &params.workspace);
    return hm_sm90_launch(device, &launch, parameters, stream, error);
}

/** The launch of the kernel that computes; what it leaves to combine is another's. */
static hm_launch decode_launch(const hm_sm90_shape *shape, int32_t format)
{
    const hm_sm90_tile *tile = hm_sm90_tile_of(shape);
    hm_launch launch = {
        .kernel = tile->kernels[format],
        .grid = { (uint32_t)shape->tile_stride, (uint32_t)shape->groups, 1 },
        .threads = tile->threads,
        .shared_bytes = tile->shared_bytes,
        .programmatic = 1,
    };
    if (shape->parts > 0) {
        launch.cluster[1] = (uint32_t)shape->parts;
    } else if (shape->tile_stride % 2 == 0) {
        /* The CTAs of a group read the same pages: side by side, their requests meet on the way to L2. */
        launch.cluster[0] = 2;
    }
    return launch;
}

hopmla_status hm_sm90_decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_binding *binding,
                             const hm_tables *tables, const hm_decode *decode, void *workspace, hopmla_stream stream,
                             hopmla_error *error)
{
    const int fp16 = hm_format_dtype(envelope->format) == HOPMLA_DTYPE_FP16;
    hm_binding maps = *binding;
    hm_sm90_decode_params params = {
        .q = decode->q,
        .q_rope = decode->q_rope,
        .out = decode->out,
        .lse = decode->lse,
        .q_token_stride = decode->q_token_stride,
        .q_head_stride = decode->q_head_stride,
        .qr_token_stride = decode->qr_token_stride,
        .qr_head_stride = decode->qr_head_stride,
        .out_token_stride = decode->out_token_stride,
        .out_head_stride = decode->out_head_stride,
        .lse_token_stride = decode->lse_token_stride,
        .lse_head_stride = decode->lse_head_stride,
        .block_table = tables->block_table,
        .table_stride = tables->table_stride,
        .page_base = (int32_t)(decode->layer * kv->pages),
        .pages = (int32_t)kv->pages,
        .page_outside = (int32_t)(kv->layers * kv->pages),
        .rows = (int32_t)decode->rows,
        .scale_log2 = (float)(decode->softmax_scale * LOG2_E),
        .lse_kind = envelope->lse,
        .heads_inverse = 1.0f / (float)envelope->heads,
        .early = tables->append_starts != NULL, /* a plan's update ends with a fence behind tables and schedule */
        .shape = hm_sm90_shape_of(device, envelope),
    };
    void *parameters[] = { &maps, &params };
    hm_launch launch = decode_launch(&params.shape, envelope->format);
    hopmla_status status;

    hm_sm90_lay_out(&params.shape, workspace, &params.workspace);
    status = hm_sm90_launch(device, &launch, parameters, stream, error);
    if (status != HOPMLA_OK || params.shape.parts > 0) {
        return status;
    }
    launch = (hm_launch){
        .kernel = fp16 ? HM_KERNEL_combine_fp16 : HM_KERNEL_combine_bf16,
        .grid = { hm_sm90_merge_grid(device, envelope, &params.shape), 1, 1 },
        .threads = HM_SM90_COMBINE_THREADS,
        .programmatic = 1,
    };
    return hm_sm90_launch(device, &launch, &parameters[1], stream, error);
}
