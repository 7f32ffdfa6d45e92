/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_ENVELOPE_H
#define HM_ENVELOPE_H

/** @file
 * What a batch can be at most: the one check of it, for plans and for raw calls. */

#include "kernels/backend.h"

enum {
    HM_MAX_BATCH = 65535,
    HM_MAX_Q_TOKENS = 1024,
    HM_MAX_HEADS = 256,
    HM_MAX_KV_TOKENS = 1 << 20
};

/** A field of a caller's struct and what it may be. */
typedef struct hm_field {
    const char *name;
    uint64_t value;
    uint64_t lowest;
    uint64_t highest;
} hm_field;

/** Refuses the first field that is out of its range. @param what  the argument's name, like "options"
 * @return OK, ARGUMENT */
hopmla_status hm_check_fields(const char *what, const hm_field *fields, uint32_t count, hopmla_error *error);

/** Refuses what is no HOPMLA_KV_*. @return OK, ENUM */
hopmla_status hm_check_format(const char *what, int32_t format, hopmla_error *error);

/** Refuses what is no HOPMLA_LSE_*. @return OK, ENUM */
hopmla_status hm_check_lse(const char *what, int32_t lse, hopmla_error *error);

#endif
