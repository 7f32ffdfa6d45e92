/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_METER_H
#define COMMAND_METER_H

/** @file
 * Reads clock and power from a thread of its own while something else runs. */

#include "nvml.h"

typedef struct meter meter;

/** Starts reading, every 20 ms. @param n  used by nobody else until meter_stop; NULL: nothing is read
 * @return NULL when there is nothing to read, or no thread to do it */
meter *meter_start(nvml *n);

/** Ends it, and writes the means. NULL is allowed. @return whether anything was read; else *mean is untouched */
bool meter_stop(meter *m, nvml_reading *mean);

#endif
