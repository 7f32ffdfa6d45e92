/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/profiler.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "lib/abi.h"
#include "lib/error.h"

int hm_profiler_is_forked(const hopmla_profiler *profiler)
{
    return getpid() != profiler->process;
}

/* Creation. */

static hopmla_status no_memory(uint64_t bytes, const char *what, hopmla_error *error)
{
    return hm_fail_value(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, (int64_t)bytes, "no %llu bytes of memory for %s",
                         (unsigned long long)bytes, what);
}

static uint64_t slots_bytes(const hopmla_profiler *profiler)
{
    return (uint64_t)profiler->options.capacity * sizeof(hm_slot);
}

static uint64_t counts_bytes(const hopmla_profiler *profiler)
{
    return (uint64_t)profiler->options.capacity * sizeof(hm_counts);
}

static hopmla_status allocate(hopmla_profiler *profiler, hopmla_error *error)
{
    hopmla_context *context = profiler->context;
    profiler->slots = hm_host_alloc(context, slots_bytes(profiler), _Alignof(hm_slot));
    if (!profiler->slots) {
        return no_memory(slots_bytes(profiler), "a profiler's records", error);
    }
    memset(profiler->slots, 0, slots_bytes(profiler));
    profiler->totals = hm_host_zalloc(context, 1, sizeof(*profiler->totals));
    if (!profiler->totals) {
        return no_memory(sizeof(*profiler->totals), "a profiler's totals", error);
    }
    if (profiler->offer.counters != HOPMLA_COUNTERS_NONE) {
        profiler->finisher.counts = hm_host_alloc(context, counts_bytes(profiler), _Alignof(hm_counts));
        if (!profiler->finisher.counts) {
            return no_memory(counts_bytes(profiler), "a profiler's counters", error);
        }
    }
    return HOPMLA_OK;
}

static void free_memory(hopmla_profiler *profiler)
{
    hopmla_context *context = profiler->context;
    hm_free(context, profiler->finisher.counts, counts_bytes(profiler), HOPMLA_MEMORY_HOST, NULL);
    hm_free(context, profiler->totals, sizeof(*profiler->totals), HOPMLA_MEMORY_HOST, NULL);
    hm_free(context, profiler->slots, slots_bytes(profiler), HOPMLA_MEMORY_HOST, NULL);
    hm_free(context, profiler, sizeof(*profiler), HOPMLA_MEMORY_HOST, NULL);
}

static int wants_meter(const hopmla_profiler_options *options)
{
    return (options->clocks & HOPMLA_CLOCK_ACTIVITY) || options->counters != HOPMLA_COUNTERS_NONE;
}

/* CUPTI has nothing to say of host threads. */
static void refuse_meter(const hopmla_profiler_options *options, hm_meter_offer *offer)
{
    static const char why[] = "the context's backend is the CPU: there is no GPU work to measure";
    if (options->clocks & HOPMLA_CLOCK_ACTIVITY) {
        memcpy(offer->activity_missing, why, sizeof(why));
    }
    if (options->counters != HOPMLA_COUNTERS_NONE) {
        memcpy(offer->counters_missing, why, sizeof(why));
    }
}

/* Once the offer is known: events where kernel times are wanted and not given. */
static hopmla_status choose_clock(hopmla_profiler *profiler, hopmla_error *error)
{
    hm_recorder *recorder = &profiler->recorder;
    const int wants_events = (profiler->options.clocks & HOPMLA_CLOCK_EVENTS) && !recorder->host_clock;
    recorder->meter_times = profiler->offer.activity;
    hopmla_status status = HOPMLA_OK;
    if (wants_events && !recorder->meter_times && !recorder->events) {
        status = hm_event_clock_create(profiler->context, profiler->options.capacity, &recorder->events, error);
    }
    profiler->finisher.time_source = recorder->host_clock    ? HOPMLA_SOURCE_HOST
                                     : recorder->meter_times ? HOPMLA_SOURCE_ACTIVITY
                                     : recorder->events      ? HOPMLA_SOURCE_EVENT
                                                             : HOPMLA_SOURCE_NONE;
    return status;
}

