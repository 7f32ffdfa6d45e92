/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/clock.h"

#include <math.h>

#include "lib/error.h"
#include "profiling/observe/observe.h"

static const int64_t anchor_age_ns = INT64_C(5) * 1000000000; /* the clocks drift by less than a microsecond a second */
static const int64_t anchor_wait_ns = 100 * 1000;

struct hm_event_clock {
    hopmla_context *context;
    hopmla_stream stream; /* of the anchor's own */
    hopmla_event anchor[2];
    int current;      /* which of them is in use */
    int64_t anchored; /* host time of it, ns; 0: none yet */
    uint64_t pairs;   /* a power of two */
    uint64_t made;    /* events, while it is being created */
    uint64_t bytes;
    hopmla_event event[]; /* [2 · pairs] */
};

static hopmla_status create_events(hm_event_clock *clock, hopmla_error *error)
{
    const hm_backend *backend = clock->context->backend;
    hm_device *device = clock->context->device;
    hopmla_status status = backend->stream_create(device, &clock->stream, error);
    for (int i = 0; i < 2 && status == HOPMLA_OK; i++) {
        status = backend->event_create(device, &clock->anchor[i], error);
    }
    while (status == HOPMLA_OK && clock->made < 2 * clock->pairs) {
        status = backend->event_create(device, &clock->event[clock->made], error);
        clock->made += status == HOPMLA_OK;
    }
    return status;
}

hopmla_status hm_event_clock_create(hopmla_context *context, uint64_t capacity, hm_event_clock **clock,
                                    hopmla_error *error)
{
    const uint64_t pairs = capacity < HM_EVENT_PAIRS ? capacity : HM_EVENT_PAIRS;
    const uint64_t bytes = sizeof(hm_event_clock) + 2 * pairs * sizeof(hopmla_event);
    hm_event_clock *made = hm_host_zalloc(context, 1, bytes);
    if (!made) {
        return hm_fail_value(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, (int64_t)bytes,
                             "no %llu bytes of memory for %llu pairs of events", (unsigned long long)bytes,
                             (unsigned long long)pairs);
    }
    made->context = context;
    made->pairs = pairs;
    made->bytes = bytes;
    const hopmla_status status = create_events(made, error);
    if (status) {
        hm_event_clock_destroy(made);
        return status;
    }
    *clock = made;
    return HOPMLA_OK;
}

void hm_event_clock_destroy(hm_event_clock *clock)
{
    if (!clock) {
        return;
    }
    hopmla_context *context = clock->context;
    while (clock->made) {
        context->backend->event_destroy(context->device, clock->event[--clock->made]);
    }
    for (int i = 0; i < 2; i++) {
        if (clock->anchor[i]) {
            context->backend->event_destroy(context->device, clock->anchor[i]);
        }
    }
    if (clock->stream) {
        context->backend->stream_destroy(context->device, clock->stream);
    }
    hm_free(context, clock, clock->bytes, HOPMLA_MEMORY_HOST, NULL);
}

static hopmla_event *pair_of(hm_event_clock *clock, uint64_t position)
{
    return &clock->event[2 * (position & (clock->pairs - 1))];
}

static int record(const hm_event_clock *clock, hopmla_event event, hopmla_stream stream)
{
    return clock->context->backend->event_record(clock->context->device, event, stream, NULL) == HOPMLA_OK;
}

static hopmla_status query(const hm_event_clock *clock, hopmla_event event, int32_t *happened)
{
    *happened = 0;
    return clock->context->backend->event_query(clock->context->device, event, happened, NULL);
}

static hopmla_status elapsed(const hm_event_clock *clock, hopmla_event begin, hopmla_event end, double *microseconds)
{
    return clock->context->backend->event_elapsed(clock->context->device, begin, end, microseconds, NULL);
}

int hm_event_clock_begin(hm_event_clock *clock, uint64_t position, uint64_t taken, hopmla_stream stream)
{
    return position - taken < clock->pairs && record(clock, pair_of(clock, position)[0], stream);
}

int hm_event_clock_end(hm_event_clock *clock, uint64_t position, hopmla_stream stream)
{
    return record(clock, pair_of(clock, position)[1], stream);
}

/* The event happens between the two looks at the clock, so the middle of them is wrong by half of their distance at most.
 * Where that is too far (a busy device, a thread that was put aside) the former anchor stays in use. */
void hm_event_clock_anchor(hm_event_clock *clock)
{
    const int64_t begin = hm_now();
    if (clock->anchored && begin - clock->anchored < anchor_age_ns) {
        return;
    }
    const int other = !clock->current;
    if (!record(clock, clock->anchor[other], clock->stream)) {
        return;
    }
    int64_t now;
    int32_t happened;
    do {
        if (query(clock, clock->anchor[other], &happened)) {
            return;
        }
        now = hm_now();
    } while (!happened && now - begin < anchor_wait_ns);
    if (happened && now - begin <= anchor_wait_ns) {
        clock->current = other;
        clock->anchored = begin + (now - begin) / 2;
    }
}

int hm_event_clock_read(hm_event_clock *clock, uint64_t position, int64_t *begin, int64_t *duration)
{
    const hopmla_event *pair = pair_of(clock, position);
    int32_t happened;
    double microseconds;
    if (query(clock, pair[1], &happened)) {
        return -1;
    }
    if (!happened) {
        return 0;
    }
    if (elapsed(clock, pair[0], pair[1], &microseconds)) {
        return -1;
    }
    *duration = llrint(microseconds * 1e3);
    /* Negative for what ran before the anchor was set. */
    *begin = !clock->anchored || elapsed(clock, clock->anchor[clock->current], pair[0], &microseconds)
                 ? 0
                 : clock->anchored + llrint(microseconds * 1e3);
    return 1;
}
