/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_BENCH_H
#define COMMAND_BENCH_H

/** @file
 * `hopmla bench`: the suite of shapes, and one row's measurement. */

#include "device.h"
#include "numbers.h"

#include <stdbool.h>

typedef struct bench_case {
    char kind[16];
    uint32_t b;     /* rows of the batch */
    uint32_t s_q;   /* query tokens of each */
    uint32_t h;     /* heads */
    uint32_t *lens; /* [b] cached tokens */
} bench_case;

typedef struct bench_suite {
    bench_case *cases;
    uint64_t count;
    uint64_t capacity;
} bench_suite;

/** Adds a case whose lens are to be filled. The pointer holds until the next call. */
bench_case *bench_add(bench_suite *suite, const char *kind, uint32_t b, uint32_t s_q, uint32_t h);

void bench_default_suite(bench_suite *suite);

/** Reads JSON lines {"kind", "b", "s_q", "h", "lens": a number or an array of b numbers}. A file that is not that ends
 * the program with its name and line. */
void bench_read_suite(bench_suite *suite, const char *path);

void bench_suite_free(bench_suite *suite);

/** What every row is measured with. */
typedef struct bench {
    device device;
    hopmla_ceilings ceilings;
    uint64_t max_layers;
    uint64_t envelope; /* tokens that every plan declares at least */
    double seconds;    /* of replays for each row */
    bool steady;
    block storage; /* of every row's pool: full of random values */
    block flush;   /* overwritten between replays where the KV would stay in the cache */
} bench;

typedef struct bench_result {
    uint32_t layers;
    double mean_len;
    work work;        /* of one layer */
    double us;        /* median of one layer */
    double steady_us; /* the same after two seconds of it; 0 when not measured */
    double bound_us;
    double error; /* largest error of one sampled row and head, scaled as in tolerance.h */
    bool right;   /* whether it is within tolerance */
} bench_result;

/** Layers that a row's graph has: at most max_layers, and as many as the memory for KV holds. */
uint32_t bench_layers(const bench *b, const bench_case *c);

/** Bytes of KV in one layer, whole pages. */
uint64_t bench_layer_bytes(const bench_case *c);

/** Allocates and fills storage for the largest of the suite's rows that are measured. */
void bench_prepare(bench *b, uint64_t storage_bytes);
void bench_finish(bench *b);

bench_result bench_measure(bench *b, const bench_case *c);

/** `hopmla bench --pool`. @return the exit status */
int bench_pool(int32_t backend, bool json, uint64_t max_pages, uint64_t context);

#endif
