/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_PAGED_DESC_H
#define HM_PAGED_DESC_H

/** @file
 * The description of a raw caller's cache and batch. hopmla_paged_desc_init is defined in paged_desc.c too. */

#include "kernels/backend.h"

/** Checks a description, all but the strides of its arrays, and copies it.
 *
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, OVERFLOW */
hopmla_status hm_paged_desc_read(const hopmla_paged_desc *desc, hopmla_paged_desc *own, hm_envelope *envelope,
                                 hopmla_error *error);

/** Checks the arrays and their strides, which may put tokens or pages outside but must not make rows overlap.
 *
 * @param desc  as hm_paged_desc_read copied it
 * @param rope  NULL: the rope part, if the format has one, follows the latent part in each row
 * @return OK, NULL, ARGUMENT, ALIGNMENT */
hopmla_status hm_paged_kv(const hopmla_paged_desc *desc, const void *latent, const void *rope, hm_kv *kv,
                          hopmla_error *error);

#endif
