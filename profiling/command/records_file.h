/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_RECORDS_FILE_H
#define COMMAND_RECORDS_FILE_H

/** @file
 * Records in a file of JSON lines, as hopmla_export_records writes them: reading one whole, and writing one piece by
 * piece. */

#include "command.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct records_file {
    hopmla_record *records;
    uint64_t count;
    uint64_t capacity;
    hopmla_ceilings ceilings;
    bool has_ceilings;
    char device[128]; /* empty where the file does not say */
} records_file;

/** A file that is not that ends the program with its name and line. */
void records_file_read(records_file *f, const char *path);
void records_file_free(records_file *f);

/** Appends records to a file. With `count` 0 and ceilings or a device, the line that says them; a write that fails ends
 * the program. */
void records_file_append(FILE *file, const char *path, const hopmla_record *records, uint64_t count,
                         const hopmla_ceilings *ceilings, const char *device);

#endif
