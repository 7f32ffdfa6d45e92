/* SPDX-License-Identifier: Apache-2.0 */

/* What moves cached rows on the CPU: conversions, append, gather, table updates, and the thread pool under them. */

#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"
#include "tests/cpu_check.h"

static hm_device device;

/* A pool's layout over two layers, every byte 0xff, and tables of two rows. */
enum {
    PAGES = 200,
    LAYERS = 2,
    STRIDE = 100
};

typedef struct books {
    hm_kv kv;
    hm_envelope envelope;
    hm_tables tables;
    int32_t count, kv_lens[4], append_starts[5];
    int32_t table[4 * STRIDE];
} books;

static void open_books(books *b, int32_t format, int apart)
{
    memset(b, 0, sizeof *b);
    const uint64_t page_bytes = hm_format_page_bytes(format);
    b->kv = (hm_kv){ .latent_page_stride = page_bytes,
                     .latent_row_stride = hm_format_row_bytes(format),
                     .layer_stride = PAGES * page_bytes,
                     .pages = PAGES,
                     .layers = LAYERS,
                     .format = format };
    b->kv.latent = case_alloc(LAYERS * b->kv.layer_stride, 0xff);
    if (hm_format_rope(format)) {
        b->kv.rope = b->kv.latent + 1024;
        b->kv.rope_page_stride = b->kv.latent_page_stride;
        b->kv.rope_row_stride = b->kv.latent_row_stride;
    }
    if (apart) {
        b->kv.rope = case_alloc(LAYERS * b->kv.layer_stride, 0xff);
        b->kv.rope_row_stride = 128;
        b->kv.rope_page_stride = 64 * 128;
    }
    b->envelope = (hm_envelope){ 4, 4, 16, 0, STRIDE * 64, format, HOPMLA_LSE_NATURAL };
    for (int i = 0; i < 4 * STRIDE; i++) {
        b->table[i] = GARBAGE;
    }
    b->count = 2;
    b->tables = (hm_tables){ &b->count, b->kv_lens, NULL, b->append_starts, b->table, STRIDE };
}

static void close_books(books *b)
{
    if (b->kv.rope != b->kv.latent + 1024) {
        free(b->kv.rope);
    }
    free(b->kv.latent);
}

static uint16_t *at(const books *b, uint32_t layer, int32_t row, int32_t token, int rope)
{
    uint64_t page = (uint64_t)b->table[row * STRIDE + token / 64], t = (uint64_t)token % 64;
    char *base = rope ? b->kv.rope + page * b->kv.rope_page_stride + t * b->kv.rope_row_stride
                      : b->kv.latent + page * b->kv.latent_page_stride + t * b->kv.latent_row_stride;
    return (uint16_t *)(base + layer * b->kv.layer_stride);
}

static void conversions_agree(void **state)
{
    (void)state;
    for (int32_t isa = HOPMLA_CPU_ISA_PORTABLE; isa <= best_isa; isa++) {
        const hm_isa *table = hm_cpu_isa(isa);
        for (int32_t format = HOPMLA_KV_BF16; format <= HOPMLA_KV_FP16; format++) {
            for (uint32_t first = 0; first < 65536; first += 64) {
                uint16_t narrow[64], back[64];
                float wide[64];
                for (uint32_t i = 0; i < 64; i++) {
                    narrow[i] = (uint16_t)(first + i);
                }
                table->widen(wide, narrow, 64, hm_format_dtype(format));
                table->narrow(back, wide, 1.0f, 64, hm_format_dtype(format));
                for (uint32_t i = 0; i < 64; i++) {
                    double value = case_unpack(format, narrow[i]);
                    assert_true(isnan(value) ? isnan(wide[i]) : (double)wide[i] == value);
                    assert_true(isnan(value) ? isnan(case_unpack(format, back[i])) : back[i] == narrow[i]);
                }
            }
            uint64_t random = 1;
            for (uint32_t n = 0; n < (quick ? 2000u : 40000u); n++) {
                float wide[64];
                uint16_t narrow[64];
                for (uint32_t i = 0; i < 64; i++) {
                    uint32_t bits = (uint32_t)case_random(&random);
                    wide[i] = hm_bits_float(n % 2 ? bits : (bits & 0x87ffffffu) + 0x38000000u); /* half: near 1 */
                }
                table->narrow(narrow, wide, 1.0f, 64, hm_format_dtype(format));
                for (uint32_t i = 0; i < 64; i++) {
                    uint16_t expected = case_pack(format, wide[i]);
                    assert_true(isnan(wide[i]) ? isnan(case_unpack(format, narrow[i])) : narrow[i] == expected);
                }
            }
        }
    }
}

