/* SPDX-License-Identifier: Apache-2.0 */

/* Chrome's trace event format, which Perfetto and chrome://tracing read. Two processes, host and device, with a track
 * for each plan. Complete events of one track must nest, so one that begins before the last has ended (two streams, an
 * imprecise clock) goes to a further track of the plan. */

#include <math.h>

#include "profiling/export/records.h"

enum {
    HOST = 1,
    DEVICE = 2,
    TRACKS = 64 /* of a process; when all are taken the last takes the rest */
};

typedef struct track {
    uint64_t plan;
    int64_t end;
} track;

typedef struct tracks {
    track made[TRACKS];
    unsigned count;
    int process;
} tracks;

typedef struct writer {
    hm_out *out;
    int started; /* an event stands before the next */
    tracks host;
    tracks device;
} writer;

/* An event up to its arguments. */
static void event(writer *w, char phase, int process, unsigned thread)
{
    hm_out_text(w->out, w->started ? ",\n" : "\n");
    w->started = 1;
    hm_out_print(w->out, "{\"ph\":\"%c\",\"pid\":%d,\"tid\":%u", phase, process, thread);
}

static void named(writer *w, const char *what, int process, unsigned thread, const char *name)
{
    event(w, 'M', process, thread);
    hm_out_print(w->out, ",\"name\":\"%s\",\"args\":{\"name\":\"%s\"}}", what, name);
}

/* Microseconds with three decimals, exactly. */
static void time_member(writer *w, const char *name, int64_t ns)
{
    const uint64_t size = ns < 0 ? UINT64_C(0) - (uint64_t)ns : (uint64_t)ns;
    hm_out_print(w->out, ",\"%s\":%s%llu.%03u", name, ns < 0 ? "-" : "", (unsigned long long)(size / 1000),
                 (unsigned)(size % 1000));
}

static void name_track(writer *w, const tracks *of, unsigned index)
{
    const uint64_t plan = of->made[index].plan;
    unsigned before = 0;
    for (unsigned i = 0; i < index; i++) {
        before += of->made[i].plan == plan;
    }
    event(w, 'M', of->process, index + 1);
    hm_out_text(w->out, ",\"name\":\"thread_name\",\"args\":{\"name\":\"");
    if (index == TRACKS - 1) {
        hm_out_text(w->out, "others");
    } else if (plan) {
        hm_out_print(w->out, "plan %llu", (unsigned long long)plan);
    } else {
        hm_out_text(w->out, "raw calls");
    }
    if (before && index < TRACKS - 1) {
        hm_out_print(w->out, " (%u)", before + 1);
    }
    hm_out_text(w->out, "\"}}");
}

/* A time that no sum with another leaves 64 bits, for records from a file. */
static int64_t end_of(int64_t begin, int64_t length)
{
    return length > 0 && begin > INT64_MAX - length ? INT64_MAX : begin + length;
}

static unsigned track_of(writer *w, tracks *of, uint64_t plan, int64_t begin, int64_t length)
{
    unsigned i = 0;
    while (i < of->count && (of->made[i].plan != plan || of->made[i].end > begin)) {
        i++;
    }
    if (i == TRACKS) {
        i = TRACKS - 1;
    } else if (i == of->count) {
        of->count++;
        of->made[i].plan = plan;
        name_track(w, of, i);
    }
    of->made[i].end = end_of(begin, length);
    return i + 1;
}

/* All figures of a record as arguments. */
static void figures(writer *w, const hopmla_record *record)
{
    char before = '{';
    for (unsigned f = 0; f < hm_field_count; f++) {
        if (hm_field_holds(&hm_fields[f], record)) {
            hm_out_bytes(w->out, &before, 1);
            hm_out_text(w->out, "\"");
            hm_out_text(w->out, hm_fields[f].name);
            hm_out_text(w->out, "\":");
            hm_field_write(w->out, &hm_fields[f], record, 1);
            before = ',';
        }
    }
}

static void complete(writer *w, const hopmla_record *record, int process, unsigned thread, int64_t begin,
                     int64_t length, int all)
{
    event(w, 'X', process, thread);
    hm_out_print(w->out, ",\"name\":\"%s\",\"cat\":\"%s\"", hm_kind_name(record->kind),
                 process == HOST ? "host" : "device");
    time_member(w, "ts", begin);
    time_member(w, "dur", length);
    hm_out_text(w->out, ",\"args\":");
    if (all) {
        figures(w, record);
    } else {
        hm_out_print(w->out, "{\"id\":%llu,\"step\":%llu,\"layer\":%u", (unsigned long long)record->id,
                     (unsigned long long)record->step, record->layer);
    }
    hm_out_text(w->out, "}}");
}

