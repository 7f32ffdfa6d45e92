/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FAILING_ALLOC_H
#define FAILING_ALLOC_H

/** @file
 * An allocator for hopmla_context_options that fails when told to and knows what is live. Its memory is host memory, so
 * it goes with the CPU backend only.
 *
 *     static hopmla_status scenario(failing_alloc *allocator, void *user)
 *     {
 *         hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
 *         options.backend = HOPMLA_BACKEND_CPU;
 *         failing_alloc_use(allocator, &options);
 *         ... create, use and destroy things; on the first failure destroy what there is and return its status ...
 *     }
 *
 *     failing_alloc_sweep(scenario, user, FAILING_ALLOC_ALL);
 */

#include <pthread.h>

#include "hopmla/hopmla.h"

typedef struct failing_alloc {
    uint32_t kinds;  /* bits 1 << HOPMLA_MEMORY_*: which allocations count */
    int64_t fail_at; /* the counted allocation that fails, from 0; negative: none */
    int misalign;    /* 1: the one at fail_at is given at a wrong address instead of failing */
    int64_t counted; /* counted allocations so far, failed ones too */
    int failed;      /* whether one failed */
    int32_t failed_kind;
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t peak_bytes;
    uint64_t calls;     /* allocations of any kind, failed ones too */
    uint64_t bad_frees; /* frees of an address, size or kind that was not given out */
    struct failing_alloc_block *blocks;
    pthread_mutex_t lock;
} failing_alloc;

#define FAILING_ALLOC_ALL 0xffffffffu
#define FAILING_ALLOC_KIND(kind) (1u << (kind))

void failing_alloc_init(failing_alloc *allocator);

/** Frees what is still live, so that a failed test reports no second failure. */
void failing_alloc_finish(failing_alloc *allocator);

/** Sets the callbacks. */
void failing_alloc_use(failing_alloc *allocator, hopmla_context_options *options);

typedef hopmla_status (*failing_alloc_scenario)(failing_alloc *allocator, void *user);

/** Runs the scenario with the first counted allocation failing, then the second, and so on until none has failed. Asserts
 * (cmocka) that a run with a failure returns OUT_OF_HOST_MEMORY or OUT_OF_DEVICE_MEMORY, that the last returns OK, that
 * nothing is live after any of them, and that every free named what was given. @return the number of failures tried */
int64_t failing_alloc_sweep(failing_alloc_scenario scenario, void *user, uint32_t kinds);

#endif
