/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Prints what the library loads: a kernel's name, its cubin, and its dynamic shared memory, a line each. */

#include "kernels/sm90/kernels.h"

#include <stdio.h>

int main(void)
{
#define PRINT(name, cubin, shared_bytes, big_cluster) printf("hm_%s %s %u\n", #name, #cubin, (unsigned)(shared_bytes));
    HM_KERNELS(PRINT)
#undef PRINT
    return 0;
}
