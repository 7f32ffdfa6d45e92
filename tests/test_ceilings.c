/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of ceilings: what it finds, what it measures anew, and what it never makes an error of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/context.h"
#include "lib/error.h"
#include "profiling/ceilings/cache.h"
#include "tests/cpu_context.h"
#include "tests/fake_nvml.h"

/* Allocations that fail. The linker sends them here: --wrap in meson.build. */

static int fail_at = -1;
static int allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_malloc(size_t size)
{
    return allocations++ == fail_at ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return allocations++ == fail_at ? NULL : __real_calloc(count, size);
}

static char folder[64];
static char path[128];
static hm_backend counted; /* the CPU backend with a measurement that takes no time */
static int measurements;
static int fails;
static char logged[512];

static hopmla_status measure(hm_device *device, hopmla_ceilings *ceilings, hopmla_error *error)
{
    (void)device;
    measurements++;
    if (fails) {
        return hm_fail_memory(error, HOPMLA_MEMORY_PINNED, 1);
    }
    ceilings->read_bytes_per_second = 4.4e12 + measurements;
    ceilings->flops_burst = 935e12;
    ceilings->flops_sustained = 735e12;
    return HOPMLA_OK;
}

static void describe_cuda(const hm_device *device, hopmla_context_info *info)
{
    (void)device;
    info->backend = HOPMLA_BACKEND_CUDA;
    info->device = 1; /* the one that the fake library knows */
    info->driver_version = 13000;
    strcpy(info->name, "A\tcard\n");
}

static void keep_log(void *user, int32_t level, const char *text)
{
    (void)user;
    snprintf(logged, sizeof(logged), "%d %s", (int)level, text);
}

static int set_up(void **state)
{
    strcpy(folder, "/tmp/hopmla-ceilings-XXXXXX");
    if (!mkdtemp(folder)) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/ceilings", folder);
    hopmla_context *context = make_context();
    counted = *context->backend;
    counted.measure_ceilings = measure;
    context->backend = &counted;
    context->log = keep_log;
    context->log_level = HOPMLA_LOG_WARNING;
    measurements = fails = 0;
    logged[0] = '\0';
    fake_nvml_state = (fake_nvml){ .mhz = 1755, .milliwatts = 689500 };
    *state = context;
    return 0;
}

static int tear_down(void **state)
{
    hopmla_context_destroy(*state);
    unlink(path);
    return rmdir(folder); /* fails when anything else was left */
}

static hopmla_ceilings must_load(hopmla_context *context, const char *from)
{
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (hopmla_load_ceilings(context, from, &ceilings, &error)) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(ceilings.struct_size, sizeof(ceilings));
    return ceilings;
}

static void put(const char *text, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
}

static uint64_t get(char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t length = fread(text, 1, size - 1, file);
    fclose(file);
    text[length] = '\0';
    return length;
}

static void test_measured_once(void **state)
{
    const hopmla_ceilings first = must_load(*state, path);
    assert_int_equal(measurements, 1);
    assert_true(first.unix_time > 1700000000);
    assert_true(first.sustained_mhz == 0.0 && first.sustained_watts == 0.0 && !*first.driver);
    const hopmla_ceilings second = must_load(*state, path);
    assert_int_equal(measurements, 1);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_string_equal(logged, "");
}

