/* SPDX-License-Identifier: Apache-2.0 */
/* Where exports go and every way in which they cannot: what they hold is read by export.py. The linker sends allocations
 * of the exporters here: --wrap in meson.build. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cpu_context.h"
#include "tests/export_data.h"

enum {
    RECORDS = 300,
    TEXT = 1 << 20,
    OLD = 4 /* bytes of the file that is there before */
};

/* Allocations that fail. */

static int fail_at = -1;
static int allocations;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return allocations++ == fail_at ? NULL : __real_calloc(count, size);
}

/* The mode of the file whose mode is changed. */

static mode_t mode_before;

int __real_fchmod(int file, mode_t mode);
int __wrap_fchmod(int file, mode_t mode);

int __wrap_fchmod(int file, mode_t mode)
{
    struct stat found;
    assert_int_equal(fstat(file, &found), 0);
    mode_before = found.st_mode & 0777;
    return __real_fchmod(file, mode);
}

/* What is asked of the disk. */

static int synced;
static int sync_fails; /* with this */

int __real_fsync(int file);
int __wrap_fsync(int file);

int __wrap_fsync(int file)
{
    synced++;
    if (sync_fails) {
        errno = sync_fails;
        return -1;
    }
    return __real_fsync(file);
}

/* What a callback received. */
typedef struct sink {
    char text[TEXT];
    uint64_t bytes;
    uint64_t calls;
    uint64_t most;    /* bytes in one call */
    uint64_t ends_at; /* the call that ends the export, from 1; 0: none */
} sink;

static int32_t receive(void *user, const void *text, uint64_t bytes)
{
    sink *s = user;
    s->calls++;
    s->most = bytes > s->most ? bytes : s->most;
    assert_true(s->bytes + bytes <= sizeof(s->text));
    memcpy(s->text + s->bytes, text, bytes);
    s->bytes += bytes;
    return s->calls == s->ends_at ? 7 : 0;
}

static sink received;
static hopmla_record records[RECORDS];
static char folder[64];
static char file_path[80];
static char link_path[80];

static int set_up(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < RECORDS; i++) {
        records[i] = export_record(i);
    }
    strcpy(folder, "/tmp/hopmla-export-XXXXXX");
    if (!mkdtemp(folder)) {
        return 1;
    }
    snprintf(file_path, sizeof(file_path), "%s/file", folder);
    snprintf(link_path, sizeof(link_path), "%s/link", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(file_path);
    unlink(link_path);
    return rmdir(folder); /* fails when a temporary file was left */
}

static hopmla_export_options to_callback(void)
{
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    memset(&received, 0, sizeof(received));
    options.write = receive;
    options.user = &received;
    return options;
}

static hopmla_export_options to_path(const char *path)
{
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    options.path = path;
    return options;
}

static uint64_t size_of(const char *path)
{
    struct stat found;
    return stat(path, &found) ? UINT64_MAX : (uint64_t)found.st_size;
}

static void put_old_file(void)
{
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    fputs("old\n", file);
    fclose(file);
}

static hopmla_status export_all(int32_t format, const hopmla_export_options *options, hopmla_error *error)
{
    return hopmla_export_records(format, records, sizeof(records[0]), RECORDS, options, error);
}

static void test_a_path_and_a_callback_get_the_same(void **state)
{
    (void)state;
    for (int32_t format = HOPMLA_EXPORT_JSONL; format <= HOPMLA_EXPORT_TIMELINE; format++) {
        hopmla_export_options options = to_callback();
        assert_int_equal(export_all(format, &options, NULL), HOPMLA_OK);
        assert_true(received.bytes > 1000);
        assert_true(received.most <= 16384); /* a piece is small however much there is */

        const hopmla_export_options file = to_path(file_path);
        assert_int_equal(export_all(format, &file, NULL), HOPMLA_OK);
        assert_int_equal(size_of(file_path), received.bytes);
        static char text[TEXT];
        FILE *written = fopen(file_path, "r");
        assert_int_equal(fread(text, 1, sizeof(text), written), received.bytes);
        fclose(written);
        assert_memory_equal(text, received.text, received.bytes);
    }
}

