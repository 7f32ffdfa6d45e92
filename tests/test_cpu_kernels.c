/* SPDX-License-Identifier: Apache-2.0 */

/* The CPU kernels against a float64 loop, for every instruction set of this machine. */

#include "tests/cpu_check.h"

static void run_and_check(const cpu_case *c, int threads, int32_t isa)
{
    hm_device device = device_with(threads, isa);
    cpu_batch b;
    case_make(&b, c);
    case_run(&b, &device);
    check(&b);
    case_free(&b);
    close_device(&device);
}

static cpu_case case_of(uint64_t seed, uint32_t heads, uint32_t batch, int32_t kv_len, int32_t q_len)
{
    cpu_case c = { .seed = seed,
                   .format = HOPMLA_KV_BF16,
                   .heads = heads,
                   .batch = batch,
                   .max_q = (uint32_t)q_len,
                   .scale = 0.0416667f };
    for (uint32_t i = 0; i < batch; i++) {
        c.kv_lens[i] = kv_len;
        c.q_lens[i] = q_len;
    }
    return c;
}

static void heads_and_lengths(void **state)
{
    (void)state;
    static const uint32_t heads[] = { 1, 3, 9, 16, 63, 64, 126, 128, 256 };
    static const int32_t lengths[] = { 0, 1, 63, 64, 65, 1000 };
    for (int32_t isa = HOPMLA_CPU_ISA_PORTABLE; isa <= best_isa; isa++) {
        for (uint32_t h = 0; h < 9; h++) {
            if (quick && h % 3 != 2) {
                continue;
            }
            cpu_case c = case_of(h + 1, heads[h], 6, 0, 1);
            memcpy(c.kv_lens, lengths, sizeof lengths);
            c.kv_lens[5] = quick ? 577 : 1000;
            c.lse = (int32_t)h % 3;
            for (c.format = 1 + (int32_t)h % (quick ? 4 : 2); c.format <= HOPMLA_KV_FP16_NOPE;
                 c.format += quick ? 4 : 2) {
                run_and_check(&c, 2, isa);
            }
        }
    }
}

static void random_shapes(void **state)
{
    (void)state;
    static const uint32_t heads[] = { 1, 2, 3, 5, 9, 16, 17, 33 };
    for (uint64_t seed = 1; seed <= (quick ? 6 : 60); seed++) {
        uint64_t r = seed * 7919;
        cpu_case c = { .seed = seed,
                       .format = 1 + (int32_t)(seed % 4),
                       .lse = (int32_t)(seed % 3),
                       .heads = heads[case_random(&r) % 8],
                       .batch = 1 + (uint32_t)(case_random(&r) % CASE_ROWS),
                       .max_q = 1 + (uint32_t)(case_random(&r) % 7),
                       .spare_rows = (uint32_t)(case_random(&r) % 40),
                       .scale = 0.0416667f,
                       .split = (int)(case_random(&r) % 2),
                       .no_lse = seed % 5 == 0 };
        for (uint32_t i = 0; i < c.batch; i++) {
            c.kv_lens[i] = (int32_t)(case_random(&r) % (case_random(&r) % 4 ? 200 : 1500));
            c.q_lens[i] = (int32_t)(case_random(&r) % (c.max_q + 1));
        }
        run_and_check(&c, 1 + (int)(seed % 4), 1 + (int32_t)(seed % (uint64_t)best_isa));
    }
}

static void many_query_tokens(void **state)
{
    (void)state;
    for (int32_t isa = HOPMLA_CPU_ISA_PORTABLE; isa <= best_isa; isa++) {
        cpu_case c = case_of(77, 3, 2, 700, quick ? 40 : 200);
        c.kv_lens[1] = 30; /* fewer than query tokens: the first ones see nothing */
        c.split = 1;
        run_and_check(&c, 2, isa);
    }
}

