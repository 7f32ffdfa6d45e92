/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/observed.h"

/** @file
 * Finding CUPTI, and the life of a process that has it. It is opened once in a process, so each test is a process of its
 * own; this one links to none of the doubles, and finds them in HOPMLA_TEST_CUPTI and its like. */

typedef int (*scenario)(void);

/* Scenarios return 0, or the number of the line that failed; cmocka's assertions are the parent's. */
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

static int run(scenario what)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        exit(what());
    }
    int status = -1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static hopmla_context *cuda_context(void)
{
    hopmla_context *context = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CUDA;
    return hopmla_context_create(&options, &context, NULL) == HOPMLA_OK ? context : NULL;
}

static hopmla_profiler *make(hopmla_context *context, const char *path, hopmla_profiler_info *info)
{
    hopmla_profiler_options options = HOPMLA_PROFILER_OPTIONS_INIT;
    hopmla_profiler *profiler = NULL;
    options.clocks = HOPMLA_CLOCK_EVENTS | HOPMLA_CLOCK_ACTIVITY;
    options.counters = HOPMLA_COUNTERS_FULL;
    options.capacity = 64;
    options.cupti_path = path;
    if (hopmla_profiler_create(context, &options, &profiler, NULL) != HOPMLA_OK ||
        hopmla_profiler_start(profiler, NULL) != HOPMLA_OK) {
        return NULL;
    }
    *info = (hopmla_profiler_info)HOPMLA_PROFILER_INFO_INIT;
    hopmla_profiler_describe(profiler, info, NULL);
    return profiler;
}

/* A profiler with this CUPTI works, and says these texts. */
static int missing(const char *path, const char *activity, const char *counters)
{
    observed o;
    hopmla_profiler_info info;
    hopmla_record records[4];
    uint32_t count = 0;
    observed_create(&o, cuda_context());
    observed_update(&o);
    hopmla_profiler *profiler = make(o.context, path, &info);
    REQUIRE(profiler);
    fprintf(stderr, "  \"%s\"\n  \"%s\"\n", info.activity_missing, info.counters_missing);
    REQUIRE(activity ? strstr(info.activity_missing, activity) != NULL : info.activity_missing[0] == 0);
    REQUIRE(counters ? strstr(info.counters_missing, counters) != NULL : info.counters_missing[0] == 0);
    REQUIRE(info.time_source == (activity ? HOPMLA_SOURCE_EVENT : HOPMLA_SOURCE_ACTIVITY));
    REQUIRE(info.counters == (counters ? HOPMLA_COUNTERS_NONE : HOPMLA_COUNTERS_FULL));
    REQUIRE(observed_decode(&o, 0) == HOPMLA_OK);
    REQUIRE(hopmla_profiler_finish(profiler, NULL) == HOPMLA_OK);
    REQUIRE(hopmla_profiler_read(profiler, records, sizeof(records[0]), 4, &count, NULL) == HOPMLA_OK && count == 1);
    REQUIRE(records[0].valid & HOPMLA_VALID_TIME);
    hopmla_profiler_destroy(profiler);
    observed_destroy(&o);
    return 0;
}

static int is_mapped(const char *name)
{
    char line[1024];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps)) {
        found |= strstr(line, name) != NULL;
    }
    if (maps) {
        fclose(maps);
    }
    return found;
}

static const char *cupti(void)
{
    return getenv("HOPMLA_TEST_CUPTI");
}

/* Where it is looked for. */

static int no_file(void)
{
    return missing("/nowhere/libcupti.so", "/nowhere/libcupti.so", "/nowhere/libcupti.so");
}

static int no_file_by_environment(void)
{
    setenv("HOPMLA_CUPTI_PATH", "/nowhere/else.so", 1);
    return missing(NULL, "/nowhere/else.so", "/nowhere/else.so");
}

static int the_option_comes_first(void)
{
    setenv("HOPMLA_CUPTI_PATH", "/nowhere/else.so", 1);
    return missing(cupti(), NULL, NULL);
}

static int by_environment(void)
{
    setenv("HOPMLA_CUPTI_PATH", cupti(), 1);
    return missing(NULL, NULL, NULL);
}

static int empty_path_is_none(void)
{
    setenv("HOPMLA_CUPTI_PATH", cupti(), 1);
    return missing("", NULL, NULL);
}

