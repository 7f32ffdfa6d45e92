/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EXPORT_DATA_H
#define EXPORT_DATA_H

/** @file
 * Made-up records for tests of the exporters, with figures like an H200's. */

#include <string.h>

#include "hopmla/hopmla.h"

static inline hopmla_ceilings export_ceilings(void)
{
    hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
    ceilings.read_bytes_per_second = 4.4e12;
    ceilings.flops_burst = 935e12;
    ceilings.flops_sustained = 735e12;
    return ceilings;
}

/* A number in 0 … 1 that depends on the index and the salt alone. */
static inline double export_noise(uint64_t index, uint64_t salt)
{
    uint64_t x = (index + 1) * UINT64_C(0x9e3779b97f4a7c15) + salt * UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 31;
    x *= UINT64_C(0x94d049bb133111eb);
    x ^= x >> 29;
    return (double)(x >> 11) * 0x1p-53;
}

static inline void export_derive(hopmla_record *r)
{
    const hopmla_ceilings c = export_ceilings();
    r->intensity = (double)r->flops / (double)r->bytes;
    const double by_bytes = (double)r->bytes / c.read_bytes_per_second;
    const double by_flops = (double)r->flops / c.flops_burst;
    r->bound_ns = 1e9 * (by_bytes > by_flops ? by_bytes : by_flops);
    r->bytes_per_second = (double)r->bytes / (double)r->device_ns * 1e9;
    r->flops_per_second = (double)r->flops / (double)r->device_ns * 1e9;
    r->fraction = r->bound_ns / (double)r->device_ns;
}

/* The index-th of a run of steps: an update, then appends and decodes of some shape. */
static inline hopmla_record export_record(uint64_t index)
{
    static const uint32_t heads[] = { 16, 128, 64, 16, 32 };
    hopmla_record r;
    memset(&r, 0, sizeof(r));
    r.struct_size = sizeof(r);
    r.id = index + 1;
    r.plan = 1 + index / 64 % 2;
    r.step = 1 + index / 64;
    r.calls = 1;
    r.layer = (uint32_t)(index / 2 % 61);
    r.batch = 1u << (index / 64 % 8);
    r.heads = heads[index / 64 % 5];
    r.rows = r.batch * (1 + (uint32_t)(index / 320 % 2));
    r.format = HOPMLA_KV_BF16;
    r.page_bytes = 64 * 1152;
    r.time_source = HOPMLA_SOURCE_ACTIVITY;
    r.valid = HOPMLA_VALID_WORK | HOPMLA_VALID_TIME | HOPMLA_VALID_BOUND | HOPMLA_VALID_DRAM;
    r.host_begin_ns = INT64_C(86400000000000) + (int64_t)index * 12000;
    r.host_ns = 1500 + (int64_t)(1000.0 * export_noise(index, 1));
    r.device_begin_ns = r.host_begin_ns + 4000;
    if (index % 64 == 0) {
        r.kind = HOPMLA_CALL_UPDATE;
        r.bytes = 4096 + r.batch * 64;
        r.device_ns = 2500;
    } else if (index % 2) {
        r.kind = HOPMLA_CALL_APPEND;
        r.bytes = r.rows * UINT64_C(2304);
        r.device_ns = 2100 + (int64_t)(300.0 * export_noise(index, 2));
    } else {
        r.kind = HOPMLA_CALL_DECODE;
        r.kv_tokens = r.batch * (UINT64_C(512) << (index / 256 % 5));
        r.flops = 2 * (uint64_t)r.heads * (r.rows / r.batch) * r.kv_tokens * 1088;
        r.bytes = r.kv_tokens * 1152 + (uint64_t)r.rows * r.heads * 2176;
        export_derive(&r);
        r.device_ns = (int64_t)(3000.0 + r.bound_ns * (1.05 + 0.3 * export_noise(index, 3)));
    }
    r.unique_bytes = r.bytes;
    r.device_begin_ns += (int64_t)(index / 64) * 400000;
    r.host_begin_ns += (int64_t)(index / 64) * 400000;
    if (r.kind != HOPMLA_CALL_DECODE) {
        r.intensity = 0.0;
    }
    export_derive(&r);
    r.dram_read_bytes = r.bytes + r.bytes / 50;
    r.dram_write_bytes = 4096;
    r.l2_bytes = 2 * r.bytes;
    r.elapsed_cycles = (uint64_t)r.device_ns * 17 / 10;
    return r;
}

#endif
