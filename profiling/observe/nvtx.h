/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_NVTX_H
#define HM_NVTX_H

/** @file
 * Ranges for Nsight and other tools: domain "hopmla", ranges append, decode, gather, update and launch, each with its
 * category and with batch, rows, KV tokens, bytes and FLOPs as typed columns. nvtx.c where NVIDIA's headers were found at
 * build time, else nvtx_none.c. */

#include "profiling/observe/observe.h"

/** Whether a tool listens. Makes the domain when first called in the process. Thread-safe. */
int hm_nvtx_listens(void);

/** Opens and closes a range of the calling thread; where hm_nvtx_listens has said yes. */
void hm_nvtx_push(const hm_call *call);
void hm_nvtx_pop(void);

#endif
