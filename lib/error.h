/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_ERROR_H
#define HM_ERROR_H

/** @file
 * How a function fails: one call that fills the caller's hopmla_error (NULL is fine) and returns the status. */

#include "hopmla/status.h"

__attribute__((format(printf, 3, 4))) hopmla_status hm_fail(hopmla_error *error, hopmla_status status,
                                                            const char *format, ...);

/** With error->value. */
__attribute__((format(printf, 4, 5))) hopmla_status hm_fail_value(hopmla_error *error, hopmla_status status,
                                                                  int64_t value, const char *format, ...);

/** With error->native_code. */
__attribute__((format(printf, 4, 5))) hopmla_status hm_fail_native(hopmla_error *error, hopmla_status status,
                                                                   int32_t native_code, const char *format, ...);

/** First line of every public function: a hopmla_error that is too small is refused before anything happens. */
#define HM_CHECK_ERROR(error)                                                                                          \
    do {                                                                                                               \
        if ((error) && (error)->struct_size < sizeof(hopmla_error)) {                                                  \
            return HOPMLA_ERROR_STRUCT_SIZE;                                                                           \
        }                                                                                                              \
    } while (0)

/** Refuses NULL and names the argument. */
#define HM_CHECK_NULL(argument, error)                                                                                 \
    do {                                                                                                               \
        if (!(argument)) {                                                                                             \
            return hm_fail(error, HOPMLA_ERROR_NULL, #argument " is NULL");                                            \
        }                                                                                                              \
    } while (0)

#endif
