/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* The list of cases. A case is one call of case_add and what it changes; nothing here runs anything. */

shape *case_add(shape_list *list, const char *group, void (*run)(check *c), const char *name, ...)
{
    list->shapes = must_grow(list->shapes, list->count, &list->capacity, sizeof(shape));
    shape *s = &list->shapes[list->count++];
    *s = (shape){ .group = group, .run = run, .dtype = HOPMLA_DTYPE_BF16, .heads = 16, .layers = 2, .batch = 1 };
    s->kv[0] = 200;
    s->q[0] = 1;
    s->gain = 1.0f;
    s->scale = 1.0f / sqrtf(HOPMLA_QK_DIM);
    va_list arguments;
    va_start(arguments, name);
    vsnprintf(s->name, sizeof(s->name), name, arguments);
    va_end(arguments);
    return s;
}

int32_t shape_format(const shape *s)
{
    return format_of(s->dtype, s->nope);
}

uint32_t shape_values(const shape *s)
{
    return format_values(shape_format(s));
}

static const char *dtype_name(int32_t dtype)
{
    return dtype == HOPMLA_DTYPE_FP16 ? "fp16" : "bf16";
}

/** Rows that hit every edge of a page, and some in between. */
static void set_edges(shape *s, uint32_t q)
{
    static const uint32_t lengths[] = { 0, 1, 63, 64, 65, 128, 200, 777 };
    s->batch = sizeof(lengths) / sizeof(lengths[0]);
    for (uint32_t i = 0; i < s->batch; ++i) {
        s->kv[i] = lengths[i];
        s->q[i] = q;
    }
}

static void add_heads(shape_list *list)
{
    static const uint32_t heads[] = { 1, 3, 8, 9, 16, 17, 32, 63, 64, 65, 126, 128, 192, 256 };
    for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); ++i) {
        for (int32_t dtype = HOPMLA_DTYPE_BF16; dtype <= HOPMLA_DTYPE_FP16; ++dtype) {
            shape *s = case_add(list, "heads", case_pool_decode, "heads-%u-%s", (unsigned)heads[i], dtype_name(dtype));
            s->heads = heads[i];
            s->dtype = dtype;
            set_edges(s, 1);
            s->max_kv = dtype == HOPMLA_DTYPE_FP16 ? 131072 : 0;
        }
    }
}

static void add_lengths(shape_list *list)
{
    static const uint32_t lengths[] = {
        0, 1, 2, 15, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1000, 4096, 4097, 16500
    };
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); ++i) {
        shape *s = case_add(list, "lengths", case_pool_decode, "length-%u", (unsigned)lengths[i]);
        s->kv[0] = lengths[i];
        s->max_kv = 131072; /* as an engine captures it */
    }
    shape *s = case_add(list, "lengths", case_pool_decode, "length-skewed");
    static const uint32_t skewed[] = { 4641, 21000, 0, 1730, 1696, 1, 64 };
    s->batch = 7;
    for (uint32_t i = 0; i < s->batch; ++i) {
        s->kv[i] = skewed[i];
        s->q[i] = 1 + i % 2;
    }
    s = case_add(list, "lengths", case_pool_decode, "length-many-short");
    s->batch = 128;
    for (uint32_t i = 0; i < s->batch; ++i) {
        s->kv[i] = i % 5 == 0 ? 0 : 1 + i % 70;
        s->q[i] = 1;
    }
}

static void add_queries(shape_list *list)
{
    static const uint32_t heads[] = { 5, 16, 64, 128 };
    for (uint32_t q = 1; q <= 8; ++q) {
        shape *s = case_add(list, "queries", case_pool_decode, "queries-%u-h%u", (unsigned)q, (unsigned)heads[q % 4]);
        s->heads = heads[q % 4];
        s->dtype = q % 2 == 0 ? HOPMLA_DTYPE_FP16 : HOPMLA_DTYPE_BF16;
        set_edges(s, q);
    }
    for (unsigned i = 0; i < 4; ++i) {
        shape *s = case_add(list, "queries", case_pool_decode, "queries-ragged-h%u", (unsigned)heads[i]);
        static const uint32_t ragged[] = { 3, 0, 1, 8, 2, 0, 5, 4 };
        s->heads = heads[i];
        set_edges(s, 1);
        for (uint32_t j = 0; j < s->batch; ++j)
            s->q[j] = ragged[j];
    }
    static const uint32_t large[] = { 17, 70, 130 };
    for (unsigned i = 0; i < 3; ++i) {
        shape *s = case_add(list, "queries", case_pool_decode, "queries-large-%u", (unsigned)large[i]);
        s->heads = i == 1 ? 128 : 7;
        s->batch = 3;
        s->kv[0] = 300;
        s->kv[1] = 40; /* fewer than query tokens: the first see nothing */
        s->kv[2] = 65;
        s->q[0] = s->q[1] = large[i];
        s->q[2] = 1;
    }
    shape *s = case_add(list, "queries", case_pool_decode, "queries-none");
    set_edges(s, 0);
    s->more_rows = 3;
    /* Tiles beyond the first have one page at a time, far apart. */
    s = case_add(list, "queries", case_pool_decode, "queries-one-page-apart");
    s->heads = 64;
    s->batch = 127;
    s->max_units = 8;
    for (uint32_t i = 0; i < s->batch; ++i) {
        s->kv[i] = HOPMLA_PAGE_TOKENS;
        s->q[i] = i % 42 == 0 ? 8 : 1;
    }
}

