/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_BENCH_H
#define COMMAND_BENCH_H

/** @file
 * `hopmla bench`: the suites of shapes, one row's measurement, and what is printed of it. */

#include "device.h"
#include "format.h"
#include "json.h"
#include "nvml.h"
#include "numbers.h"

#include <stdbool.h>

typedef struct bench_case {
    char *kind;
    int32_t format; /* HOPMLA_KV_BF16 or _BF16_NOPE */
    uint32_t b;     /* rows of the batch */
    uint32_t s_q;   /* query tokens of each */
    uint32_t h;     /* heads */
    uint32_t *lens; /* [b] cached tokens */
} bench_case;

typedef struct bench_suite {
    const char *name;
    bench_case *cases;
    uint64_t count;
    uint64_t capacity;
} bench_suite;

/** Adds a case of HOPMLA_KV_BF16 whose lens are to be filled. The pointer holds until the next call. */
bench_case *bench_add(bench_suite *suite, const char *kind, uint32_t b, uint32_t s_q, uint32_t h);

/** The shapes that peers were measured at; those of other counts of heads; some without a rope part. */
void bench_peers_suite(bench_suite *suite);
void bench_heads_suite(bench_suite *suite);
void bench_nope_suite(bench_suite *suite);

/** Takes the field "format", where there is one. @return false when it is wrong, as json_wrong does */
bool bench_take_format(json_reader *r, int32_t *format);

/** Reads JSON lines {"kind", "b", "s_q", "h", "lens": a number or an array of b numbers, "format": may be left out}. A file
 * that is not that ends the program with its name and line. */
void bench_read_suite(bench_suite *suite, const char *path);

void bench_suite_free(bench_suite *suite);

double bench_mean_len(const bench_case *c);

/** The row's name: fixed-b1-q1-h16-l1024, the mean length rounded, and -bf16-nope behind it. To be freed. */
char *bench_name(const char *kind, int32_t format, uint64_t b, uint64_t s_q, uint64_t h, double mean_len);

/** What every row is measured with. */
typedef struct bench {
    device device;
    hopmla_ceilings ceilings;
    nvml *nvml; /* or NULL */
    uint64_t max_layers;
    uint64_t envelope; /* tokens that every plan declares at least; 0: its row's longest length */
    double seconds;    /* of replays for each row */
    bool steady;
    block storage; /* of every row's pool: full of random values */
    block flush;   /* overwritten between replays where the KV would stay in the cache */
} bench;

/** Times of one layer, with `steady` and from 64 rows on. 0: not measured. */
typedef struct bench_power {
    double burst_us;      /* median of the first replays after a pause */
    double steady_us;     /* after two seconds of replays */
    nvml_reading reading; /* meanwhile; 0 where there is no NVML */
} bench_power;

typedef struct bench_result {
    uint32_t layers;
    double mean_len;
    work work;         /* of one layer */
    double read_bytes; /* of these, KV and queries */
    double us;         /* median of one layer */
    bench_power power;
    double bound_us;
    double error;          /* largest error of one sampled row and head, scaled as in tolerance.h */
    bool right;            /* whether it is within tolerance */
    hopmla_totals watched; /* under `hopmla profile`: what the profiler saw of replays apart */
} bench_result;

/** Layers that a row's graph has: at most max_layers, and as many as the memory for KV holds. */
uint32_t bench_layers(const bench *b, const bench_case *c);

/** Bytes of KV in one layer, whole pages. */
uint64_t bench_layer_bytes(const bench_case *c);

/** Allocates and fills storage for the largest of the suite's rows that are measured. */
void bench_prepare(bench *b, uint64_t storage_bytes);
void bench_finish(bench *b);

bench_result bench_measure(bench *b, const bench_case *c);

/** The ceilings, with the head of the table below them; a row. @param json  as an object instead */
void bench_print_ceilings(const bench *b, bool json);
void bench_print_row(const bench *b, const char *suite, const bench_case *c, const bench_result *r, bool json);

/** `hopmla bench --pool`. @return the exit status */
int bench_pool(int32_t backend, bool json, uint64_t max_pages, uint64_t context);

#endif
