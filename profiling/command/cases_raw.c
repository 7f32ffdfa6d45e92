/* SPDX-License-Identifier: Apache-2.0 */
#include "tensors.h"

#include <string.h>

/* decode_paged over arrays as an engine would bring them: pages in any order, NaN wherever no token is, and garbage in
 * the slots of the block table that no length needs. */

#define EXPECT(call, ...) case_expect(c, call(__VA_ARGS__, &error), &error, #call)

enum {
    ZERO_ROW = BANK_ROWS + BANK_SPECIAL - 1,
    SPARE_PAGES = 5,
    SPARE_SLOTS = 3
};

typedef struct arrays {
    hopmla_paged_desc desc;
    const void *latent;
    const void *rope;
    int32_t *table; /* host */
    int32_t *table_device;
    int32_t *kv_lens; /* device */
    int32_t *q_lens;  /* device or NULL */
    uint32_t *ids[CASE_ROWS];
    uint32_t seen[CASE_ROWS]; /* tokens that the kernel may see: lengths after they were cut */
    uint32_t expected_word;
} arrays;

static const int32_t garbage[] = { 2147480000, -1, INT32_MIN, INT32_MAX, -64 };

/** Values of a row of the first array. */
static uint32_t row_values(const shape *s)
{
    return s->apart ? HOPMLA_LATENT_DIM : shape_values(s);
}

static uint32_t pages_of(uint32_t tokens)
{
    return (tokens + HOPMLA_PAGE_TOKENS - 1) / HOPMLA_PAGE_TOKENS;
}

