/* SPDX-License-Identifier: Apache-2.0 */

/* An export's file. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "lib/error.h"
#include "profiling/export/out_internal.h"

enum {
    LINKS = 40,       /* followed, as by the system */
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
        if (written < 0 && errno == EAGAIN) { /* the caller's descriptor may be so */
            struct pollfd room = { out->file, POLLOUT, 0 };
            poll(&room, 1, -1);
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

/* Cuts a path before its last name and opens the folder, which is seen from another. @return it, or -1 */
static int open_folder(int from, char *path, const char **name)
{
    char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (slash && slash != path) {
        *slash = '\0';
    }
    return openat(from, !slash ? "." : slash == path ? "/" : path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int is_proc(int folder)
{
    struct statfs system;
    return fstatfs(folder, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/* Follows the links at the end of a path, so that the file behind them is replaced and not a link. Those of /proc, to
 * which /dev/stdout leads, are not followed: they mean a descriptor, not a name. @return errno, or 0 */
static int resolve(hm_out *out, const char *path)
{
    char at[PATH_MAX];
    int from = AT_FDCWD;
    if (strlen(path) >= sizeof(at)) {
        return ENAMETOOLONG;
    }
    strcpy(at, path);
    for (int links = 0; links < LINKS; links++) {
        const char *name;
        struct stat found;
        out->folder = open_folder(from, at, &name);
        const int code = errno;
        if (from >= 0) {
            close(from);
        }
        if (out->folder < 0) {
            return code;
        }
        from = out->folder;
        if (!*name || strlen(name) >= sizeof(out->name)) {
            return *name ? ENAMETOOLONG : EISDIR;
        }
        strcpy(out->name, name);
        const ssize_t length = is_proc(from) ? -1 : readlinkat(from, out->name, at, sizeof(at) - 1);
        if (length < 0) {
            return 0; /* no link; what else is wrong shows when it is opened */
        }
        at[length] = '\0';
        if (fstatat(from, out->name, &found, 0) && errno != ENOENT) {
            return errno; /* a link that the system does not let anyone follow */
        }
    }
    return ELOOP;
}

/* The descriptor of this process that a name in the folder is; -1 for anything else. */
static int own_descriptor(const hm_out *out)
{
    struct stat own, folder;
    const size_t digits = strspn(out->name, "0123456789");
    const int is_own = stat("/proc/self/fd", &own) == 0 && fstat(out->folder, &folder) == 0 &&
                       own.st_dev == folder.st_dev && own.st_ino == folder.st_ino;
    return is_own && digits < 10 && out->name[digits] == '\0' ? (int)strtol(out->name, NULL, 10) : -1;
}

/* A descriptor is written where it stands, as write() would: opened once more, a file would be overwritten from its
 * start. One of another process is appended to, the nearest to that which can be had. */
static int open_in_place(const hm_out *out)
{
    const int own = own_descriptor(out);
    return own >= 0 ? fcntl(own, F_DUPFD_CLOEXEC, 0)
                    : openat(out->folder, out->name, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
}

/* Names are this process's own by its id, and within it by the count. */
static int open_temporary(hm_out *out, mode_t mode)
{
    static atomic_uint count;
    for (int i = 0; i < NAMES_TRIED; i++) {
        snprintf(out->temporary, sizeof(out->temporary), ".hopmla.%ld.%u.tmp", (long)getpid(),
                 atomic_fetch_add(&count, 1));
        const int file = openat(out->folder, out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (file >= 0 || errno != EEXIST) {
            return file;
        }
    }
    return -1;
}

/* @return errno, or 0 */
static int open_resolved(hm_out *out)
{
    struct stat found;
    const int exists = fstatat(out->folder, out->name, &found, 0) == 0;
    if (exists && S_ISDIR(found.st_mode)) {
        return EISDIR;
    }
    if (is_proc(out->folder) || (exists && !S_ISREG(found.st_mode))) {
        out->file = open_in_place(out);
        return out->file < 0 ? errno : 0;
    }
    /* Whoever could not read the old one must not read the new one, not even before it has the old one's mode. */
    out->file = open_temporary(out, exists ? 0600 : 0666);
    if (out->file < 0) {
        const int code = errno;
        out->temporary[0] = '\0';
        return code;
    }
    if (exists) {
        (void)!fchmod(out->file, found.st_mode & 0777); /* a system without modes has nothing to hide */
    }
    return 0;
}

hopmla_status hm_out_file_open(hm_out *out, const char *path, hopmla_error *error)
{
    int code = resolve(out, path);
    if (!code) {
        code = open_resolved(out);
    }
    if (code) {
        return hm_fail_native(error, HOPMLA_ERROR_IO, code, "options.path %s, errno %d: %s",
                              code == EISDIR ? "is a directory" : "cannot be written", code, path);
    }
    return HOPMLA_OK;
}

/* After a crash of the system there is the old file or the whole new one: its bytes go to the disk before its name does.
 * Some file systems have no such thing. */
static void write_through(hm_out *out)
{
    if (!out->failed && fsync(out->file) && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
        hm_out_fail(out, errno, "writing");
    }
}

/* Gives it its name, or after a failure removes it. */
static void end_temporary(hm_out *out)
{
    if (!out->failed && renameat(out->folder, out->temporary, out->folder, out->name)) {
        hm_out_fail(out, errno, "renaming");
    }
    if (out->failed) {
        unlinkat(out->folder, out->temporary, 0);
    }
}

void hm_out_file_close(hm_out *out)
{
    if (out->temporary[0]) {
        write_through(out);
    }
    if (out->file >= 0 && close(out->file) && errno != EINTR) {
        hm_out_fail(out, errno, "closing");
    }
    if (out->temporary[0]) {
        end_temporary(out);
    }
    if (out->folder >= 0) {
        close(out->folder);
    }
}
