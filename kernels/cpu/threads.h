/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_THREADS_H
#define HM_CPU_THREADS_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"

/** As hm_threads_run, on at most `most` threads. With 1 nobody is woken. */
void hm_threads_run_on(hm_threads *threads, int most, void (*fn)(void *arg, int index, int count), void *arg);

/** The scratch of index `index` of the job that is running: nobody else's until fn returns. */
hm_scratch *hm_threads_scratch(hm_threads *threads, int index);

/** Runs small jobs where they are, without the pool: fn(arg, 0, 1) below this many bytes moved. fn uses no scratch. */
void hm_threads_run_bytes(hm_threads *threads, uint64_t bytes, void (*fn)(void *arg, int index, int count), void *arg);

#endif
