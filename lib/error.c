/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A message that was cut must not end inside a UTF-8 sequence: bindings decode it. */
static void drop_partial_character(char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && length - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) {
        start--;
    }
    if (start == 0) {
        return;
    }
    const unsigned char lead = (unsigned char)text[start - 1];
    const size_t needs = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (length - (start - 1) < needs) {
        text[start - 1] = '\0';
    }
}

static hopmla_status fail(hopmla_error *error, hopmla_status status, int64_t value, int32_t native_code,
                          const char *format, va_list arguments) __attribute__((format(printf, 5, 0)));

static hopmla_status fail(hopmla_error *error, hopmla_status status, int64_t value, int32_t native_code,
                          const char *format, va_list arguments)
{
    if (!error || error->struct_size < HM_FIRST_ERROR || error->struct_size > HM_LARGEST_STRUCT) {
        return status;
    }
    /* Through a buffer: an argument may be error->message itself. */
    char text[sizeof(error->message)];
    const int length = vsnprintf(text, sizeof(text), format, arguments);
    if (length < 0) {
        text[0] = '\0';
    } else if ((size_t)length >= sizeof(text)) {
        drop_partial_character(text, sizeof(text) - 1);
    }
    error->status = status;
    error->native_code = native_code;
    error->reserved = 0;
    error->value = value;
    memset(error->message, 0, sizeof(error->message));
    memcpy(error->message, text, strlen(text));
    return status;
}

hopmla_status hm_fail(hopmla_error *error, hopmla_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(error, status, 0, 0, format, arguments);
    va_end(arguments);
    return status;
}

hopmla_status hm_fail_value(hopmla_error *error, hopmla_status status, int64_t value, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(error, status, value, 0, format, arguments);
    va_end(arguments);
    return status;
}

hopmla_status hm_fail_native(hopmla_error *error, hopmla_status status, int32_t native_code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(error, status, 0, native_code, format, arguments);
    va_end(arguments);
    return status;
}

hopmla_status hm_fail_memory(hopmla_error *error, int32_t kind, uint64_t bytes)
{
    const int pinned = kind == HOPMLA_MEMORY_PINNED;
    return hm_fail_value(error, pinned ? HOPMLA_ERROR_OUT_OF_HOST_MEMORY : HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY,
                         (int64_t)bytes, "no %llu bytes of %s memory", (unsigned long long)bytes,
                         pinned ? "pinned" : "device");
}

hopmla_status hopmla_error_init(hopmla_error *error, uint64_t size)
{
    if (!error) {
        return HOPMLA_ERROR_NULL;
    }
    if (size < HM_FIRST_ERROR || size > HM_LARGEST_STRUCT) {
        return HOPMLA_ERROR_STRUCT_SIZE;
    }
    memset(error, 0, (size_t)size);
    error->struct_size = (uint32_t)size;
    return HOPMLA_OK;
}
