/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_PROFILER_H
#define HM_PROFILER_H

/** @file
 * The profiler inside: a recorder that calls reach through the context, and the reader's side of it under a mutex. */

#include <pthread.h>
#include <sys/types.h>

#include "lib/context.h"
#include "profiling/observe/finish.h"

struct hopmla_profiler {
    hm_recorder recorder;
    hopmla_context *context;
    hopmla_profiler_options options; /* without the pointers */
    hm_meter_offer offer;
    hm_slot *slots;
    hm_totals *totals;
    pid_t process;         /* that made it: in a child of it nothing is touched */
    pthread_mutex_t mutex; /* of everything below */
    hm_finisher finisher;
    int32_t started;
};

static inline uint64_t hm_profiler_capacity(const hopmla_profiler *profiler)
{
    return profiler->recorder.mask + 1;
}

/** Whether this is a child of the process that made the profiler: its mutex may be held, its events are not there. */
int hm_profiler_is_forked(const hopmla_profiler *profiler);

/** Reads and checks options; capacity becomes a power of two. */
hopmla_status hm_profiler_options_read(const hopmla_profiler_options *options, hopmla_profiler_options *own,
                                       hopmla_error *error);

#endif
