/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "lib/abi.h"
#include "lib/error.h"
#include "profiling/observe/profiler.h"

enum {
    DEFAULT_CAPACITY = 65536,
    MAX_CAPACITY = 1 << 24,
    KNOWN_CLOCKS = HOPMLA_CLOCK_EVENTS | HOPMLA_CLOCK_ACTIVITY,
    KNOWN_FLAGS = HOPMLA_PROFILER_TOTALS_ONLY
};

hopmla_status hopmla_profiler_options_init(hopmla_profiler_options *options, uint64_t size)
{
    const hopmla_profiler_options defaults = HOPMLA_PROFILER_OPTIONS_INIT;
    return hm_abi_init(options, size, &defaults, sizeof(defaults),
                       HM_SIZE_THROUGH(hopmla_profiler_options, cupti_path));
}

static hopmla_status check_metrics(const hopmla_profiler_options *options, hopmla_error *error)
{
    const int custom = options->counters == HOPMLA_COUNTERS_CUSTOM;
    if (custom != (options->metrics != NULL)) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.metrics is %s, but options.counters is %sCUSTOM",
                       custom ? "NULL" : "set", custom ? "" : "not ");
    }
    if (!custom) {
        return HOPMLA_OK;
    }
    uint32_t names = 1;
    for (const char *at = options->metrics; *at; at++) {
        names += *at == ',';
        if (at[0] == ',' && (at == options->metrics || at[1] == ',' || at[1] == '\0')) {
            return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.metrics has an empty name: \"%.100s\"",
                           options->metrics);
        }
    }
    if (options->metrics[0] == '\0' || names > HOPMLA_CUSTOM_METRICS) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.metrics has %u names, must be 1 … %d",
                       options->metrics[0] ? names : 0, (int)HOPMLA_CUSTOM_METRICS);
    }
    return HOPMLA_OK;
}

static hopmla_status check_options(const hopmla_profiler_options *options, hopmla_error *error)
{
    if (options->clocks & ~(uint32_t)KNOWN_CLOCKS) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "options.clocks is %#x, must be HOPMLA_CLOCK_* bits", options->clocks);
    }
    if (options->counters < HOPMLA_COUNTERS_NONE || options->counters > HOPMLA_COUNTERS_CUSTOM) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "options.counters is %d, must be HOPMLA_COUNTERS_*",
                       (int)options->counters);
    }
    if (options->flags & ~(uint32_t)KNOWN_FLAGS) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "options.flags is %#x, must be HOPMLA_PROFILER_* bits",
                       options->flags);
    }
    if (options->capacity > MAX_CAPACITY) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.capacity is %u, must be 0 … 2^24", options->capacity);
    }
    return check_metrics(options, error);
}

hopmla_status hm_profiler_options_read(const hopmla_profiler_options *options, hopmla_profiler_options *own,
                                       hopmla_error *error)
{
    *own = (hopmla_profiler_options)HOPMLA_PROFILER_OPTIONS_INIT;
    hopmla_status status = HOPMLA_OK;
    if (options) {
        status = hm_abi_read(options, own, sizeof(*own), HM_SIZE_THROUGH(hopmla_profiler_options, cupti_path),
                             "options", error);
    }
    if (status == HOPMLA_OK) {
        status = check_options(own, error);
    }
    if (status) {
        return status;
    }
    const uint32_t wanted = own->capacity ? own->capacity : DEFAULT_CAPACITY;
    own->capacity = 1;
    while (own->capacity < wanted) {
        own->capacity *= 2;
    }
    return HOPMLA_OK;
}