static int not_cupti(void)
{
    return missing("libm.so.6", "is no CUPTI", "is no CUPTI");
}

static int too_old(void)
{
    return missing(getenv("HOPMLA_TEST_CUPTI_OLD"), "version 18) is too old: cuptiSubscribe",
                   "CUDA 12.6 or later has it");
}

/* A folder with a copy of the double, under one of the names that are looked for, and nothing beside it. */
static int copy(const char *folder, const char *name)
{
    char command[2048];
    snprintf(command, sizeof(command), "mkdir -p '%s' && cp '%s' '%s/%s'", folder, cupti(), folder, name);
    return system(command) == 0;
}

static int with_copy(const char *below, int as_toolkit, const char *counters)
{
    char folder[256], inside[512];
    snprintf(folder, sizeof(folder), "/tmp/hopmla-cupti-XXXXXX");
    REQUIRE(mkdtemp(folder));
    snprintf(inside, sizeof(inside), "%s%s", folder, below);
    REQUIRE(copy(inside, "libcupti.so.13"));
    unsetenv("HOPMLA_CUPTI_PATH");
    setenv("CUDA_HOME", folder, 1);
    const int failed = missing(as_toolkit ? NULL : folder, NULL, counters);
    char command[512];
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command) != 0 || failed;
}

static int no_nvperf(void)
{
    return with_copy("", 0, "libnvperf_host.so, which counters need");
}
static int in_the_toolkit(void)
{
    return with_copy("/extras/CUPTI/lib64", 1, "libnvperf_host.so, which counters need");
}

static void hide_toolkit(void)
{
    unsetenv("HOPMLA_CUPTI_PATH");
    unsetenv("CUDA_HOME");
    unsetenv("CUDA_PATH");
}

static int nowhere(void)
{
    hide_toolkit();
    return missing(NULL, "HOPMLA_CUPTI_PATH names", "NVIDIA's Python package");
}

/* It is found by its soname, as the real one is. */
static int one_in_the_process_is_taken(void)
{
    hide_toolkit();
    REQUIRE(dlopen(getenv("HOPMLA_TEST_CUPTI_NAMED"), RTLD_NOW | RTLD_LOCAL));
    return missing(NULL, NULL, NULL);
}

/* Off means off. */
static int not_asked_for(void)
{
    observed o;
    setenv("HOPMLA_CUPTI_PATH", cupti(), 1);
    observed_create(&o, cuda_context());
    observed_update(&o);
    hopmla_profiler *profiler = observed_profiler(o.context, HOPMLA_CLOCK_EVENTS, 64);
    REQUIRE(observed_decode(&o, 0) == HOPMLA_OK);
    REQUIRE(!is_mapped("fake-cupti"));
    hopmla_profiler_destroy(profiler);
    hopmla_profiler_info info;
    profiler = make(o.context, NULL, &info);
    REQUIRE(profiler && is_mapped("fake-cupti"));
    hopmla_profiler_destroy(profiler);
    observed_destroy(&o);
    return 0;
}

/* On CPU nothing is opened. */
static int on_cpu(void)
{
    hopmla_context *context = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_profiler_info info;
    options.backend = HOPMLA_BACKEND_CPU;
    setenv("HOPMLA_CUPTI_PATH", cupti(), 1);
    REQUIRE(hopmla_context_create(&options, &context, NULL) == HOPMLA_OK);
    hopmla_profiler *profiler = make(context, NULL, &info);
    REQUIRE(profiler && !is_mapped("fake-cupti"));
    REQUIRE(strstr(info.counters_missing, "CPU") && strstr(info.activity_missing, "CPU"));
    REQUIRE(info.time_source == HOPMLA_SOURCE_HOST);
    hopmla_profiler_destroy(profiler);
    hopmla_context_destroy(context);
    return 0;
}

