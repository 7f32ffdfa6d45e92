/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/machine.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

int hm_cpu_usable_cores(void)
{
    /* The kernel refuses a mask smaller than its own, whose size is not known. */
    for (int cores = 1024; cores <= 1 << 20; cores *= 4) {
        cpu_set_t *set = CPU_ALLOC(cores);
        if (!set) {
            break;
        }
        const size_t bytes = CPU_ALLOC_SIZE(cores);
        const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return count;
        }
    }
    return 1;
}

static uint64_t positive(long value)
{
    return value > 0 ? (uint64_t)value : 0;
}

uint64_t hm_cpu_memory_bytes(void)
{
    return positive(sysconf(_SC_PHYS_PAGES)) * positive(sysconf(_SC_PAGESIZE));
}

uint64_t hm_cpu_l2_bytes(void)
{
#ifdef _SC_LEVEL2_CACHE_SIZE
    return positive(sysconf(_SC_LEVEL2_CACHE_SIZE));
#else
    return 0;
#endif
}

void hm_cpu_name(char *name, size_t size)
{
    /* Not every architecture's cpuinfo has a model name. */
    struct utsname machine;
    snprintf(name, size, "%s", uname(&machine) == 0 ? machine.machine : "CPU");

    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) {
        return;
    }
    char line[256];
    while (fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(name, size, "%s", colon + 1 + strspn(colon + 1, " "));
            break;
        }
    }
    fclose(file);
}
