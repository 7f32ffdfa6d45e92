/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/cupti/counters.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/sm90/driver.h"
#include "lib/context.h"
#include "lib/error.h"
#include "profiling/cupti/window.h"

/* Of LIGHT a range takes 8.7 KB, of FULL 50 KB; clearing 512 of LIGHT takes 2 ms. */
enum {
    LIGHT_RANGES = 512,
    OTHER_RANGES = 128,
    CAPTURE_NS = 500000000
};

/* Who is at the range profiler. */
enum {
    CLOSED, /* nobody may count */
    IDLE,
    BUSY, /* a call is being pushed or popped, for microseconds; or the window is being closed */
    OPEN  /* a call is being counted */
};

/* What became of a call. */
enum {
    COUNTED = 1, /* its range is in the window */
    KNOWN,
    LOST
};

typedef struct result {
    _Atomic uint64_t id; /* 0: none */
    int32_t state;
    int32_t reserved;
    double values[HM_METRICS_MOST];
} result;

struct hm_counters {
    hm_window window;
    hopmla_context *context;
    result *results; /* [mask + 1], of call id at id & mask */
    uint32_t mask;
    uint32_t ranges; /* in the window */
    int32_t is_open; /* the window */
    int32_t has_failed;
    atomic_int call_failed; /* code of a range that could not be pushed or popped: no call is counted from there on */
    atomic_int state;
    _Atomic uint64_t open_id; /* in state OPEN */
    uint64_t *ids;            /* [window.most_ranges], of the window's ranges */
    char failure[HM_REASON_BYTES];
};

/* The device's counters belong to one context, and the range profiler to one user in the process. */
static pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER;
static const hm_counters *owner;

static int claim(const hm_counters *counters)
{
    pthread_mutex_lock(&owner_lock);
    const int is_free = !owner || owner == counters;
    if (is_free) {
        owner = counters;
    }
    pthread_mutex_unlock(&owner_lock);
    return is_free;
}

static void release(void)
{
    pthread_mutex_lock(&owner_lock);
    owner = NULL;
    pthread_mutex_unlock(&owner_lock);
}

static void explain(const hm_counters *counters, int code, char *reason)
{
    const hm_window *window = &counters->window;
    switch (code) {
    case HM_WINDOW_OUT_OF_MEMORY:
        snprintf(reason, HM_REASON_BYTES, "no memory for %s", window->failed);
        break;
    case HM_WINDOW_PASSES:
        snprintf(reason, HM_REASON_BYTES,
                 "the metrics need more than one pass, but a call is made once: ask for fewer or others");
        break;
    case HM_WINDOW_METRIC:
        snprintf(reason, HM_REASON_BYTES,
                 "the device has no metric \"%s\": ncu --query-metrics lists what it has, with an "
                 "ending such as .sum",
                 window->failed);
        break;
    default:
        hm_cupti_explain(window->cupti, (CUptiResult)code, window->failed, reason);
    }
}

/* Creation. */

static uint64_t results_bytes(const hm_counters *counters)
{
    return ((uint64_t)counters->mask + 1) * sizeof(result);
}

static hm_counters *allocate(hopmla_context *context, const hm_metrics *metrics, uint32_t calls)
{
    hm_counters *counters = hm_host_zalloc(context, 1, sizeof(*counters));
    if (!counters) {
        return NULL;
    }
    counters->context = context;
    counters->mask = calls - 1;
    counters->window.context = context;
    counters->window.most_ranges = metrics->set == HOPMLA_COUNTERS_LIGHT ? LIGHT_RANGES : OTHER_RANGES;
    counters->results = hm_host_zalloc(context, calls, sizeof(result));
    counters->ids = hm_host_zalloc(context, counters->window.most_ranges, sizeof(uint64_t));
    atomic_init(&counters->state, CLOSED);
    if (!counters->results || !counters->ids) {
        hm_counters_destroy(counters);
        return NULL;
    }
    return counters;
}

