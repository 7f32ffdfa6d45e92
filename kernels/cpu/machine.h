/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_CPU_MACHINE_H
#define HM_CPU_MACHINE_H

/** @file
 * What the machine under the CPU backend is. */

#include <stddef.h>
#include <stdint.h>

/** Cores that this process may run on, at least 1. */
int hm_cpu_usable_cores(void);

/** Main memory in bytes, 0 where not known. */
uint64_t hm_cpu_memory_bytes(void);

/** Second-level cache of a core in bytes, 0 where not known. */
uint64_t hm_cpu_l2_bytes(void);

/** Name of the processor, cut to size. */
void hm_cpu_name(char *name, size_t size);

#endif