static void test_a_callback_may_end_it(void **state)
{
    (void)state;
    for (int32_t format = HOPMLA_EXPORT_JSONL; format <= HOPMLA_EXPORT_TIMELINE; format++) {
        for (uint64_t at = 1; at <= 3; at++) {
            hopmla_export_options options = to_callback();
            assert_int_equal(export_all(format, &options, NULL), HOPMLA_OK);
            const uint64_t calls = received.calls;
            options = to_callback();
            received.ends_at = at;
            if (at <= calls) {
                assert_fails(export_all(format, &options, &error), HOPMLA_ERROR_IO, "options.write");
                assert_int_equal(received.calls, at); /* and is not called again */
            }
        }
    }
}

static void test_paths_that_cannot_be_written(void **state)
{
    (void)state;
    const struct {
        const char *path;
        int code;
    } cases[] = {
        { "/nonexistent/folder/file", ENOENT }, { "/", EISDIR }, { folder, EISDIR }, { "/dev/full", ENOSPC },
        { "/dev/null/file", ENOTDIR },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const hopmla_export_options options = to_path(cases[i].path);
        hopmla_error error = HOPMLA_ERROR_INIT;
        assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, &error), HOPMLA_ERROR_IO);
        assert_int_equal(error.native_code, cases[i].code);
        assert_non_null(strstr(error.message, "options.path"));
    }
    const hopmla_export_options empty = to_path("");
    assert_fails(export_all(HOPMLA_EXPORT_CSV, &empty, &error), HOPMLA_ERROR_ARGUMENT, "options.path is empty");
}

static void test_a_device_is_written_in_place(void **state)
{
    (void)state;
    const hopmla_export_options options = to_path("/dev/null");
    assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, NULL), HOPMLA_OK);
    struct stat found;
    assert_int_equal(stat("/dev/null", &found), 0);
    assert_true(S_ISCHR(found.st_mode));
}

/* Reads a little of a pipe and leaves while the other end waits for room. */
static void *read_and_leave(void *path)
{
    char text[100];
    const int pipe = open(path, O_RDONLY);
    const ssize_t got = read(pipe, text, sizeof(text));
    close(pipe);
    return got > 0 ? path : NULL;
}

static void export_to_a_leaving_reader(void)
{
    pthread_t reader;
    void *has_read = NULL;
    hopmla_error error = HOPMLA_ERROR_INIT;
    assert_int_equal(pthread_create(&reader, NULL, read_and_leave, file_path), 0);
    const hopmla_export_options options = to_path(file_path);
    const hopmla_status status = export_all(HOPMLA_EXPORT_JSONL, &options, &error);
    assert_int_equal(pthread_join(reader, &has_read), 0);
    assert_non_null(has_read);
    assert_int_equal(status, HOPMLA_ERROR_IO);
    assert_int_equal(error.native_code, EPIPE);
}

/* No signal comes of it, and one that waited before goes on waiting. */
static void test_the_reader_of_a_pipe_leaves(void **state)
{
    (void)state;
    sigset_t set, former, after;
    assert_int_equal(mkfifo(file_path, 0600), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &former), 0);
    export_to_a_leaving_reader();
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    assert_int_equal(sigismember(&after, SIGPIPE), sigismember(&former, SIGPIPE));

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    export_to_a_leaving_reader();
    sigpending(&after);
    assert_false(sigismember(&after, SIGPIPE));
    raise(SIGPIPE);
    export_to_a_leaving_reader();
    sigpending(&after);
    assert_true(sigismember(&after, SIGPIPE));
    assert_int_equal(sigwaitinfo(&set, NULL), SIGPIPE);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
}

static void assert_file_is(const char *first, const sink *then)
{
    static char text[TEXT];
    FILE *file = fopen(file_path, "r");
    assert_non_null(file);
    const uint64_t length = fread(text, 1, sizeof(text), file), start = strlen(first);
    fclose(file);
    assert_int_equal(length, start + then->bytes);
    assert_memory_equal(text, first, start);
    assert_memory_equal(text + start, then->text, then->bytes);
}

/* As `>> file` and `> file` with something written before: it is appended to, through any name of the descriptor, and
 * what is written afterwards comes behind it. */
