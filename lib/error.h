/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_ERROR_H
#define HM_ERROR_H

/** @file
 * How a function fails: one call that fills the caller's hopmla_error (NULL is fine) and returns the status. */

#include <stddef.h>

#include "hopmla/context.h"
#include "hopmla/status.h"

__attribute__((format(printf, 3, 4))) hopmla_status hm_fail(hopmla_error *error, hopmla_status status,
                                                            const char *format, ...);

/** With error->value. */
__attribute__((format(printf, 4, 5))) hopmla_status hm_fail_value(hopmla_error *error, hopmla_status status,
                                                                  int64_t value, const char *format, ...);

/** With error->native_code. */
__attribute__((format(printf, 4, 5))) hopmla_status hm_fail_native(hopmla_error *error, hopmla_status status,
                                                                   int32_t native_code, const char *format, ...);

/** Larger than any struct will ever be: a struct_size above it is taken for uninitialised memory. And the size of
 * hopmla_error in the first release: what stands behind `message` may be missing in a caller's. */
enum {
    HM_LARGEST_STRUCT = 4096,
    HM_FIRST_ERROR = offsetof(hopmla_error, message) + sizeof(((hopmla_error *)0)->message)
};

/** There is no memory of a kind other than HOST: OUT_OF_HOST_MEMORY for PINNED, else OUT_OF_DEVICE_MEMORY; error->value
 * receives the bytes. */
hopmla_status hm_fail_memory(hopmla_error *error, int32_t kind, uint64_t bytes);

/** First line of every public function: a hopmla_error of no possible size is refused before anything happens. */
#define HM_CHECK_ERROR(error)                                                                                          \
    do {                                                                                                               \
        if ((error) && ((error)->struct_size < HM_FIRST_ERROR || (error)->struct_size > HM_LARGEST_STRUCT)) {          \
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
