/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GPU_SUPPORT_H
#define GPU_SUPPORT_H

/** @file
 * For programs that drive the CUDA backend's table on a device and compare with loops on the host. They need no library
 * but libc, so that they run where there is a GPU and little else. */

#include <stdio.h>
#include <stdlib.h>

#include "kernels/backend.h"

extern hm_device *gpu_device;
extern hopmla_error gpu_error;
extern int gpu_failures;

/** Calls a function of the backend and ends the program when it fails. */
#define MUST(name, ...)                                                                                                \
    do {                                                                                                               \
        if (hm_sm90_backend.name(gpu_device, __VA_ARGS__) != HOPMLA_OK) {                                              \
            printf("FAIL line %d: " #name ": %s\n", __LINE__, gpu_error.message);                                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/** Counts a failure when the condition does not hold. */
void gpu_check(int condition, const char *what);

void gpu_open(void);
void gpu_close(void);

void *gpu_allocate(uint64_t bytes, int32_t kind);
void *gpu_upload(const void *host, uint64_t bytes, hopmla_stream stream);
void gpu_download(void *host, const void *device, uint64_t bytes, hopmla_stream stream);
void gpu_release(void *device, uint64_t bytes);

/** A pool's layout over memory of its own. */
hm_kv gpu_make_kv(uint32_t layers, uint64_t pages, int32_t format);

/** Tables of a plan, in one piece that starts at memory->count. */
void gpu_make_tables(uint32_t max_batch, uint64_t table_stride, hm_table_memory *memory, hm_tables *tables);

/** A staging buffer and where its parts are. */
typedef struct gpu_staging {
    hm_staging *header;
    int32_t *kv_lens;
    int32_t *q_lens;
    int32_t *q_starts;
    int32_t *append_starts;
    hm_run *runs;
    int32_t *page_ids;
    hm_copy *copies;
} gpu_staging;

void gpu_make_staging(uint64_t max_runs, uint64_t max_entries, uint64_t max_copies, gpu_staging *staging);

/** Begins an update of `count` rows without runs and copies, when the stream has read the last one. */
void gpu_begin_staging(gpu_staging *staging, uint32_t count, hopmla_stream stream);

/** Round to nearest even; no NaN. */
uint16_t gpu_bf16(float value);
uint16_t gpu_fp16(float value);

#endif
