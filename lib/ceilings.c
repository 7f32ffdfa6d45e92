/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/abi.h"
#include "lib/context.h"
#include "lib/error.h"

hopmla_status hopmla_measure_ceilings(hopmla_context *context, hopmla_ceilings *ceilings, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(ceilings, error);
    hopmla_status status =
        hm_abi_check_output(ceilings, HM_SIZE_THROUGH(hopmla_ceilings, flops_sustained), "ceilings", error);
    if (status) {
        return status;
    }
    hopmla_ceilings own = HOPMLA_CEILINGS_INIT;
    status = context->backend->measure_ceilings(context->device, &own, error);
    if (status == HOPMLA_OK) {
        hm_abi_write(ceilings, &own, sizeof(own));
    }
    return status;
}
