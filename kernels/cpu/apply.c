/* SPDX-License-Identifier: Apache-2.0 */

/* Carries out one update of a plan's tables, then the copies that forks owe. */

#include <string.h>

#include "kernels/cpu/threads.h"

enum {
    LATENT_BYTES = HOPMLA_LATENT_DIM * HM_VALUE_BYTES
};

/* n values, then the same one up to `room`. */
static void fill_up(int32_t *to, const int32_t *from, uint32_t n, uint32_t room, int32_t rest)
{
    memcpy(to, from, n * sizeof *to);
    for (uint32_t i = n; i < room; i++) {
        to[i] = rest;
    }
}

static void write_tables(const hm_table_memory *memory, const hm_staging *staging)
{
    const char *base = (const char *)staging;
    uint32_t n = staging->count, room = memory->max_batch;
    const int32_t *kv_lens = (const int32_t *)(base + staging->rows_at);
    const int32_t *q_lens = kv_lens + n, *q_starts = q_lens + n, *append_starts = q_starts + n + 1;
    *memory->count = (int32_t)n;
    fill_up(memory->kv_lens, kv_lens, n, room, 0);
    fill_up(memory->q_lens, q_lens, n, room, 0);
    fill_up(memory->q_starts, q_starts, n + 1, room + 1, q_starts[n]);
    fill_up(memory->append_starts, append_starts, n + 1, room + 1, append_starts[n]);

    const hm_run *runs = (const hm_run *)(base + staging->runs_at);
    const int32_t *pages = (const int32_t *)(base + staging->pages_at);
    for (uint32_t i = 0; i < staging->runs; i++) {
        memcpy(memory->block_table + runs[i].row * memory->table_stride + runs[i].first, pages + runs[i].offset,
               runs[i].n * sizeof *pages);
    }
}

typedef struct copy_job {
    const hm_kv *kv;
    const hm_copy *copies;
    uint32_t n;
} copy_job;

/* Of every row `row_bytes`; all at once where nothing lies between rows. */
static void copy_part(char *base, uint64_t page_stride, uint64_t row_stride, uint64_t row_bytes, const hm_copy *copy)
{
    const char *from = base + (uint64_t)copy->source * page_stride;
    char *to = base + (uint64_t)copy->destination * page_stride;
    if (row_stride == row_bytes) {
        memcpy(to, from, copy->tokens * row_bytes);
        return;
    }
    for (uint64_t t = 0; t < copy->tokens; t++) {
        memcpy(to + t * row_stride, from + t * row_stride, row_bytes);
    }
}

static void copy_rows(const hm_kv *kv, uint64_t layer, const hm_copy *copy)
{
    const uint64_t row_bytes = hm_format_row_bytes(kv->format), offset = layer * kv->layer_stride;
    const int one_piece =
        !kv->rope || (kv->rope == kv->latent + LATENT_BYTES && kv->rope_row_stride == kv->latent_row_stride &&
                      kv->rope_page_stride == kv->latent_page_stride);
    copy_part(kv->latent + offset, kv->latent_page_stride, kv->latent_row_stride, one_piece ? row_bytes : LATENT_BYTES,
              copy);
    if (!one_piece) {
        copy_part(kv->rope + offset, kv->rope_page_stride, kv->rope_row_stride, row_bytes - LATENT_BYTES, copy);
    }
}

/* Layers are independent; within one the copies keep their order. */
static void copy_layers(void *argument, int index, int count)
{
    const copy_job *job = argument;
    for (uint32_t layer = (uint32_t)index; layer < job->kv->layers; layer += (uint32_t)count) {
        for (uint32_t i = 0; i < job->n; i++) {
            copy_rows(job->kv, layer, &job->copies[i]);
        }
    }
}

void hm_cpu_apply(hm_device *device, const hm_kv *kv, const hm_table_memory *memory, const hm_staging *staging)
{
    write_tables(memory, staging);
    copy_job job = { kv, (const hm_copy *)((const char *)staging + staging->copies_at), staging->copies };
    if (job.n > 0) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < job.n; i++) {
            bytes += (uint64_t)job.copies[i].tokens * hm_format_row_bytes(kv->format) * kv->layers;
        }
        hm_threads_run_bytes(device->threads, bytes, copy_layers, &job);
    }
}
