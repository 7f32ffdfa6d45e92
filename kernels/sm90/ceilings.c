/* SPDX-License-Identifier: Apache-2.0 */

#include <time.h>

#include "kernels/sm90/launch.h"
#include "kernels/sm90/probe.h"
#include "kernels/sm90/sm90.h"

/** @file
 * Measures what the device can do at most: reading memory, and multiplying matrices before and after power limits the
 * clock. Events around several launches tell the time, so that their own few microseconds do not count. */

#define MEMORY_BYTES (1ull << 30)
#define READ_PASSES 8       /* between two events: 2 ms */
#define READ_REPEATS 8      /* of which the best counts */
#define BURST_ROUNDS 450u   /* of the product kernel: 1 ms */
#define BURST_REPEATS 10    /* of which the best counts: the clock may need a moment to rise */
#define STEADY_ROUNDS 4500u /* 10 ms */
#define STEADY_LAUNCHES 20  /* between two events: 200 ms */
#define WARM_GROUPS 10      /* of them until the clock has settled: 2 s */
#define STEADY_GROUPS 2     /* of them that count */
#define IDLE_NANOSECONDS 200000000

typedef struct probe {
    hm_device *device;
    hopmla_stream stream;
    hopmla_event begin;
    hopmla_event end;
    hm_cu_address memory;
    hopmla_error *error;
} probe;

static hopmla_status open_probe(probe *p)
{
    HM_CU_TRY(p->error, cuStreamCreate, &p->stream, HM_CU_STREAM_NON_BLOCKING);
    HM_CU_TRY(p->error, cuEventCreate, &p->begin, HM_CU_EVENT_DEFAULT);
    HM_CU_TRY(p->error, cuEventCreate, &p->end, HM_CU_EVENT_DEFAULT);
    HM_CU_TRY(p->error, cuMemAlloc, &p->memory, MEMORY_BYTES);
    return HOPMLA_OK;
}

static void close_probe(probe *p)
{
    if (p->stream) {
        hm_cu.cuStreamSynchronize(p->stream);
    }
    if (p->memory) {
        hm_cu.cuMemFree(p->memory);
    }
    if (p->end) {
        hm_cu.cuEventDestroy(p->end);
    }
    if (p->begin) {
        hm_cu.cuEventDestroy(p->begin);
    }
    if (p->stream) {
        hm_cu.cuStreamDestroy(p->stream);
    }
}

/* Time of `repeats` launches one after the other. */
static hopmla_status time_launches(probe *p, const hm_launch *launch, void **parameters, int repeats, double *seconds)
{
    float milliseconds = 0.0f;

    HM_CU_TRY(p->error, cuEventRecord, p->begin, p->stream);
    for (int i = 0; i < repeats; i++) {
        hopmla_status status = hm_sm90_launch(p->device, launch, parameters, p->stream, p->error);
        if (status != HOPMLA_OK) {
            return status;
        }
    }
    HM_CU_TRY(p->error, cuEventRecord, p->end, p->stream);
    HM_CU_TRY(p->error, cuEventSynchronize, p->end);
    HM_CU_TRY(p->error, cuEventElapsedTime, &milliseconds, p->begin, p->end);
    *seconds = (double)milliseconds * 1e-3;
    return HOPMLA_OK;
}

static hopmla_status measure_read(probe *p, double *bytes_per_second)
{
    /* A whole number of rounds of the grid. */
    uint32_t ctas = p->device->sm_count * HM_PROBE_CTAS_PER_SM;
    uint64_t round = (uint64_t)ctas * HM_PROBE_THREADS * HM_PROBE_IN_FLIGHT;
    uint64_t vectors = MEMORY_BYTES / 16 / round * round;
    void *parameters[] = { &p->memory, &vectors, &p->memory };
    hm_launch launch = { .kernel = HM_KERNEL_probe_fill, .grid = { ctas, 1, 1 }, .threads = HM_PROBE_THREADS };
    double best = 0.0, seconds = 0.0;

    hopmla_status status = time_launches(p, &launch, parameters, 1, &seconds);
    launch.kernel = HM_KERNEL_probe_read;
    for (int i = 0; i < READ_REPEATS && status == HOPMLA_OK; i++) {
        status = time_launches(p, &launch, parameters, READ_PASSES, &seconds);
        if (status == HOPMLA_OK) {
            double rate = (double)vectors * 16.0 * READ_PASSES / seconds;
            best = rate > best ? rate : best;
        }
    }
    *bytes_per_second = best;
    return status;
}

/* FLOP/s of `repeats` launches of `rounds` rounds. */
static hopmla_status multiply(probe *p, uint32_t rounds, int repeats, double *flops_per_second)
{
    const double product = 2.0 * 64 * 256 * 16;
    int32_t keep = 0;
    void *parameters[] = { &rounds, &keep, &p->memory };
    hm_launch launch = { .kernel = HM_KERNEL_probe_multiply,
                         .grid = { p->device->sm_count, 1, 1 },
                         .threads = HM_PROBE_MULTIPLY_THREADS,
                         .shared_bytes = HM_PROBE_MULTIPLY_SHARED };
    double seconds = 0.0;

    hopmla_status status = time_launches(p, &launch, parameters, repeats, &seconds);
    if (status == HOPMLA_OK) {
        *flops_per_second = product * HM_PROBE_PRODUCTS * 2 * p->device->sm_count * rounds * repeats / seconds;
    }
    return status;
}

static hopmla_status measure_burst(probe *p, double *flops_per_second)
{
    struct timespec idle = { 0, IDLE_NANOSECONDS };
    hopmla_status status = HOPMLA_OK;
    double best = 0.0, rate = 0.0;

    nanosleep(&idle, NULL);
    for (int i = 0; i < BURST_REPEATS && status == HOPMLA_OK; i++) {
        status = multiply(p, BURST_ROUNDS, 1, &rate);
        best = rate > best ? rate : best;
    }
    *flops_per_second = best;
    return status;
}

static hopmla_status measure_steady(probe *p, double *flops_per_second)
{
    hopmla_status status = HOPMLA_OK;
    double rate = 0.0;

    for (int i = 0; i < WARM_GROUPS && status == HOPMLA_OK; i++) {
        status = multiply(p, STEADY_ROUNDS, STEADY_LAUNCHES, &rate);
    }
    return status == HOPMLA_OK ? multiply(p, STEADY_ROUNDS, STEADY_LAUNCHES * STEADY_GROUPS, flops_per_second) : status;
}

hopmla_status hm_sm90_measure_ceilings(hm_device *device, hopmla_ceilings *ceilings, hopmla_error *error)
{
    probe p = { .device = device, .error = error };
    double read = 0.0, burst = 0.0, steady = 0.0;

    hopmla_status status = open_probe(&p);
    if (status == HOPMLA_OK) {
        status = measure_read(&p, &read);
    }
    if (status == HOPMLA_OK) {
        status = measure_burst(&p, &burst);
    }
    if (status == HOPMLA_OK) {
        status = measure_steady(&p, &steady);
    }
    close_probe(&p);
    if (status == HOPMLA_OK) {
        ceilings->read_bytes_per_second = read;
        ceilings->flops_burst = burst;
        ceilings->flops_sustained = steady;
    }
    return status;
}