static void test_measuring_alone_writes_nothing(void **state)
{
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    assert_int_equal(hopmla_measure_ceilings(*state, &ceilings, NULL), HOPMLA_OK);
    assert_true(ceilings.unix_time > 0);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_another_device_has_its_own(void **state)
{
    hopmla_context *context = *state;
    must_load(context, path);
    counted.describe = describe_cuda;
    const hopmla_ceilings first = must_load(context, path);
    assert_int_equal(measurements, 2);
    assert_true(first.sustained_mhz == 1755.0 && first.sustained_watts == 689.5);
    assert_int_equal(fake_nvml_state.open, 0);
    const hopmla_ceilings second = must_load(context, path);
    assert_memory_equal(&first, &second, sizeof(first));
    counted.describe = hm_cpu_backend.describe;
    must_load(context, path);
    assert_int_equal(measurements, 2);
}

static void test_no_readings_no_error(void **state)
{
    counted.describe = describe_cuda;
    fake_nvml_state.fails = "nvmlDeviceGetPowerUsage";
    const hopmla_ceilings ceilings = must_load(*state, path);
    assert_true(ceilings.sustained_mhz == 0.0 && ceilings.sustained_watts == 0.0);
}

/* Every cut of a good file, and every byte of it changed: what is not as it was written is measured again, and what is
 * read is what was written. */
static void test_a_damaged_file_is_measured_anew(void **state)
{
    const hopmla_ceilings good = must_load(*state, path);
    char text[4096];
    const uint64_t length = get(text, sizeof(text));
    int anew = 0;
    for (uint64_t cut = 0; cut < length; cut++) {
        put(text, cut);
        measurements = 0;
        must_load(*state, path);
        assert_int_equal(measurements, 1);
    }
    for (uint64_t i = 0; i < length; i++) {
        char damaged[sizeof(text)];
        memcpy(damaged, text, length);
        damaged[i] = '\0';
        put(damaged, length);
        measurements = 0;
        must_load(*state, path);
        anew += measurements;
        damaged[i] = '-';
        put(damaged, length);
        const hopmla_ceilings read = must_load(*state, path);
        assert_true(read.read_bytes_per_second > 0.0 && read.flops_burst > 0.0 && read.flops_sustained > 0.0);
    }
    assert_int_equal(anew, length);
    assert_true(good.flops_burst == 935e12);
}

static void test_numbers_that_cannot_be(void **state)
{
    char key[HM_CACHE_KEY];
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    assert_int_equal(hopmla_context_describe(*state, &info, NULL), HOPMLA_OK);
    hm_cache_key(&info, key);
    const char *const numbers[] = {
        "1 0 5 5 0 0 -",
        "1 5 0 5 0 0 -",
        "1 5 5 0 0 0 -",
        "1 5 5 5 0 0 ",
        "1 5 5 5 0 0",
        "1 5 5 5 0 -",
        "1 -5 5 5 0 0 -",
        "1 5 5 99999999999999999999 0 0 -",
        "1 1e9 5 5 0 0 -",
        " 1 5 5 5 0 0 -",
        "",
        "1 5 5 5 0 0 0123456789012345678901234567890123456789",
        "1 9000000000000000000 5 5 0 0 -",
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[1024];
        const int length = snprintf(text, sizeof(text), "hopmla ceilings 1\n%s\t%s\n", key, numbers[i]);
        put(text, (size_t)length);
        measurements = 0;
        must_load(*state, path);
        assert_int_equal(measurements, 1);
    }
    char text[1024];
    const int length = snprintf(text, sizeof(text), "hopmla ceilings 1\n%s\t7 1000 2000 3000 1500 2500 580.1\n", key);
    put(text, (size_t)length);
    measurements = 0;
    const hopmla_ceilings read = must_load(*state, path);
    assert_int_equal(measurements, 0);
    assert_true(read.read_bytes_per_second == 1000.0 && read.flops_burst == 2000.0 && read.flops_sustained == 3000.0);
    assert_true(read.unix_time == 7 && read.sustained_mhz == 1.5 && read.sustained_watts == 2.5);
    assert_string_equal(read.driver, "580.1");
}

/* Lines of other keys stay, the newest first, and no more than the file may hold; a file that is not ours is replaced. */
static void test_the_file_stays_small(void **state)
{
    static char text[HM_CACHE_BYTES + 4096];
    const hopmla_ceilings one = must_load(*state, path);
    for (int i = 0; i < 2 * HM_CACHE_LINES; i++) {
        char key[32];
        snprintf(key, sizeof(key), "card %d", i);
        assert_int_equal(hm_cache_add(path, key, &one, NULL), HOPMLA_OK);
    }
    get(text, sizeof(text));
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++) {
        lines++;
    }
    assert_int_equal(lines, 1 + HM_CACHE_LINES);
    assert_non_null(strstr(text, "\ncard 127\t"));
    assert_null(strstr(text, "\ncard 63\t"));
    memset(text, 'x', sizeof(text));
    put(text, sizeof(text));
    measurements = 0;
    must_load(*state, path);
    assert_int_equal(measurements, 1);
    assert_true(get(text, sizeof(text)) < 1000);
}

static void test_a_cache_that_cannot_be_kept(void **state)
{
    const char *const places[] = { "/nonexistent/ceilings", "/dev/null/ceilings", folder, "/dev/full" };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        logged[0] = '\0';
        must_load(*state, places[i]);
        assert_non_null(strstr(logged, "could not be kept"));
    }
}

