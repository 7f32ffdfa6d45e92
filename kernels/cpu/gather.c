/* SPDX-License-Identifier: Apache-2.0 */

/* Cached rows out of their pages into a dense array. */

#include <string.h>

#include "kernels/cpu/rows.h"
#include "kernels/cpu/threads.h"

enum {
    LATENT_BYTES = HOPMLA_LATENT_DIM * HM_VALUE_BYTES
};

typedef struct gather_job {
    const hm_kv *kv;
    const hm_tables *tables;
    const hm_gather *gather;
    uint64_t length; /* of the sequence; 0 when there is none */
} gather_job;

static void gather_range(void *argument, int index, int count)
{
    const gather_job *job = argument;
    const hm_gather *g = job->gather;
    const uint32_t row_bytes = hm_format_row_bytes(job->kv->format);
    uint64_t end = g->count * ((uint64_t)index + 1) / (uint64_t)count;
    for (uint64_t i = g->count * (uint64_t)index / (uint64_t)count; i < end; i++) {
        char *to = (char *)g->destination + (int64_t)i * g->stride * (int64_t)sizeof(uint16_t);
        hm_row from = { NULL, NULL };
        if (g->first + i < job->length) {
            from = hm_row_of(job->kv, job->tables, g->layer, g->row, g->first + i);
        }
        if (from.latent) {
            memcpy(to, from.latent, LATENT_BYTES);
            if (from.rope) {
                memcpy(to + LATENT_BYTES, from.rope, row_bytes - LATENT_BYTES);
            }
        } else {
            memset(to, 0, row_bytes);
        }
    }
}

void hm_cpu_gather(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                   const hm_gather *gather)
{
    uint32_t count = tables->count ? (uint32_t)*tables->count : envelope->max_batch;
    gather_job job = { kv, tables, gather, 0 };
    if (gather->row < count && tables->kv_lens[gather->row] > 0) {
        uint64_t length = (uint64_t)tables->kv_lens[gather->row];
        job.length = length < envelope->max_kv_tokens ? length : envelope->max_kv_tokens;
    }
    hm_threads_run_bytes(device->threads, gather->count * hm_format_row_bytes(kv->format), gather_range, &job);
}
