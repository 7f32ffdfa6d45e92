/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_STATUS_H
#define HOPMLA_STATUS_H

#include "version.h"

/** @file
 * What every call returns, and the text that goes with it.
 *
 * "The driver's" in a list of statuses stands for what any call that reaches a device may return: DRIVER,
 * DRIVER_STICKY, OUT_OF_DEVICE_MEMORY, OUT_OF_HOST_MEMORY, and CAPTURE where a capture under way forbids it. */

#ifdef __cplusplus
extern "C" {
#endif

/** Result of a call: 0 is success, a negative value says what the caller can do about it. Values are never reused. */
typedef int32_t hopmla_status;

enum {
    HOPMLA_OK = 0,

    /* The call is wrong: mend the program. */
    HOPMLA_ERROR_ARGUMENT = -100,    /**< a value is outside its documented range */
    HOPMLA_ERROR_NULL = -101,        /**< a required pointer or handle is NULL */
    HOPMLA_ERROR_STRUCT_SIZE = -102, /**< struct_size is smaller than the first release's struct, or absurd */
    HOPMLA_ERROR_STRUCT_TAIL = -103, /**< the struct is newer than the library and uses a field it does not know */
    HOPMLA_ERROR_ENUM = -104,        /**< an enum field holds an unknown value */
    HOPMLA_ERROR_OVERFLOW = -105,    /**< sizes multiply to more than 64 bits, or counts exceed the ABI's limits */
    HOPMLA_ERROR_STALE_ID = -106,    /**< the sequence was released */
    HOPMLA_ERROR_FOREIGN_ID = -107,  /**< the sequence id was never given out by this pool */
    HOPMLA_ERROR_DUPLICATE_ID = -108,/**< a sequence stands twice in one batch */
    HOPMLA_ERROR_ALIGNMENT = -109,   /**< a pointer or stride is not a multiple of 16 bytes */
    HOPMLA_ERROR_DTYPE = -110,       /**< an element type that does not go with the pool's format */
    HOPMLA_ERROR_MISMATCH = -111,    /**< objects of different contexts, pools or backends were mixed */
    HOPMLA_ERROR_ENVELOPE = -112,    /**< the batch is outside the envelope that the plan declared */
    HOPMLA_ERROR_RANGE = -113,       /**< tokens outside the sequence, or more tokens than were reserved */

    /* The call comes at the wrong time. */
    HOPMLA_ERROR_STATE = -200,       /**< not in the order the step requires */
    HOPMLA_ERROR_CAPTURE = -201,     /**< not while the stream is being captured */
    HOPMLA_ERROR_NO_STORAGE = -202,  /**< the pool has no storage to read or write */

    /* There is not enough of something: free some, then retry. */
    HOPMLA_ERROR_OUT_OF_PAGES = -300,         /**< hopmla_error.value says how many pages are missing */
    HOPMLA_ERROR_OUT_OF_HOST_MEMORY = -301,   /**< ordinary or page-locked */
    HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY = -302,
    HOPMLA_ERROR_TOO_MANY = -303,             /**< more sequences or plans than the pool can hold */

    /* Nothing is wrong: retry when earlier work has finished. */
    HOPMLA_ERROR_BUSY = -400,

    /* This machine or build cannot do it. */
    HOPMLA_ERROR_NO_DRIVER = -500,       /**< libcuda.so.1 was not found or does not start */
    HOPMLA_ERROR_OLD_DRIVER = -501,      /**< the driver is older than the embedded kernels need */
    HOPMLA_ERROR_NO_DEVICE = -502,       /**< no such device */
    HOPMLA_ERROR_DEVICE = -503,          /**< the device is not of compute capability 9.0 */
    HOPMLA_ERROR_NOT_BUILT = -504,       /**< the library was built without this backend */
    HOPMLA_ERROR_UNSUPPORTED = -505,     /**< a valid request that this release does not implement */

    /* The CUDA driver failed; hopmla_error.native_code holds its code. */
    HOPMLA_ERROR_DRIVER = -600,
    HOPMLA_ERROR_DRIVER_STICKY = -700,   /**< the CUDA context is lost: restart the process */

    HOPMLA_ERROR_INTERNAL = -800,        /**< a defect of the library: report it */

    /* Something outside the library failed. */
    HOPMLA_ERROR_IO = -900               /**< a file could not be written or read: hopmla_error.native_code holds errno; or
                                              the caller's write callback ended an export (0) */
};

/** Where an error's text goes. The caller owns it, usually on its stack, and passes its address as the last argument of
 * a call, or NULL. A call writes to it only when it fails. Every function that takes one returns STRUCT_SIZE, and does
 * nothing, when its struct_size is too small or more than 4096. */
typedef struct hopmla_error {
    uint32_t struct_size;  /**< sizeof(hopmla_error), set by the caller */
    hopmla_status status;  /**< the status that the call returned */
    int32_t native_code;   /**< the driver's code for the DRIVER statuses, errno for IO, else 0 */
    uint32_t reserved;     /**< 0 */
    int64_t value;         /**< a number that belongs to the status (pages missing, index of the bad element), else 0 */
    char message[232];     /**< UTF-8, NUL-terminated; names the argument and what is wrong with it */
} hopmla_error;

#define HOPMLA_ERROR_INIT { sizeof(hopmla_error), 0, 0, 0, 0, { 0 } }

/** Makes an error struct ready for use: zeroes size bytes and sets struct_size to size.
 *
 * @param error  the caller's struct
 * @param size   sizeof(hopmla_error) in the caller's header
 * @return OK, NULL, or STRUCT_SIZE when size is too small or more than 4096 (nothing is written then).
 *
 * Thread-safe on distinct structs. */
HOPMLA_API hopmla_status hopmla_error_init(hopmla_error *error, uint64_t size);

/** Name of a status, for example "OUT_OF_PAGES"; "UNKNOWN" for a value that is none.
 *
 * @return a constant string. Thread-safe. */
HOPMLA_API const char *hopmla_status_name(hopmla_status status);

/** One sentence on what a status means and what to do.
 *
 * @return a constant string. Thread-safe. */
HOPMLA_API const char *hopmla_status_text(hopmla_status status);

#ifdef __cplusplus
}
#endif

#endif