/* The arrow from a call to what it did on the device. */
static void arrow(writer *w, const hopmla_record *record, char phase, int process, unsigned thread, int64_t when)
{
    event(w, phase, process, thread);
    hm_out_print(w->out, ",\"name\":\"enqueued\",\"cat\":\"hopmla\",\"id\":%llu", (unsigned long long)record->id);
    if (phase == 'f') {
        hm_out_text(w->out, ",\"bp\":\"e\"");
    }
    time_member(w, "ts", when);
    hm_out_text(w->out, "}");
}

static void counter(writer *w, const char *kind, const char *unit, int64_t when, double value)
{
    event(w, 'C', DEVICE, 0);
    hm_out_print(w->out, ",\"name\":\"%s %s\"", kind, unit);
    time_member(w, "ts", when);
    hm_out_print(w->out, ",\"args\":{\"%s\":", unit);
    hm_out_real(w->out, value);
    hm_out_text(w->out, "}}");
}

/* A rate holds as long as the call runs, and is 0 afterwards. */
static void rate(writer *w, const hopmla_record *record, const char *unit, double value)
{
    if (isfinite(value) && value > 0.0) {
        const char *kind = hm_kind_name(record->kind);
        counter(w, kind, unit, record->device_begin_ns, value);
        counter(w, kind, unit, end_of(record->device_begin_ns, record->device_ns), 0.0);
    }
}

/* The figures go with the work where its time is known, else with the call. */
static void one(writer *w, const hopmla_record *record)
{
    const int timed = (record->valid & HOPMLA_VALID_TIME) && record->device_ns >= 0;
    const int64_t host_ns = record->host_ns > 0 ? record->host_ns : 0;
    const unsigned host = track_of(w, &w->host, record->plan, record->host_begin_ns, host_ns);
    complete(w, record, HOST, host, record->host_begin_ns, host_ns, !timed);
    if (!timed) {
        return;
    }
    const unsigned device = track_of(w, &w->device, record->plan, record->device_begin_ns, record->device_ns);
    arrow(w, record, 's', HOST, host, record->host_begin_ns);
    arrow(w, record, 'f', DEVICE, device, record->device_begin_ns);
    complete(w, record, DEVICE, device, record->device_begin_ns, record->device_ns, 1);
    if (record->valid & HOPMLA_VALID_WORK) {
        rate(w, record, "GB/s", 1e-9 * record->bytes_per_second);
        rate(w, record, "TFLOP/s", 1e-12 * record->flops_per_second);
    }
}

static void other_data(writer *w, const hm_export *e)
{
    hm_out_print(w->out, "\"otherData\":{\"made_by\":\"hopmla %s\",\"clock\":\"CLOCK_MONOTONIC\"",
                 hopmla_version_string());
    if (e->device) {
        hm_out_text(w->out, ",\"device\":");
        hm_out_json(w->out, e->device);
    }
    if (e->ceilings) {
        hm_out_print(w->out,
                     ",\"read_bytes_per_second\":\"%.4g\",\"flops_burst\":\"%.4g\",\"flops_sustained\":\"%.4g\"",
                     e->ceilings->read_bytes_per_second, e->ceilings->flops_burst, e->ceilings->flops_sustained);
    }
    hm_out_text(w->out, "}");
}

void hm_write_trace(hm_out *out, const hm_export *e)
{
    writer w = { .out = out, .host.process = HOST, .device.process = DEVICE };
    hm_out_text(out, "{\"displayTimeUnit\":\"ns\",");
    other_data(&w, e);
    hm_out_text(out, ",\"traceEvents\":[");
    named(&w, "process_name", HOST, 0, "hopmla calls");
    named(&w, "process_name", DEVICE, 0, "hopmla device");
    for (uint64_t i = 0; i < e->records.count && !hm_out_failed(out); i++) {
        hopmla_record record;
        hm_records_get(&e->records, i, &record);
        one(&w, &record);
    }
    hm_out_text(out, "\n]}\n");
}
