/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CEILINGS_CACHE_H
#define HM_CEILINGS_CACHE_H

/** @file
 * Measured ceilings in a file. One line each, whose first words say what they hold for and whose numbers are whole:
 *
 *     hopmla ceilings 1
 *     <key><TAB><unix time> <bytes/s> <burst> <sustained> <kHz> <mW> <driver's release or ->
 *
 * A line that is not understood is one that is not there. */

#include "hopmla/context.h"

enum {
    HM_CACHE_KEY = 320,
    HM_CACHE_BYTES = 65536, /* a larger file is none of ours */
    HM_CACHE_LINES = 64     /* the newest are kept */
};

/** What ceilings hold for: device, driver and library. */
void hm_cache_key(const hopmla_context_info *info, char key[HM_CACHE_KEY]);

/** Where the file is when nobody says; its folders are made. NULL where no home is known, or there is no memory; else
 * the caller frees it. */
char *hm_cache_usual_path(void);

/** @return 1 with *ceilings set, 0 when the file has none for the key */
int hm_cache_find(const char *path, const char *key, hopmla_ceilings *ceilings);

/** Adds them, in place of those of the same key. Two processes that add at one time may lose the one's.
 * @return OK, IO, OUT_OF_HOST_MEMORY; the file is as it was then. */
hopmla_status hm_cache_add(const char *path, const char *key, const hopmla_ceilings *ceilings, hopmla_error *error);

#endif