static void add_layouts(shape_list *list)
{
    static const char *const names[] = { "packed", "strided", "transposed" };
    for (unsigned i = 0; i < 18; ++i) {
        layout q = (layout)(i % 3), out = (layout)(i / 3 % 3);
        bool split = i >= 9;
        shape *s = case_add(list, "layouts", case_pool_decode, "layout-%s-q-%s-out-%s", split ? "split" : "joint",
                            names[q], names[out]);
        s->heads = i % 2 == 0 ? 16 : 65;
        s->dtype = i % 4 == 1 ? HOPMLA_DTYPE_FP16 : HOPMLA_DTYPE_BF16;
        set_edges(s, 1 + i % 3);
        s->q_layout = q;
        s->out_layout = out;
        s->lse_layout = (layout)((i + 1) % 3);
        s->split = split;
        s->max_kv = split ? 131072 : 0;
    }
}

static void add_conventions(shape_list *list)
{
    static const char *const names[] = { "natural", "base2", "posinf" };
    for (int32_t lse = HOPMLA_LSE_NATURAL; lse <= HOPMLA_LSE_NATURAL_POSINF; ++lse) {
        for (unsigned raw = 0; raw < 2; ++raw) {
            shape *s =
                case_add(list, "lse", raw ? case_raw : case_pool_decode, "lse-%s-%s", names[lse], raw ? "raw" : "pool");
            s->lse = lse;
            s->layers = 1;
            set_edges(s, 2);
            s->more_batch = raw ? 0 : 1;
            s->more_rows = raw ? 0 : 2;
        }
    }
    shape *s = case_add(list, "lse", case_pool_decode, "lse-none");
    set_edges(s, 2);
    s->no_lse = true;
}

static void add_logits(shape_list *list)
{
    for (int32_t dtype = HOPMLA_DTYPE_BF16; dtype <= HOPMLA_DTYPE_FP16; ++dtype) {
        for (unsigned i = 0; i < 4; ++i) {
            static const char *const names[] = { "scale-30", "peaked", "outlier", "outlier-scale-30" };
            shape *s = case_add(list, "logits", case_pool_decode, "logits-%s-%s", names[i], dtype_name(dtype));
            s->dtype = dtype;
            s->heads = i % 2 == 0 ? 16 : 64;
            set_edges(s, 2);
            s->scale *= i != 2 ? 30.0f : 1.0f;
            s->gain = i == 1 ? 30.0f : 1.0f;
            s->outlier = i >= 2;
        }
    }
    for (unsigned i = 0; i < 3; ++i) {
        static const uint32_t heads[] = { 16, 32, 64 };
        shape *s = case_add(list, "logits", case_pool_decode, "logits-outlier-late-h%u", (unsigned)heads[i]);
        s->heads = heads[i];
        s->kv[0] = 4001; /* a group has many pages, and sees the outlier after others */
        s->max_units = 4;
        s->outlier = true;
    }
}