static void large_logits(void **state)
{
    (void)state;
    for (int32_t isa = HOPMLA_CPU_ISA_PORTABLE; isa <= best_isa; isa++) {
        for (int32_t format = HOPMLA_KV_BF16; format <= HOPMLA_KV_FP16_NOPE; format++) {
            cpu_case c = case_of(5, 16, 2, quick ? 600 : 1300, 2);
            c.format = format;
            c.kv_lens[1] = 1; /* one score, often far below 0 */
            c.scale *= 30.0f;
            run_and_check(&c, 2, isa);
            c.outlier = 60.0f;
            run_and_check(&c, 2, isa);
            c.scale *= 30.0f;
            run_and_check(&c, 2, isa);
        }
    }
}

/* Long enough that splits grow beyond their least size, and that the ring of partial results goes round. */
static void long_sequences(void **state)
{
    (void)state;
    cpu_case c = case_of(11, 2, 4, 1, 1);
    int32_t lengths[] = { 40000, 513, 32768, 1024 };
    memcpy(c.kv_lens, lengths, sizeof lengths);
    if (quick) {
        c.kv_lens[0] = 3000;
        c.kv_lens[2] = 2000;
    }
    run_and_check(&c, 3, best_isa);
}

/* The same bits from 1, 2 and 5 threads, again and again. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    static const int threads[] = { 1, 2, 5 };
    for (int32_t isa = HOPMLA_CPU_ISA_PORTABLE; isa <= best_isa; isa++) {
        cpu_case c = case_of(21, 20, 6, quick ? 700 : 3000, 4);
        c.kv_lens[1] = quick ? 1500 : 36000;
        c.q_lens[3] = 2;
        cpu_batch b;
        case_make(&b, &c);
        uint64_t out_bytes = b.out_values * 2, lse_bytes = b.rows * c.heads * sizeof(float);
        void *out = malloc(out_bytes), *lse = malloc(lse_bytes);
        for (int i = 0; i < 3; i++) {
            hm_device device = device_with(threads[i], isa);
            for (int repeat = 0; repeat < (i ? 3 : 1); repeat++) {
                case_run(&b, &device);
                if (i == 0) {
                    memcpy(out, b.out, out_bytes);
                    memcpy(lse, b.lse, lse_bytes);
                }
                assert_memory_equal(out, b.out, out_bytes);
                assert_memory_equal(lse, b.lse, lse_bytes);
            }
            close_device(&device);
        }
        free(out);
        free(lse);
        case_free(&b);
    }
}

/* A request's bits do not depend on what else is in the batch, nor on the envelope. */
static void the_batch_does_not_matter(void **state)
{
    (void)state;
    hm_device device = device_with(2, best_isa);
    cpu_case c = case_of(31, 16, 4, 900, 3);
    c.kv_lens[1] = 5;
    c.kv_lens[2] = 2500;
    c.q_lens[1] = 1;
    cpu_batch b;
    case_make(&b, &c);
    case_run(&b, &device);
    uint64_t bytes = 3 * c.heads * LATENT * 2;
    void *out = malloc(bytes);
    const char *third = (const char *)b.out + 4 * c.heads * LATENT * 2;
    memcpy(out, third, bytes);

    b.envelope.max_batch = 1;
    b.envelope.max_kv_tokens = 4000;
    b.tables.kv_lens += 2;
    b.tables.q_lens += 2;
    b.tables.block_table += 2 * b.tables.table_stride;
    b.decode.q = b.q + 4 * b.decode.q_token_stride;
    b.decode.q_rope = b.q_rope + 4 * b.decode.qr_token_stride;
    b.decode.rows = 3;
    case_run(&b, &device);
    assert_memory_equal(out, b.out, bytes);
    free(out);
    case_free(&b);
    close_device(&device);
}

