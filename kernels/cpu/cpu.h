/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_H
#define HM_CPU_H

/** @file
 * Inside the CPU backend: the device, the thread pool, and the computations. Every computation has run when its function
 * returns; streams and graphs (stream.h) are built around them. */

#include <pthread.h>
#include <stddef.h>

#include "kernels/backend.h"

typedef struct hm_threads hm_threads;
typedef struct hm_cpu_object hm_cpu_object;

struct hm_device {
    hm_threads *threads;
    int32_t thread_count; /* the calling thread counted, at least 1 */
    int32_t isa;          /* HOPMLA_CPU_ISA_* in use, never AUTO */
    uint64_t memory_bytes;
    uint64_t l2_bytes;
    char name[128];

    pthread_mutex_t lock;   /* guards objects, and which streams are being captured */
    hm_cpu_object *objects; /* live streams, events and graphs (stream.c) */

    void *(*grow)(void *memory, size_t bytes); /* realloc for captures; a test puts one here that fails */
};

/* Thread pool (threads.c). */

/** Makes a pool that runs work on n threads, the calling one counted: n − 1 are started. @return OK, OUT_OF_HOST_MEMORY */
hopmla_status hm_threads_create(hm_threads **threads, int n, hopmla_error *error);

/** Calls fn(arg, index, count) once for each index in 0 … count − 1, on several threads where it can, and returns when
 * all have returned. count is at most the pool's n and may be less. Safe from several threads at one time. */
void hm_threads_run(hm_threads *threads, void (*fn)(void *arg, int index, int count), void *arg);

/** Ends the threads. NULL is allowed. */
void hm_threads_destroy(hm_threads *threads);

/* Computations. Semantics are those of hm_backend's functions of the same name. They use device->threads and
 * device->isa, allocate nothing, and cannot fail. */

/** Highest instruction set that this build and this processor have: HOPMLA_CPU_ISA_PORTABLE, _AVX2 or _AVX512. */
int32_t hm_cpu_detect_isa(void);

uint64_t hm_cpu_workspace_bytes(const hm_device *device, const hm_envelope *envelope);

void hm_cpu_apply(hm_device *device, const hm_kv *kv, const hm_table_memory *memory, const hm_staging *staging);

void hm_cpu_schedule(hm_device *device, const hm_envelope *envelope, const hm_tables *tables, void *workspace);

void hm_cpu_append(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                   const hm_append *append);

void hm_cpu_gather(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                   const hm_gather *gather);

void hm_cpu_decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                   const hm_decode *decode, void *workspace);

/** This one allocates. @return OK, OUT_OF_HOST_MEMORY */
hopmla_status hm_cpu_measure_ceilings(hm_device *device, hopmla_ceilings *ceilings, hopmla_error *error);

#endif
