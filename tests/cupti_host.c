/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "hopmla/hopmla.h"
#include "profiling/cupti/window.h"

/** @file
 * The sets of counters, held against NVIDIA's CUPTI: that GH100 has these metrics, and that each set fits one pass. This part
 * of CUPTI needs no device and no driver. Exit status 77 where there is no CUPTI. */

enum {
    ANY_FAILURE = 1 << 20
};

static int failures;

static void expect(hopmla_context *context, const hm_cupti_library *cupti, const char *chip, int32_t set,
                   const char *custom, int wanted, const char *failed)
{
    hm_window window = { .cupti = cupti, .context = context, .most_ranges = 1 };
    if (hm_metrics_set(&window.metrics, set, custom, NULL) != HOPMLA_OK) {
        printf("%s is refused\n", custom);
        failures++;
        return;
    }
    const int code = hm_window_configure(&window, chip);
    const int is_right =
        (wanted == ANY_FAILURE ? code > 0 : code == wanted) && (!failed || strcmp(window.failed, failed) == 0);
    printf("%s set %d, %u metrics%s%s: %d (%s)%s\n", chip, (int)set, window.metrics.count, custom ? ": " : "",
           custom ? custom : "", code, window.failed, is_right ? "" : "  WRONG");
    failures += !is_right;
    hm_window_discard(&window);
}

int main(void)
{
    char reason[HM_REASON_BYTES] = "";
    const hm_cupti_library *cupti = hm_cupti_open(NULL, reason);
    if (!cupti || !hm_cupti_has(cupti, HM_NEED_ACTIVITY | HM_NEED_COUNTERS, reason)) {
        printf("skipped: %s\n", reason);
        return 77;
    }
    printf("%s, version %u\n", cupti->path, cupti->version);
    hopmla_context *context = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 1;
    if (hopmla_context_create(&options, &context, NULL) != HOPMLA_OK) {
        return 1;
    }
    expect(context, cupti, "GH100", HOPMLA_COUNTERS_LIGHT, NULL, CUPTI_SUCCESS, NULL);
    expect(context, cupti, "GH100", HOPMLA_COUNTERS_FULL, NULL, CUPTI_SUCCESS, NULL);
    expect(context, cupti, "GH100", HOPMLA_COUNTERS_CUSTOM, "sm__inst_executed.sum, l1tex__t_sectors.sum",
           CUPTI_SUCCESS, NULL);
    expect(context, cupti, "GH100", HOPMLA_COUNTERS_CUSTOM,
           "sm__ops_path_tensor_src_bf16_dst_fp32.sum,sm__ops_path_tensor_src_fp16.sum,sm__ops_path_tensor_src_fp8.sum",
           HM_WINDOW_PASSES, NULL);
    expect(context, cupti, "GH100", HOPMLA_COUNTERS_CUSTOM, "dram__bytes_read.sum,no__such_metric.sum",
           HM_WINDOW_METRIC, "no__such_metric.sum");
    expect(context, cupti, "GX999", HOPMLA_COUNTERS_LIGHT, NULL, ANY_FAILURE, "cuptiProfilerHostInitialize");
    hopmla_context_destroy(context);
    return failures > 0;
}