static void test_a_descriptor_is_written_where_it_stands(void **state)
{
    (void)state;
    static const char *const names[] = { "/dev/fd/%d", "/proc/self/fd/%d", "/proc/thread-self/fd/%d" };
    const hopmla_export_options to_memory = to_callback();
    assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &to_memory, NULL), HOPMLA_OK);
    for (size_t i = 0; i < 6; i++) {
        char name[64];
        put_old_file();
        const int file = open(file_path, O_WRONLY | (i % 2 ? O_APPEND : 0));
        assert_int_equal(lseek(file, 0, SEEK_END), OLD);
        snprintf(name, sizeof(name), names[i / 2], file);
        assert_int_equal(symlink(name, link_path), 0);
        const hopmla_export_options options = to_path(i == 2 ? link_path : name);
        assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, NULL), HOPMLA_OK);
        assert_file_is("old\n", &received);
        assert_int_equal(lseek(file, 0, SEEK_CUR), i < 4 ? OLD + received.bytes : OLD);
        close(file);
        unlink(link_path);
    }
    const hopmla_export_options closed = to_path("/dev/fd/999");
    assert_fails(export_all(HOPMLA_EXPORT_CSV, &closed, &error), HOPMLA_ERROR_IO, "options.path");
}

static void *read_slowly(void *pipe)
{
    static char text[TEXT];
    ssize_t got, all = 0;
    while ((got = read(*(int *)pipe, text, 5000)) > 0) {
        all += got;
        usleep(1000);
    }
    return text + all;
}

/* A pipe that does not block its writer is waited for. */
static void test_a_pipe_by_its_descriptor(void **state)
{
    (void)state;
    int ends[2];
    char name[64];
    pthread_t reader;
    void *first, *last;
    const hopmla_export_options to_memory = to_callback();
    assert_int_equal(export_all(HOPMLA_EXPORT_JSONL, &to_memory, NULL), HOPMLA_OK);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, &ends[0]), 0);
    snprintf(name, sizeof(name), "/dev/fd/%d", ends[1]);
    const hopmla_export_options options = to_path(name);
    assert_int_equal(export_all(HOPMLA_EXPORT_JSONL, &options, NULL), HOPMLA_OK);
    close(ends[1]);
    assert_int_equal(pthread_join(reader, &last), 0);
    first = read_slowly(&ends[0]); /* at its end: nothing */
    assert_int_equal((char *)last - (char *)first, received.bytes);
    close(ends[0]);
}

static void test_behind_a_link_the_file_is_replaced(void **state)
{
    (void)state;
    put_old_file();
    assert_int_equal(symlink("file", link_path), 0);
    const hopmla_export_options options = to_path(link_path);
    assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, NULL), HOPMLA_OK);
    struct stat found;
    assert_int_equal(lstat(link_path, &found), 0);
    assert_true(S_ISLNK(found.st_mode));
    assert_true(size_of(file_path) > OLD);
}

/* It is made where the link leads; a ring of links, and folders that are none, are told by the system's code. */
static void test_behind_a_link_a_file_is_made(void **state)
{
    (void)state;
    struct stat found;
    char target[128];
    snprintf(target, sizeof(target), "../%s/./file", strrchr(folder, '/') + 1);
    assert_int_equal(symlink(target, link_path), 0);
    const hopmla_export_options options = to_path(link_path);
    assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, NULL), HOPMLA_OK);
    assert_int_equal(lstat(link_path, &found), 0);
    assert_true(S_ISLNK(found.st_mode));
    assert_int_equal(lstat(file_path, &found), 0);
    assert_true(S_ISREG(found.st_mode) && found.st_size > OLD);

    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(unlink(file_path), 0);
    static const struct {
        const char *target;
        int code;
    } cases[] = { { "link", ELOOP }, { "none/file", ENOENT }, { "link/", ELOOP }, { "none/", ENOENT } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        assert_int_equal(symlink(cases[i].target, link_path), 0);
        assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, &error), HOPMLA_ERROR_IO);
        assert_int_equal(error.native_code, cases[i].code);
        assert_int_equal(unlink(link_path), 0);
    }
}

