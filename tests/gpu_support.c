/* SPDX-License-Identifier: Apache-2.0 */

#include "gpu_support.h"

#include <math.h>
#include <string.h>

hm_device *gpu_device;
hopmla_error gpu_error = HOPMLA_ERROR_INIT;
int gpu_failures;

void gpu_check(int condition, const char *what)
{
    printf("%s %s\n", condition ? "ok  " : "FAIL", what);
    gpu_failures += !condition;
}

void gpu_open(void)
{
    hm_open_options options = { 0 };
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    if (hm_sm90_backend.open(&options, &gpu_device, &gpu_error) != HOPMLA_OK) {
        printf("FAIL open: %s\n", gpu_error.message);
        exit(1);
    }
    hm_sm90_backend.describe(gpu_device, &info);
    printf("%s, %d processors, driver for CUDA %d, L2 %llu bytes\n", info.name, info.units, info.driver_version,
           (unsigned long long)info.l2_bytes);
}

void gpu_close(void)
{
    hm_sm90_backend.close(gpu_device);
}

void *gpu_allocate(uint64_t bytes, int32_t kind)
{
    void *memory = NULL;
    MUST(alloc, bytes, 1024, kind, NULL, &memory, &gpu_error);
    return memory;
}

void *gpu_upload(const void *host, uint64_t bytes, hopmla_stream stream)
{
    void *device = gpu_allocate(bytes, HOPMLA_MEMORY_WORKSPACE);
    MUST(copy, device, host, bytes, stream, &gpu_error);
    return device;
}

void gpu_download(void *host, const void *device, uint64_t bytes, hopmla_stream stream)
{
    MUST(copy, host, device, bytes, stream, &gpu_error);
}

void gpu_release(void *device, uint64_t bytes)
{
    MUST(synchronize, &gpu_error);
    hm_sm90_backend.free(gpu_device, device, bytes, HOPMLA_MEMORY_WORKSPACE, NULL);
}

hm_kv gpu_make_kv(uint32_t layers, uint64_t pages, int32_t format)
{
    hm_kv kv = {
        .latent_page_stride = hm_format_page_bytes(format),
        .latent_row_stride = hm_format_row_bytes(format),
        .layer_stride = pages * hm_format_page_bytes(format),
        .pages = pages,
        .layers = layers,
        .format = format,
    };
    kv.latent = gpu_allocate(layers * kv.layer_stride, HOPMLA_MEMORY_POOL);
    if (hm_format_rope(format)) {
        kv.rope = kv.latent + 1024;
        kv.rope_page_stride = kv.latent_page_stride;
        kv.rope_row_stride = kv.latent_row_stride;
    }
    return kv;
}

void gpu_make_tables(uint32_t max_batch, uint64_t table_stride, hm_table_memory *memory, hm_tables *tables)
{
    int32_t *base =
        gpu_allocate((4 * (max_batch + 4ull) + max_batch * table_stride) * sizeof(int32_t), HOPMLA_MEMORY_TABLES);
    *memory = (hm_table_memory){
        .count = base,
        .kv_lens = base + 4,
        .q_lens = base + 4 + max_batch,
        .q_starts = base + 4 + 2 * max_batch,
        .append_starts = base + 5 + 3 * max_batch,
        .block_table = base + 6 + 4 * max_batch,
        .table_stride = table_stride,
        .max_batch = max_batch,
    };
    *tables = (hm_tables){
        .count = memory->count,
        .kv_lens = memory->kv_lens,
        .q_lens = memory->q_lens,
        .append_starts = memory->append_starts,
        .block_table = memory->block_table,
        .table_stride = table_stride,
    };
}

void gpu_make_staging(uint64_t max_runs, uint64_t max_entries, uint64_t max_copies, gpu_staging *staging)
{
    uint64_t rows = (sizeof(hm_staging) + (4 * max_runs + 2) * sizeof(int32_t) + 15) / 16 * 16;
    uint64_t bytes = rows + max_runs * sizeof(hm_run) + max_copies * sizeof(hm_copy) + max_entries * sizeof(int32_t);
    *staging = (gpu_staging){ .header = gpu_allocate(bytes, HOPMLA_MEMORY_PINNED) };
    memset(staging->header, 0, bytes);
    staging->header->rows_at = sizeof(hm_staging);
    staging->header->runs_at = rows;
    staging->header->copies_at = rows + max_runs * sizeof(hm_run);
    staging->header->pages_at = staging->header->copies_at + max_copies * sizeof(hm_copy);
}

void gpu_begin_staging(gpu_staging *staging, uint32_t count, hopmla_stream stream)
{
    MUST(stream_synchronize, stream, &gpu_error);
    hm_staging *header = staging->header;
    char *base = (char *)header;
    header->count = count;
    header->runs = header->copies = header->entries = 0;
    staging->kv_lens = (int32_t *)(void *)(base + header->rows_at);
    staging->q_lens = staging->kv_lens + count;
    staging->q_starts = staging->q_lens + count;
    staging->append_starts = staging->q_starts + count + 1;
    staging->runs = (hm_run *)(void *)(base + header->runs_at);
    staging->copies = (hm_copy *)(void *)(base + header->copies_at);
    staging->page_ids = (int32_t *)(void *)(base + header->pages_at);
    staging->q_starts[0] = staging->append_starts[0] = 0;
}

uint16_t gpu_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

uint16_t gpu_fp16(float value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double size = fabs((double)value);
    if (size >= 65520.0) {
        return sign | 0x7C00;
    }
    int exponent = size > 0.0 ? ilogb(size) : -15;
    exponent = exponent < -14 ? -14 : exponent;
    /* Halves are whole numbers in units of the last place; nearbyint rounds to even. */
    unsigned units = (unsigned)nearbyint(ldexp(size, 10 - exponent));
    return (uint16_t)(sign | (((unsigned)(exponent + 14) << 10) + units));
}
