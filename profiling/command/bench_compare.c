/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_times.h"

#include "json.h"

#include <math.h>
#include <string.h>

typedef struct means {
    double logs;
    double steady_logs;
    uint64_t rows;
    uint64_t steady_rows;
    uint64_t slower; /* rows whose ratio is below 1 */
    uint64_t wrong;
    uint64_t only_own;
} means;

static const bench_time *find(const bench_times *times, const char *name)
{
    for (uint64_t i = 0; i < times->count; ++i) {
        if (strcmp(times->rows[i].name, name) == 0)
            return &times->rows[i];
    }
    return NULL;
}

static void print_row(const bench_time *own, const bench_time *other, double ratio, double steady, bool json)
{
    if (json) {
        json_writer w = json_begin(stdout);
        json_text(&w, "kind", "comparison");
        json_text(&w, "row", own->name);
        json_real(&w, "us", own->us);
        json_real(&w, "other_us", other->us);
        json_real(&w, "ratio", ratio);
        if (steady > 0)
            json_real(&w, "steady_ratio", steady);
        json_end(&w);
        return;
    }
    printf("%-40s %11.2f %11.2f %9.3f", own->name, own->us, other->us, ratio);
    if (steady > 0)
        printf(" %13.3f", steady);
    putchar('\n');
}

static void print_means(const means *m, uint64_t only_other, bool json)
{
    double mean = exp(m->logs / (double)m->rows), steady = exp(m->steady_logs / (double)m->steady_rows);
    if (json) {
        json_writer w = json_begin(stdout);
        json_text(&w, "kind", "comparison mean");
        json_count(&w, "rows", m->rows);
        json_real(&w, "ratio", mean);
        json_count(&w, "steady_rows", m->steady_rows);
        json_real(&w, "steady_ratio", steady);
        json_count(&w, "slower", m->slower);
        json_count(&w, "wrong", m->wrong);
        json_count(&w, "only_own", m->only_own);
        json_count(&w, "only_other", only_other);
        json_end(&w);
        return;
    }
    if (m->rows > 0)
        printf("%llu rows, geometric mean %.3f, %llu below 1\n", (unsigned long long)m->rows, mean,
               (unsigned long long)m->slower);
    if (m->steady_rows > 0)
        printf("%llu rows in steady state, geometric mean %.3f\n", (unsigned long long)m->steady_rows, steady);
    if (m->wrong > 0)
        printf("%llu rows do not count, their results were wrong\n", (unsigned long long)m->wrong);
    if (m->only_own + only_other > 0)
        printf("without a counterpart: %llu rows, and %llu of the other\n", (unsigned long long)m->only_own,
               (unsigned long long)only_other);
}

void bench_compare(const bench_times *own, const bench_times *other, const char *other_name, bool json)
{
    means m = { .logs = 0 };
    uint64_t only_other = other->count;
    if (!json)
        printf("\nagainst %s\n%-40s %11s %11s %9s %13s\n", other_name, "row", "us", "other us", "ratio",
               "steady ratio");
    for (uint64_t i = 0; i < own->count; ++i) {
        const bench_time *a = &own->rows[i], *b = find(other, a->name);
        if (b == NULL) {
            ++m.only_own;
            continue;
        }
        --only_other;
        if (!a->right || !b->right) {
            ++m.wrong;
            continue;
        }
        double ratio = b->us / a->us, steady = 0;
        m.logs += log(ratio);
        m.slower += ratio < 1;
        ++m.rows;
        if (a->steady_us > 0 && b->steady_us > 0) {
            steady = b->steady_us / a->steady_us;
            m.steady_logs += log(steady);
            ++m.steady_rows;
        }
        print_row(a, b, ratio, steady, json);
    }
    print_means(&m, only_other, json);
}
