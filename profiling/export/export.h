/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_EXPORT_H
#define HM_EXPORT_H

/** @file
 * What both entry points of the exporters share. */

#include "profiling/export/records.h"

/** Checks a caller's options and copies them; the ceilings go to `ceilings`, to which options->ceilings then points.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT. */
hopmla_status hm_export_read_options(const hopmla_export_options *given, hopmla_export_options *options,
                                     hopmla_ceilings *ceilings, hopmla_error *error);

#endif
