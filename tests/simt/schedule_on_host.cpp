/* SPDX-License-Identifier: Apache-2.0 */
#include "simt.h"

#define __shared__
#include "kernels/sm90/schedule.cu"

#include "on_host.h"

void schedule_on_host(const hm_sm90_schedule_params &params)
{
    simt_run(
        1, HM_SM90_SCHEDULE_THREADS, [](void *user) { hm_schedule(*static_cast<hm_sm90_schedule_params *>(user)); },
        const_cast<hm_sm90_schedule_params *>(&params));
}
