/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Clock and power, read from a management library without a device. */

#include "fake_nvml.h"
#include "profiling/command/meter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static int reset(void **state)
{
    (void)state;
    fake_nvml_state = (fake_nvml){ .mhz = 1755, .milliwatts = 689500 };
    return 0;
}

static void reads_clock_and_watts(void **state)
{
    (void)state;
    nvml_reading reading;
    nvml *n = nvml_open(1);
    assert_non_null(n);
    assert_true(nvml_read(n, &reading));
    assert_true(reading.sm_mhz == 1755 && reading.watts == 689.5);
    nvml_close(n);
    assert_int_equal(fake_nvml_state.open, 0);
}

static void no_device_no_readings(void **state)
{
    (void)state;
    assert_null(nvml_open(0)); /* a device that the driver knows and NVML does not */
    static const char *const calls[] = { "cuDeviceGet", "cuDeviceGetPCIBusId", "nvmlInit_v2",
                                         "nvmlDeviceGetHandleByPciBusId_v2" };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); ++i) {
        fake_nvml_state.fails = calls[i];
        assert_null(nvml_open(1));
        assert_int_equal(fake_nvml_state.open, 0);
    }
    nvml_close(NULL);
}

static void no_library_no_readings(void **state)
{
    (void)state;
    static const char *const variables[] = { "HOPMLA_LIBNVML", "HOPMLA_LIBCUDA" };
    for (int i = 0; i < 2; ++i) {
        char kept[4096];
        snprintf(kept, sizeof(kept), "%s", getenv(variables[i]));
        setenv(variables[i], "/nowhere/lib.so", 1);
        assert_null(nvml_open(1));
        setenv(variables[i], "libm.so.6", 1); /* there, and not what it should be */
        assert_null(nvml_open(1));
        setenv(variables[i], kept, 1);
    }
}

static void a_failed_reading_changes_nothing(void **state)
{
    (void)state;
    nvml_reading reading = { 1, 2 };
    nvml *n = nvml_open(1);
    static const char *const calls[] = { "nvmlDeviceGetClockInfo", "nvmlDeviceGetPowerUsage" };
    for (int i = 0; i < 2; ++i) {
        fake_nvml_state.fails = calls[i];
        assert_false(nvml_read(n, &reading));
        assert_true(reading.sm_mhz == 1 && reading.watts == 2);
        meter *m = meter_start(n);
        assert_non_null(m);
        assert_false(meter_stop(m, &reading));
        assert_true(reading.sm_mhz == 1 && reading.watts == 2);
    }
    nvml_close(n);
}

static void a_meter_gives_means(void **state)
{
    (void)state;
    nvml_reading mean;
    nvml *n = nvml_open(1);
    meter *m = meter_start(n);
    nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
    assert_true(meter_stop(m, &mean));
    assert_true(mean.sm_mhz == 1755 && mean.watts == 689.5);
    assert_true(fake_nvml_state.readings >= 2);
    int before = fake_nvml_state.readings;
    m = meter_start(n); /* stopped at once it has read once */
    assert_true(meter_stop(m, &mean));
    assert_true(fake_nvml_state.readings > before);
    assert_null(meter_start(NULL));
    assert_false(meter_stop(NULL, &mean));
    nvml_close(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_clock_and_watts, reset),
        cmocka_unit_test_setup(no_device_no_readings, reset),
        cmocka_unit_test_setup(no_library_no_readings, reset),
        cmocka_unit_test_setup(a_failed_reading_changes_nothing, reset),
        cmocka_unit_test_setup(a_meter_gives_means, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
