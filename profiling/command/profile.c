/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include "args.h"
#include "json.h"
#include "profile_table.h"
#include "records_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call, ...) must(call(__VA_ARGS__, &error), &error, #call)

enum {
    PIECE = 1024 /* records taken out of the ring at a time */
};

/** One run under `hopmla profile`. */
static struct {
    bool asked;
    bool totals; /* asked for without `hopmla profile` */
    hopmla_profiler_options options;
    const char *path; /* of the records, or NULL */
    FILE *file;
    device *device;
    hopmla_profiler *profiler;
    hopmla_record *piece;
    profile_result result; /* set by profile_close */
    bool closed;
} session;

bool profile_asked(void)
{
    return session.asked;
}

void profile_ask_totals(void)
{
    if (session.asked)
        return;
    session.totals = true;
    session.options = (hopmla_profiler_options)HOPMLA_PROFILER_OPTIONS_INIT;
    session.options.clocks = HOPMLA_CLOCK_EVENTS;
    session.options.flags = HOPMLA_PROFILER_TOTALS_ONLY;
}

hopmla_profiler *profile_profiler(void)
{
    return session.profiler;
}

void profile_open(device *d, const hopmla_ceilings *ceilings)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (!session.asked && !session.totals)
        return;
    session.device = d;
    MUST(hopmla_profiler_create, d->context, &session.options, &session.profiler);
    if (ceilings != NULL && ceilings->flops_burst > 0)
        MUST(hopmla_profiler_set_ceilings, session.profiler, ceilings);
    else
        ceilings = NULL;
    session.result.has_ceilings = ceilings != NULL;
    if (session.path == NULL)
        return;
    session.file = fopen(session.path, "w");
    if (session.file == NULL)
        die("%s: %s", session.path, strerror(errno));
    session.piece = must_zalloc(PIECE, sizeof(*session.piece));
    records_file_append(session.file, session.path, NULL, 0, ceilings, d->info.name);
}

void profile_start(void)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (session.profiler != NULL)
        MUST(hopmla_profiler_start, session.profiler);
}

void profile_stop(void)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (session.profiler != NULL)
        MUST(hopmla_profiler_stop, session.profiler);
}

/* Without a file of records too: only a reader takes finished ones in, and frees their slots, events and counters. */
void profile_drain(void)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    uint32_t count;
    if (session.profiler == NULL)
        return;
    if (session.file == NULL) {
        MUST(hopmla_profiler_read, session.profiler, NULL, sizeof(hopmla_record), 0, &count);
        return;
    }
    do {
        MUST(hopmla_profiler_read, session.profiler, session.piece, sizeof(*session.piece), PIECE, &count);
        records_file_append(session.file, session.path, session.piece, count, NULL, NULL);
    } while (count == PIECE);
}

hopmla_totals profile_totals(int32_t kind)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_totals totals = HOPMLA_TOTALS_INIT;
    totals.kind = kind;
    if (session.profiler != NULL)
        MUST(hopmla_profiler_get_totals, session.profiler, kind, NULL, &totals);
    return totals;
}

hopmla_totals profile_since(const hopmla_totals *before)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (session.profiler != NULL)
        MUST(hopmla_profiler_finish, session.profiler);
    hopmla_totals now = profile_totals(before->kind), since = HOPMLA_TOTALS_INIT;
    since.kind = now.kind;
    since.records = now.records - before->records;
    since.dropped = now.dropped - before->dropped;
    since.calls = now.calls - before->calls;
    since.timed = now.timed - before->timed;
    since.flops = now.flops - before->flops;
    since.bytes = now.bytes - before->bytes;
    since.timed_flops = now.timed_flops - before->timed_flops;
    since.timed_bytes = now.timed_bytes - before->timed_bytes;
    since.time_ns = now.time_ns - before->time_ns;
    since.bound_ns = now.bound_ns - before->bound_ns;
    since.bound_time_ns = now.bound_time_ns - before->bound_time_ns;
    since.counted = now.counted - before->counted;
    since.counted_bytes = now.counted_bytes - before->counted_bytes;
    since.dram_read_bytes = now.dram_read_bytes - before->dram_read_bytes;
    since.dram_write_bytes = now.dram_write_bytes - before->dram_write_bytes;
    since.l2_bytes = now.l2_bytes - before->l2_bytes;
    since.counted_flops = now.counted_flops - before->counted_flops;
    since.tensor_flops = now.tensor_flops - before->tensor_flops;
    since.unique_bytes = now.unique_bytes - before->unique_bytes;
    since.timed_unique_bytes = now.timed_unique_bytes - before->timed_unique_bytes;
    since.timed_work_ns = now.timed_work_ns - before->timed_work_ns;
    return since;
}