/* Halfway goes to even, subnormals and overflow are right: nearest of the two neighbours by exhaustive search. */
static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7c00; bits++) {
        float low = hm_fp16_to_float((uint16_t)bits);
        float high = bits == 0x7bff ? 65536.0f : hm_fp16_to_float((uint16_t)(bits + 1));
        float half = low + (high - low) / 2;
        assert_int_equal(hm_fp16_from_float(half), bits + (bits & 1));
        assert_int_equal(hm_fp16_from_float(nextafterf(half, 0.0f)), bits);
        assert_int_equal(hm_fp16_from_float(nextafterf(half, 1e9f)), bits + 1);
        assert_int_equal(hm_fp16_from_float(-half), 0x8000 + bits + (bits & 1));
    }
    for (uint32_t bits = 0; bits < 0x7f80; bits++) {
        float half = hm_bits_float(bits << 16 | 0x8000u);
        assert_int_equal(hm_bf16_from_float(half), bits + (bits & 1));
        assert_int_equal(hm_bf16_from_float(hm_bits_float(bits << 16 | 0x7fffu)), bits);
        assert_int_equal(hm_bf16_from_float(hm_bits_float(bits << 16 | 0x8001u)), bits + 1);
    }
    assert_true(isnan(hm_bf16_to_float(hm_bf16_from_float(hm_bits_float(0x7f800001u)))));
    assert_true(isnan(hm_fp16_to_float(hm_fp16_from_float(hm_bits_float(0xff800001u)))));
}

