/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/nvtx.h"

int hm_nvtx_listens(void)
{
    return 0;
}

void hm_nvtx_push(const hm_call *call)
{
    (void)call;
}

void hm_nvtx_pop(void) {}