static hopmla_status open_clocks(hopmla_profiler *profiler, const hopmla_profiler_options *options, hopmla_error *error)
{
    hm_recorder *recorder = &profiler->recorder;
    hopmla_context *context = profiler->context;
    recorder->host_clock = context->backend->kind == HOPMLA_BACKEND_CPU;
    hopmla_status status = HOPMLA_OK;
    if (wants_meter(options) && recorder->host_clock) {
        refuse_meter(options, &profiler->offer);
    } else if (wants_meter(options)) {
        status = hm_meter_open(context, options, options->capacity, &profiler->offer, &recorder->meter, error);
    }
    if (status) {
        return status;
    }
    return choose_clock(profiler, error);
}

static void close_clocks(hopmla_profiler *profiler)
{
    hm_event_clock_destroy(profiler->recorder.events);
    if (profiler->recorder.meter) {
        hm_meter_close(profiler->recorder.meter);
    }
}

hopmla_status hopmla_profiler_create(hopmla_context *context, const hopmla_profiler_options *options,
                                     hopmla_profiler **profiler, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(context, error);
    HM_CHECK_NULL(profiler, error);
    hopmla_profiler_options own;
    hopmla_status status = hm_profiler_options_read(options, &own, error);
    if (status) {
        return status;
    }
    hopmla_profiler *made = hm_host_alloc(context, sizeof(*made), _Alignof(hopmla_profiler));
    if (!made) {
        return no_memory(sizeof(*made), "a profiler", error);
    }
    memset(made, 0, sizeof(*made));
    made->context = context;
    made->options = own;
    made->options.metrics = NULL;
    made->options.cupti_path = NULL;
    made->process = getpid();
    made->recorder.backend = context->backend;
    made->recorder.device = context->device;
    if (pthread_mutex_init(&made->mutex, NULL)) {
        status = no_memory(sizeof(made->mutex), "a profiler's mutex", error);
        goto free_memory;
    }
    status = open_clocks(made, &own, error);
    if (status == HOPMLA_OK) {
        status = allocate(made, error);
    }
    if (status) {
        goto close_clocks;
    }
    hm_recorder_init(&made->recorder, made->slots, own.capacity);
    hm_totals_init(made->totals);
    made->finisher.recorder = &made->recorder;
    made->finisher.totals = made->totals;
    made->finisher.totals_only = (own.flags & HOPMLA_PROFILER_TOTALS_ONLY) != 0;
    hm_context_retain(context);
    *profiler = made;
    return HOPMLA_OK;

close_clocks:
    close_clocks(made);
    pthread_mutex_destroy(&made->mutex);
free_memory:
    free_memory(made);
    return status;
}

/* Starting and stopping. */

/* CUPTI may give less than it seemed when the profiler was created: somebody else was quicker. */
static hopmla_status start_meter(hopmla_profiler *profiler, hopmla_error *error)
{
    hm_meter *meter = profiler->recorder.meter;
    if (!meter) {
        return HOPMLA_OK;
    }
    hopmla_status status = hm_meter_start(meter, error);
    if (status) {
        return status;
    }
    hm_meter_describe(meter, &profiler->offer);
    status = choose_clock(profiler, error);
    if (status) {
        hm_meter_stop(meter);
    }
    return status;
}

static hopmla_status start(hopmla_profiler *profiler, hopmla_error *error)
{
    hm_observers *observers = &profiler->context->observers;
    if (profiler->started) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "profiler is started already");
    }
    if (!hm_observers_claim(observers, &profiler->recorder)) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "another profiler of the context is started, or has not stopped yet");
    }
    const hopmla_status status = start_meter(profiler, error);
    if (status) {
        hm_observers_release(observers);
        return status;
    }
    if (profiler->recorder.events) {
        hm_event_clock_anchor(profiler->recorder.events);
    }
    profiler->started = 1;
    hm_observers_open(observers); /* last: a call that has entered finds the clocks chosen and running */
    return HOPMLA_OK;
}

