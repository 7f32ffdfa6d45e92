/* SPDX-License-Identifier: Apache-2.0 */
/* Files, pipes, links and descriptors that exports go to, and every way in which they cannot. The linker sends changes of
 * modes and what is asked of the disk here: --wrap in meson.build. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/cpu_context.h"
#include "tests/export_world.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests_name("files of exports", tests, NULL, NULL) ? 1 : 0;
}
