/* SPDX-License-Identifier: Apache-2.0 */
#include "hopmla/status.h"

#include <stddef.h>

typedef struct status_entry {
    hopmla_status status;
    const char *name;
    const char *text;
} status_entry;

static const status_entry entries[] = {
    { HOPMLA_OK, "OK", "Success." },

    { HOPMLA_ERROR_ARGUMENT, "ARGUMENT", "A value is outside its documented range: correct the call." },
    { HOPMLA_ERROR_NULL, "NULL", "A required pointer or handle is NULL: correct the call." },
    { HOPMLA_ERROR_STRUCT_SIZE, "STRUCT_SIZE",
      "A struct_size is too small or absurd: set it to sizeof the struct, with its INIT macro or init function." },
    { HOPMLA_ERROR_STRUCT_TAIL, "STRUCT_TAIL",
      "A struct is newer than the library and uses a field it does not know: update the library or clear the field." },
    { HOPMLA_ERROR_ENUM, "ENUM", "An enum field holds an unknown value: correct the call." },
    { HOPMLA_ERROR_OVERFLOW, "OVERFLOW", "Sizes multiply to more than the library can address: make them smaller." },
    { HOPMLA_ERROR_STALE_ID, "STALE_ID", "The sequence was released: stop using its id." },
    { HOPMLA_ERROR_FOREIGN_ID, "FOREIGN_ID", "The sequence id was never given out by this pool: correct the call." },
    { HOPMLA_ERROR_DUPLICATE_ID, "DUPLICATE_ID", "A sequence stands twice in one batch: name it once." },
    { HOPMLA_ERROR_ALIGNMENT, "ALIGNMENT", "A pointer or stride is not aligned as documented: align it." },
    { HOPMLA_ERROR_DTYPE, "DTYPE", "The element type does not go with the pool's format: convert, or use another." },
    { HOPMLA_ERROR_MISMATCH, "MISMATCH",
      "Objects of different contexts, pools or backends were mixed: do not mix them." },
    { HOPMLA_ERROR_ENVELOPE, "ENVELOPE", "The batch is outside the plan's envelope: split it or make a larger plan." },
    { HOPMLA_ERROR_RANGE, "RANGE", "Tokens outside the sequence, or more than were reserved: correct the numbers." },

    { HOPMLA_ERROR_STATE, "STATE",
      "The call is not in the order that a step requires: see the function's documentation." },
    { HOPMLA_ERROR_CAPTURE, "CAPTURE", "Not allowed while the stream is being captured: call it outside capture." },
    { HOPMLA_ERROR_NO_STORAGE, "NO_STORAGE", "The pool only books and has no storage: use a pool that has." },

    { HOPMLA_ERROR_OUT_OF_PAGES, "OUT_OF_PAGES",
      "Too few free pages, hopmla_error.value says how many are missing: release sequences and retry." },
    { HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "OUT_OF_HOST_MEMORY", "Host memory ran out: free some and retry." },
    { HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY, "OUT_OF_DEVICE_MEMORY", "Device memory ran out: free some and retry." },
    { HOPMLA_ERROR_TOO_MANY, "TOO_MANY", "More sequences or plans than the pool can hold: release some and retry." },

    { HOPMLA_ERROR_BUSY, "BUSY", "Earlier work still uses what the call needs: retry when some of it has finished." },

    { HOPMLA_ERROR_NO_DRIVER, "NO_DRIVER", "libcuda.so.1 was not found or does not start: install the NVIDIA driver." },
    { HOPMLA_ERROR_OLD_DRIVER, "OLD_DRIVER", "The driver is older than the embedded kernels need: update it." },
    { HOPMLA_ERROR_NO_DEVICE, "NO_DEVICE", "There is no such device: choose another ordinal." },
    { HOPMLA_ERROR_DEVICE, "DEVICE",
      "The device is not of compute capability 9.0: choose another or the CPU backend." },
    { HOPMLA_ERROR_NOT_BUILT, "NOT_BUILT", "The library was built without this backend: choose another or rebuild." },
    { HOPMLA_ERROR_UNSUPPORTED, "UNSUPPORTED",
      "A valid request that this machine or release cannot meet: ask for less." },

    { HOPMLA_ERROR_DRIVER, "DRIVER", "The CUDA driver failed, hopmla_error.native_code holds its code." },
    { HOPMLA_ERROR_DRIVER_STICKY, "DRIVER_STICKY", "The CUDA context is lost: restart the process." },

    { HOPMLA_ERROR_INTERNAL, "INTERNAL", "A defect of the library: please report it." },

    { HOPMLA_ERROR_IO, "IO",
      "A file could not be written or read, hopmla_error.native_code holds errno; or a write callback ended the call." },
};

static const status_entry *find(hopmla_status status)
{
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (entries[i].status == status) {
            return &entries[i];
        }
    }
    return NULL;
}

const char *hopmla_status_name(hopmla_status status)
{
    const status_entry *entry = find(status);
    return entry ? entry->name : "UNKNOWN";
}

const char *hopmla_status_text(hopmla_status status)
{
    const status_entry *entry = find(status);
    return entry ? entry->text : "No status of this version of the library.";
}
