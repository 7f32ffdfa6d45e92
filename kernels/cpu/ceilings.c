/* SPDX-License-Identifier: Apache-2.0 */

/* Measured ceilings: how fast all threads together read memory, and multiply and add. */

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/cpu/threads.h"
#include "lib/error.h"

#define READ_BYTES (64u << 20)
#define READ_PASSES 8
#define BURST_SECONDS 0.005
#define SUSTAINED_AFTER_SECONDS 1.5
#define SUSTAINED_SECONDS 0.3

enum {
    FLOATS = READ_BYTES / sizeof(float),
    GRAIN = 1024,
    SHORT_ROUNDS = 500,
    LONG_ROUNDS = 20000
};

typedef struct measurement {
    const hm_isa *isa;
    float *data;
    uint32_t rounds;
    _Atomic uint64_t done; /* bytes or operations */
    _Atomic uint32_t sink; /* so that no compiler leaves the work out */
} measurement;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t share(int index, int count)
{
    return (size_t)FLOATS / GRAIN * (size_t)index / (size_t)count * GRAIN;
}

/* Random bits with exponents near 1, where nothing overflows or vanishes. Every thread touches its own share first. */
static void prepare(void *argument, int index, int count)
{
    measurement *m = argument;
    uint32_t state = 12345u + (uint32_t)index;
    for (size_t i = share(index, count); i < share(index + 1, count); i++) {
        state = state * 1664525u + 1013904223u;
        m->data[i] = 0.5f + (float)(state >> 9) * 0x1p-24f;
    }
}

static void read_share(void *argument, int index, int count)
{
    measurement *m = argument;
    size_t from = share(index, count), to = share(index + 1, count);
    float sum = m->isa->read(m->data + from, to - from);
    atomic_fetch_add(&m->sink, sum > 0.0f);
    atomic_fetch_add(&m->done, (to - from) * sizeof(float));
}

static void calculate(void *argument, int index, int count)
{
    measurement *m = argument;
    float values[64];
    (void)count;
    for (int i = 0; i < 64; i++) {
        values[i] = m->data[(size_t)index * 64 % FLOATS + (size_t)i];
    }
    atomic_fetch_add(&m->done, m->isa->multiply_add(m->rounds, values));
    atomic_fetch_add(&m->sink, values[0] > 0.0f);
}

/* Best rate of runs that take `seconds` together, at least one. */
static double rate(hm_device *device, measurement *m, void (*fn)(void *, int, int), double seconds)
{
    double best = 0.0, end = now() + seconds;
    do {
        atomic_store(&m->done, 0);
        double start = now();
        hm_threads_run(device->threads, fn, m);
        double measured = (double)atomic_load(&m->done) / (now() - start);
        best = measured > best ? measured : best;
    } while (now() < end);
    return best;
}

/* Rate over the whole time instead of the best one: what heat and power leave. */
static double sustained(hm_device *device, measurement *m)
{
    rate(device, m, calculate, SUSTAINED_AFTER_SECONDS);
    atomic_store(&m->done, 0);
    double start = now(), end = start + SUSTAINED_SECONDS;
    while (now() < end) {
        hm_threads_run(device->threads, calculate, m);
    }
    return (double)atomic_load(&m->done) / (now() - start);
}

hopmla_status hm_cpu_measure_ceilings(hm_device *device, hopmla_ceilings *ceilings, hopmla_error *error)
{
    measurement m = { .isa = hm_cpu_isa(device->isa) };
    m.data = aligned_alloc(4096, READ_BYTES);
    if (!m.data) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory to measure the ceilings");
    }
    hm_threads_run(device->threads, prepare, &m);
    double read = 0.0;
    for (int i = 0; i < READ_PASSES; i++) {
        double measured = rate(device, &m, read_share, 0.0);
        read = measured > read ? measured : read;
    }
    ceilings->read_bytes_per_second = read;
    m.rounds = SHORT_ROUNDS;
    ceilings->flops_burst = rate(device, &m, calculate, BURST_SECONDS);
    m.rounds = LONG_ROUNDS;
    ceilings->flops_sustained = sustained(device, &m);
    free(m.data);
    return HOPMLA_OK;
}
