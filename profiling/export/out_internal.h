/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_OUT_INTERNAL_H
#define HM_OUT_INTERNAL_H

/** @file
 * An export's destination inside: for out.c, out_file.c and print.c. */

#include <limits.h>
#include <locale.h>
#include <stddef.h>

#include "profiling/export/out.h"

enum {
    HM_OUT_BUFFER = 16384,
    HM_OUT_TEMPORARY = 64
};

struct hm_out {
    hopmla_write_fn write; /* or NULL: to the file */
    void *user;
    int file;
    int folder;                       /* that has the file */
    char name[NAME_MAX + 1];          /* its, in there */
    char temporary[HM_OUT_TEMPORARY]; /* what it is called until it is whole; empty: it is written in place */
    locale_t locale;                  /* C */
    int failed;
    int32_t code; /* errno */
    const char *what;
    size_t used;
    char buffer[HM_OUT_BUFFER];
};

/** Notes the first failure; what comes after it is dropped. @param code  errno, or 0 @param what  "writing" */
void hm_out_fail(hm_out *out, int32_t code, const char *what);

/** Opens the file, or a temporary one. @return OK, IO. */
hopmla_status hm_out_file_open(hm_out *out, const char *path, hopmla_error *error);

/** Writes the buffer. */
void hm_out_file_write(hm_out *out);

/** Closes what hm_out_file_open has opened, also when it has failed; a temporary one gets its name, or after a failure is removed. */
void hm_out_file_close(hm_out *out);

#endif