static void add_padding(shape_list *list)
{
    static const uint32_t more[][2] = { { 1, 1 }, { 7, 0 }, { 56, 56 }, { 120, 3 } };
    for (unsigned i = 0; i < 4; ++i) {
        shape *s = case_add(list, "padding", case_pool_decode, "padding-%u-batch-%u-rows", (unsigned)more[i][0],
                            (unsigned)more[i][1]);
        set_edges(s, 1 + i % 2);
        s->heads = i % 2 == 0 ? 16 : 128;
        s->more_batch = more[i][0];
        s->more_rows = more[i][1];
    }
    /* So few that tiles stay as wide as the rows ask for. */
    for (unsigned i = 0; i < 8; ++i) {
        static const uint32_t heads[] = { 17, 20, 31, 32 };
        bool raw = i % 2 == 1;
        shape *s = case_add(list, "units", raw ? case_raw : case_pool_decode, "units-7-%s-h%u-%u", raw ? "raw" : "pool",
                            (unsigned)heads[i / 2], i);
        set_edges(s, 1);
        s->heads = heads[i / 2];
        s->dtype = i / 2 % 2 == 0 ? HOPMLA_DTYPE_FP16 : HOPMLA_DTYPE_BF16;
        s->nope = i >= 4;
        s->layers = raw ? 1 : 2;
        s->strided = raw;
        s->outlier = i == 4;
        s->max_units = 7;
    }
    static const uint32_t units[] = { 1, 2, 7, 50 };
    for (unsigned i = 0; i < 4; ++i) {
        shape *s = case_add(list, "units", case_pool_decode, "units-%u", (unsigned)units[i]);
        set_edges(s, 1 + i % 2);
        s->kv[0] = 3000;
        s->heads = i % 2 == 0 ? 16 : 128;
        s->max_units = units[i];
    }
}

static void add_raw(shape_list *list)
{
    for (unsigned i = 0; i < 12; ++i) {
        bool apart = i % 2 == 1, strided = i / 2 % 2 == 1;
        shape *s = case_add(list, "raw", case_raw, "raw-%u-%s-%s", i, apart ? "apart" : "joined",
                            strided ? "strided" : "packed");
        static const uint32_t heads[] = { 16, 128, 9 };
        s->heads = heads[i / 4];
        s->dtype = i % 3 == 0 ? HOPMLA_DTYPE_FP16 : HOPMLA_DTYPE_BF16;
        s->layers = 1;
        set_edges(s, 1 + i % 4);
        s->no_q_lens = i % 4 < 2;
        for (uint32_t j = 0; j < s->batch && !s->no_q_lens; ++j)
            s->q[j] = (j * 3 + i) % 5;
        s->apart = apart;
        s->strided = strided;
        s->split = i % 3 == 1;
        s->max_kv = i % 2 == 0 ? 131072 : 0;
    }
    static const char *const defects[] = { "", "bad-page", "bad-length", "bad-rows" };
    for (int d = DEFECT_PAGE; d <= DEFECT_ROWS; ++d) {
        for (unsigned i = 0; i < 3; ++i) {
            shape *s =
                case_add(list, "raw", case_raw, "raw-%s-h%u%s", defects[d], i == 1 ? 128u : 16u, i < 2 ? "" : "-wide");
            s->heads = i == 1 ? 128 : 16;
            s->layers = 1;
            s->defect = (defect)d;
            s->batch = 3;
            s->kv[0] = i < 2 ? 500 : 4096;
            s->kv[1] = 300;
            s->kv[2] = 64;
            s->q[1] = s->q[2] = 2;
        }
    }
}

static void add_play(shape_list *list, bool full)
{
    for (unsigned i = 0; i < 8; ++i) {
        static const uint32_t heads[] = { 16, 128, 3, 64, 8, 16, 5, 3 };
        shape *s = case_add(list, "graph", case_graph, "graph-h%u-%s%s", (unsigned)heads[i],
                            dtype_name(i % 2 == 0 ? HOPMLA_DTYPE_BF16 : HOPMLA_DTYPE_FP16), i < 4 ? "" : "-wide");
        s->dtype = i % 2 == 0 ? HOPMLA_DTYPE_BF16 : HOPMLA_DTYPE_FP16;
        s->heads = heads[i];
        s->batch = 6;
        s->q[0] = 1 + i % 4;
        s->rounds = full ? 200 : 25;
        s->max_kv = i < 4 ? 0 : 131072;
    }
    for (unsigned i = 0; i < 2; ++i) {
        shape *s = case_add(list, "family", case_family, "family-h%u", i == 0 ? 16u : 128u);
        s->heads = i == 0 ? 16 : 128;
        s->layers = 3;
        s->batch = 3;
        s->q[1] = s->q[2] = 1;
    }
    static const char *const sources[] = { "", "bf16", "fp16", "fp32" };
    for (int32_t dtype = HOPMLA_DTYPE_BF16; dtype <= HOPMLA_DTYPE_FP16; ++dtype) {
        for (unsigned i = 0; i < 6; ++i) {
            int32_t source = i < 3 ? dtype : HOPMLA_DTYPE_FP32;
            bool apart = i % 3 > 0, strided = i % 3 == 2;
            shape *s = case_add(list, "append", case_append, "append-%s-from-%s-%s%s", dtype_name(dtype),
                                sources[source], apart ? "apart" : "joined", strided ? "-strided" : "");
            s->dtype = dtype;
            s->source = source;
            s->apart = apart;
            s->strided = strided;
            s->batch = 3;
            s->layers = 3;
        }
    }
    for (unsigned i = 0; i < 6; ++i) {
        static const uint32_t heads[] = { 16, 128, 5, 64, 17, 256 };
        shape *s = case_add(list, "repeat", case_repeat, "repeat-h%u", (unsigned)heads[i]);
        s->heads = heads[i];
        set_edges(s, 1 + i % 4);
        s->kv[0] = 2000;
        s->more_batch = i;
    }
}

