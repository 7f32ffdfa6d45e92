/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "kernels/sm90/decode.h"
#include "kernels/sm90/launch.h"
#include "kernels/sm90/params.h"
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

/* The tiles, fewest rows first. */
typedef struct tile {
    uint32_t rows;
    uint32_t shared_bytes;
    hm_kernel kernels[HOPMLA_KV_FP16_NOPE + 1]; /* by HOPMLA_KV_* */
} tile;

#define KERNELS(rows)                                                                                                  \
    {                                                                                                                  \
        [HOPMLA_KV_BF16] = HM_KERNEL_decode_##rows##bf16, [HOPMLA_KV_FP16] = HM_KERNEL_decode_##rows##fp16,            \
        [HOPMLA_KV_BF16_NOPE] = HM_KERNEL_decode_nope_##rows##bf16,                                                    \
        [HOPMLA_KV_FP16_NOPE] = HM_KERNEL_decode_nope_##rows##fp16                                                     \
    }

static const tile tiles[] = {
    { 16, HM_SM90_FEW_SHARED, KERNELS(few16_) },
    { 32, HM_SM90_FEW_SHARED, KERNELS(few32_) },
    { HM_SM90_TILE_ROWS, HM_SM90_DECODE_SHARED, KERNELS() },
};

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t units_of(const hm_device *device, const hm_envelope *envelope)
{
    const uint32_t units = smaller(device->sm_count, HM_SM90_MAX_UNITS);
    return envelope->max_units > 0 ? smaller(units, envelope->max_units) : units;
}