/** Room for the strides and the number of pages; the table with pages by chance. */
static void lay_out(check *c, arrays *a)
{
    const shape *s = c->shape;
    hopmla_paged_desc *d = &a->desc;
    *d = (hopmla_paged_desc)HOPMLA_PAGED_DESC_INIT;
    d->format = shape_format(s);
    d->batch = s->batch;
    d->heads = s->heads;
    d->lse = s->lse;
    d->max_units = s->max_units;
    d->pages = SPARE_PAGES;
    for (uint32_t i = 0; i < s->batch; ++i) {
        d->max_q_tokens = s->q[i] > d->max_q_tokens ? s->q[i] : d->max_q_tokens;
        d->max_kv_tokens = s->kv[i] > d->max_kv_tokens ? s->kv[i] : d->max_kv_tokens;
        d->pages += pages_of(s->kv[i]);
    }
    d->max_kv_tokens = s->max_kv > d->max_kv_tokens ? s->max_kv : d->max_kv_tokens;
    d->max_kv_tokens = d->max_kv_tokens > 0 ? d->max_kv_tokens : 1;
    d->table_stride = pages_of((uint32_t)d->max_kv_tokens) + SPARE_SLOTS;
    if (s->strided) {
        d->latent_row_stride = row_values(s) * 2 + 32;
        d->latent_page_stride = HOPMLA_PAGE_TOKENS * d->latent_row_stride + 128;
        d->rope_row_stride = HOPMLA_ROPE_DIM * 2 + 16;
        d->rope_page_stride = HOPMLA_PAGE_TOKENS * d->rope_row_stride + 256;
    }

    uint32_t *order = case_host(c, d->pages * sizeof(*order));
    for (uint32_t i = 0; i < d->pages; ++i) {
        uint32_t j = (uint32_t)random_below(&c->random, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    a->table = case_host(c, s->batch * d->table_stride * sizeof(int32_t));
    for (uint32_t i = 0, next = 0; i < s->batch; ++i) {
        for (uint64_t slot = 0; slot < d->table_stride; ++slot)
            a->table[i * d->table_stride + slot] =
                slot < pages_of(s->kv[i]) ? (int32_t)order[next++] : garbage[random_below(&c->random, 5)];
    }
}

/** Writes the rows to where strides and table say, and takes both arrays to the device. */
static void fill_pages(check *c, arrays *a)
{
    const shape *s = c->shape;
    const hopmla_paged_desc *d = &a->desc;
    uint64_t row = d->latent_row_stride > 0 ? d->latent_row_stride : row_values(s) * 2;
    uint64_t page = d->latent_page_stride > 0 ? d->latent_page_stride : HOPMLA_PAGE_TOKENS * row;
    uint64_t rope_row = d->rope_row_stride > 0 ? d->rope_row_stride : 128;
    uint64_t rope_page = d->rope_page_stride > 0 ? d->rope_page_stride : HOPMLA_PAGE_TOKENS * rope_row;
    char *latent = case_host(c, d->pages * page), *rope = case_host(c, d->pages * rope_page);
    memset(latent, 0xff, d->pages * page);
    memset(rope, 0xff, d->pages * rope_page);
    for (uint32_t i = 0; i < s->batch; ++i) {
        a->ids[i] = case_host(c, (s->kv[i] + 1) * sizeof(uint32_t));
        for (uint32_t t = 0; t < s->kv[i]; ++t) {
            a->ids[i][t] = (uint32_t)random_below(&c->random, BANK_ROWS);
            const uint16_t *bits = c->bank->bits + (uint64_t)a->ids[i][t] * HOPMLA_QK_DIM;
            uint64_t p = (uint64_t)a->table[i * d->table_stride + t / 64], r = t % 64;
            memcpy(latent + p * page + r * row, bits, row_values(s) * 2);
            if (s->apart)
                memcpy(rope + p * rope_page + r * rope_row, bits + HOPMLA_LATENT_DIM, HOPMLA_ROPE_DIM * 2);
        }
    }
    void *device_latent = case_device(c, d->pages * page), *device_rope = case_device(c, d->pages * rope_page);
    case_copy(c, device_latent, latent, d->pages * page);
    case_copy(c, device_rope, rope, d->pages * rope_page);
    a->latent = device_latent;
    a->rope = s->apart && !s->nope ? device_rope : NULL;
}

static int32_t *upload(check *c, const int32_t *values, uint64_t count)
{
    int32_t *memory = case_device(c, count * sizeof(*memory));
    case_copy(c, memory, values, count * sizeof(*memory));
    return memory;
}

/** Spoils the table and the lengths as the shape says, notes what should come of it, and uploads both. */
static void fill_tables(check *c, arrays *a)
{
    const shape *s = c->shape;
    const hopmla_paged_desc *d = &a->desc;
    int32_t kv[CASE_ROWS], q[CASE_ROWS];
    for (uint32_t i = 0; i < s->batch; ++i) {
        kv[i] = (int32_t)s->kv[i];
        q[i] = (int32_t)s->q[i];
        a->seen[i] = s->kv[i];
    }
    if (s->defect == DEFECT_PAGE) {
        /* Row 0 has at least two pages: the second becomes one that does not exist, and one of row 1 a negative one. */
        a->table[1] = (int32_t)d->pages;
        a->table[d->table_stride] = -2;
        for (uint32_t t = 64; t < 128 && t < s->kv[0]; ++t)
            a->ids[0][t] = ZERO_ROW;
        for (uint32_t t = 0; t < 64 && t < s->kv[1]; ++t)
            a->ids[1][t] = ZERO_ROW;
        a->expected_word = HOPMLA_PAGED_BAD_PAGE;
    } else if (s->defect == DEFECT_LENGTH) {
        /* Row 0 is as long as the envelope allows and says more; row 1 says less than nothing. */
        kv[0] = (int32_t)d->max_kv_tokens + 77;
        kv[1] = -5;
        a->seen[1] = 0;
        a->expected_word = HOPMLA_PAGED_BAD_LENGTH;
    } else if (s->defect == DEFECT_ROWS) {
        a->expected_word = HOPMLA_PAGED_BAD_ROWS;
    }
    a->table_device = upload(c, a->table, s->batch * d->table_stride);
    a->kv_lens = upload(c, kv, s->batch);
    a->q_lens = s->no_q_lens ? NULL : upload(c, q, s->batch);
}

void case_raw(check *c)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const shape *s = c->shape;
    hopmla_context *context = c->device->context;
    hopmla_stream stream = c->device->stream;
    arrays a = { 0 };
    lay_out(c, &a);
    fill_pages(c, &a);
    fill_tables(c, &a);

    uint32_t total = 0;
    for (uint32_t i = 0; i < s->batch; ++i)
        total += s->q[i];
    uint32_t rows = s->defect == DEFECT_ROWS ? total - 2 : total + s->more_rows;
    tensors t;
    tensors_make(&t, c, rows, 1);
    hopmla_decode_args args = tensors_args(&t, 0);
    uint64_t bytes = 0;
    uint32_t word = 0;
    EXPECT(hopmla_decode_paged_workspace, context, &a.desc, &bytes);
    void *workspace = case_device(c, bytes);
    for (int again = 0; again < 2; ++again) {
        tensors_reset(&t);
        EXPECT(hopmla_decode_paged_prepare, context, &a.desc, a.kv_lens, a.q_lens, workspace, bytes, stream);
        EXPECT(hopmla_decode_paged, context, &a.desc, &args, a.latent, a.rope, a.table_device, t.q_device, t.qr_device,
               tensors_out(&t, 0), tensors_lse(&t, 0), workspace, bytes, stream);
        EXPECT(hopmla_decode_paged_errors, context, workspace, &word, stream);
        if (word != a.expected_word)
            case_fail(c, "the error word is %u, not %u", (unsigned)word, (unsigned)a.expected_word);
    }
    query *queries = case_host(c, (total + s->more_rows) * sizeof(*queries));
    for (uint32_t i = 0, next = 0; i < s->batch; ++i) {
        for (uint32_t j = 0; j < s->q[i]; ++j) {
            uint32_t hidden = s->q[i] - 1 - j;
            queries[next++] = (query){ a.ids[i], a.seen[i] > hidden ? a.seen[i] - hidden : 0 };
        }
    }
    tensors_fetch(&t);
    tensors_verify(&t, queries);
}
