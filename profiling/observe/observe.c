/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/observe.h"

#include <sched.h>

#include "profiling/observe/nvtx.h"
#include "profiling/observe/recorder.h"

void hm_observers_init(hm_observers *observers)
{
    atomic_init(&observers->bits, hm_nvtx_listens() ? HM_OBSERVE_NVTX : 0);
    atomic_init(&observers->recorder, NULL);
    atomic_init(&observers->door, 0);
    atomic_init(&observers->captures, 0);
    atomic_init(&observers->captured, 0);
}

int hm_observers_claim(hm_observers *observers, hm_recorder *recorder)
{
    hm_recorder *nobody = NULL;
    return atomic_compare_exchange_strong(&observers->recorder, &nobody, recorder);
}

void hm_observers_open(hm_observers *observers)
{
    hm_recorder *recorder = atomic_load(&observers->recorder);
    atomic_store_explicit(&recorder->left, 0, memory_order_relaxed);
    atomic_store(&observers->door, HM_DOOR_OPEN);
    atomic_fetch_or(&observers->bits, HM_OBSERVE_RECORD);
}

void hm_observers_close(hm_observers *observers)
{
    hm_recorder *recorder = atomic_load(&observers->recorder);
    atomic_fetch_and(&observers->bits, ~(unsigned)HM_OBSERVE_RECORD);
    const uint64_t entered = atomic_exchange(&observers->door, 0) & ~HM_DOOR_OPEN;
    while (atomic_load_explicit(&recorder->left, memory_order_acquire) != entered) {
        sched_yield();
    }
}

void hm_observers_release(hm_observers *observers)
{
    atomic_store(&observers->recorder, NULL);
}

void hm_observers_forget(hm_observers *observers, hm_recorder *recorder)
{
    if (atomic_load(&observers->recorder) == recorder) {
        atomic_fetch_and(&observers->bits, ~(unsigned)HM_OBSERVE_RECORD);
        atomic_store(&observers->door, 0);
        atomic_store(&observers->recorder, NULL);
    }
}

void hm_observe_capture_begin(hm_observers *observers)
{
    atomic_fetch_add_explicit(&observers->captures, 1, memory_order_relaxed);
}

/* One that an engine began itself may end here too. */
void hm_observe_capture_end(hm_observers *observers)
{
    unsigned captures = atomic_load_explicit(&observers->captures, memory_order_relaxed);
    while (captures > 0 && !atomic_compare_exchange_weak_explicit(&observers->captures, &captures, captures - 1,
                                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* The recorder is held from here to leave(), or is NULL: it stays claimed while somebody counted is inside. Knocks at a
 * closed door are forgotten when it opens. */
static hm_recorder *enter(hm_observers *observers)
{
    return atomic_fetch_add(&observers->door, 1) & HM_DOOR_OPEN ? atomic_load(&observers->recorder) : NULL;
}

/* The last that is done to the recorder. */
static void leave(hm_recorder *recorder)
{
    atomic_fetch_add_explicit(&recorder->left, 1, memory_order_release);
}

void hm_observe_begin(hm_observation *seen, hm_observers *observers, const hm_call *call, hopmla_stream stream,
                      int32_t capturing)
{
    if (seen->bits & HM_OBSERVE_NVTX) {
        hm_nvtx_push(call);
    }
    if (!(seen->bits & HM_OBSERVE_RECORD)) {
        return;
    }
    if (capturing) { /* what is captured does not run now */
        atomic_store_explicit(&observers->captured, seen->came, memory_order_relaxed);
        return;
    }
    seen->recorder = enter(observers);
    if (seen->recorder) {
        seen->position = hm_recorder_begin(seen->recorder, call, seen->came, stream);
    }
}

void hm_observe_end(hm_observation *seen, hopmla_stream stream, hopmla_status status)
{
    if (seen->recorder) {
        hm_recorder_end(seen->recorder, seen->position, stream, status == HOPMLA_OK);
        leave(seen->recorder);
    }
    if (seen->bits & HM_OBSERVE_NVTX) {
        hm_nvtx_pop();
    }
}

void hm_observe_launch_begin(hm_observed_launch *launch, const hm_observation *seen, hm_observers *observers,
                             const hm_call *call, hopmla_stream stream)
{
    *launch = (hm_observed_launch){ .ranges = seen->bits & HM_OBSERVE_NVTX };
    if (launch->ranges) {
        hm_nvtx_push(call);
    }
    hm_recorder *recorder = seen->bits & HM_OBSERVE_RECORD ? enter(observers) : NULL;
    if (recorder) {
        launch->session = hm_recorder_session(recorder);
        launch->position = hm_recorder_begin(recorder, call, seen->came, stream);
        leave(recorder);
    }
}

static void end_launch(const hm_observed_launch *launch, hm_observers *observers, hopmla_stream stream, int launched)
{
    hm_recorder *recorder = launch->session ? enter(observers) : NULL;
    if (!recorder) {
        return;
    }
    if (hm_recorder_session(recorder) == launch->session) { /* else it was stopped since, and the record closed */
        hm_recorder_end(recorder, launch->position, stream, launched);
    }
    leave(recorder);
}

void hm_observe_launch_end(const hm_observed_launch *launch, hm_observers *observers, hopmla_stream stream,
                           int launched)
{
    end_launch(launch, observers, stream, launched);
    if (launch->ranges) {
        hm_nvtx_pop();
    }
}

void hm_observe_launch_drop(const hm_observed_launch *launch, hm_observers *observers)
{
    end_launch(launch, observers, NULL, 0);
}