static int prepare(hm_counters *counters)
{
    hopmla_context *context = counters->context;
    hopmla_context_info info = HOPMLA_CONTEXT_INFO_INIT;
    context->backend->describe(context->device, &info);
    if (context->backend->enter(context->device, NULL) != HOPMLA_OK) {
        counters->window.failed = "the CUDA context";
        return CUPTI_ERROR_INVALID_CONTEXT;
    }
    hm_cu_context cuda = NULL;
    int code = CUPTI_ERROR_INVALID_CONTEXT;
    counters->window.failed = "cuStreamGetCtx";
    if (hm_cu.cuStreamGetCtx(NULL, &cuda) == HM_CU_SUCCESS) {
        counters->window.cuda = cuda;
        code = hm_window_prepare(&counters->window, (size_t)info.device);
    }
    context->backend->leave(context->device);
    return code;
}

hopmla_status hm_counters_create(hopmla_context *context, const hm_cupti_library *cupti, const hm_metrics *metrics,
                                 uint32_t calls, hm_counters **counters, char *reason, hopmla_error *error)
{
    *counters = NULL;
    hm_counters *made = allocate(context, metrics, calls);
    if (!made) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for a profiler's counters");
    }
    made->window.cupti = cupti;
    made->window.metrics = *metrics;
    for (uint32_t i = 0; metrics->set == HOPMLA_COUNTERS_CUSTOM && i < metrics->count; i++) {
        made->window.metrics.names[i] = made->window.metrics.custom[i];
    }
    const int code = prepare(made);
    if (code != CUPTI_SUCCESS) {
        explain(made, code, reason);
        hm_counters_destroy(made);
        return HOPMLA_OK;
    }
    *counters = made;
    return HOPMLA_OK;
}

void hm_counters_destroy(hm_counters *counters)
{
    if (!counters) {
        return;
    }
    hopmla_context *context = counters->context;
    if (hm_cupti_forked()) {
        hm_window_forget(&counters->window);
    } else if (counters->is_open) {
        return; /* closing it would break a capture: the process keeps it, and its counters */
    } else {
        hm_window_discard(&counters->window);
    }
    hm_free(context, counters->ids, counters->window.most_ranges * sizeof(uint64_t), HOPMLA_MEMORY_HOST, NULL);
    hm_free(context, counters->results, results_bytes(counters), HOPMLA_MEMORY_HOST, NULL);
    hm_free(context, counters, sizeof(*counters), HOPMLA_MEMORY_HOST, NULL);
}

/* Windows. The context is current. */

static result *result_of(const hm_counters *counters, uint64_t id)
{
    return &counters->results[id & counters->mask];
}

static int is_of(const result *found, uint64_t id)
{
    return atomic_load_explicit(&found->id, memory_order_relaxed) == id;
}

static void take_range(hm_counters *counters, uint32_t range)
{
    const char *name = NULL;
    double values[HM_METRICS_MOST];
    if (hm_window_read(&counters->window, range, &name, values) != CUPTI_SUCCESS || !name) {
        return;
    }
    const uint64_t id = strtoull(name, NULL, 10);
    result *found = result_of(counters, id);
    if (id && is_of(found, id) && found->state == COUNTED) {
        for (uint32_t i = 0; i < counters->window.metrics.count; i++) {
            found->values[i] = values[i];
        }
        found->state = KNOWN;
    }
}

/* Ranges beyond the window's room, and those of a window that cannot be read, do not come. */
static void give_up_rest(hm_counters *counters)
{
    for (uint32_t i = 0; i < counters->ranges; i++) {
        result *found = result_of(counters, counters->ids[i]);
        if (is_of(found, counters->ids[i]) && found->state == COUNTED) {
            found->state = LOST;
        }
    }
    counters->ranges = 0;
}

/* The first one is the cause of those behind it. */
static void fail_later(hm_counters *counters, int code)
{
    if (!counters->has_failed) {
        explain(counters, code, counters->failure);
        counters->has_failed = 1;
    }
}

/* A call cannot write down why it was not counted: whoever reads may be at the text. */
static void take_call_failure(hm_counters *counters)
{
    const int code = atomic_exchange_explicit(&counters->call_failed, CUPTI_SUCCESS, memory_order_relaxed);
    if (code != CUPTI_SUCCESS) {
        fail_later(counters, code);
    }
}