/* The double aborts on a call in a child: the child's calls work, and its profiler goes. */
static int fork_in_session(void)
{
    observed o;
    hopmla_profiler_info info;
    observed_create(&o, cuda_context());
    observed_update(&o);
    hopmla_profiler *profiler = make(o.context, cupti(), &info);
    REQUIRE(profiler && observed_decode(&o, 0) == HOPMLA_OK);
    hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
    note.decodes = 1;
    REQUIRE(hopmla_plan_launch_begin(o.plan, &note, o.stream, NULL) == HOPMLA_OK);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        hopmla_profiler_info child_info;
        const int launch = hopmla_plan_launch_end(o.plan, 1, o.stream, NULL) == HOPMLA_OK;
        const int decode = observed_decode(&o, 0) == HOPMLA_OK;
        const int finish = hopmla_profiler_finish(profiler, NULL) == HOPMLA_OK;
        const int stop = hopmla_profiler_stop(profiler, NULL) == HOPMLA_OK;
        hopmla_profiler_destroy(profiler);
        hopmla_profiler *other = make(o.context, NULL, &child_info);
        const int said = other && strstr(child_info.counters_missing, "fork()");
        const int works = other && observed_decode(&o, 0) == HOPMLA_OK;
        hopmla_profiler_destroy(other);
        _exit(launch && decode && finish && stop && said && works ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    REQUIRE(hopmla_plan_launch_end(o.plan, 1, o.stream, NULL) == HOPMLA_OK);
    REQUIRE(hopmla_profiler_finish(profiler, NULL) == HOPMLA_OK);
    hopmla_record records[4];
    uint32_t count = 0;
    REQUIRE(hopmla_profiler_read(profiler, records, sizeof(records[0]), 4, &count, NULL) == HOPMLA_OK && count == 2);
    REQUIRE(records[1].valid & HOPMLA_VALID_TENSOR);
    hopmla_profiler_destroy(profiler);
    observed_destroy(&o);
    return 0;
}

static observed kept;
static hopmla_profiler *kept_profiler;

static int exit_in_session(void)
{
    hopmla_profiler_info info;
    observed_create(&kept, cuda_context());
    observed_update(&kept);
    kept_profiler = make(kept.context, cupti(), &info);
    REQUIRE(kept_profiler && info.counters == HOPMLA_COUNTERS_FULL);
    REQUIRE(observed_decode(&kept, 0) == HOPMLA_OK);
    return 0;
}

/* The tests. */

#define TEST(name)                                                                                                     \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        assert_int_equal(run(name), 0);                                                                                \
    }

TEST(no_file)
TEST(no_file_by_environment)
TEST(the_option_comes_first)
TEST(by_environment)
TEST(empty_path_is_none)
TEST(not_cupti)
TEST(too_old)
TEST(not_asked_for)
TEST(on_cpu)
TEST(fork_in_session)
TEST(exit_in_session)

/* What a machine with a CUDA toolkit would find, these must not. */
#define TEST_WITHOUT(name, library)                                                                                    \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        if (run(has_##library) == 0) {                                                                                 \
            skip();                                                                                                    \
        }                                                                                                              \
        assert_int_equal(run(name), 0);                                                                                \
    }

static int opens(const char *name)
{
    return dlopen(name, RTLD_NOW) != NULL;
}

/* They leave at once: what the machine's own libraries hold at the end is no leak of ours. */
static int has_nvperf(void)
{
    _exit(!opens("libnvperf_host.so"));
}
static int has_cupti(void)
{
    _exit(!opens("libcupti.so.13") && !opens("libcupti.so.12") && access("/usr/local/cuda", F_OK) != 0 &&
          access("/opt/cuda", F_OK) != 0);
}

TEST_WITHOUT(no_nvperf, nvperf)
TEST_WITHOUT(in_the_toolkit, cupti)
TEST_WITHOUT(nowhere, cupti)
TEST_WITHOUT(one_in_the_process_is_taken, cupti)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_no_file_by_environment),
        cmocka_unit_test(test_the_option_comes_first),
        cmocka_unit_test(test_by_environment),
        cmocka_unit_test(test_empty_path_is_none),
        cmocka_unit_test(test_not_cupti),
        cmocka_unit_test(test_too_old),
        cmocka_unit_test(test_no_nvperf),
        cmocka_unit_test(test_in_the_toolkit),
        cmocka_unit_test(test_nowhere),
        cmocka_unit_test(test_one_in_the_process_is_taken),
        cmocka_unit_test(test_not_asked_for),
        cmocka_unit_test(test_on_cpu),
        cmocka_unit_test(test_fork_in_session),
        cmocka_unit_test(test_exit_in_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
