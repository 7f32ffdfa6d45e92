/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_DECODE_H
#define HM_SM90_DECODE_H

/** @file
 * The host side of the decode; kernels/backend.h says what each function does. The context is current. */

#include "kernels/sm90/device.h"

hopmla_status hm_sm90_bind(hm_device *device, const hm_kv *kv, hm_binding *binding, hopmla_error *error);
uint64_t hm_sm90_workspace_bytes(const hm_device *device, const hm_envelope *envelope);
hopmla_status hm_sm90_schedule(hm_device *device, const hm_envelope *envelope, const hm_tables *tables, void *workspace,
                               hopmla_stream stream, hopmla_error *error);
hopmla_status hm_sm90_decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_binding *binding,
                             const hm_tables *tables, const hm_decode *decode, void *workspace, hopmla_stream stream,
                             hopmla_error *error);

#endif