static void test_long_names(void **state)
{
    (void)state;
    enum {
        LONGEST = 255
    };
    char path[6000];
    const size_t start = (size_t)snprintf(path, sizeof(path), "%s/", folder);
    memset(path + start, 'n', sizeof(path) - start);
    hopmla_export_options options = to_path(path);
    for (int again = 0; again < 2; again++) { /* made, and replaced */
        path[start + LONGEST] = '\0';
        assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, NULL), HOPMLA_OK);
        assert_true(size_of(path) > OLD);
    }
    assert_int_equal(unlink(path), 0);
    static const size_t longer[] = { LONGEST + 1, 4096, 4990 };
    for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        memset(path + start, 'n', sizeof(path) - start);
        path[start + longer[i]] = '\0';
        assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, &error), HOPMLA_ERROR_IO);
        assert_int_equal(error.native_code, ENAMETOOLONG);
    }
}

/* The disk has the whole file before it gets its name; a disk that fails then costs the new file, not the old one. */
static void test_a_file_is_on_the_disk_when_it_has_its_name(void **state)
{
    (void)state;
    put_old_file();
    const hopmla_export_options options = to_path(file_path), device = to_path("/dev/null");
    hopmla_error error = HOPMLA_ERROR_INIT;
    synced = 0;
    sync_fails = EIO;
    const hopmla_status status = export_all(HOPMLA_EXPORT_CSV, &options, &error);
    sync_fails = EINVAL; /* there is no such thing */
    const hopmla_status without = export_all(HOPMLA_EXPORT_JSONL, &device, NULL);
    assert_int_equal(synced, 1);
    assert_int_equal(size_of(file_path), OLD);
    const hopmla_status pointless = export_all(HOPMLA_EXPORT_CSV, &options, NULL);
    sync_fails = 0;
    assert_int_equal(status, HOPMLA_ERROR_IO);
    assert_int_equal(error.native_code, EIO);
    assert_int_equal(without, HOPMLA_OK);
    assert_int_equal(pointless, HOPMLA_OK);
    assert_int_equal(synced, 2);
    assert_true(size_of(file_path) > OLD);
}

/* A temporary file is never open to more people than the one it replaces. */
static void test_a_replaced_file_keeps_its_mode(void **state)
{
    (void)state;
    struct stat found;
    const hopmla_export_options options = to_path(file_path);
    const mode_t former = umask(0022);
    assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, NULL), HOPMLA_OK);
    assert_int_equal(stat(file_path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0644);
    umask(0);
    static const mode_t modes[] = { 0640, 0400, 0666 };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(chmod(file_path, modes[i]), 0);
        mode_before = 0;
        assert_int_equal(export_all(HOPMLA_EXPORT_CSV, &options, NULL), HOPMLA_OK);
        assert_int_equal(mode_before, 0600);
        assert_int_equal(stat(file_path, &found), 0);
        assert_int_equal(found.st_mode & 0777, modes[i]);
    }
    umask(former);
}

/* A disk that is full in the middle: a limit on the size of files stands for it. */
static void test_what_was_there_stays_after_a_failure(void **state)
{
    (void)state;
    put_old_file();
    struct rlimit former, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
    small = former;
    small.rlim_cur = 20000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const hopmla_export_options options = to_path(file_path);
    hopmla_error error = HOPMLA_ERROR_INIT;
    const hopmla_status status = export_all(HOPMLA_EXPORT_CSV, &options, &error);
    setrlimit(RLIMIT_FSIZE, &former);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, HOPMLA_ERROR_IO);
    assert_int_equal(error.native_code, EFBIG);
    assert_int_equal(size_of(file_path), OLD);
}

/* Fails every allocation of an export to a path in turn. @return how many there are */
static int fail_each(int32_t format, const char *path, uint64_t size_before)
{
    const hopmla_export_options options = to_path(path);
    for (int failures = 0;; failures++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        allocations = 0;
        fail_at = failures;
        const hopmla_status status = export_all(format, &options, &error);
        fail_at = -1;
        if (status == HOPMLA_OK) {
            assert_true(size_of(path) > 1000);
            return failures;
        }
        assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
        assert_int_equal(error.status, status);
        assert_int_equal(size_of(path), size_before);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int32_t format = HOPMLA_EXPORT_JSONL; format <= HOPMLA_EXPORT_TIMELINE; format++) {
        const int own = format >= HOPMLA_EXPORT_ROOFLINE; /* pictures sort */
        put_old_file();
        assert_int_equal(fail_each(format, file_path, OLD), 1 + own);
        unlink(file_path);
        assert_int_equal(fail_each(format, file_path, UINT64_MAX), 1 + own);
    }
}

