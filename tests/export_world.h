/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EXPORT_WORLD_H
#define EXPORT_WORLD_H

/** @file
 * Records, a callback and a folder of its own for each test of the exporters. After cmocka.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/export_data.h"

enum {
    RECORDS = 300,
    TEXT = 1 << 20,
    OLD = 4 /* bytes of the file that is there before */
};

/* What a callback received. */
typedef struct sink {
    char text[TEXT];
    uint64_t bytes;
    uint64_t calls;
    uint64_t most;    /* bytes in one call */
    uint64_t ends_at; /* the call that ends the export, from 1; 0: none */
} sink;

static inline int32_t receive(void *user, const void *text, uint64_t bytes)
{
    sink *s = user;
    s->calls++;
    s->most = bytes > s->most ? bytes : s->most;
    assert_true(s->bytes + bytes <= sizeof(s->text));
    memcpy(s->text + s->bytes, text, bytes);
    s->bytes += bytes;
    return s->calls == s->ends_at ? 7 : 0;
}

static sink received;
static hopmla_record records[RECORDS];
static char folder[64];
static char file_path[80];
static char link_path[80];

static inline int set_up(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < RECORDS; i++) {
        records[i] = export_record(i);
    }
    strcpy(folder, "/tmp/hopmla-export-XXXXXX");
    if (!mkdtemp(folder)) {
        return 1;
    }
    snprintf(file_path, sizeof(file_path), "%s/file", folder);
    snprintf(link_path, sizeof(link_path), "%s/link", folder);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    unlink(file_path);
    unlink(link_path);
    return rmdir(folder); /* fails when a temporary file was left */
}

static inline hopmla_export_options to_callback(void)
{
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    memset(&received, 0, sizeof(received));
    options.write = receive;
    options.user = &received;
    return options;
}

static inline hopmla_export_options to_path(const char *path)
{
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    options.path = path;
    return options;
}

static inline uint64_t size_of(const char *path)
{
    struct stat found;
    return stat(path, &found) ? UINT64_MAX : (uint64_t)found.st_size;
}

static inline void put_old_file(void)
{
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    fputs("old\n", file);
    fclose(file);
}

static inline hopmla_status export_all(int32_t format, const hopmla_export_options *options, hopmla_error *error)
{
    return hopmla_export_records(format, records, sizeof(records[0]), RECORDS, options, error);
}

#endif
