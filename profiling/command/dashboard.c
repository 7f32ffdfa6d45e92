/* SPDX-License-Identifier: Apache-2.0 */
#include "dashboard.h"

#include "profile.h"
#include "profile_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    BAR = 32,
    LEAST_COLUMNS = 80,
    LEAST_ROWS = 18,
    PER_SECOND = 10
};

bool dashboard_wanted(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0 && *terminal != '\0';
}

/** As programs that set a locale would find it. */
static bool is_utf8(void)
{
    static const char *const variables[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (int i = 0; i < 3; ++i) {
        const char *value = getenv(variables[i]);
        if (value != NULL && *value != '\0')
            return strstr(value, "UTF-8") != NULL || strstr(value, "utf8") != NULL;
    }
    return false;
}

dashboard dashboard_start(void)
{
    struct winsize size = { 0 };
    dashboard d = { .kind = DASHBOARD_NONE, .utf8 = is_utf8(), .started = seconds_now() };
    if (!isatty(STDERR_FILENO))
        return d;
    bool large =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= LEAST_COLUMNS && size.ws_row >= LEAST_ROWS;
    d.kind = large && dashboard_wanted() ? DASHBOARD_FULL : DASHBOARD_LINE;
    return d;
}

/* --- parts of a line ---------------------------------------------------------------------------------------------- */

static void label(const char *name)
{
    fprintf(stderr, "\033[2m%-9s\033[0m", name);
}

static void end_line(dashboard *d)
{
    fputs("\033[K\n", stderr);
    ++d->lines;
}

/** A bar of BAR cells: `full` of them one way, `part` of the rest another. */
static void bar(const dashboard *d, double full, double part)
{
    int first = (int)lround(fmin(fmax(full, 0), 1) * BAR), second = (int)lround(fmin(fmax(full + part, 0), 1) * BAR);
    for (int i = 0; i < BAR; ++i) {
        const char *cell = i < first    ? (d->utf8 ? "█" : "#")
                           : i < second ? (d->utf8 ? "▒" : "=")
                                        : (d->utf8 ? "·" : ".");
        fputs(cell, stderr);
    }
}

/** The last steps' times as bars of one cell each, the longest of them the highest. */
static void bars(const dashboard *d)
{
    static const char *const high[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    static const char *const low[] = { "_", ".", ".", "-", "-", "=", "*", "#" };
    uint64_t count = d->steps < DASHBOARD_STEPS ? d->steps : DASHBOARD_STEPS;
    double most = 1e-9;
    for (uint64_t i = 0; i < count; ++i)
        most = fmax(most, d->step_us[i]);
    for (uint64_t i = d->steps - count; i < d->steps; ++i) {
        int level = (int)(d->step_us[i % DASHBOARD_STEPS] / most * 7.99);
        fputs(d->utf8 ? high[level] : low[level], stderr);
    }
}

static void figure(const char *format, double value)
{
    if (isnan(value))
        fprintf(stderr, " %9s", "-");
    else
        fprintf(stderr, format, value);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

/** Share of the work that is done: running requests count for what they have generated. */
static double share_done(const scheduler *s)
{
    double done = (double)s->finished;
    for (uint32_t i = 0; i < s->count; ++i) {
        uint32_t request = s->running[i].request;
        done += (double)s->generated[request] / s->trace->requests[request].output;
    }
    return done / (double)s->trace->count;
}

static void show_requests(dashboard *d, const scheduler *s, const counters *c, double now)
{
    double share = share_done(s), elapsed = now - d->started;
    label("requests");
    bar(d, share, (double)s->count / (double)s->trace->count);
    fprintf(stderr, " %3.0f%%  %llu of %llu, %u running", 100 * share, (unsigned long long)s->finished,
            (unsigned long long)s->trace->count, (unsigned)s->count);
    end_line(d);
    label("time");
    fprintf(stderr, "%.0f s, step %llu", elapsed, (unsigned long long)c->steps);
    if (share > 0)
        fprintf(stderr, ", about %.0f s left", elapsed * (1 - share) / share);
    end_line(d);
}

static void show_pool(dashboard *d, const engine *e, const scheduler *s)
{
    hopmla_pool_stats p = HOPMLA_POOL_STATS_INIT;
    if (hopmla_pool_get_stats(e->pool, &p, NULL) != HOPMLA_OK)
        return;
    double total = (double)p.pages_total;
    label("pages");
    bar(d, (double)(p.pages_used - p.pages_shared) / total, (double)p.pages_shared / total);
    fprintf(stderr, " %llu of %llu, %llu shared", (unsigned long long)p.pages_used, (unsigned long long)p.pages_total,
            (unsigned long long)p.pages_shared);
    end_line(d);
    label("");
    fprintf(stderr, "most %llu, %llu preemptions, %llu prefixes evicted", (unsigned long long)p.pages_high_water,
            (unsigned long long)s->preemptions, (unsigned long long)s->prefix.evicted);
    end_line(d);
}

static void show_rates(dashboard *d, const scheduler *s, double now)
{
    label("steps");
    bars(d);
    fprintf(stderr, " %.1f ms", d->steps > 0 ? d->step_us[(d->steps - 1) % DASHBOARD_STEPS] / 1e3 : 0);
    end_line(d);
    label("tokens");
    fprintf(stderr, "%llu appended, %llu shared, %llu out (%.0f/s)", (unsigned long long)s->prompt_tokens,
            (unsigned long long)s->reused_tokens, (unsigned long long)s->output_tokens,
            (double)s->output_tokens / fmax(now - d->started, 1e-3));
    end_line(d);
}

static void show_kinds(dashboard *d)
{
    if (profile_profiler() == NULL)
        return;
    fprintf(stderr, "\033[2m%-9s %9s %9s %9s %9s %9s\033[0m", "", "calls", "us each", "GB/s", "TFLOP/s", "% bound");
    end_line(d);
    for (int32_t kind = 1; kind < PROFILE_KINDS; ++kind) {
        hopmla_totals t = profile_totals(kind);
        if (t.records == 0)
            continue;
        label(kind_name(kind));
        fprintf(stderr, " %9llu", (unsigned long long)t.calls);
        figure(" %9.1f", t.timed > 0 ? (double)t.time_ns / 1e3 / (double)t.timed : NAN);
        figure(" %9.1f", totals_gbps(&t));
        figure(" %9.3f", totals_tflops(&t));
        figure(" %9.0f", 100 * totals_fraction(&t));
        end_line(d);
    }
}

static void show_line(const scheduler *s, const counters *c, double elapsed)
{
    double share = share_done(s), left = share > 0 ? elapsed * (1 - share) / share : 0;
    fprintf(stderr, "\r%3.0f%%  %llu of %llu requests, step %llu, batch %u, %.0f s left   ", 100 * share,
            (unsigned long long)s->finished, (unsigned long long)s->trace->count, (unsigned long long)c->steps,
            (unsigned)s->count, left);
}

/** Puts the cursor on the first line that was drawn; what was below stays until it is drawn over. */
static void go_up(dashboard *d)
{
    if (d->lines > 0)
        fprintf(stderr, "\033[%dF", d->lines);
    d->lines = 0;
}

void dashboard_show(dashboard *d, const engine *e, const scheduler *s, const counters *c)
{
    double now = seconds_now();
    if (d->kind == DASHBOARD_NONE)
        return;
    if (c->steps > 0)
        d->step_us[d->steps++ % DASHBOARD_STEPS] = c->step_us[c->steps - 1];
    if (now - d->printed < 1.0 / PER_SECOND)
        return;
    d->printed = now;
    if (d->kind == DASHBOARD_LINE) {
        show_line(s, c, now - d->started);
    } else {
        go_up(d);
        fprintf(stderr, "\033[1mhopmla replay\033[0m  %.40s, %s, %u layers, %u heads", e->device->info.name,
                device_backend(e->device), (unsigned)e->layers, (unsigned)e->heads);
        end_line(d);
        show_requests(d, s, c, now);
        show_pool(d, e, s);
        show_rates(d, s, now);
        show_kinds(d);
        fputs("\033[J", stderr);
    }
    fflush(stderr);
}

void dashboard_clear(dashboard *d)
{
    if (d->kind == DASHBOARD_LINE)
        fprintf(stderr, "\r%78s\r", "");
    if (d->kind == DASHBOARD_FULL) {
        go_up(d);
        fputs("\033[J", stderr);
    }
    fflush(stderr);
}
