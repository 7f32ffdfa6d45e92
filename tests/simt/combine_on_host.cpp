/* SPDX-License-Identifier: Apache-2.0 */
#include "simt.h"

#define __shared__ static
#include "kernels/sm90/combine.cu"

#include "on_host.h"

bool combine_on_host(const hm_sm90_decode_params &params, unsigned grid)
{
    simt_waited = false;
    simt_run(
        grid, HM_SM90_COMBINE_THREADS, [](void *user) { hm_combine_bf16(*static_cast<hm_sm90_decode_params *>(user)); },
        const_cast<hm_sm90_decode_params *>(&params));
    return simt_waited;
}
