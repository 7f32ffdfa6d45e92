/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ON_HOST_H
#define ON_HOST_H

/** @file
 * The kernels around a decode, run on the host as simt.h does. */

#include "kernels/sm90/params.h"

void schedule_on_host(const hm_sm90_schedule_params &params);

/** BF16. @return whether some thread waited for the decode: with none, the next kernel could start before it has ended */
bool combine_on_host(const hm_sm90_decode_params &params, unsigned grid);

#endif
