/* SPDX-License-Identifier: Apache-2.0 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_support.h"

/** @file
 * The small kernels of the CUDA backend against loops on the host: tables, page copies, append, gather. Whole arrays are
 * compared, so that a write to a wrong place is seen too. */

enum {
    LAYERS = 2,
    PAGES = 1100,
    TABLE_STRIDE = 5,
    MAX_BATCH = 300,
    MAX_APPEND = 70,
    LATENT_STRIDE = 520, /* of the sources, in elements */
    ROPE_STRIDE = 72
};

typedef struct fixture {
    hm_kv kv;
    hm_envelope envelope;
    hm_table_memory memory;
    hm_tables tables;
    gpu_staging staging;
    uint16_t *pages;      /* what the device should hold */
    char *pages_now;      /* what it holds */
    int32_t *block_table; /* likewise */
    hopmla_stream stream;
} fixture;

static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

static void fill_random(void *memory, uint64_t bytes)
{
    uint16_t *words = memory;
    for (uint64_t i = 0; i < bytes / 2; i++) {
        words[i] = (uint16_t)draw(65536);
    }
}

static void compare(const void *expected, const void *found, uint64_t bytes, const char *what)
{
    const unsigned char *a = expected, *b = found;
    for (uint64_t i = 0; i < bytes; i++) {
        if (a[i] != b[i]) {
            printf("FAIL %s: byte %llu of %llu is %02x, not %02x\n", what, (unsigned long long)i,
                   (unsigned long long)bytes, b[i], a[i]);
            gpu_failures++;
            return;
        }
    }
    printf("ok   %s\n", what);
}

static void compare_pages(fixture *f, const char *what)
{
    gpu_download(f->pages_now, f->kv.latent, f->kv.layers * f->kv.layer_stride, f->stream);
    compare(f->pages, f->pages_now, f->kv.layers * f->kv.layer_stride, what);
}

static void set_up(fixture *f, int32_t format)
{
    memset(f, 0, sizeof(*f));
    MUST(stream_create, &f->stream, &gpu_error);
    f->kv = gpu_make_kv(LAYERS, PAGES, format);
    f->envelope = (hm_envelope){ .max_batch = MAX_BATCH, .max_kv_tokens = TABLE_STRIDE * 64ull };
    gpu_make_tables(MAX_BATCH, TABLE_STRIDE, &f->memory, &f->tables);
    gpu_make_staging(MAX_BATCH, MAX_BATCH * TABLE_STRIDE, MAX_BATCH, &f->staging);
    uint64_t bytes = LAYERS * f->kv.layer_stride;
    f->pages = malloc(bytes);
    f->pages_now = malloc(bytes);
    f->block_table = malloc(sizeof(int32_t) * MAX_BATCH * TABLE_STRIDE);
    fill_random(f->pages, bytes);
    MUST(copy, f->kv.latent, f->pages, bytes, f->stream, &gpu_error);
    memset(f->block_table, 0x55, sizeof(int32_t) * MAX_BATCH * TABLE_STRIDE);
    MUST(fill, f->memory.block_table, 0x55, sizeof(int32_t) * MAX_BATCH * TABLE_STRIDE, f->stream, &gpu_error);
}

/* At most 220 rows of random lengths, every third of which appends nothing, with pages of their own. */
static void draw_batch(fixture *f, uint32_t count)
{
    gpu_staging *s = &f->staging;
    gpu_begin_staging(s, count, f->stream);
    int32_t next_page = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n_append = i % 3 == 1 ? 0 : 1 + draw(MAX_APPEND);
        uint32_t kv_len = n_append + draw(TABLE_STRIDE * 64 - n_append + 1);
        s->kv_lens[i] = (int32_t)kv_len;
        s->q_lens[i] = (int32_t)draw(5);
        s->q_starts[i + 1] = s->q_starts[i] + s->q_lens[i];
        s->append_starts[i + 1] = s->append_starts[i] + (int32_t)n_append;
        uint32_t n = (kv_len + 63) / 64;
        if (n == 0) {
            continue;
        }
        s->runs[s->header->runs++] = (hm_run){ i, 0, n, s->header->entries };
        for (uint32_t j = 0; j < n; j++, next_page++) {
            int32_t page = (int32_t)((uint32_t)next_page * 7 % PAGES); /* 7 and PAGES share no factor */
            s->page_ids[s->header->entries++] = page;
            f->block_table[i * TABLE_STRIDE + j] = page;
        }
    }
}

