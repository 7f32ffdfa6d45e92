/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/cupti/metrics.h"

#include <math.h>
#include <string.h>

#include "lib/error.h"

_Static_assert((int)HM_METRICS_MOST == (int)HOPMLA_CUSTOM_METRICS, "a set holds as many as a record");

/* Places in the two sets: FULL begins with LIGHT. All of FULL fits one pass on GH100. */
enum {
    DRAM_READ,
    DRAM_WRITE,
    L2_SECTORS, /* that SMs ask of L2. lts__t_bytes would count what its two halves send each other as well */
    ELAPSED,
    LIGHT_COUNT,
    ACTIVE = LIGHT_COUNT,
    TENSOR_CYCLES,
    TENSOR_BF16, /* operations of wgmma by type of the operands, the one kind of tensor instruction in the kernels */
    TENSOR_FP16,
    FULL_COUNT
};

static const char *const names[FULL_COUNT] = {
    [DRAM_READ] = "dram__bytes_read.sum",
    [DRAM_WRITE] = "dram__bytes_write.sum",
    [L2_SECTORS] = "lts__t_sectors_srcunit_tex.sum",
    [ELAPSED] = "sm__cycles_elapsed.max",
    [ACTIVE] = "sm__cycles_active.avg",
    [TENSOR_CYCLES] = "sm__pipe_tensor_cycles_active.avg",
    [TENSOR_BF16] = "sm__ops_path_tensor_op_hgmma_src_bf16_dst_fp32.sum",
    [TENSOR_FP16] = "sm__ops_path_tensor_op_hgmma_src_fp16.sum",
};

enum {
    SECTOR_BYTES = 32,
    TENSOR_CORES = 4 /* of a multiprocessor; each counts its own cycles */
};

static int is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* The names between commas, with blanks around them left out. */
static hopmla_status split(hm_metrics *metrics, const char *text, hopmla_error *error)
{
    for (;;) {
        text += strspn(text, " \t");
        size_t bytes = 0;
        while (is_name_character(text[bytes])) {
            ++bytes;
        }
        if (bytes == 0 || bytes >= HM_METRIC_NAME_BYTES) {
            return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                           "options.metrics: name %u is %s; must be names of CUPTI's metrics with commas between",
                           metrics->count + 1, bytes ? "too long" : "empty or no name");
        }
        if (metrics->count == HM_METRICS_MOST) {
            return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "options.metrics has more than %d names", HM_METRICS_MOST);
        }
        char *name = metrics->custom[metrics->count];
        memcpy(name, text, bytes);
        name[bytes] = 0;
        metrics->names[metrics->count++] = name;
        text += bytes;
        text += strspn(text, " \t");
        if (*text == 0) {
            return HOPMLA_OK;
        }
        if (*text != ',') {
            return hm_fail(error, HOPMLA_ERROR_ARGUMENT,
                           "options.metrics: '%c' stands after name %u; must be names with commas between", *text,
                           metrics->count);
        }
        ++text;
    }
}

hopmla_status hm_metrics_set(hm_metrics *metrics, int32_t set, const char *custom, hopmla_error *error)
{
    memset(metrics, 0, sizeof(*metrics));
    metrics->set = set;
    if (set == HOPMLA_COUNTERS_CUSTOM) {
        return split(metrics, custom, error);
    }
    metrics->count = set == HOPMLA_COUNTERS_FULL ? FULL_COUNT : set == HOPMLA_COUNTERS_LIGHT ? LIGHT_COUNT : 0;
    memcpy(metrics->names, names, metrics->count * sizeof(names[0]));
    return HOPMLA_OK;
}

/* CUPTI gives NaN for what one pass could not count. */
static int all_counted(const double *values, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i < last; ++i) {
        if (!isfinite(values[i]) || values[i] < 0.0) {
            return 0;
        }
    }
    return 1;
}

void hm_metrics_read(const hm_metrics *metrics, const double *values, hm_counts *counts)
{
    *counts = (hm_counts){ 0 };
    if (metrics->set == HOPMLA_COUNTERS_CUSTOM) {
        if (all_counted(values, 0, metrics->count)) {
            for (uint32_t i = 0; i < HOPMLA_CUSTOM_METRICS; ++i) { /* 0 would be a figure */
                counts->custom[i] = i < metrics->count ? values[i] : (double)NAN;
            }
            counts->valid = HOPMLA_VALID_CUSTOM;
        }
        return;
    }
    if (all_counted(values, 0, LIGHT_COUNT)) {
        counts->dram_read_bytes = (uint64_t)values[DRAM_READ];
        counts->dram_write_bytes = (uint64_t)values[DRAM_WRITE];
        counts->l2_bytes = (uint64_t)values[L2_SECTORS] * SECTOR_BYTES;
        counts->elapsed_cycles = (uint64_t)values[ELAPSED];
        counts->valid |= HOPMLA_VALID_DRAM;
    }
    if (metrics->count == FULL_COUNT && all_counted(values, LIGHT_COUNT, FULL_COUNT)) {
        counts->tensor_flops = (uint64_t)(values[TENSOR_BF16] + values[TENSOR_FP16]); /* a pool uses one of them */
        counts->active_cycles = values[ACTIVE];
        counts->tensor_cycles = values[TENSOR_CYCLES] / TENSOR_CORES;
        counts->valid |= HOPMLA_VALID_TENSOR;
    }
}