void profile_close(void)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (session.profiler == NULL)
        return;
    profile_result *r = &session.result;
    profile_stop();
    MUST(hopmla_profiler_finish, session.profiler);
    profile_drain();
    for (int32_t kind = 1; kind < PROFILE_KINDS; ++kind)
        r->totals[kind] = profile_totals(kind);
    r->info = (hopmla_profiler_info)HOPMLA_PROFILER_INFO_INIT;
    MUST(hopmla_profiler_describe, session.profiler, &r->info);
    hopmla_profiler_destroy(session.profiler);
    session.profiler = NULL;
    session.closed = true;
    if (session.file != NULL && fclose(session.file) != 0)
        die("%s: %s", session.path, strerror(errno));
    session.file = NULL;
    free(session.piece);
}

void profile_launch(device *d, hopmla_plan *plan, hopmla_graph graph, uint32_t appends, uint32_t decodes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_launch_note note = HOPMLA_LAUNCH_NOTE_INIT;
    note.appends = appends;
    note.decodes = decodes;
    MUST(hopmla_plan_launch_begin, plan, &note, d->stream);
    hopmla_status launched = hopmla_graph_launch(d->context, graph, d->stream, &error);
    must(launched, &error, "hopmla_graph_launch");
    MUST(hopmla_plan_launch_end, plan, 1, d->stream);
}

/* --- the subcommand ----------------------------------------------------------------------------------------------- */

static uint32_t clocks_of(const char *name)
{
    if (strcmp(name, "none") == 0)
        return 0;
    if (strcmp(name, "events") == 0)
        return HOPMLA_CLOCK_EVENTS;
    if (strcmp(name, "activity") == 0)
        return HOPMLA_CLOCK_EVENTS | HOPMLA_CLOCK_ACTIVITY;
    die_usage("profile", "--clocks: '%s' is not one of none, events, activity", name);
}

static void set_counters(hopmla_profiler_options *o, const char *name)
{
    if (strcmp(name, "none") == 0) {
        o->counters = HOPMLA_COUNTERS_NONE;
    } else if (strcmp(name, "light") == 0) {
        o->counters = HOPMLA_COUNTERS_LIGHT;
    } else if (strcmp(name, "full") == 0) {
        o->counters = HOPMLA_COUNTERS_FULL;
    } else if (strstr(name, "__") != NULL) { /* as all names of NVIDIA's metrics have it */
        o->counters = HOPMLA_COUNTERS_CUSTOM;
        o->metrics = name;
    } else {
        die_usage("profile", "--counters: '%s' is not one of none, light, full, nor names of metrics", name);
    }
}

static int run_other(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } others[] = { { "replay", replay_main }, { "bench", bench_main } };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); ++i) {
        if (argc > 0 && strcmp(argv[0], others[i].name) == 0)
            return others[i].run(argc, argv);
    }
    die_usage("profile", "after -- comes replay or bench%s%s%s", argc > 0 ? ", not '" : "", argc > 0 ? argv[0] : "",
              argc > 0 ? "'" : "");
}

int profile_main(int argc, char **argv)
{
    const char *clocks = "activity", *counters = "full";
    uint64_t sample = 1, capacity = 65536;
    bool json = false;
    const option options[] = {
        { OPTION_TEXT, "records", "FILE", &session.path, 0, 0, "write each record to FILE: JSON lines" },
        { OPTION_TEXT, "clocks", "NAME", &clocks, 0, 0,
          "of a GPU's times: activity (CUPTI's kernel times, the default), events\n"
          "(also where CUPTI is missing), none" },
        { OPTION_TEXT, "counters", "NAME", &counters, 0, 0,
          "of a GPU: full (the default), light (memory alone), none, or CUPTI's names\nof metrics with commas between" },
        { OPTION_COUNT, "sample", "N", &sample, 1, UINT32_MAX, "read counters for every N-th call of a kind (1)" },
        { OPTION_COUNT, "capacity", "N", &capacity, 1, 1 << 24, "records that may be under way (65536)" },
        { OPTION_FLAG, "json", NULL, &json, 0, 0, "one JSON object a kind instead of the table" },
    };
    const usage u = {
        "profile",
        NULL,
        "Runs replay or bench and tells for each kind of call how long it took, what it moved and computed,\n"
        "and where the hardware says so, how that compares: hopmla profile [options] -- replay|bench ARGS",
        options,
        sizeof(options) / sizeof(options[0]),
        "What the machine cannot measure is left out, and why is said below the table. On a CPU times are\n"
        "the host's. bench is timed first as without profile, then each shape runs a few times more, watched:\n"
        "read/an. is what the hardware read from memory over KV and queries once."
    };
    int own = 1;
    while (own < argc && strcmp(argv[own], "--") != 0)
        ++own;
    args_parse(&u, own, argv);
    session.asked = true;
    session.options = (hopmla_profiler_options)HOPMLA_PROFILER_OPTIONS_INIT;
    session.options.clocks = clocks_of(clocks);
    session.options.sample_period = (uint32_t)sample;
    session.options.capacity = (uint32_t)capacity;
    set_counters(&session.options, counters);
    if (session.path == NULL)
        session.options.flags = HOPMLA_PROFILER_TOTALS_ONLY;
    int status = run_other(argc - own - 1, argv + own + 1);
    if (session.closed)
        profile_print(&session.result, json);
    return status;
}