static void check_tables(fixture *f, const char *what)
{
    const gpu_staging *s = &f->staging;
    uint32_t count = s->header->count;
    int32_t expected[4][MAX_BATCH + 1], found[MAX_BATCH + 1];
    char label[80];

    MUST(apply, &f->kv, &f->memory, s->header, f->stream, &gpu_error);
    for (uint32_t i = 0; i <= MAX_BATCH; i++) {
        expected[0][i] = i < count ? s->kv_lens[i] : 0;
        expected[1][i] = i < count ? s->q_lens[i] : 0;
        expected[2][i] = s->q_starts[i < count ? i : count];
        expected[3][i] = s->append_starts[i < count ? i : count];
    }
    const int32_t *arrays[] = { f->memory.kv_lens, f->memory.q_lens, f->memory.q_starts, f->memory.append_starts };
    const char *names[] = { "kv_lens", "q_lens", "q_starts", "append_starts" };
    for (int i = 0; i < 4; i++) {
        uint64_t bytes = (MAX_BATCH + (i >= 2)) * sizeof(int32_t);
        gpu_download(found, arrays[i], bytes, f->stream);
        snprintf(label, sizeof(label), "%s: %s", what, names[i]);
        compare(expected[i], found, bytes, label);
    }
    gpu_download(found, f->memory.count, sizeof(int32_t), f->stream);
    compare(&count, found, sizeof(int32_t), "count");
    int32_t *table = malloc(sizeof(int32_t) * MAX_BATCH * TABLE_STRIDE);
    gpu_download(table, f->memory.block_table, sizeof(int32_t) * MAX_BATCH * TABLE_STRIDE, f->stream);
    compare(f->block_table, table, sizeof(int32_t) * MAX_BATCH * TABLE_STRIDE, "block table");
    free(table);
}

static void check_copies(fixture *f)
{
    static const hm_copy copies[] = {
        { 1000, 1001, 64, 0 }, { 1000, 1002, 1, 0 },  { 1001, 1003, 37, 0 }, /* reads what the first wrote */
        { 1003, 1004, 64, 0 }, { 1010, 1000, 13, 0 }, { 1005, 1006, 63, 0 },
    };
    uint64_t page = f->kv.latent_page_stride;
    gpu_begin_staging(&f->staging, 0, f->stream);
    f->staging.header->copies = sizeof(copies) / sizeof(copies[0]);
    memcpy(f->staging.copies, copies, sizeof(copies));
    for (uint32_t i = 0; i < f->staging.header->copies; i++) {
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            char *base = (char *)f->pages + layer * f->kv.layer_stride;
            memcpy(base + (uint64_t)copies[i].destination * page, base + (uint64_t)copies[i].source * page,
                   copies[i].tokens * f->kv.latent_row_stride);
        }
    }
    MUST(apply, &f->kv, &f->memory, f->staging.header, f->stream, &gpu_error);
    compare_pages(f, "copies of pages, one after the other");
}

static uint16_t to_element(const void *source, uint64_t index, int32_t dtype, int32_t format)
{
    if (dtype != HOPMLA_DTYPE_FP32) {
        return ((const uint16_t *)source)[index];
    }
    float value = ((const float *)source)[index];
    return hm_format_dtype(format) == HOPMLA_DTYPE_BF16 ? gpu_bf16(value) : gpu_fp16(value);
}

