/* SPDX-License-Identifier: Apache-2.0 */
#include "meter.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    PERIOD_NS = 20000000
};

struct meter {
    nvml *nvml;
    pthread_t thread;
    atomic_bool stop;
    nvml_reading sum;
    uint64_t count;
};

static void *read_on(void *user)
{
    meter *m = user;
    do {
        nvml_reading reading;
        if (nvml_read(m->nvml, &reading)) {
            m->sum.sm_mhz += reading.sm_mhz;
            m->sum.watts += reading.watts;
            ++m->count;
        }
        nanosleep(&(struct timespec){ 0, PERIOD_NS }, NULL);
    } while (!atomic_load(&m->stop));
    return NULL;
}

meter *meter_start(nvml *n)
{
    meter *m = n != NULL ? calloc(1, sizeof(*m)) : NULL;
    if (m == NULL)
        return NULL;
    m->nvml = n;
    if (pthread_create(&m->thread, NULL, read_on, m) != 0) {
        free(m);
        return NULL;
    }
    return m;
}

bool meter_stop(meter *m, nvml_reading *mean)
{
    if (m == NULL)
        return false;
    atomic_store(&m->stop, true);
    pthread_join(m->thread, NULL);
    bool any = m->count > 0;
    if (any)
        *mean = (nvml_reading){ m->sum.sm_mhz / (double)m->count, m->sum.watts / (double)m->count };
    free(m);
    return any;
}
