/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/sm90/launch.h"
#include "kernels/sm90/shape.h"
#include "lib/sequence.h"

#define KERNELS(name)                                                                                                  \
    {                                                                                                                  \
        [HOPMLA_KV_BF16] = HM_KERNEL_decode_##name##bf16, [HOPMLA_KV_FP16] = HM_KERNEL_decode_##name##fp16,            \
        [HOPMLA_KV_BF16_NOPE] = HM_KERNEL_decode_nope_##name##bf16,                                                    \
        [HOPMLA_KV_FP16_NOPE] = HM_KERNEL_decode_nope_##name##fp16                                                     \
    }

/* Fewest rows first. */
static const hm_sm90_tile tiles[] = {
    { 16, HM_SM90_DECODE_THREADS, HM_SM90_FEW_SHARED, KERNELS(few16_) },
    { 32, HM_SM90_DECODE_THREADS, HM_SM90_FEW_SHARED, KERNELS(few32_) },
    { HM_SM90_TILE_ROWS, HM_SM90_DECODE_THREADS, HM_SM90_DECODE_SHARED, KERNELS() },
};
/* By the pages of a CTA at most, less one. */
static const hm_sm90_tile cluster_tiles[HM_SM90_CLUSTER_PAGES] = {
    { HM_SM90_NARROW_ROWS, HM_SM90_CLUSTER_THREADS, HM_SM90_CLUSTER_SHARED, KERNELS(cluster1_) },
    { HM_SM90_NARROW_ROWS, HM_SM90_CLUSTER_THREADS, HM_SM90_CLUSTER_SHARED, KERNELS(cluster2_) },
};

const hm_sm90_tile *hm_sm90_tile_of(const hm_sm90_shape *shape)
{
    const hm_sm90_tile *tile = tiles;
    if (shape->parts > 0) {
        return &cluster_tiles[(hm_pages_for((uint64_t)shape->max_kv) - 1) / (uint32_t)shape->parts];
    }
    while (tile->rows != (uint32_t)shape->tile_rows) {
        tile++;
    }
    return tile;
}

/** CTAs of the clusters of size number i. */
static uint32_t cluster_size(uint32_t i)
{
    return 2u << i;
}

hopmla_status hm_sm90_count_clusters(hm_device *device, hopmla_error *error)
{
    for (uint32_t i = 0; i < HM_SM90_CLUSTER_SIZES; i++) {
        const hm_launch launch = {
            .kernel = cluster_tiles[0].kernels[HOPMLA_KV_BF16],
            .grid = { 1, cluster_size(i), 1 },
            .threads = cluster_tiles[0].threads,
            .shared_bytes = cluster_tiles[0].shared_bytes,
            .cluster = { 1, cluster_size(i) },
        };
        const hopmla_status status = hm_sm90_clusters_at_once(device, &launch, &device->clusters[i], error);
        if (status != HOPMLA_OK) {
            return status;
        }
    }
    return HOPMLA_OK;
}

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
    return (uint64_t)hm_pages_for(envelope->max_kv_tokens) * envelope->max_batch;
}

static uint64_t rows_of(const hm_envelope *envelope)
{
    return (uint64_t)envelope->heads * envelope->max_q_tokens;
}

static uint64_t tiles_of(const hm_envelope *envelope, uint32_t tile_rows)
{
    return (rows_of(envelope) + tile_rows - 1) / tile_rows;
}

/** CTAs of a cluster with so many pages a CTA at most for each tile of each request, where they take no more than so many
 * thirds of the clusters that the device holds at one time; else 0. */
static uint32_t parts_with(const hm_device *device, const hm_envelope *envelope, uint32_t pages, uint32_t thirds)
{
    const uint64_t clusters = tiles_of(envelope, HM_SM90_NARROW_ROWS) * envelope->max_batch;
    uint32_t i = 0;
    while (i < HM_SM90_CLUSTER_SIZES && cluster_size(i) * pages < hm_pages_for(envelope->max_kv_tokens)) {
        i++;
    }
    const int fits = i < HM_SM90_CLUSTER_SIZES && clusters * 3 <= (uint64_t)device->clusters[i] * thirds &&
                     clusters * cluster_size(i) <= units_of(device, envelope);
    return fits ? cluster_size(i) : 0;
}

