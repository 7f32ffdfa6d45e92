/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/abi.h"

#include <string.h>

#include "lib/error.h"

static uint32_t size_of(const void *caller)
{
    uint32_t size;
    memcpy(&size, caller, sizeof(size));
    return size;
}

static hopmla_status check_size(uint32_t size, uint32_t first, const char *name, hopmla_error *error)
{
    if (size < first || size > HM_LARGEST_STRUCT) {
        return hm_fail_value(error, HOPMLA_ERROR_STRUCT_SIZE, size,
                             "%s.struct_size is %u, must be %u … %d: set it to sizeof the struct", name, size, first,
                             HM_LARGEST_STRUCT);
    }
    return HOPMLA_OK;
}

hopmla_status hm_abi_read(const void *caller, void *own, uint32_t known, uint32_t first, const char *name,
                          hopmla_error *error)
{
    const uint32_t size = size_of(caller);
    const hopmla_status status = check_size(size, first, name, error);
    if (status) {
        return status;
    }
    const unsigned char *bytes = caller;
    for (uint32_t at = known; at < size; at++) {
        if (bytes[at]) {
            return hm_fail_value(error, HOPMLA_ERROR_STRUCT_TAIL, at,
                                 "%s has %u bytes of which this library knows %u, and byte %u is not 0: the field "
                                 "there needs a newer library",
                                 name, size, known, at);
        }
    }
    memset(own, 0, known);
    memcpy(own, caller, size < known ? size : known);
    memcpy(own, &known, sizeof(known));
    return HOPMLA_OK;
}

hopmla_status hm_abi_check_output(const void *caller, uint32_t first, const char *name, hopmla_error *error)
{
    return check_size(size_of(caller), first, name, error);
}

void hm_abi_write(void *caller, const void *own, uint32_t known)
{
    const uint32_t size = size_of(caller);
    const uint32_t held = size < known ? size : known;
    memcpy(caller, own, held);
    memset((unsigned char *)caller + held, 0, size - held);
    memcpy(caller, &size, sizeof(size));
}

hopmla_status hm_abi_init(void *caller, uint64_t size, const void *defaults, uint32_t known, uint32_t first)
{
    if (!caller) {
        return HOPMLA_ERROR_NULL;
    }
    if (size < first || size > HM_LARGEST_STRUCT) {
        return HOPMLA_ERROR_STRUCT_SIZE;
    }
    memset(caller, 0, (size_t)size);
    memcpy(caller, defaults, size < known ? (size_t)size : known);
    const uint32_t struct_size = (uint32_t)size;
    memcpy(caller, &struct_size, sizeof(struct_size));
    return HOPMLA_OK;
}
