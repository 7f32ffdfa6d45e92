/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_BENCH_TIMES_H
#define COMMAND_BENCH_TIMES_H

/** @file
 * Times of rows, as a run of the benchmark or a file has them, and how two of them compare. */

#include <stdbool.h>
#include <stdint.h>

typedef struct bench_time {
    char *name; /* bench_name */
    double us;
    double steady_us; /* 0: not known */
    bool right;       /* false: the results were wrong, and the time counts for nothing */
} bench_time;

typedef struct bench_times {
    bench_time *rows;
    uint64_t count;
    uint64_t capacity;
} bench_times;

/** Adds a row, or puts it in the place of the one with the same name. Takes the name. */
void bench_times_add(bench_times *times, bench_time row);

/** Reads what `bench --json` printed, or a table: fields apart by tabs, lines of '#' of which one names the columns,
 * kind, b, s_q, h, mean_len, and columns like NAME_us, of which the least counts. A file that is neither ends the program
 * with its name and line. */
void bench_times_read(bench_times *times, const char *path);

void bench_times_free(bench_times *times);

/** Prints row by row how much longer the other one's time is, and the geometric mean. */
void bench_compare(const bench_times *own, const bench_times *other, const char *other_name, bool json);

#endif