/** CTAs of a cluster for each tile of each request, 0 without clusters. A page for each, or two, where a third of the
 * device is left: the next layer's CTAs start there. Else as few CTAs as two pages each allow, if those fit, unless
 * requests have one page: CTAs on their own have nothing to merge of them. */
static uint32_t parts_of(const hm_device *device, const hm_envelope *envelope)
{
    uint32_t parts = 0;
    if (device->forced_rows) {
        return 0;
    }
    for (uint32_t pages = 1; pages <= HM_SM90_CLUSTER_PAGES && parts == 0; pages++) {
        parts = parts_with(device, envelope, pages, 2);
    }
    if (parts == 0 && hm_pages_for(envelope->max_kv_tokens) > 1) {
        parts = parts_with(device, envelope, HM_SM90_CLUSTER_PAGES, 3);
    }
    return parts;
}

/** Rows of the first tile that holds all of a request. An envelope of so few pages that half of the units can have one
 * each gets a smaller one: then a CTA brings less of Q, and stores less of O, than it takes to compute. */
static uint32_t tile_rows_of(const hm_device *device, const hm_envelope *envelope)
{
    const uint64_t rows = device->forced_rows ? device->forced_rows : rows_of(envelope);
    const uint64_t room = device->forced_rows ? 0 : units_of(device, envelope) / 2 / pages_of(envelope);
    const hm_sm90_tile *tile = tiles;
    while (tile->rows < rows && tile->rows < HM_SM90_TILE_ROWS && (rows + tile->rows - 1) / tile->rows > room) {
        tile++;
    }
    return tile->rows;
}

/** README.md, Schedule. */
hm_sm90_shape hm_sm90_shape_of(const hm_device *device, const hm_envelope *envelope)
{
    hm_sm90_shape shape = {
        .heads = (int32_t)envelope->heads,
        .max_batch = (int32_t)envelope->max_batch,
        .max_q = (int32_t)envelope->max_q_tokens,
        .max_kv = (int32_t)envelope->max_kv_tokens,
        .parts = (int32_t)parts_of(device, envelope),
    };
    const uint32_t units = units_of(device, envelope);
    if (shape.parts > 0) {
        shape.tile_rows = HM_SM90_NARROW_ROWS;
        shape.tiles = (int32_t)tiles_of(envelope, (uint32_t)shape.tile_rows);
        shape.tile_stride = shape.tiles;
        shape.groups = shape.max_batch * shape.parts;
        return shape;
    }
    shape.tile_rows = (int32_t)tile_rows_of(device, envelope);
    shape.tiles = (int32_t)tiles_of(envelope, (uint32_t)shape.tile_rows);
    shape.tile_stride = (int32_t)smaller((uint32_t)shape.tiles, units);
    /* A page for each, or with narrow tiles one for two or four. */
    const uint64_t most_groups = pages_of(envelope) * (uint64_t)(shape.tile_rows / HM_SM90_NARROW_ROWS);
    const uint32_t groups = units / (uint32_t)shape.tile_stride;
    shape.groups = (int32_t)(groups > most_groups ? most_groups : groups);
    return shape;
}

/** Two fit on a processor. Beside a tile of few rows they start early, one a processor; behind one of 64 rows there are
 * twice as many, unless some processors are to be left alone. */
uint32_t hm_sm90_merge_grid(const hm_device *device, const hm_envelope *envelope, const hm_sm90_shape *shape)
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

uint64_t hm_sm90_lay_out(const hm_sm90_shape *shape, void *base, hm_sm90_workspace *workspace)
{
    const uint64_t batch = (uint64_t)shape->max_batch;
    const uint64_t groups = (uint64_t)shape->groups;
    const uint64_t partials =
        groups > 1 && shape->parts == 0 ? 2 * groups * (uint64_t)shape->tiles * (uint64_t)shape->tile_rows : 0;
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