static void bad_tables_are_reported(void **state)
{
    (void)state;
    hm_device device = device_with(2, best_isa);
    cpu_case c = case_of(41, 4, 2, 300, 2);
    cpu_batch b;
    case_make(&b, &c);
    b.table[2] = -1;
    b.table[b.tables.table_stride + 1] = (int32_t)b.kv.pages;
    case_run(&b, &device);
    uint32_t *word = b.workspace;
    assert_int_equal(*word, HOPMLA_PAGED_BAD_PAGE);
    *word = 0;
    check(&b);
    case_free(&b);

    /* Lengths are cut to the envelope. */
    case_make(&b, &c);
    int32_t kv_lens[] = { 1000000, -5 }, q_lens[] = { 1, 70000 };
    b.tables.kv_lens = kv_lens;
    b.tables.q_lens = q_lens;
    case_run(&b, &device);
    word = b.workspace;
    assert_int_equal(*word, HOPMLA_PAGED_BAD_LENGTH);
    *word = 0;
    b.c.kv_lens[1] = 0;
    b.c.q_lens[0] = 1;
    check(&b);
    case_free(&b);

    /* Query tokens beyond rows are neither read nor written. */
    case_make(&b, &c);
    b.decode.rows = 3;
    memset(b.q + 3 * b.decode.q_token_stride, 0xff, (size_t)b.decode.q_token_stride * 2);
    case_run(&b, &device);
    word = b.workspace;
    assert_int_equal(*word, HOPMLA_PAGED_BAD_ROWS);
    for (uint64_t i = 3 * c.heads * LATENT; i < b.out_values; i++) {
        assert_int_equal(b.out[i], 0xeeee);
    }
    assert_int_not_equal(b.out[0], 0xeeee);
    case_free(&b);
    close_device(&device);
}

/* A count on the device, q_lens left out, and a decode without any row. */
static void optional_tables(void **state)
{
    (void)state;
    hm_device device = device_with(2, best_isa);
    cpu_case c = case_of(51, 4, 3, 100, 2);
    cpu_batch b;
    case_make(&b, &c);
    b.tables.q_lens = NULL;
    case_run(&b, &device);
    check(&b);
    int32_t count = 2;
    b.tables.count = &count;
    case_run(&b, &device);
    b.c.batch = 2;
    check(&b);
    count = 9;
    case_run(&b, &device);
    assert_int_equal(*(uint32_t *)b.workspace, HOPMLA_PAGED_BAD_LENGTH);
    count = 0;
    case_run(&b, &device);
    b.c.batch = 0;
    check(&b);
    case_free(&b);
    close_device(&device);
}

/* A NaN among a request's own tokens is that request's result, and nobody else's. */
static void nan_stays_where_it_is(void **state)
{
    (void)state;
    for (int32_t isa = HOPMLA_CPU_ISA_PORTABLE; isa <= best_isa; isa++) {
        hm_device device = device_with(2, isa);
        cpu_case c = case_of(61, 4, 2, 130, 1);
        cpu_batch b;
        case_make(&b, &c);
        case_row(&b, 0, 70, 0)[3] = 0x7fff;
        case_run(&b, &device);
        assert_true(isnan(case_unpack(c.format, b.out[3])));
        assert_true(isnan(b.lse[0]));
        for (uint64_t i = c.heads * LATENT; i < b.out_values; i++) {
            assert_true(isfinite(case_unpack(c.format, b.out[i])));
        }
        case_free(&b);
        close_device(&device);
    }
}

typedef struct caller {
    hm_device *device;
    cpu_batch batch;
    pthread_t thread;
} caller;

static void *one_caller(void *argument)
{
    caller *self = argument;
    for (int i = 0; i < (quick ? 2 : 10); i++) {
        case_run(&self->batch, self->device);
    }
    return NULL;
}

static void callers_at_the_same_time(void **state)
{
    (void)state;
    hm_device device = device_with(3, best_isa);
    static caller callers[4];
    for (uint64_t i = 0; i < 4; i++) {
        cpu_case c = case_of(71 + i, 8, 3, 800, 2);
        case_make(&callers[i].batch, &c);
        callers[i].device = &device;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, one_caller, &callers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(callers[i].thread, NULL);
        check(&callers[i].batch);
        case_free(&callers[i].batch);
    }
    close_device(&device);
}

int main(void)
{
    read_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_and_lengths),
        cmocka_unit_test(random_shapes),
        cmocka_unit_test(many_query_tokens),
        cmocka_unit_test(large_logits),
        cmocka_unit_test(long_sequences),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(the_batch_does_not_matter),
        cmocka_unit_test(bad_tables_are_reported),
        cmocka_unit_test(optional_tables),
        cmocka_unit_test(nan_stays_where_it_is),
        cmocka_unit_test(callers_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