static void test_the_usual_place(void **state)
{
    char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    char *cache = getenv("XDG_CACHE_HOME") ? strdup(getenv("XDG_CACHE_HOME")) : NULL;
    char place[256];
    setenv("HOME", folder, 1);
    unsetenv("XDG_CACHE_HOME");
    must_load(*state, NULL);
    must_load(*state, NULL);
    assert_int_equal(measurements, 1);
    snprintf(place, sizeof(place), "%s/.cache/hopmla/ceilings", folder);
    assert_int_equal(unlink(place), 0);
    snprintf(place, sizeof(place), "%s/.cache/hopmla", folder);
    assert_int_equal(rmdir(place), 0);

    snprintf(place, sizeof(place), "%s/.cache/deep/er", folder);
    setenv("XDG_CACHE_HOME", place, 1);
    must_load(*state, NULL);
    must_load(*state, NULL);
    assert_int_equal(measurements, 2);
    const char *const left[] = { "/.cache/deep/er/hopmla/ceilings", "/.cache/deep/er/hopmla", "/.cache/deep/er",
                                 "/.cache/deep", "/.cache" };
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        snprintf(place, sizeof(place), "%s%s", folder, left[i]);
        assert_int_equal(remove(place), 0);
    }

    setenv("XDG_CACHE_HOME", "relative", 1);
    unsetenv("HOME");
    must_load(*state, NULL);
    must_load(*state, NULL);
    assert_int_equal(measurements, 4);
    assert_string_equal(logged, "");

    static const char *const homes[] = { "%s/nobody", "%s/nobody/" }; /* is not there, and is not made */
    for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
        snprintf(place, sizeof(place), homes[i], folder);
        setenv("HOME", place, 1);
        logged[0] = '\0';
        must_load(*state, NULL);
        assert_non_null(strstr(logged, "could not be kept"));
        assert_int_not_equal(access(place, F_OK), 0);
    }
    if (home) {
        setenv("HOME", home, 1);
    }
    unsetenv("XDG_CACHE_HOME");
    if (cache) {
        setenv("XDG_CACHE_HOME", cache, 1);
    }
    free(home);
    free(cache);
}

/* Without memory ceilings are measured and not kept; what the file holds of others stays. */
static void test_no_memory(void **state)
{
    char text[4096];
    hopmla_ceilings other = must_load(*state, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hm_cache_add(path, "another card", &other, NULL), HOPMLA_OK);
    counted.describe = describe_cuda;
    int kept = 0;
    for (int failures = 0; !kept; failures++) {
        assert_true(failures < 20);
        logged[0] = '\0';
        allocations = 0;
        fail_at = failures;
        const hopmla_ceilings measured = must_load(*state, path);
        fail_at = -1;
        assert_true(measured.flops_burst == 935e12);
        get(text, sizeof(text));
        assert_non_null(strstr(text, "another card\t"));
        kept = strstr(text, "A card ") != NULL;
        assert_int_equal(kept, !*logged);
        assert_int_equal(fake_nvml_state.open, 0);
        if (kept && allocations > failures) { /* one that only costs the readings, or the look into the file */
            assert_int_equal(unlink(path), 0);
            assert_int_equal(hm_cache_add(path, "another card", &other, NULL), HOPMLA_OK);
            kept = 0;
        }
    }
}

static void test_failures(void **state)
{
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    assert_fails(hopmla_load_ceilings(NULL, path, &ceilings, &error), HOPMLA_ERROR_NULL, "context");
    assert_fails(hopmla_load_ceilings(*state, path, NULL, &error), HOPMLA_ERROR_NULL, "ceilings");
    assert_fails(hopmla_load_ceilings(*state, "", &ceilings, &error), HOPMLA_ERROR_ARGUMENT, "path");
    ceilings.struct_size = 32;
    assert_fails(hopmla_load_ceilings(*state, path, &ceilings, &error), HOPMLA_ERROR_STRUCT_SIZE, "ceilings");
    ceilings.struct_size = sizeof(ceilings);
    assert_int_equal(measurements, 0);
    fails = 1;
    assert_fails(hopmla_load_ceilings(*state, path, &ceilings, &error), HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "memory");
    assert_true(ceilings.flops_burst == 0.0);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_measured_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_measuring_alone_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_device_has_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_readings_no_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_damaged_file_is_measured_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_that_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_file_stays_small, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cache_that_cannot_be_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_usual_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("ceilings", tests, NULL, NULL) ? 1 : 0;
}