static void close_window(hm_counters *counters)
{
    const int code = hm_window_close(&counters->window);
    if (code == CUPTI_SUCCESS) {
        for (uint32_t i = 0; i < counters->window.ranges; i++) {
            take_range(counters, i);
        }
    } else {
        fail_later(counters, code);
    }
    give_up_rest(counters);
    counters->is_open = 0;
}

/* What is known: captures that the library was asked to begin, and, as the driver tells, those of blocking streams, which
 * the default stream would disturb. */
static int is_capturing(const hm_counters *counters)
{
    hopmla_context *context = counters->context;
    int32_t capturing = 0;
    return atomic_load_explicit(&context->observers.captures, memory_order_relaxed) > 0 ||
           context->backend->stream_check(context->device, NULL, &capturing, NULL) != HOPMLA_OK || capturing;
}

/* Where it can be put off: a graph of many layers is being captured for longer than from one layer to the next. */
static int may_be_capturing(const hm_counters *counters)
{
    const int64_t captured = atomic_load_explicit(&counters->context->observers.captured, memory_order_relaxed);
    return (captured && hm_now() - captured < CAPTURE_NS) || is_capturing(counters);
}

/* Nobody begins or ends a range from here on. A range that is open belongs to a launch whose end is still to come, or will
 * not come: it ends here, since stopping with a range open leaves the profiler broken. */
static void take_over(hm_counters *counters)
{
    int expected = IDLE;
    while (!atomic_compare_exchange_weak(&counters->state, &expected, BUSY)) {
        if (expected == CLOSED) {
            return;
        }
        if (expected == OPEN && atomic_compare_exchange_weak(&counters->state, &expected, BUSY)) {
            hm_window_pop(&counters->window);
            return;
        }
        expected = IDLE;
        sched_yield();
    }
}

hopmla_status hm_counters_start(hm_counters *counters, char *reason, hopmla_error *error)
{
    hopmla_context *context = counters->context;
    if (!claim(counters)) {
        return hm_fail(error, HOPMLA_ERROR_BUSY, "hardware counters are held by another profiler of the process");
    }
    if (is_capturing(counters)) {
        if (!counters->is_open) {
            release();
        }
        return hm_fail(error, HOPMLA_ERROR_CAPTURE,
                       "a stream is being captured, which opening hardware counters would break");
    }
    const hopmla_status status = context->backend->enter(context->device, error);
    if (status) {
        if (!counters->is_open) {
            release();
        }
        return status;
    }
    if (counters->is_open) { /* left over from a stop during a capture */
        close_window(counters);
    }
    if (counters->has_failed) {
        hm_window_disable(&counters->window);
        counters->has_failed = 0;
    }
    atomic_store_explicit(&counters->call_failed, CUPTI_SUCCESS, memory_order_relaxed);
    const int code = hm_window_open(&counters->window);
    context->backend->leave(context->device);
    if (code != CUPTI_SUCCESS) {
        explain(counters, code, reason);
        release();
        return HOPMLA_ERROR_DRIVER;
    }
    counters->is_open = 1;
    counters->ranges = 0;
    atomic_store(&counters->state, IDLE);
    return HOPMLA_OK;
}

void hm_counters_stop(hm_counters *counters)
{
    hopmla_context *context = counters->context;
    if (!counters->is_open && !counters->window.profiler) {
        return;
    }
    if (context->backend->enter(context->device, NULL) != HOPMLA_OK) { /* it is lost, and the window with it */
        atomic_store(&counters->state, CLOSED);
        give_up_rest(counters);
        return;
    }
    take_over(counters);
    take_call_failure(counters);
    atomic_store(&counters->state, CLOSED);
    if (is_capturing(counters)) {
        give_up_rest(counters);
    } else {
        if (counters->is_open) {
            close_window(counters);
        }
        hm_window_disable(&counters->window);
        release();
    }
    context->backend->leave(context->device);
}

/* A record that waits for its counters holds up those behind it, for which there is only so much room. The latest id is
 * that of any thread's: the window's first one may be later. */
static int is_due(const hm_counters *counters, uint64_t latest, int must)
{
    const uint64_t room = ((uint64_t)counters->mask + 1) / 2;
    return counters->ranges > 0 && (must || counters->ranges == counters->window.most_ranges ||
                                    (latest >= counters->ids[0] && latest - counters->ids[0] >= room));
}

