/* SPDX-License-Identifier: Apache-2.0 */

/* New tokens' rows into their pages. */

#include <string.h>

#include "kernels/cpu/rows.h"
#include "kernels/cpu/threads.h"

typedef struct append_job {
    const hm_isa *isa;
    const hm_envelope *envelope;
    const hm_kv *kv;
    const hm_tables *tables;
    const hm_append *append;
    uint32_t count;  /* rows of the batch */
    uint64_t tokens; /* to be written */
} append_job;

static void put(const append_job *job, char *to, const void *source, int64_t at, uint32_t dim)
{
    if (job->append->dtype == HOPMLA_DTYPE_FP32) {
        job->isa->narrow(to, (const float *)source + at, 1.0f, dim, hm_format_dtype(job->kv->format));
    } else {
        memcpy(to, (const uint16_t *)source + at, dim * sizeof(uint16_t));
    }
}

/* The batch row that appends token t: the last one that starts at or before it. */
static uint32_t row_of(const int32_t *starts, uint32_t count, uint64_t t)
{
    uint32_t low = 0, high = count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if ((uint64_t)starts[middle] <= t) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void append_range(void *argument, int index, int count)
{
    const append_job *job = argument;
    const hm_append *a = job->append;
    const int32_t *starts = job->tables->append_starts;
    uint64_t t = job->tokens * (uint64_t)index / (uint64_t)count;
    uint64_t end = job->tokens * ((uint64_t)index + 1) / (uint64_t)count;
    for (uint32_t row = t < end ? row_of(starts, job->count, t) : 0; t < end; t++) {
        while ((uint64_t)starts[row + 1] <= t) {
            row++;
        }
        int64_t token = (int64_t)job->tables->kv_lens[row] - starts[row + 1] + (int64_t)t;
        if (token < 0 || (uint64_t)token >= job->envelope->max_kv_tokens) {
            continue;
        }
        hm_row to = hm_row_of(job->kv, job->tables, a->layer, row, (uint64_t)token);
        if (to.latent) {
            put(job, to.latent, a->latent, (int64_t)t * a->latent_stride, HOPMLA_LATENT_DIM);
            if (to.rope) {
                put(job, to.rope, a->rope, (int64_t)t * a->rope_stride, HOPMLA_ROPE_DIM);
            }
        }
    }
}

void hm_cpu_append(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                   const hm_append *append)
{
    uint32_t count = tables->count ? (uint32_t)*tables->count : envelope->max_batch;
    if (count == 0) {
        return;
    }
    uint64_t tokens = (uint64_t)tables->append_starts[count];
    append_job job = {
        hm_cpu_isa(device->isa), envelope, kv, tables, append, count, tokens < append->tokens ? tokens : append->tokens
    };
    hm_threads_run_bytes(device->threads, job.tokens * hm_format_row_bytes(kv->format), append_range, &job);
}