/* The same on the host. */
static void append_here(fixture *f, const hm_append *append, const void *latent, const void *rope)
{
    const gpu_staging *s = &f->staging;
    const uint32_t width = hm_format_qk(f->kv.format);
    for (uint32_t row = 0; row < s->header->count; row++) {
        for (int32_t i = s->append_starts[row]; i < s->append_starts[row + 1] && i < (int32_t)append->tokens; i++) {
            uint32_t place = (uint32_t)(s->kv_lens[row] - s->append_starts[row + 1] + i);
            uint64_t page = (uint64_t)f->block_table[row * TABLE_STRIDE + place / 64];
            uint16_t *to = f->pages + (append->layer * f->kv.layer_stride + page * f->kv.latent_page_stride) / 2 +
                           place % 64 * width;
            for (uint32_t j = 0; j < width; j++) {
                to[j] =
                    j < 512
                        ? to_element(latent, (uint64_t)(i * append->latent_stride) + j, append->dtype, f->kv.format)
                        : to_element(rope, (uint64_t)(i * append->rope_stride) + j - 512, append->dtype, f->kv.format);
            }
        }
    }
}

/* Values whose rounding is hard, then ordinary ones. */
static void fill_floats(float *values, uint64_t count)
{
    static const uint32_t hard[] = { 0,          0x80000000, 0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF,
                                     0x7F800000, 0xFF800000, 0x00000001, 0x00008000, 0x477FF000, 0x477FE000,
                                     0x387FC000, 0x33000000, 0x33000001, 0x33800000, 0x3F801000, 0x3F803000 };
    for (uint64_t i = 0; i < count; i++) {
        uint32_t kind = draw(8);
        if (kind == 0) {
            memcpy(&values[i], &hard[draw(sizeof(hard) / sizeof(hard[0]))], sizeof(float));
        } else {
            values[i] = ((float)draw(1u << 24) / (1u << 23) - 1.0f) * (kind == 1 ? 1e-6f : 3.0f);
        }
    }
}

static void check_append(fixture *f, int32_t dtype, uint64_t tokens, int replay, const char *what)
{
    const int has_rope = hm_format_rope(f->kv.format) > 0;
    uint64_t width = dtype == HOPMLA_DTYPE_FP32 ? 4 : 2;
    uint64_t latent_bytes = tokens * LATENT_STRIDE * width, rope_bytes = tokens * ROPE_STRIDE * width;
    void *latent = malloc(latent_bytes), *rope = malloc(rope_bytes);
    if (dtype == HOPMLA_DTYPE_FP32) {
        fill_floats(latent, latent_bytes / 4);
        fill_floats(rope, rope_bytes / 4);
    } else {
        fill_random(latent, latent_bytes);
        fill_random(rope, rope_bytes);
    }
    hm_append append = {
        .latent = gpu_upload(latent, latent_bytes, f->stream),
        .rope = has_rope ? gpu_upload(rope, rope_bytes, f->stream) : NULL,
        .latent_stride = LATENT_STRIDE,
        .rope_stride = has_rope ? ROPE_STRIDE : 0,
        .tokens = tokens,
        .layer = 1,
        .dtype = dtype,
    };
    if (replay) { /* captured before the batch is known */
        hopmla_graph graph = NULL;
        MUST(graph_begin, f->stream, &gpu_error);
        MUST(append, &f->envelope, &f->kv, &f->tables, &append, f->stream, &gpu_error);
        MUST(graph_end, f->stream, &graph, &gpu_error);
        draw_batch(f, 219);
        MUST(apply, &f->kv, &f->memory, f->staging.header, f->stream, &gpu_error);
        MUST(graph_launch, graph, f->stream, &gpu_error);
        MUST(stream_synchronize, f->stream, &gpu_error);
        hm_sm90_backend.graph_destroy(gpu_device, graph);
    } else {
        MUST(append, &f->envelope, &f->kv, &f->tables, &append, f->stream, &gpu_error);
    }
    append_here(f, &append, latent, rope);
    compare_pages(f, what);
    gpu_release((void *)(uintptr_t)append.latent, latent_bytes);
    if (has_rope) {
        gpu_release((void *)(uintptr_t)append.rope, rope_bytes);
    }
    free(latent);
    free(rope);
}

