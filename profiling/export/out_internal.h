/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_OUT_INTERNAL_H
#define HM_OUT_INTERNAL_H

/** @file
 * An export's destination inside: for out.c, out_file.c and print.c. */

#include <locale.h>
#include <stddef.h>

#include "profiling/export/out.h"

enum {
    HM_OUT_BUFFER = 16384
};

struct hm_out {
    hopmla_write_fn write; /* or NULL: to the file */
    void *user;
    int file;
    char *target;    /* what the temporary will be called */
    char *temporary; /* or NULL: the file is written in place */
    locale_t locale; /* C */
    int failed;
    int32_t code; /* errno */
    const char *what;
    size_t used;
    char buffer[HM_OUT_BUFFER];
};

/** Notes the first failure; what comes after it is dropped. @param code  errno, or 0 @param what  "writing" */
void hm_out_fail(hm_out *out, int32_t code, const char *what);

/** Opens the file, or a temporary one. What it allocates is out's. @return OK, IO, OUT_OF_HOST_MEMORY. */
hopmla_status hm_out_file_open(hm_out *out, const char *path, hopmla_error *error);

/** Writes the buffer. */
void hm_out_file_write(hm_out *out);

/** Closes the file, if there is one; a temporary one gets its name, or after a failure is removed. */
void hm_out_file_close(hm_out *out);

#endif