static void stop(hopmla_profiler *profiler)
{
    if (!profiler->started) {
        return;
    }
    hm_observers_close(&profiler->context->observers);
    hm_recorder_close_session(&profiler->recorder);
    if (profiler->recorder.meter) {
        hm_meter_stop(profiler->recorder.meter);
    }
    hm_observers_release(&profiler->context->observers);
    profiler->started = 0;
}

hopmla_status hopmla_profiler_start(hopmla_profiler *profiler, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(profiler, error);
    if (hm_profiler_is_forked(profiler)) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "profiler was made before fork(): make one in the child");
    }
    pthread_mutex_lock(&profiler->mutex);
    const hopmla_status status = start(profiler, error);
    pthread_mutex_unlock(&profiler->mutex);
    return status;
}

hopmla_status hopmla_profiler_stop(hopmla_profiler *profiler, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(profiler, error);
    if (!hm_profiler_is_forked(profiler)) {
        pthread_mutex_lock(&profiler->mutex);
        stop(profiler);
        pthread_mutex_unlock(&profiler->mutex);
    }
    return HOPMLA_OK;
}

/* In a forked child the context and the events are the parent's, and threads that were recording are not there. */
void hopmla_profiler_destroy(hopmla_profiler *profiler)
{
    if (!profiler) {
        return;
    }
    hopmla_context *context = profiler->context;
    if (hm_profiler_is_forked(profiler)) {
        hm_observers_forget(&context->observers, &profiler->recorder);
        if (profiler->recorder.meter) {
            hm_meter_close(profiler->recorder.meter);
        }
        free_memory(profiler);
        return;
    }
    pthread_mutex_lock(&profiler->mutex);
    stop(profiler);
    pthread_mutex_unlock(&profiler->mutex);
    pthread_mutex_destroy(&profiler->mutex);
    close_clocks(profiler);
    free_memory(profiler);
    hm_context_release(context);
}

/* Ceilings. */

static hopmla_status check_rate(const char *name, double rate, hopmla_error *error)
{
    if (!isfinite(rate) || rate <= 0.0) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "ceilings.%s is %g, must be finite and more than 0", name, rate);
    }
    return HOPMLA_OK;
}

static hopmla_status read_ceilings(const hopmla_ceilings *ceilings, hopmla_ceilings *own, hopmla_error *error)
{
    hopmla_status status =
        hm_abi_read(ceilings, own, sizeof(*own), HM_SIZE_THROUGH(hopmla_ceilings, driver), "ceilings", error);
    if (status == HOPMLA_OK && own->reserved) {
        status = hm_fail(error, HOPMLA_ERROR_ARGUMENT, "ceilings.reserved is %u, must be 0", own->reserved);
    }
    if (status == HOPMLA_OK) {
        status = check_rate("read_bytes_per_second", own->read_bytes_per_second, error);
    }
    if (status == HOPMLA_OK) {
        status = check_rate("flops_burst", own->flops_burst, error);
    }
    if (status == HOPMLA_OK) {
        status = check_rate("flops_sustained", own->flops_sustained, error);
    }
    return status;
}

hopmla_status hopmla_profiler_set_ceilings(hopmla_profiler *profiler, const hopmla_ceilings *ceilings,
                                           hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(profiler, error);
    hopmla_ceilings own = HOPMLA_CEILINGS_INIT;
    hopmla_status status = ceilings ? read_ceilings(ceilings, &own, error) : HOPMLA_OK;
    if (status || hm_profiler_is_forked(profiler)) {
        return status;
    }
    pthread_mutex_lock(&profiler->mutex);
    profiler->finisher.ceilings = own;
    profiler->finisher.has_ceilings = ceilings != NULL;
    pthread_mutex_unlock(&profiler->mutex);
    return HOPMLA_OK;
}
