/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_DECODE_ARGS_H
#define HM_DECODE_ARGS_H

/** @file
 * The arguments of a decode, shared by hopmla_decode and hopmla_decode_paged. hopmla_decode_args_init is defined in
 * decode_args.c too. */

#include "kernels/backend.h"

/** Checks everything about a decode's arguments that does not depend on the step, and turns them into what a backend
 * takes: strides filled in, q_rope set for a joint q too if it has a rope part.
 *
 * @param layers  layers of the pool; 0: args->layer is ignored and decode->layer is 0
 * @param decode  untouched on failure. decode->rows may be 0 (then q and out may be NULL): there is nothing to do, and
 *                the backend must not be called
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT, ALIGNMENT, or ENVELOPE when rows is more than
 *         max_batch × max_q_tokens */
hopmla_status hm_decode_args_read(const hopmla_decode_args *args, const hm_envelope *envelope, uint32_t layers,
                                  const void *q, const void *q_rope, void *out, void *lse, hm_decode *decode,
                                  hopmla_error *error);

/** Refuses NULL and wrong alignment, by name. @return OK, NULL, ALIGNMENT */
hopmla_status hm_check_pointer(const char *name, const void *pointer, uint64_t alignment, hopmla_error *error);

/** Whether an array of `rows` × `columns` pieces of `extent` each, at these strides (all in one unit), has two pieces
 * that overlap. Either dimension may be the outer one. Strides of a dimension of one element do not matter. The
 * products must not overflow: each below 2^63. */
int hm_strides_overlap(uint64_t rows, uint64_t row_stride, uint64_t columns, uint64_t column_stride, uint64_t extent);

#endif
