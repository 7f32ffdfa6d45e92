/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_OUT_INTERNAL_H
#define HM_OUT_INTERNAL_H

/** @file
 * An export's destination inside: for out.c and print.c. */

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

#endif