static void check_gather(fixture *f, uint32_t row, uint64_t first, uint64_t count, const char *what)
{
    const int64_t stride = 584;
    const uint64_t row_bytes = hm_format_row_bytes(f->kv.format);
    uint64_t bytes = count * stride * 2;
    uint16_t *expected = malloc(bytes), *found = malloc(bytes);
    memset(expected, 0x77, bytes);
    char *there = gpu_upload(expected, bytes, f->stream);
    uint64_t length = row < f->staging.header->count ? (uint64_t)f->staging.kv_lens[row] : 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = first + i;
        memset(&expected[i * stride], 0, row_bytes);
        if (place < length) {
            uint64_t page = (uint64_t)f->block_table[row * TABLE_STRIDE + place / 64];
            memcpy(&expected[i * stride],
                   (const char *)f->pages + page * f->kv.latent_page_stride + place % 64 * row_bytes, row_bytes);
        }
    }
    hm_gather gather = { there, stride, first, count, 0, row };
    MUST(gather, &f->envelope, &f->kv, &f->tables, &gather, f->stream, &gpu_error);
    gpu_download(found, there, bytes, f->stream);
    compare(expected, found, bytes, what);
    gpu_release(there, bytes);
    free(expected);
    free(found);
}

static void tear_down(fixture *f)
{
    gpu_release(f->kv.latent, 0);
    gpu_release(f->memory.count, 0);
    hm_sm90_backend.free(gpu_device, f->staging.header, 0, HOPMLA_MEMORY_PINNED, NULL);
    hm_sm90_backend.stream_destroy(gpu_device, f->stream);
    free(f->pages);
    free(f->pages_now);
    free(f->block_table);
}

static void check_all(int32_t format)
{
    const int32_t half = hm_format_rope(format) ? HOPMLA_KV_FP16 : HOPMLA_KV_FP16_NOPE;
    fixture f;
    printf("rows of %u values\n", hm_format_qk(format));
    set_up(&f, format);
    draw_batch(&f, 0);
    check_tables(&f, "empty batch");
    draw_batch(&f, 217);
    check_tables(&f, "217 rows of 300");
    check_copies(&f);
    draw_batch(&f, 219);
    check_tables(&f, "219 rows");
    check_append(&f, HOPMLA_DTYPE_BF16, 12000, 0, "append of bfloat16");
    check_append(&f, HOPMLA_DTYPE_BF16, 1000, 0, "append with sources that hold fewer");
    check_append(&f, HOPMLA_DTYPE_FP32, 12000, 0, "append of float32 to bfloat16");
    f.kv.format = half;
    check_append(&f, HOPMLA_DTYPE_FP32, 12000, 0, "append of float32 to half");
    f.kv.format = format;
    f.envelope.max_units = 7;
    check_append(&f, HOPMLA_DTYPE_BF16, 12000, 0, "append on few processors");
    f.envelope.max_units = 0;
    check_append(&f, HOPMLA_DTYPE_BF16, 12000, 1, "append in a graph");
    check_gather(&f, 5, 0, 400, "gather");
    check_gather(&f, 218, 33, 100, "gather in the last row");
    check_gather(&f, 260, 0, 10, "gather of a row that is not there");
    tear_down(&f);
}

int main(void)
{
    gpu_open();
    check_all(HOPMLA_KV_BF16);
    check_all(HOPMLA_KV_BF16_NOPE);
    gpu_close();
    printf("%d failures\n", gpu_failures);
    return gpu_failures ? 1 : 0;
}
