/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_METRICS_H
#define COMMAND_METRICS_H

/** @file
 * Serves the profiler's totals and a pool's books while a run goes on. */

#include "device.h"

typedef struct metrics metrics;

/** Listens; an address that cannot be had ends the program. Says where on stderr. `ceilings` may be NULL; it, device and
 * pool must stay until metrics_stop. */
metrics *metrics_start(const char *address, const device *d, hopmla_pool *pool, const hopmla_ceilings *ceilings);

/** NULL is allowed. To be called before the profiler is closed. */
void metrics_stop(metrics *m);

#endif