static void test_arguments(void **state)
{
    (void)state;
    hopmla_export_options options = to_callback();
    const uint64_t size = sizeof(records[0]);
    assert_fails(hopmla_export_records(0, records, size, 1, &options, &error), HOPMLA_ERROR_ENUM, "format");
    assert_fails(hopmla_export_records(6, records, size, 1, &options, &error), HOPMLA_ERROR_ENUM, "format is 6");
    assert_fails(hopmla_export_records(1, records, size, 1, NULL, &error), HOPMLA_ERROR_NULL, "options");
    assert_fails(hopmla_export_records(1, NULL, size, 1, &options, &error), HOPMLA_ERROR_NULL, "records");
    assert_int_equal(hopmla_export_records(1, NULL, size, 0, &options, NULL), HOPMLA_OK);
    assert_fails(hopmla_export_records(1, records, size, UINT64_MAX, &options, &error), HOPMLA_ERROR_ARGUMENT, "count");
    assert_fails(hopmla_export_records(1, records, size, UINT64_MAX / size, &options, &error), HOPMLA_ERROR_ARGUMENT,
                 "count");
    options.path = "/tmp/x";
    assert_fails(export_all(1, &options, &error), HOPMLA_ERROR_ARGUMENT, "both given");
    options.path = NULL;
    options.write = NULL;
    assert_fails(export_all(1, &options, &error), HOPMLA_ERROR_ARGUMENT, "both NULL");
    options = to_callback();
    options.reserved = 1;
    assert_fails(export_all(1, &options, &error), HOPMLA_ERROR_ARGUMENT, "reserved");
    assert_int_equal(received.calls, 0);
}

static void test_ceilings(void **state)
{
    (void)state;
    hopmla_export_options options = to_callback();
    hopmla_ceilings ceilings = export_ceilings();
    options.ceilings = &ceilings;
    double *rates[] = { &ceilings.read_bytes_per_second, &ceilings.flops_burst, &ceilings.flops_sustained };
    const double wrong[] = { 0.0, -1.0, 1.0 / 0.0, 0.0 / 0.0 };
    for (size_t r = 0; r < 3; r++) {
        for (size_t w = 0; w < 4; w++) {
            ceilings = export_ceilings();
            *rates[r] = wrong[w];
            assert_fails(export_all(HOPMLA_EXPORT_ROOFLINE, &options, &error), HOPMLA_ERROR_ARGUMENT, "ceilings");
        }
    }
    ceilings = export_ceilings();
    ceilings.reserved = 1;
    assert_fails(export_all(HOPMLA_EXPORT_ROOFLINE, &options, &error), HOPMLA_ERROR_ARGUMENT,
                 "ceilings has a reserved");
    ceilings = export_ceilings();
    ceilings.struct_size = 8;
    assert_fails(export_all(HOPMLA_EXPORT_ROOFLINE, &options, &error), HOPMLA_ERROR_STRUCT_SIZE, "ceilings");
    assert_int_equal(received.calls, 0);
}

