/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/totals.h"

void hm_totals_init(hm_totals *totals)
{
    totals->plans = 1;
}

/* The plan's entry, a new one where there is room; 0 when there is none. */
static uint32_t find(hm_totals *totals, uint64_t plan, int add)
{
    if (plan == 0) {
        return 0;
    }
    if (totals->plan[totals->last] == plan) {
        return totals->last;
    }
    for (uint32_t i = 1; i < totals->plans; i++) {
        if (totals->plan[i] == plan) {
            return totals->last = i;
        }
    }
    if (!add || totals->plans == 1 + HM_TOTALS_PLANS) {
        return 0;
    }
    totals->plan[totals->plans] = plan;
    return totals->last = totals->plans++;
}

static void add_time(hm_totals_of *of, const hopmla_record *record)
{
    hopmla_totals *sums = &of->sums;
    hm_histogram_add(&of->times, record->device_ns);
    sums->time_min_ns =
        sums->timed == 0 || record->device_ns < sums->time_min_ns ? record->device_ns : sums->time_min_ns;
    sums->time_max_ns = record->device_ns > sums->time_max_ns ? record->device_ns : sums->time_max_ns;
    sums->time_ns += record->device_ns;
    sums->timed++;
    if (record->valid & HOPMLA_VALID_WORK) {
        sums->timed_flops += record->flops;
        sums->timed_bytes += record->bytes;
        sums->timed_unique_bytes += record->unique_bytes;
        sums->timed_work_ns += record->device_ns;
    }
    if (record->valid & HOPMLA_VALID_BOUND) {
        sums->bound_ns += record->bound_ns;
        sums->bound_time_ns += (double)record->device_ns;
    }
}

static void add_to(hm_totals_of *of, const hopmla_record *record)
{
    hopmla_totals *sums = &of->sums;
    sums->records++;
    sums->calls += record->calls;
    if (record->valid & HOPMLA_VALID_WORK) {
        sums->flops += record->flops;
        sums->bytes += record->bytes;
        sums->unique_bytes += record->unique_bytes;
    }
    if (record->valid & HOPMLA_VALID_TIME) {
        add_time(of, record);
    }
    if ((record->valid & HOPMLA_VALID_DRAM) && (record->valid & HOPMLA_VALID_WORK)) {
        sums->counted++;
        sums->counted_bytes += record->bytes;
        sums->dram_read_bytes += record->dram_read_bytes;
        sums->dram_write_bytes += record->dram_write_bytes;
        sums->l2_bytes += record->l2_bytes;
    }
    if ((record->valid & HOPMLA_VALID_TENSOR) && (record->valid & HOPMLA_VALID_WORK)) {
        sums->counted_flops += record->flops;
        sums->tensor_flops += record->tensor_flops;
    }
}

void hm_totals_add(hm_totals *totals, const hopmla_record *record)
{
    add_to(&totals->of[0][record->kind - 1], record);
    const uint32_t entry = find(totals, record->plan, 1);
    if (entry) {
        add_to(&totals->of[entry][record->kind - 1], record);
    }
}

int hm_totals_keeps(const hm_totals *totals, uint64_t plan)
{
    uint32_t entry = 0;
    while (entry < totals->plans && totals->plan[entry] != plan) {
        entry++;
    }
    return entry < 1 + HM_TOTALS_PLANS;
}

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static int64_t percentile(const hm_totals_of *of, double share)
{
    const hopmla_totals *sums = &of->sums;
    return clamp(hm_histogram_percentile(&of->times, sums->timed, share), sums->time_min_ns, sums->time_max_ns);
}

void hm_totals_get(hm_totals *totals, int32_t kind, uint64_t plan, hopmla_totals *own)
{
    const uint32_t entry = find(totals, plan, 0);
    *own = (hopmla_totals)HOPMLA_TOTALS_INIT;
    if (entry || !plan) {
        const hm_totals_of *of = &totals->of[entry][kind - 1];
        *own = of->sums;
        own->time_p50_ns = percentile(of, 0.5);
        own->time_p90_ns = percentile(of, 0.9);
        own->time_p99_ns = percentile(of, 0.99);
    }
    own->struct_size = sizeof(*own);
    own->kind = kind;
    own->plan = plan;
}