static uint64_t pages_of(const hm_envelope *envelope)
{
    return (envelope->max_kv_tokens + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS * envelope->max_batch;
}

/** The first tile that holds all rows of a request. An envelope of so few pages that half of the units can have one each
 * gets a smaller one: then a CTA brings less of Q, and stores less of O, than it takes to compute. */
static const tile *tile_of(const hm_device *device, const hm_envelope *envelope)
{
    const uint64_t rows =
        device->forced_rows ? device->forced_rows : (uint64_t)envelope->heads * envelope->max_q_tokens;
    const uint64_t room = device->forced_rows ? 0 : units_of(device, envelope) / 2 / pages_of(envelope);
    const tile *tile = tiles;
    while (tile->rows < rows && tile->rows < HM_SM90_TILE_ROWS && (rows + tile->rows - 1) / tile->rows > room) {
        tile++;
    }
    return tile;
}

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

/** Divides the device's units: see README.md, Schedule. */
static hm_sm90_shape shape_of(const hm_device *device, const hm_envelope *envelope)
{
    const uint64_t rows = (uint64_t)envelope->heads * envelope->max_q_tokens;
    const uint32_t units = units_of(device, envelope);
    const uint32_t tile_rows = tile_of(device, envelope)->rows;
    /* A page for each, or with narrow tiles one for two or four. */
    const uint64_t most_groups = pages_of(envelope) * (tile_rows / HM_SM90_NARROW_ROWS);
    hm_sm90_shape shape = { 0 };

    shape.heads = (int32_t)envelope->heads;
    shape.tile_rows = (int32_t)tile_rows;
    shape.tiles = (int32_t)((rows + tile_rows - 1) / tile_rows);
    shape.tile_stride = (int32_t)smaller((uint32_t)shape.tiles, units);
    shape.groups = (int32_t)(units / (uint32_t)shape.tile_stride);
    if ((uint64_t)shape.groups > most_groups) {
        shape.groups = (int32_t)most_groups;
    }
    shape.max_batch = (int32_t)envelope->max_batch;
    shape.max_q = (int32_t)envelope->max_q_tokens;
    shape.max_kv = (int32_t)envelope->max_kv_tokens;
    return shape;
}

/** CTAs of combine. Two fit on a processor. Beside a tile of few rows they start early, one a processor; behind one of 64
 * rows there are twice as many, unless some processors are to be left alone. */
static uint32_t merge_grid(const hm_device *device, const hm_envelope *envelope, const hm_sm90_shape *shape)
{
    const int twice = shape->tile_rows == HM_SM90_TILE_ROWS && units_of(device, envelope) == device->sm_count;
    return (uint32_t)(shape->groups * shape->tile_stride) * (twice ? 2 : 1);
}

/** The next part of a workspace, `bytes` long. */
static void *carve(char *base, uint64_t *offset, uint64_t bytes)
{
    void *part = base ? base + *offset : NULL;
    *offset += (bytes + 255) / 256 * 256;
    return part;
}

/** Lays the workspace out at `base`, which may be NULL. @return its size, a multiple of 1024 */
static uint64_t lay_out(const hm_sm90_shape *shape, void *base, hm_sm90_workspace *workspace)
{
    const uint64_t batch = (uint64_t)shape->max_batch;
    const uint64_t groups = (uint64_t)shape->groups;
    const uint64_t partials = groups > 1 ? 2 * groups * (uint64_t)shape->tiles * (uint64_t)shape->tile_rows : 0;
    uint64_t bytes = 0;

    workspace->header = carve(base, &bytes, sizeof(hm_sm90_header));
    workspace->groups = carve(base, &bytes, groups * sizeof(hm_sm90_group));
    workspace->splits = carve(base, &bytes, groups * sizeof(hm_sm90_split));
    workspace->segments = carve(base, &bytes, (batch + groups) * sizeof(hm_sm90_segment));
    workspace->empties = carve(base, &bytes, batch * sizeof(int32_t));
    workspace->kv_lens = carve(base, &bytes, batch * sizeof(int32_t));
    workspace->q_lens = carve(base, &bytes, batch * sizeof(int32_t));
    workspace->q_starts = carve(base, &bytes, (batch + 1) * sizeof(int32_t));
    workspace->live = carve(base, &bytes, batch * sizeof(int32_t));
    workspace->costs = carve(base, &bytes, (batch + 1) * sizeof(int64_t));
    workspace->partial_lse = carve(base, &bytes, partials * sizeof(float));
    workspace->partial_out = carve(base, &bytes, partials * HM_SM90_ROW_BYTES);
    return (bytes + 1023) / 1024 * 1024;
}

uint64_t hm_sm90_workspace_bytes(const hm_device *device, const hm_envelope *envelope)
{
    const hm_sm90_shape shape = shape_of(device, envelope);
    hm_sm90_workspace workspace;
    return lay_out(&shape, NULL, &workspace);
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
        .shape = shape_of(device, envelope),
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
    params.merge_grid = (int32_t)merge_grid(device, envelope, &params.shape);
    lay_out(&params.shape, workspace, &params.workspace);
    return hm_sm90_launch(device, &launch, parameters, stream, error);
}

hopmla_status hm_sm90_decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_binding *binding,
                             const hm_tables *tables, const hm_decode *decode, void *workspace, hopmla_stream stream,
                             hopmla_error *error)
{
    const int fp16 = hm_format_dtype(envelope->format) == HOPMLA_DTYPE_FP16;
    const tile *tile = tile_of(device, envelope);
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
        .shape = shape_of(device, envelope),
    };
    void *parameters[] = { &maps, &params };
    hm_launch launch = {
        .kernel = tile->kernels[envelope->format],
        .grid = { (uint32_t)params.shape.tile_stride, (uint32_t)params.shape.groups, 1 },
        .threads = HM_SM90_DECODE_THREADS,
        .shared_bytes = tile->shared_bytes,
        /* The CTAs of a group read the same pages: side by side, their requests meet on the way to L2. */
        .cluster = params.shape.tile_stride % 2 == 0 ? 2 : 0,
        .programmatic = 1,
    };
    hopmla_status status;

    lay_out(&params.shape, workspace, &params.workspace);
    status = hm_sm90_launch(device, &launch, parameters, stream, error);
    if (status != HOPMLA_OK) {
        return status;
    }
    launch = (hm_launch){
        .kernel = fp16 ? HM_KERNEL_combine_fp16 : HM_KERNEL_combine_bf16,
        .grid = { merge_grid(device, envelope, &params.shape), 1, 1 },
        .threads = HM_SM90_COMBINE_THREADS,
        .programmatic = 1,
    };
    return hm_sm90_launch(device, &launch, &parameters[1], stream, error);
}