/* Records of a newer and of an older header, and of none. */
static void test_records_of_another_size(void **state)
{
    (void)state;
    enum {
        LARGER = sizeof(hopmla_record) + 24
    };
    static unsigned char wide[3][LARGER];
    hopmla_export_options options = to_callback();
    assert_int_equal(hopmla_export_records(HOPMLA_EXPORT_CSV, records, sizeof(records[0]), 3, &options, NULL),
                     HOPMLA_OK);
    static sink narrow;
    narrow = received;
    for (int i = 0; i < 3; i++) {
        const uint32_t size = i == 1 ? (uint32_t)LARGER : (uint32_t)sizeof(hopmla_record);
        memcpy(wide[i], &records[i], sizeof(records[i]));
        memcpy(wide[i], &size, sizeof(size));
    }
    options = to_callback();
    const hopmla_record *first = (const hopmla_record *)(const void *)wide;
    assert_int_equal(hopmla_export_records(HOPMLA_EXPORT_CSV, first, LARGER, 3, &options, NULL), HOPMLA_OK);
    assert_int_equal(received.bytes, narrow.bytes);
    assert_memory_equal(received.text, narrow.text, narrow.bytes);

    options = to_callback();
    wide[1][LARGER - 1] = 1;
    assert_fails(hopmla_export_records(HOPMLA_EXPORT_CSV, first, LARGER, 3, &options, &error), HOPMLA_ERROR_STRUCT_TAIL,
                 "records[]");
    wide[1][LARGER - 1] = 0;
    const uint32_t wrong[] = { 0, 4, sizeof(hopmla_record) - 1, LARGER + 1, UINT32_MAX };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memcpy(wide[2], &wrong[i], sizeof(wrong[i]));
        assert_fails(hopmla_export_records(HOPMLA_EXPORT_CSV, first, LARGER, 3, &options, &error),
                     HOPMLA_ERROR_STRUCT_SIZE, "struct_size");
    }
    const uint64_t sizes[] = { 0, sizeof(hopmla_record) - 8, 4097, UINT64_MAX };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_fails(hopmla_export_records(HOPMLA_EXPORT_CSV, records, sizes[i], 3, &options, &error),
                     HOPMLA_ERROR_STRUCT_SIZE, "record_size");
    }
    assert_int_equal(received.calls, 0);
}

/* Of a profiler and a pool that exist, of either, of none, and of two contexts. */
static void test_metrics(void **state)
{
    (void)state;
    hopmla_context *context = make_context(), *other = make_context();
    hopmla_profiler *profiler = NULL;
    hopmla_pool *pool = NULL, *strange = NULL;
    hopmla_pool_options made = HOPMLA_POOL_OPTIONS_INIT;
    made.format = HOPMLA_KV_BF16;
    made.layers = 1;
    made.pages = 17;
    assert_int_equal(hopmla_pool_create(context, &made, &pool, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_pool_create(other, &made, &strange, NULL), HOPMLA_OK);
    assert_int_equal(hopmla_profiler_create(context, NULL, &profiler, NULL), HOPMLA_OK);
    for (int which = 0; which < 4; which++) {
        hopmla_export_options options = to_callback();
        hopmla_profiler *given = which & 1 ? profiler : NULL;
        assert_int_equal(hopmla_export_metrics(given, which & 2 ? pool : NULL, &options, NULL), HOPMLA_OK);
        assert_int_equal(strstr(received.text, "\nhopmla_pool_pages 17\n") != NULL, (which & 2) != 0);
        assert_int_equal(strstr(received.text, "hopmla_calls_total{kind=\"decode\"} 0\n") != NULL, which & 1);
        assert_string_equal(received.text + received.bytes - 6, "# EOF\n");
    }
    hopmla_export_options options = to_callback();
    assert_fails(hopmla_export_metrics(profiler, strange, &options, &error), HOPMLA_ERROR_MISMATCH, "pool");
    assert_fails(hopmla_export_metrics(profiler, pool, NULL, &error), HOPMLA_ERROR_NULL, "options");
    assert_int_equal(received.calls, 0);
    received.ends_at = 1;
    assert_fails(hopmla_export_metrics(profiler, pool, &options, &error), HOPMLA_ERROR_IO, "options.write");
    fail_at = allocations = 0;
    const hopmla_export_options file = to_path(file_path);
    const hopmla_status status = hopmla_export_metrics(profiler, pool, &file, NULL);
    fail_at = -1;
    assert_int_equal(status, HOPMLA_ERROR_OUT_OF_HOST_MEMORY);
    hopmla_profiler_destroy(profiler);
    hopmla_pool_destroy(pool);
    hopmla_pool_destroy(strange);
    hopmla_context_destroy(context);
    hopmla_context_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_path_and_a_callback_get_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_callback_may_end_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_paths_that_cannot_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_device_is_written_in_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_reader_of_a_pipe_leaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_descriptor_is_written_where_it_stands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pipe_by_its_descriptor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_behind_a_link_the_file_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_behind_a_link_a_file_is_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_is_on_the_disk_when_it_has_its_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_replaced_file_keeps_its_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_there_stays_after_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ceilings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_of_another_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_metrics, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("exports", tests, NULL, NULL) ? 1 : 0;
}