/* Appends from every element type, in pieces, and reads back by gather. */
static void append_then_gather(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        int32_t format = 1 + round % 2 + (round < 8 ? 0 : 2), wide = round / 2 % 2;
        const int dim = (int)hm_format_qk(format);
        books b;
        open_books(&b, format, round / 4 == 1);
        for (int i = 0; i < STRIDE; i++) {
            b.table[i] = i * 2;
            b.table[STRIDE + i] = i * 2 + 1;
        }
        int32_t n[2] = { round % 3 ? 70 : 700, 3 };
        b.kv_lens[0] = 10 + n[0];
        b.kv_lens[1] = 62 + n[1];
        b.append_starts[1] = n[0];
        b.append_starts[2] = b.append_starts[3] = b.append_starts[4] = n[0] + n[1];
        int32_t total = n[0] + n[1];
        int64_t latent_stride = 520, rope_stride = 72;
        float *latent = case_alloc((uint64_t)(total * latent_stride) * 4, 0),
              *rope = case_alloc((uint64_t)(total * rope_stride) * 4, 0);
        uint16_t *latent16 = (uint16_t *)latent, *rope16 = (uint16_t *)rope;
        uint64_t random = 5;
        uint16_t *expected = malloc((size_t)(total * dim) * 2);
        for (int32_t t = 0; t < total; t++) {
            for (int32_t d = 0; d < dim; d++) {
                float value = d == 9 && t == 2 ? NAN : case_value(&random);
                int64_t place = d < LATENT ? t * latent_stride + d : t * rope_stride + d - LATENT;
                expected[t * dim + d] = case_pack(format, value);
                if (wide) {
                    (d < LATENT ? latent : rope)[place] = value;
                } else {
                    (d < LATENT ? latent16 : rope16)[place] = expected[t * dim + d];
                }
            }
        }
        /* The last row of the sources is missing. */
        hm_append append = { latent,
                             dim > LATENT ? rope : NULL,
                             latent_stride,
                             dim > LATENT ? rope_stride : 0,
                             (uint64_t)total - 1,
                             1,
                             wide ? HOPMLA_DTYPE_FP32 : hm_format_dtype(format) };
        hm_cpu_append(&device, &b.envelope, &b.kv, &b.tables, &append);

        uint16_t *read = case_alloc((uint64_t)(n[0] + 4) * 584 * 2, 0xee);
        hm_gather gather = { read, 584, 10, (uint64_t)n[0] + 4, 1, 0 };
        hm_cpu_gather(&device, &b.envelope, &b.kv, &b.tables, &gather);
        static const uint16_t zeros[DIM];
        for (int32_t t = 0; t < n[0] + 4; t++) {
            assert_memory_equal(read + t * 584, t < n[0] ? expected + t * dim : zeros, (size_t)dim * 2);
            assert_int_equal(read[t * 584 + dim], 0xeeee);
        }
        for (int32_t t = 0; t < n[1] - 1; t++) {
            assert_memory_equal(at(&b, 1, 1, 62 + t, 0), expected + (n[0] + t) * dim, LATENT * 2);
            if (dim > LATENT) {
                assert_memory_equal(at(&b, 1, 1, 62 + t, 1), expected + (n[0] + t) * dim + LATENT, ROPE * 2);
            }
        }
        /* What was there before, what was left out, and the other layer are untouched. */
        assert_int_equal(*at(&b, 1, 0, 9, 0), 0xffff);
        assert_int_equal(*at(&b, 1, 1, 62 + n[1] - 1, 0), 0xffff);
        if (dim > LATENT) {
            assert_int_equal(*at(&b, 1, 1, 62 + n[1] - 1, 1), 0xffff);
        }
        assert_int_equal(*at(&b, 0, 0, 10, 0), 0xffff);
        gather.row = 2;
        hm_cpu_gather(&device, &b.envelope, &b.kv, &b.tables, &gather);
        assert_memory_equal(read + 584, zeros, (size_t)dim * 2);
        free(read);
        free(expected);
        free(latent);
        free(rope);
        close_books(&b);
    }
}

