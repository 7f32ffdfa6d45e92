/* SPDX-License-Identifier: Apache-2.0 */

/* An export's file. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/error.h"
#include "profiling/export/out_internal.h"

enum {
    NAME_EXTRA = 48,  /* for what a temporary name adds */
    NAMES_TRIED = 100 /* left by processes that were killed */
};

/* write(), but a pipe that nobody reads any more is EPIPE alone: the signal would end a program that never asked for it.
 * It goes to the thread that writes, so it is blocked here and taken away, unless one was waiting before. */
static ssize_t write_without_signal(int file, const void *bytes, size_t count)
{
    const struct timespec now = { 0, 0 };
    sigset_t broken_pipe, former, waiting;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, &former);
    sigpending(&waiting);
    const ssize_t written = write(file, bytes, count);
    const int code = errno;
    if (written < 0 && code == EPIPE && !sigismember(&waiting, SIGPIPE)) {
        sigtimedwait(&broken_pipe, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    errno = code;
    return written;
}

void hm_out_file_write(hm_out *out)
{
    const char *at = out->buffer;
    while (out->used > 0) {
        const ssize_t written = write_without_signal(out->file, at, out->used);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            hm_out_fail(out, errno, "writing");
            return;
        }
        at += written;
        out->used -= (size_t)written;
    }
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
hopmla_status hm_out_file_open(hm_out *out, const char *path, hopmla_error *error)
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

void hm_out_file_close(hm_out *out)
{
    if (out->file < 0) {
        return;
    }
    if (close(out->file) && errno != EINTR) {
        hm_out_fail(out, errno, "closing");
    }
    if (!out->temporary) {
        return;
    }
    if (!out->failed && rename(out->temporary, out->target)) {
        hm_out_fail(out, errno, "renaming");
    }
    if (out->failed) {
        unlink(out->temporary);
    }
}