static void add_long(shape_list *list, bool full)
{
    for (unsigned i = 0; i < (full ? 4u : 1u); ++i) {
        static const uint32_t lengths[] = { 131072, 131072, 1048576, 1048576 }, heads[] = { 16, 128, 16, 128 };
        shape *s = case_add(list, "long", case_pool_decode, "long-%u-h%u", (unsigned)lengths[i], (unsigned)heads[i]);
        s->layers = 1;
        s->heads = heads[i];
        s->kv[0] = lengths[i];
        s->q[0] = i % 2 == 0 ? 1 : 2;
    }
}

/** Shapes by chance; they depend on the seed and their number alone, so that each can be run again. */
static void add_random(shape_list *list, uint64_t seed, bool full)
{
    for (unsigned i = 0; i < (full ? 400u : 40u); ++i) {
        random_state r;
        random_seed(&r, random_mix(seed, i));
        bool raw = random_below(&r, 3) == 0;
        shape *s = case_add(list, "random", raw ? case_raw : case_pool_decode, "random-%u-%s", i, raw ? "raw" : "pool");
        s->heads = (uint32_t)(random_below(&r, 3) == 0 ? random_between(&r, 1, 256) : 1u << random_between(&r, 2, 7));
        s->dtype = random_below(&r, 3) == 0 ? HOPMLA_DTYPE_FP16 : HOPMLA_DTYPE_BF16;
        s->lse = (int32_t)random_below(&r, 3);
        s->layers = raw ? 1 : (uint32_t)random_between(&r, 1, 3);
        s->batch = (uint32_t)random_between(&r, 1, random_below(&r, 4) == 0 ? 60 : 8);
        uint64_t most = random_below(&r, 8) == 0 ? 9000 : random_between(&r, 1, 1500);
        uint64_t most_q = random_between(&r, 1, random_below(&r, 4) == 0 ? 12 : 4);
        for (uint32_t j = 0; j < s->batch; ++j) {
            s->kv[j] = (uint32_t)(random_below(&r, 8) == 0 ? 0 : random_between(&r, 1, most));
            s->q[j] = (uint32_t)random_between(&r, 0, most_q);
        }
        s->q[0] = s->q[0] > 0 ? s->q[0] : 1;
        s->more_batch = raw ? 0 : (uint32_t)random_below(&r, 9);
        s->more_rows = s->more_batch; /* the envelope has room for them whatever q is */
        s->max_kv = random_below(&r, 2) == 0 ? 131072 : 0;
        s->max_units = random_below(&r, 4) == 0 ? (uint32_t)random_between(&r, 1, 40) : 0;
        s->q_layout = (layout)random_below(&r, 3);
        s->out_layout = (layout)random_below(&r, 3);
        s->lse_layout = (layout)random_below(&r, 3);
        s->split = random_below(&r, 2) == 0;
        s->scale *= random_below(&r, 4) == 0 ? 30.0f : 1.0f;
        s->apart = random_below(&r, 2) == 0;
        s->strided = random_below(&r, 2) == 0;
        s->nope = random_below(&r, 4) == 0;
        s->split = s->split && !s->nope;
    }
}

/** The name goes on with the element type. */
static shape *nope_add(shape_list *list, void (*run)(check *c), int32_t dtype, uint32_t heads, const char *name, ...)
    __attribute__((format(printf, 5, 6)));

