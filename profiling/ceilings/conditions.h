/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CONDITIONS_H
#define HM_CONDITIONS_H

/** @file
 * The conditions under which ceilings are measured: a thread that reads clock and power meanwhile. */

#include <stddef.h>

#include "hopmla/context.h"

typedef struct hm_conditions hm_conditions;

/** Starts reading. @return NULL where there is nothing to read, on CPU for example */
hm_conditions *hm_conditions_begin(const hopmla_context_info *info);

/** Ends it, and adds to ceilings the time of day, the driver's release, and the means of clock and power over the end of
 * the measurement, which is its sustained part. `conditions` may be NULL. */
void hm_conditions_end(hm_conditions *conditions, const hopmla_context_info *info, hopmla_ceilings *ceilings);

/** Release of the driver of a context, for example "580.159.03"; empty on CPU and where it is not known. */
void hm_driver_release(const hopmla_context_info *info, char *text, size_t size);

#endif
