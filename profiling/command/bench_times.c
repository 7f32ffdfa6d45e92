/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_times.h"

#include "bench.h"
#include "lines.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_times_add(bench_times *times, bench_time row)
{
    for (uint64_t i = 0; i < times->count; ++i) {
        if (strcmp(times->rows[i].name, row.name) == 0) {
            free(times->rows[i].name);
            times->rows[i] = row;
            return;
        }
    }
    times->rows = must_grow(times->rows, times->count, &times->capacity, sizeof(row));
    times->rows[times->count++] = row;
}

void bench_times_free(bench_times *times)
{
    for (uint64_t i = 0; i < times->count; ++i)
        free(times->rows[i].name);
    free(times->rows);
}

/* --- what bench --json printed ------------------------------------------------------------------------------------ */

static bool take_real(json_reader *r, const char *name, double *value)
{
    const json_field *field = json_find(r, name);
    if (field == NULL || field->kind != JSON_NUMBER || !isfinite(field->number) || !(field->number >= 0))
        return json_wrong(r, "the field \"%s\" is missing, or is not a positive number", name);
    *value = field->number;
    return true;
}

/** Objects without b are of other kinds: ceilings, means. */
static bool take_line(json_reader *r, void *user)
{
    uint64_t b, s_q, h;
    int32_t format;
    double mean_len = 0;
    bench_time row = { .steady_us = 0 };
    const json_field *kind = json_find(r, "kind"), *right = json_find(r, "right");
    if (kind == NULL || kind->kind != JSON_TEXT)
        return json_wrong(r, "\"kind\" is missing, or is not a text");
    if (json_find(r, "b") == NULL)
        return true;
    if (!json_take_count(r, "b", 1, UINT32_MAX, &b) || !json_take_count(r, "s_q", 1, UINT32_MAX, &s_q) ||
        !json_take_count(r, "h", 1, UINT32_MAX, &h) || !take_real(r, "mean_len", &mean_len) ||
        !take_real(r, "us", &row.us) || !bench_take_format(r, &format))
        return false;
    if (json_find(r, "steady_us") != NULL && !take_real(r, "steady_us", &row.steady_us))
        return false;
    if (row.us == 0)
        return json_wrong(r, "\"us\" is 0");
    row.right = right == NULL || right->kind != JSON_FALSE;
    row.name = bench_name(kind->text, format, b, s_q, h, mean_len);
    bench_times_add(user, row);
    return true;
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

enum {
    MAX_COLUMNS = 64
};

/* What a row is known by: columns that must be there. */
enum {
    KIND,
    B,
    S_Q,
    H,
    MEAN_LEN,
    KEYS
};

typedef struct table {
    const char *path;
    uint64_t line;
    uint32_t keys[KEYS]; /* columns */
    bool time[MAX_COLUMNS];
    uint32_t columns; /* 0: not known yet */
} table;

static _Noreturn void wrong(const table *t, const char *what)
{
    die("%s:%llu: %s", t->path, (unsigned long long)t->line, what);
}

static uint32_t split(const table *t, char *line, char *fields[MAX_COLUMNS])
{
    uint32_t count = 0;
    for (char *at = line; at != NULL; ++count) {
        if (count == MAX_COLUMNS)
            wrong(t, "more columns than there is room for");
        fields[count] = strsep(&at, "\t");
    }
    return count;
}

static bool is_time(const char *column)
{
    size_t length = strlen(column);
    return length > 3 && strcmp(column + length - 3, "_us") == 0 && strcmp(column, "bound_us") != 0;
}

/** A comment may be the one that names the columns. */
static void read_comment(table *t, char *line)
{
    static const char *const keys[] = { "kind", "b", "s_q", "h", "mean_len" };
    char *fields[MAX_COLUMNS];
    uint32_t found = 0;
    line += strspn(line, "# ");
    if (strchr(line, '\t') == NULL)
        return;
    uint32_t columns = split(t, line, fields);
    for (uint32_t key = 0; key < KEYS; ++key) {
        for (uint32_t i = 0; i < columns; ++i) {
            if (strcmp(fields[i], keys[key]) == 0) {
                t->keys[key] = i;
                ++found;
                break;
            }
        }
    }
    if (found < KEYS)
        return;
    t->columns = columns;
    for (uint32_t i = 0; i < columns; ++i)
        t->time[i] = is_time(fields[i]);
}

static double number(const table *t, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value < 1e12))
        wrong(t, "a number should be in each of the columns b, s_q, h, mean_len and NAME_us");
    return value;
}

/** Where a peer has no time its field is empty or "-". */
static void read_row(table *t, char *line, bench_times *times)
{
    char *fields[MAX_COLUMNS];
    double least = INFINITY, keys[KEYS];
    if (t->columns == 0)
        wrong(t, "neither JSON nor below a comment that names the columns kind, b, s_q, h, mean_len");
    if (split(t, line, fields) != t->columns)
        wrong(t, "not as many fields as there are columns");
    for (uint32_t key = B; key < KEYS; ++key)
        keys[key] = number(t, fields[t->keys[key]]);
    for (uint32_t i = 0; i < t->columns; ++i) {
        if (t->time[i] && *fields[i] != '\0' && strcmp(fields[i], "-") != 0)
            least = fmin(least, number(t, fields[i]));
    }
    if (!isfinite(least) || least == 0)
        return;
    bench_times_add(times, (bench_time){ .name = bench_name(fields[t->keys[KIND]], HOPMLA_KV_BF16, (uint64_t)keys[B],
                                                            (uint64_t)keys[S_Q], (uint64_t)keys[H], keys[MEAN_LEN]),
                                         .us = least,
                                         .right = true });
}

static void read_table(bench_times *times, const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        die("%s: %s", path, strerror(errno));
    table t = { .path = path };
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) >= 0) {
        ++t.line;
        line[strcspn(line, "\r\n")] = '\0';
        if (*line == '#')
            read_comment(&t, line);
        else if (line[strspn(line, " \t")] != '\0')
            read_row(&t, line, times);
    }
    if (ferror(file))
        die("%s: %s", path, strerror(errno));
    free(line);
    fclose(file);
}

/** Whether the first character that is no space opens an object. */
static bool is_json(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        die("%s: %s", path, strerror(errno));
    int c;
    do
        c = getc(file);
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n');
    if (ferror(file))
        die("%s: %s", path, strerror(errno));
    fclose(file);
    return c == '{';
}

void bench_times_read(bench_times *times, const char *path)
{
    if (is_json(path))
        lines_read(path, take_line, times);
    else
        read_table(times, path);
    if (times->count == 0)
        die("%s: no times in it", path);
}