void hm_counters_collect(hm_counters *counters, uint64_t latest, int must)
{
    hopmla_context *context = counters->context;
    int expected = IDLE;
    if (!atomic_compare_exchange_strong(&counters->state, &expected, BUSY)) {
        return;
    }
    int next = IDLE;
    take_call_failure(counters);
    if ((counters->has_failed || is_due(counters, latest, must)) &&
        !(must ? is_capturing(counters) : may_be_capturing(counters)) &&
        context->backend->enter(context->device, NULL) == HOPMLA_OK) {
        close_window(counters);
        const int code = counters->has_failed ? CUPTI_SUCCESS : hm_window_open(&counters->window);
        if (code != CUPTI_SUCCESS) {
            fail_later(counters, code);
        }
        if (counters->has_failed) {
            hm_window_disable(&counters->window);
            release();
            next = CLOSED;
        } else {
            counters->is_open = 1;
        }
        context->backend->leave(context->device);
    }
    atomic_store(&counters->state, next);
}

/* Calls. */

/* In state BUSY. A name: push; NULL: pop. @return 0 when it failed, which ends the counting */
static int push_or_pop(hm_counters *counters, const char *name)
{
    hopmla_context *context = counters->context;
    int code = CUPTI_ERROR_INVALID_CONTEXT;
    if (context->backend->enter(context->device, NULL) == HOPMLA_OK) {
        code = name ? hm_window_push(&counters->window, name) : hm_window_pop(&counters->window);
        context->backend->leave(context->device);
    } else {
        counters->window.failed = "the CUDA context";
    }
    if (code != CUPTI_SUCCESS) {
        atomic_store_explicit(&counters->call_failed, code, memory_order_relaxed);
    }
    return code == CUPTI_SUCCESS;
}

static int push(hm_counters *counters, uint64_t id)
{
    char name[24];
    snprintf(name, sizeof(name), "%llu", (unsigned long long)id); /* ranges of one name would be added up */
    return push_or_pop(counters, name);
}

/* In state BUSY. */
static int may_count(const hm_counters *counters)
{
    const int breaks_captures = counters->window.metrics.set != HOPMLA_COUNTERS_LIGHT;
    return !counters->has_failed && !atomic_load_explicit(&counters->call_failed, memory_order_relaxed) &&
           counters->ranges < counters->window.most_ranges && !(breaks_captures && is_capturing(counters));
}

int hm_counters_begin(hm_counters *counters, uint64_t id)
{
    int expected = IDLE;
    if (!atomic_compare_exchange_strong(&counters->state, &expected, BUSY)) {
        return 0;
    }
    if (!may_count(counters) || !push(counters, id)) {
        atomic_store(&counters->state, IDLE);
        return 0;
    }
    result *own = result_of(counters, id);
    own->state = COUNTED;
    atomic_store_explicit(&own->id, id, memory_order_relaxed);
    counters->ids[counters->ranges++] = id;
    atomic_store_explicit(&counters->open_id, id, memory_order_relaxed);
    atomic_store(&counters->state, OPEN);
    return 1;
}

void hm_counters_end(hm_counters *counters, uint64_t id)
{
    if (atomic_load_explicit(&counters->open_id, memory_order_relaxed) != id) {
        return; /* not counted */
    }
    int expected = OPEN;
    if (!atomic_compare_exchange_strong(&counters->state, &expected, BUSY)) {
        return; /* the session was closed meanwhile */
    }
    atomic_store_explicit(&counters->open_id, 0, memory_order_relaxed);
    push_or_pop(counters, NULL);
    atomic_store(&counters->state, IDLE);
}

/* Results. */

hm_answer hm_counters_get(const hm_counters *counters, uint64_t id, hm_counts *counts)
{
    const result *found = result_of(counters, id);
    if (!is_of(found, id) || found->state == LOST) {
        return HM_ANSWER_NEVER;
    }
    if (found->state == COUNTED) {
        return HM_ANSWER_LATER;
    }
    hm_metrics_read(&counters->window.metrics, found->values, counts);
    return counts->valid ? HM_ANSWER_KNOWN : HM_ANSWER_NEVER;
}

const char *hm_counters_failure(const hm_counters *counters)
{
    return counters->has_failed ? counters->failure : NULL;
}
