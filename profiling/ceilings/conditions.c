/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/ceilings/conditions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "profiling/nvml.h"

enum {
    PERIOD_NS = 20000000,
    KEPT = 16 /* readings: the last 0.32 s, of the 0.4 s that the sustained rate is measured in */
};

struct hm_conditions {
    nvml *library;
    pthread_t thread;
    atomic_int stop;
    nvml_reading kept[KEPT];
    uint64_t count;
};

static void *read_on(void *user)
{
    hm_conditions *c = user;
    const struct timespec period = { 0, PERIOD_NS };
    do {
        if (nvml_read(c->library, &c->kept[c->count % KEPT])) {
            c->count++;
        }
        nanosleep(&period, NULL);
    } while (!atomic_load(&c->stop));
    return NULL;
}

hm_conditions *hm_conditions_begin(const hopmla_context_info *info)
{
    nvml *library = info->backend == HOPMLA_BACKEND_CUDA ? nvml_open(info->device) : NULL;
    if (!library) {
        return NULL;
    }
    hm_conditions *c = calloc(1, sizeof(*c));
    if (!c) {
        nvml_close(library);
        return NULL;
    }
    c->library = library;
    if (pthread_create(&c->thread, NULL, read_on, c)) {
        nvml_close(library);
        free(c);
        return NULL;
    }
    return c;
}

/* What is missing stays 0. */
static void means(const hm_conditions *c, hopmla_ceilings *ceilings)
{
    const uint64_t count = c->count < KEPT ? c->count : KEPT;
    for (uint64_t i = 0; i < count; i++) {
        ceilings->sustained_mhz += c->kept[i].sm_mhz / (double)count;
        ceilings->sustained_watts += c->kept[i].watts / (double)count;
    }
}

void hm_conditions_end(hm_conditions *c, const hopmla_context_info *info, hopmla_ceilings *ceilings)
{
    if (c) {
        atomic_store(&c->stop, 1);
        pthread_join(c->thread, NULL);
        means(c, ceilings);
        nvml_close(c->library);
        free(c);
    }
    ceilings->unix_time = (int64_t)time(NULL);
    hm_driver_release(info, ceilings->driver, sizeof(ceilings->driver));
}

void hm_driver_release(const hopmla_context_info *info, char *text, size_t size)
{
    memset(text, 0, size);
    FILE *file = info->backend == HOPMLA_BACKEND_CUDA ? fopen("/sys/module/nvidia/version", "re") : NULL;
    if (!file) {
        return;
    }
    if (fgets(text, (int)size, file)) {
        const size_t length = strspn(text, "0123456789.");
        memset(text + length, 0, size - length);
    }
    fclose(file);
}