static shape *nope_add(shape_list *list, void (*run)(check *c), int32_t dtype, uint32_t heads, const char *name, ...)
{
    char text[48];
    va_list arguments;
    va_start(arguments, name);
    vsnprintf(text, sizeof(text), name, arguments);
    va_end(arguments);
    shape *s = case_add(list, "nope", run, "nope-%s-%s", text, dtype_name(dtype));
    s->nope = true;
    s->dtype = dtype;
    s->heads = heads;
    return s;
}

/** Caches without a rope part: a selection of all that is above. */
static void add_nope(shape_list *list, bool full)
{
    static const uint32_t heads[] = { 1, 9, 16, 17, 32, 64, 65, 128, 256 };
    for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); ++i) {
        for (int32_t dtype = HOPMLA_DTYPE_BF16; dtype <= HOPMLA_DTYPE_FP16; ++dtype) {
            shape *s = nope_add(list, case_pool_decode, dtype, heads[i], "heads-%u", (unsigned)heads[i]);
            set_edges(s, 1 + i % 3);
            s->q_layout = (layout)(i % 3);
            s->out_layout = (layout)((i + 1) % 3);
            s->lse = (int32_t)((i + 2) % 3);
            s->max_units = i == 5 ? 7 : 0;
            s->max_kv = dtype == HOPMLA_DTYPE_FP16 ? 131072 : 0;
        }
    }
    static const uint32_t lengths[] = { 0, 1, 63, 64, 65, 513, 4097, 16500 };
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); ++i) {
        for (unsigned j = 0; j < 2; ++j) {
            shape *s = nope_add(list, case_pool_decode, HOPMLA_DTYPE_BF16, j == 0 ? 16 : 128, "length-%u-h%u",
                                (unsigned)lengths[i], j == 0 ? 16u : 128u);
            s->kv[0] = lengths[i];
            s->max_kv = 131072;
        }
    }
    for (int32_t dtype = HOPMLA_DTYPE_BF16; dtype <= HOPMLA_DTYPE_FP16; ++dtype) {
        shape *s = nope_add(list, case_pool_decode, dtype, 64, "outlier-scale-30");
        set_edges(s, 2);
        s->scale *= 30.0f;
        s->outlier = true;
        for (unsigned i = 0; i < 4; ++i) {
            s = nope_add(list, case_raw, dtype, i < 2 ? 16 : 128, "raw-%u", i);
            s->layers = 1;
            set_edges(s, 1 + i);
            s->strided = i % 2 == 1;
            s->max_kv = i == 2 ? 131072 : 0;
        }
        s = nope_add(list, case_raw, dtype, 128, "raw-bad-page");
        s->layers = 1;
        s->defect = DEFECT_PAGE;
        s->batch = 2;
        s->kv[0] = 500;
        s->kv[1] = 300;
        s->q[1] = 2;
        for (unsigned i = 0; i < 3; ++i) {
            static const uint32_t graph_heads[] = { 16, 32, 128 };
            s = nope_add(list, case_graph, dtype, graph_heads[i], "graph-h%u", (unsigned)graph_heads[i]);
            s->batch = 6;
            s->q[0] = 1 + i;
            s->rounds = full ? 200 : 25;
            s->max_kv = dtype == HOPMLA_DTYPE_FP16 ? 131072 : 0;
        }
        for (unsigned i = 0; i < 4; ++i) {
            s = nope_add(list, case_append, dtype, 16, "append-%s%s", i < 2 ? "own" : "fp32",
                         i % 2 == 0 ? "" : "-strided");
            s->source = i < 2 ? dtype : HOPMLA_DTYPE_FP32;
            s->apart = true;
            s->strided = i % 2 == 1;
            s->batch = 3;
            s->layers = 3;
        }
        s = nope_add(list, case_family, dtype, dtype == HOPMLA_DTYPE_BF16 ? 16 : 128, "family");
        s->layers = 3;
        s->batch = 3;
        s->q[1] = s->q[2] = 1;
        for (unsigned i = 0; i < 2; ++i) {
            s = nope_add(list, case_repeat, dtype, i == 0 ? 16 : 128, "repeat-h%u", i == 0 ? 16u : 128u);
            set_edges(s, 1 + i);
            s->kv[0] = 2000;
        }
    }
}

void cases_list(shape_list *list, uint64_t seed, bool full)
{
    add_heads(list);
    add_lengths(list);
    add_queries(list);
    add_layouts(list);
    add_conventions(list);
    add_logits(list);
    add_padding(list);
    add_raw(list);
    add_play(list, full);
    add_long(list, full);
    cases_short(list, full);
    add_random(list, seed, full);
    add_nope(list, full);
}
