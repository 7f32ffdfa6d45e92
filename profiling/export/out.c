/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/export/out.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "profiling/export/out_internal.h"

enum {
    PIECE = 1024 /* that hm_out_print can make at a time */
};

void hm_out_fail(hm_out *out, int32_t code, const char *what)
{
    if (!out->failed) {
        out->failed = 1;
        out->code = code;
        out->what = what;
    }
}

static void flush(hm_out *out)
{
    if (out->failed || out->used == 0) {
        /* nothing to do */
    } else if (!out->write) {
        hm_out_file_write(out);
    } else if (out->write(out->user, out->buffer, out->used)) {
        hm_out_fail(out, 0, "the callback");
    }
    out->used = 0;
}

static void release(hm_out *out)
{
    if (out->locale) {
        freelocale(out->locale);
    }
    free(out);
}

hopmla_status hm_out_open(const hopmla_export_options *options, hm_out **made, hopmla_error *error)
{
    hm_out *out = calloc(1, sizeof(*out));
    if (!out) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for an export's buffer");
    }
    out->file = out->folder = -1;
    out->write = options->write;
    out->user = options->user;
    out->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const hopmla_status status = !out->locale    ? hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no C locale")
                                 : options->path ? hm_out_file_open(out, options->path, error)
                                                 : HOPMLA_OK;
    if (status) {
        hm_out_discard(out);
        return status;
    }
    *made = out;
    return HOPMLA_OK;
}

hopmla_status hm_out_close(hm_out *out, hopmla_error *error)
{
    flush(out);
    hm_out_file_close(out);
    hopmla_status status = HOPMLA_OK;
    if (out->failed && out->write) {
        status = hm_fail(error, HOPMLA_ERROR_IO, "options.write ended the export");
    } else if (out->failed) {
        status = hm_fail_native(error, HOPMLA_ERROR_IO, out->code, "%s options.path failed, errno %d", out->what,
                                (int)out->code);
    }
    release(out);
    return status;
}

void hm_out_discard(hm_out *out)
{
    hm_out_fail(out, 0, "");
    hm_out_file_close(out);
    release(out);
}

int hm_out_failed(const hm_out *out)
{
    return out->failed;
}

void hm_out_bytes(hm_out *out, const char *bytes, uint64_t count)
{
    while (count > 0) {
        if (out->used == sizeof(out->buffer)) {
            flush(out);
        }
        const size_t room = sizeof(out->buffer) - out->used;
        const size_t taken = count < room ? (size_t)count : room;
        memcpy(out->buffer + out->used, bytes, taken);
        out->used += taken;
        bytes += taken;
        count -= taken;
    }
}

void hm_out_text(hm_out *out, const char *text)
{
    hm_out_bytes(out, text, strlen(text));
}

void hm_out_print(hm_out *out, const char *format, ...)
{
    char piece[PIECE];
    va_list arguments;
    va_start(arguments, format);
    const locale_t former = uselocale(out->locale);
    const int length = vsnprintf(piece, sizeof(piece), format, arguments);
    uselocale(former);
    va_end(arguments);
    if (length > 0) {
        hm_out_bytes(out, piece, (size_t)length < sizeof(piece) ? (uint64_t)length : sizeof(piece) - 1);
    }
}
