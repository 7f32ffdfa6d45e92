/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/export/out.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/error.h"
#include "profiling/export/out_internal.h"

enum {
    PIECE = 1024,     /* that hm_out_print can make at a time */
    NAME_EXTRA = 48,  /* for what a temporary name adds */
    NAMES_TRIED = 100 /* left by processes that were killed */
};

static void set_failure(hm_out *out, int32_t code, const char *what)
{
    if (!out->failed) {
        out->failed = 1;
        out->code = code;
        out->what = what;
    }
}

static void write_file(hm_out *out)
{
    const char *at = out->buffer;
    while (out->used > 0) {
        const ssize_t written = write(out->file, at, out->used);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            set_failure(out, errno, "writing");
            return;
        }
        at += written;
        out->used -= (size_t)written;
    }
}

static void flush(hm_out *out)
{
    if (out->failed || out->used == 0) {
        /* nothing to do */
    } else if (!out->write) {
        write_file(out);
    } else if (out->write(out->user, out->buffer, out->used)) {
        set_failure(out, 0, "the callback");
    }
    out->used = 0;
}

/* Names are this process's own by its id, and within it by the count. */
static int open_temporary(hm_out *out, const char *target)
{
    static atomic_uint count;
    for (int i = 0; i < NAMES_TRIED; i++) {
        snprintf(out->temporary, strlen(target) + NAME_EXTRA, "%s.%ld.%u.tmp", target, (long)getpid(),
                 atomic_fetch_add(&count, 1));
        const int file = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST) {
            return file;
        }
    }
    return -1;
}

/* Behind a link the file itself is replaced, not the link. */
static hopmla_status open_path(hm_out *out, const char *path, hopmla_error *error)
{
    struct stat found;
    const int exists = stat(path, &found) == 0;
    if (exists && S_ISDIR(found.st_mode)) {
        return hm_fail_native(error, HOPMLA_ERROR_IO, EISDIR, "options.path is a directory: %s", path);
    }
    if (exists && !S_ISREG(found.st_mode)) {
        out->file = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        out->target = exists ? realpath(path, NULL) : strdup(path);
        out->temporary = out->target ? calloc(1, strlen(out->target) + NAME_EXTRA) : NULL;
        if (!out->temporary) {
            return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for the name of options.path");
        }
        out->file = open_temporary(out, out->target);
        if (exists && out->file >= 0) {
            /* Whoever could not read the old one must not read the new one. What cannot be had stays as it was made. */
            (void)!fchmod(out->file, found.st_mode & 0777);
        }
    }
    if (out->file < 0) {
        const int code = errno;
        return hm_fail_native(error, HOPMLA_ERROR_IO, code, "options.path cannot be written, errno %d: %s", code, path);
    }
    return HOPMLA_OK;
}

static void release(hm_out *out)
{
    free(out->target);
    free(out->temporary);
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
    out->file = -1;
    out->write = options->write;
    out->user = options->user;
    out->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const hopmla_status status = !out->locale    ? hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no C locale")
                                 : options->path ? open_path(out, options->path, error)
                                                 : HOPMLA_OK;
    if (status) {
        release(out);
        return status;
    }
    *made = out;
    return HOPMLA_OK;
}

static void close_file(hm_out *out)
{
    if (out->file < 0) {
        return;
    }
    if (close(out->file) && errno != EINTR) {
        set_failure(out, errno, "closing");
    }
    if (!out->temporary) {
        return;
    }
    if (!out->failed && rename(out->temporary, out->target)) {
        set_failure(out, errno, "renaming");
    }
    if (out->failed) {
        unlink(out->temporary);
    }
}

hopmla_status hm_out_close(hm_out *out, hopmla_error *error)
{
    flush(out);
    close_file(out);
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
    set_failure(out, 0, "");
    close_file(out);
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