static void updates_write_tables_then_copy(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) { /* both parts in one row; apart; no rope part */
        books b;
        open_books(&b, kind < 2 ? HOPMLA_KV_BF16 : HOPMLA_KV_BF16_NOPE, kind == 1);
        struct {
            hm_staging header;
            int32_t kv_lens[2], q_lens[2], q_starts[3], append_starts[3];
            hm_run runs[2];
            int32_t pages[4];
            hm_copy copies[2];
        } s = { .kv_lens = { 100, 7 },
                .q_lens = { 1, 2 },
                .q_starts = { 0, 1, 3 },
                .append_starts = { 0, 5, 6 },
                .runs = { { 0, 1, 3, 0 }, { 1, 0, 1, 3 } },
                .pages = { 11, 12, 13, 14 },
                .copies = { { 20, 21, 30, 0 }, { 21, 22, 64, 0 } } };
        s.header = (hm_staging){ 2,
                                 2,
                                 2,
                                 4,
                                 offsetof(__typeof__(s), kv_lens),
                                 offsetof(__typeof__(s), runs),
                                 offsetof(__typeof__(s), pages),
                                 offsetof(__typeof__(s), copies) };
        int32_t count = -1, kv_lens[4], q_lens[4], q_starts[5], append_starts[5];
        hm_table_memory memory = { &count, kv_lens, q_lens, q_starts, append_starts, b.table, STRIDE, 4, 0 };
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            for (uint64_t t = 0; t < 64; t++) {
                uint64_t base = layer * b.kv.layer_stride;
                memset(b.kv.latent + base + 20 * b.kv.latent_page_stride + t * b.kv.latent_row_stride, (int)(layer + t),
                       1024);
                if (b.kv.rope) {
                    memset(b.kv.rope + base + 20 * b.kv.rope_page_stride + t * b.kv.rope_row_stride,
                           (int)(layer + t + 1), 128);
                }
            }
        }
        hm_cpu_apply(&device, &b.kv, &memory, &s.header);
        assert_int_equal(count, 2);
        assert_memory_equal(kv_lens, ((int32_t[]){ 100, 7, 0, 0 }), 16);
        assert_memory_equal(q_lens, ((int32_t[]){ 1, 2, 0, 0 }), 16);
        assert_memory_equal(q_starts, ((int32_t[]){ 0, 1, 3, 3, 3 }), 20);
        assert_memory_equal(append_starts, ((int32_t[]){ 0, 5, 6, 6, 6 }), 20);
        assert_memory_equal(b.table, ((int32_t[]){ GARBAGE, 11, 12, 13, GARBAGE }), 20);
        assert_memory_equal(b.table + STRIDE, ((int32_t[]){ 14, GARBAGE }), 8);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            for (uint64_t t = 0; t < 64; t++) {
                uint64_t base = layer * b.kv.layer_stride;
                unsigned char *latent =
                    (unsigned char *)b.kv.latent + base + 22 * b.kv.latent_page_stride + t * b.kv.latent_row_stride;
                assert_int_equal(latent[1023], t < 30 ? layer + t : 0xff);
                if (b.kv.rope) {
                    unsigned char *rope =
                        (unsigned char *)b.kv.rope + base + 22 * b.kv.rope_page_stride + t * b.kv.rope_row_stride;
                    assert_int_equal(rope[127], t < 30 ? layer + t + 1 : 0xff);
                }
            }
        }
        close_books(&b);
    }
}

typedef struct tally {
    int called[64];
    int count;
} tally;

static void count_calls(void *argument, int index, int count)
{
    tally *t = argument;
    t->called[index]++;
    if (index == 0) {
        t->count = count;
    }
}

static void every_index_runs_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 33; n += 8) {
        hm_threads *threads;
        assert_int_equal(hm_threads_create(&threads, n, NULL), HOPMLA_OK);
        for (int repeat = 0; repeat < 200; repeat++) {
            tally t = { { 0 }, 0 };
            int most = repeat % 2 ? 3 : n, expected = most < n ? most : n;
            hm_threads_run_on(threads, most, count_calls, &t);
            assert_int_equal(t.count, expected);
            for (int i = 0; i < 64; i++) {
                assert_int_equal(t.called[i], i < expected);
            }
        }
        hm_threads_destroy(threads);
    }
    hm_threads_destroy(NULL);
}

static void ceilings_are_plausible(void **state)
{
    (void)state;
    if (quick) {
        skip();
    }
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    assert_int_equal(hm_cpu_measure_ceilings(&device, &ceilings, NULL), HOPMLA_OK);
    assert_true(ceilings.read_bytes_per_second > 1e8 && ceilings.read_bytes_per_second < 1e13);
    assert_true(ceilings.flops_burst > 1e8 && ceilings.flops_burst < 1e14);
    /* Not held against the burst: whatever else this machine does may slow down either of the two. */
    assert_true(ceilings.flops_sustained > 1e8 && ceilings.flops_sustained < 1e14);
}

static int open_it(void **state)
{
    (void)state;
    device = device_with(3, best_isa);
    return 0;
}

static int close_it(void **state)
{
    (void)state;
    close_device(&device);
    return 0;
}

int main(void)
{
    read_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversions_agree),     cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(append_then_gather),    cmocka_unit_test(updates_write_tables_then_copy),
        cmocka_unit_test(every_index_runs_once), cmocka_unit_test(ceilings_are_plausible),
    };
    return cmocka_run_group_tests(tests, open_it, close_it) != 0;
}
