/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_ABI_H
#define HM_ABI_H

/** @file
 * Structs across the ABI: each starts with uint32_t struct_size and grows at its end only. */

#include <stddef.h>

#include "hopmla/status.h"

/** Bytes of a struct up to the end of a field: its size in the release whose last field that was. */
#define HM_SIZE_THROUGH(type, field) ((uint32_t)(offsetof(type, field) + sizeof(((type *)0)->field)))

/** Copies a caller's input struct into the library's own, whose tail is zeroed where the caller's is older.
 *
 * @param known    sizeof the struct in this library
 * @param first    its size in the first release
 * @return OK; STRUCT_SIZE when the caller's is smaller than `first` or larger than 4096; STRUCT_TAIL when the caller's
 *         is larger than `known` and holds a non-zero byte beyond it. */
hopmla_status hm_abi_read(const void *caller, void *own, uint32_t known, uint32_t first, const char *name,
                          hopmla_error *error);

/** Checks the struct_size that a caller set in an output struct: as above without the tail. */
hopmla_status hm_abi_check_output(const void *caller, uint32_t first, const char *name, hopmla_error *error);

/** Copies the library's struct over the caller's: as much as the caller's holds, zeroes beyond what the library knows;
 * struct_size stays the caller's. */
void hm_abi_write(void *caller, const void *own, uint32_t known);

/** For the *_init functions: checks size against `first`, zeroes `size` bytes, copies the defaults and sets struct_size. */
hopmla_status hm_abi_init(void *caller, uint64_t size, const void *defaults, uint32_t known, uint32_t first);

#endif
