/* SPDX-License-Identifier: Apache-2.0 */

/* One task of a decode: queries in, tile after tile, and a row's result out. */

#include "kernels/cpu/attend.h"

#include <math.h>
#include <string.h>

#define LN_2 0.69314718055994530942

/* Of a page that is not there. */
static const char zero_row[HOPMLA_LATENT_DIM * 2];

static void load_queries(const hm_decode_job *job, const hm_block *block, hm_scratch *scratch)
{
    const hm_decode *d = job->decode;
    const int32_t dtype = hm_format_dtype(job->kv->format);
    const uint32_t rope_dim = hm_format_rope(job->kv->format);
    uint32_t heads = job->envelope->heads;
    for (uint32_t r = 0; r < block->rows; r++) {
        uint32_t row = block->first_row + r, own_token = row / heads;
        int64_t token = (int64_t)(block->q_start + own_token), head = row % heads;
        const uint16_t *q = (const uint16_t *)d->q + token * d->q_token_stride + head * d->q_head_stride;
        job->isa->widen(scratch->q[r], q, HOPMLA_LATENT_DIM, dtype);
        if (rope_dim) {
            const uint16_t *rope = (const uint16_t *)d->q_rope + token * d->qr_token_stride + head * d->qr_head_stride;
            job->isa->widen(scratch->q[r] + HOPMLA_LATENT_DIM, rope, rope_dim, dtype);
        }
        int64_t limit = (int64_t)block->kv_len - (block->q_len - 1 - own_token);
        scratch->limit[r] = limit > 0 ? (int32_t)limit : 0;
        scratch->m[r] = -INFINITY;
        scratch->l[r] = 0.0f;
    }
}

/* Where a page's rows are. Reports and replaces a page that does not exist. */
static void find_page(hm_decode_job *job, uint32_t request, uint32_t first_token, hm_tile *tile)
{
    const hm_kv *kv = job->kv;
    const int32_t *table = job->tables->block_table + request * job->tables->table_stride;
    int64_t page = table[first_token / HOPMLA_PAGE_TOKENS];
    if (page < 0 || (uint64_t)page >= kv->pages) {
        __atomic_fetch_or(&job->workspace.header->error, HOPMLA_PAGED_BAD_PAGE, __ATOMIC_RELAXED);
        tile->latent = tile->rope = zero_row;
        tile->latent_stride = tile->rope_stride = 0;
        return;
    }
    uint64_t layer = job->decode->layer * kv->layer_stride;
    tile->latent = kv->latent + layer + (uint64_t)page * kv->latent_page_stride;
    tile->rope = kv->rope ? kv->rope + layer + (uint64_t)page * kv->rope_page_stride : NULL;
    tile->latent_stride = kv->latent_row_stride;
    tile->rope_stride = kv->rope_row_stride;
}

void hm_attend(hm_decode_job *job, const hm_block *block, uint32_t first, uint32_t end, hm_scratch *scratch,
               float (*o)[HOPMLA_LATENT_DIM])
{
    load_queries(job, block, scratch);
    /* The last row sees the most: behind that there is nothing to do. */
    uint32_t limit = (uint32_t)scratch->limit[block->rows - 1];
    end = end < limit ? end : limit;
    hm_tile tile = { .format = job->kv->format, .rows = block->rows, .factor = job->factor, .first = 1, .o = o };
    for (uint32_t t = first; t < end; t += HM_TILE_TOKENS) {
        find_page(job, block->request, t, &tile);
        tile.tokens = end - t < HM_TILE_TOKENS ? end - t : HM_TILE_TOKENS;
        tile.first_token = (int32_t)t;
        job->isa->attend(&tile, scratch);
        tile.first = 0;
    }
}

static float log_sum(const hm_decode_job *job, float m, float l)
{
    int32_t convention = job->envelope->lse;
    if (l == 0.0f) {
        return convention == HOPMLA_LSE_NATURAL_POSINF ? INFINITY : -INFINITY;
    }
    double base2 = (double)m + log2((double)l);
    return (float)(convention == HOPMLA_LSE_BASE2 ? base2 : base2 * LN_2);
}

static void write_at(const hm_decode_job *job, int64_t token, int64_t head, const float *o, float m, float l)
{
    const hm_decode *d = job->decode;
    uint16_t *out = (uint16_t *)d->out + token * d->out_token_stride + head * d->out_head_stride;
    if (l == 0.0f) {
        memset(out, 0, HOPMLA_LATENT_DIM * sizeof *out);
    } else {
        job->isa->narrow(out, o, 1.0f / l, HOPMLA_LATENT_DIM, hm_format_dtype(job->kv->format));
    }
    if (d->lse) {
        d->lse[token * d->lse_token_stride + head * d->lse_head_stride] = log_sum(job, m, l);
    }
}

void hm_write_row(const hm_decode_job *job, const hm_block *block, uint32_t row, const float *o, float m, float l)
{
    uint32_t heads = job->envelope->heads, at = block->first_row + row;
    write_at(job, (int64_t)(block->q_start + at / heads), at % heads, o, m, l);
}

void hm_write_empty(const hm_decode_job *job, uint64_t q_token)
{
    for (uint32_t head = 0; head < job->envelope->heads; head++) {
        write_at(job, (int64_t)q_token, head, NULL, 0.0f, 0.0f);
    }
}
