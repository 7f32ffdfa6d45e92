/* SPDX-License-Identifier: Apache-2.0 */
/* Launches of graphs with a plan's calls: replays call no function of the library, so the caller says when they are. */
#include "lib/abi.h"
#include "lib/plan.h"

enum {
    MAX_CALLS = 1 << 20
};

hopmla_status hopmla_launch_note_init(hopmla_launch_note *note, uint64_t size)
{
    const hopmla_launch_note defaults = HOPMLA_LAUNCH_NOTE_INIT;
    return hm_abi_init(note, size, &defaults, sizeof(defaults), HM_SIZE_THROUGH(hopmla_launch_note, dtype));
}

static hopmla_status read_note(const hopmla_plan *plan, const hopmla_launch_note *note, hopmla_launch_note *own,
                               hopmla_error *error)
{
    const hopmla_status status =
        hm_abi_read(note, own, sizeof(*own), HM_SIZE_THROUGH(hopmla_launch_note, dtype), "note", error);
    if (status) {
        return status;
    }
    const uint64_t calls = (uint64_t)own->appends + own->decodes;
    if (calls < 1 || calls > MAX_CALLS) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "note.appends + note.decodes is %llu, must be 1 … 2^20",
                       (unsigned long long)calls);
    }
    const int32_t pools = hm_format_dtype(plan->kv.format);
    if (own->dtype != 0 && own->dtype != pools && own->dtype != HOPMLA_DTYPE_FP32) {
        return hm_fail(error, HOPMLA_ERROR_DTYPE, "note.dtype is %d, must be 0, HOPMLA_DTYPE_%s or HOPMLA_DTYPE_FP32",
                       (int)own->dtype, pools == HOPMLA_DTYPE_BF16 ? "BF16" : "FP16");
    }
    return HOPMLA_OK;
}

hopmla_status hopmla_plan_launch_begin(hopmla_plan *plan, const hopmla_launch_note *note, hopmla_stream stream,
                                       hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    HM_CHECK_NULL(note, error);
    hm_observers *observers = &plan->pool->context->observers;
    const hm_observation seen = hm_observe(observers);
    hopmla_launch_note own;
    int32_t capturing = 0;
    hopmla_status status = read_note(plan, note, &own, error);
    if (status == HOPMLA_OK && plan->launching) {
        status = hm_fail(error, HOPMLA_ERROR_STATE, "a launch was begun and not ended: hopmla_plan_launch_end");
    }
    if (status == HOPMLA_OK) {
        status = hm_plan_check_launch(plan, stream, &capturing, error);
    }
    if (status == HOPMLA_OK && capturing) {
        status = hm_fail(error, HOPMLA_ERROR_CAPTURE,
                         "stream is being captured: hopmla_plan_launch_begin is for launches that run");
    }
    if (status) {
        return status;
    }
    plan->launching = 1;
    plan->launch_stream = stream;
    plan->launch = (hm_observed_launch){ 0 };
    if (seen.bits) {
        const hm_call call = hm_plan_describe_launch(plan, &own);
        hm_observe_launch_begin(&plan->launch, &seen, observers, &call, stream);
    }
    return HOPMLA_OK;
}

hopmla_status hopmla_plan_launch_end(hopmla_plan *plan, int32_t launched, hopmla_stream stream, hopmla_error *error)
{
    HM_CHECK_ERROR(error);
    HM_CHECK_NULL(plan, error);
    if (!plan->launching) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "no launch was begun: hopmla_plan_launch_begin");
    }
    if (plan->launch_stream != stream) {
        return hm_fail(error, HOPMLA_ERROR_STATE, "stream is %p, but the launch was begun on %p", (void *)stream,
                       (void *)plan->launch_stream);
    }
    if (launched != 0 && launched != 1) {
        return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "launched is %d, must be 0 or 1", (int)launched);
    }
    plan->launching = 0;
    hm_observe_launch_end(&plan->launch, &plan->pool->context->observers, stream, launched);
    return HOPMLA_OK;
}
