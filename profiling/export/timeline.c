/* SPDX-License-Identifier: Apache-2.0 */

/* The time line picture: a lane for each kind with its calls, and below them how fast bytes moved while they ran. A lane
 * of few calls shows each; one of many shows what share of each column of pixels is busy. */

#include <math.h>
#include <stdlib.h>

#include "lib/error.h"
#include "profiling/export/svg.h"

enum {
    WIDTH = 960,
    LEFT = 104,
    RIGHT = WIDTH - 28,
    COLUMNS = RIGHT - LEFT,
    TOP = 104,
    LANE = 30,
    LANE_GAP = 8,
    PANEL = 130,
    PANEL_GAP = 34,
    FOOT = 46,
    FEW_CALLS = 500 /* in a lane, up to which each is drawn */
};

typedef struct column {
    double busy_ns;
    double bytes;
    double bytes_ns; /* of the busy time, that of calls whose bytes are known */
} column;

typedef struct picture {
    const hm_export *e;
    double first_ns;
    double span_ns;
    double column_ns;
    double busy_ns;
    uint64_t counts[HM_KINDS];
    uint64_t left_out;
    double lane_y[HM_KINDS];
    double panel_y; /* its lower edge */
    double fastest; /* bytes a second */
    column columns[HM_KINDS][COLUMNS];
} picture;

static int can_be_drawn(const hopmla_record *record)
{
    return hm_kind_index(record) && record->valid & HOPMLA_VALID_TIME && record->device_ns >= 0;
}

static void scan(picture *p)
{
    double first = INFINITY, last = -INFINITY;
    for (uint64_t i = 0; i < p->e->records.count; i++) {
        hopmla_record record;
        hm_records_get(&p->e->records, i, &record);
        if (can_be_drawn(&record)) {
            const double begin = (double)record.device_begin_ns;
            first = fmin(first, begin);
            last = fmax(last, begin + (double)record.device_ns);
            p->busy_ns += (double)record.device_ns;
            p->counts[hm_kind_index(&record)]++;
        } else {
            p->left_out++;
        }
    }
    p->first_ns = first <= last ? first : 0.0;
    p->span_ns = first < last ? last - first : 1.0;
    p->column_ns = p->span_ns / COLUMNS;
}

/* Spreads a call over the columns that it touches. */
static void spread(picture *p, const hopmla_record *record)
{
    const double begin = ((double)record->device_begin_ns - p->first_ns) / p->column_ns;
    const double end = begin + (double)record->device_ns / p->column_ns;
    const int knows_bytes = (record->valid & HOPMLA_VALID_WORK) && record->device_ns > 0;
    for (int c = (int)fmin(begin, COLUMNS - 1); c < COLUMNS && c < end; c++) {
        const double ns = (fmin(end, c + 1.0) - fmax(begin, c)) * p->column_ns;
        column *at = &p->columns[hm_kind_index(record)][c];
        at->busy_ns += ns;
        if (knows_bytes) {
            at->bytes += (double)record->bytes * ns / (double)record->device_ns;
            at->bytes_ns += ns;
        }
    }
}

static double rate_of(const column *c)
{
    return c->bytes_ns > 0.0 ? c->bytes / c->bytes_ns * 1e9 : 0.0;
}

static void fill_columns(picture *p)
{
    for (uint64_t i = 0; i < p->e->records.count; i++) {
        hopmla_record record;
        hm_records_get(&p->e->records, i, &record);
        if (can_be_drawn(&record)) {
            spread(p, &record);
        }
    }
    p->fastest = p->e->ceilings ? p->e->ceilings->read_bytes_per_second : 0.0;
    for (int kind = 1; kind < HM_KINDS; kind++) {
        for (int c = 0; c < COLUMNS; c++) {
            p->fastest = fmax(p->fastest, rate_of(&p->columns[kind][c]));
        }
    }
}

static int lay_out(picture *p)
{
    double y = TOP;
    for (int kind = 1; kind < HM_KINDS; kind++) {
        if (p->counts[kind]) {
            p->lane_y[kind] = y;
            y += LANE + LANE_GAP;
        }
    }
    p->panel_y = y - LANE_GAP + PANEL_GAP + PANEL;
    return (int)p->panel_y + FOOT;
}

/* Each call of a lane as a bar, at least a hairline wide. */
static void bars(hm_out *out, const picture *p, int kind)
{
    for (uint64_t i = 0; i < p->e->records.count && !hm_out_failed(out); i++) {
        hopmla_record record;
        hm_records_get(&p->e->records, i, &record);
        if (can_be_drawn(&record) && hm_kind_index(&record) == kind) {
            const double x = LEFT + ((double)record.device_begin_ns - p->first_ns) / p->column_ns;
            const double width = fmax((double)record.device_ns / p->column_ns, 0.8);
            hm_out_print(out, "<rect class=\"c%d\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\"><title>%s ", kind,
                         fmin(x, RIGHT - width), p->lane_y[kind], width, LANE, hm_kind_name(kind));
            hm_out_unsigned(out, record.id);
            hm_out_text(out, ": ");
            hm_svg_time(out, (double)record.device_ns);
            hm_out_text(out, "</title></rect>\n");
        }
    }
}

/* The busy share of each column, as one outline. */
static void outline(hm_out *out, const picture *p, int kind)
{
    const double bottom = p->lane_y[kind] + LANE;
    double last = -1.0;
    hm_out_print(out, "<path class=\"c%d\" d=\"M%d %.1f", kind, LEFT, bottom);
    for (int c = 0; c < COLUMNS; c++) {
        const double share = fmin(p->columns[kind][c].busy_ns / p->column_ns, 1.0);
        double height = round(2.0 * share * LANE) / 2.0;
        if (share > 0.0) {
            height = fmax(height, 0.5);
        }
        if (height != last) {
            hm_out_print(out, "H%dV%.1f", LEFT + c, bottom - height);
        }
        last = height;
    }
    hm_out_print(out, "H%dV%.1fZ\"/>\n", RIGHT, bottom);
}

static void ground(hm_out *out, double y, int height)
{
    hm_out_print(out, "<rect class=\"lane\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\"/>\n", LEFT, y, COLUMNS,
                 height);
}

static void lane(hm_out *out, const picture *p, int kind)
{
    hm_svg_text(out, "ink", "end", LEFT - 10.0, p->lane_y[kind] + LANE / 2 + 4.0);
    hm_out_text(out, hm_kind_name(kind));
    hm_svg_text_end(out);
    if (p->counts[kind] <= FEW_CALLS) {
        bars(out, p, kind);
    } else {
        outline(out, p, kind);
    }
}

/* Rates of a kind; the line is broken where it did not run. */
static void rates(hm_out *out, const picture *p, const hm_scale *scale, int kind)
{
    int drawing = 0, started = 0;
    for (int c = 0; c < COLUMNS; c++) {
        const double rate = rate_of(&p->columns[kind][c]);
        if (rate > 0.0) {
            const double y = hm_scale_at(scale, rate);
            if (!started) {
                hm_out_print(out, "<path class=\"rate s%d\" d=\"", kind);
            }
            hm_out_print(out, "%s%d %.1fh1", drawing ? "L" : "M", LEFT + c, y);
            started = 1;
        }
        drawing = rate > 0.0;
    }
    if (started) {
        hm_out_text(out, "\"/>\n");
    }
}

static void panel(hm_out *out, const picture *p)
{
    const hm_scale scale = { .low = 0.0, .high = p->fastest * 1.08, .from = p->panel_y, .to = p->panel_y - PANEL };
    hm_svg_text(out, "ink", "start", LEFT, p->panel_y - PANEL - 8.0);
    hm_out_text(out, "bytes per second while running");
    hm_svg_text_end(out);
    if (p->fastest <= 0.0) {
        return;
    }
    const double step = hm_nice_step(scale.high / 4.0);
    for (int i = 0; step * i < scale.high; i++) {
        const double y = hm_scale_at(&scale, step * i);
        hm_out_print(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT);
        hm_svg_text(out, "dim", "end", LEFT - 10.0, y + 4.0);
        hm_svg_quantity(out, step * i, i ? "B/s" : "");
        hm_svg_text_end(out);
    }
    for (int kind = 1; kind < HM_KINDS; kind++) {
        rates(out, p, &scale, kind);
    }
    if (p->e->ceilings) {
        const double y = hm_scale_at(&scale, p->e->ceilings->read_bytes_per_second);
        hm_out_print(out, "<path class=\"roof2\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT);
        hm_svg_text(out, "ink", "end", RIGHT - 4.0, p->panel_y - PANEL - 8.0);
        hm_svg_quantity(out, p->e->ceilings->read_bytes_per_second, "B/s");
        hm_out_text(out, " read ceiling, dashed");
        hm_svg_text_end(out);
    }
}

static void time_axis(hm_out *out, const picture *p)
{
    const double step = hm_nice_step(p->span_ns / 8.0);
    for (int i = 0; step * i <= p->span_ns * (1.0 + 1e-9); i++) {
        const double x = LEFT + step * i / p->column_ns;
        hm_out_print(out, "<path class=\"grid\" d=\"M%.1f %dV%.1fM%.1f %.1fV%.1f\"/>\n", x, TOP - 6,
                     p->panel_y - PANEL - PANEL_GAP, x, p->panel_y - PANEL, p->panel_y);
        hm_svg_text(out, "dim", "middle", x, p->panel_y + 20.0);
        hm_svg_time(out, step * i);
        hm_svg_text_end(out);
    }
}

static void subtitle(hm_out *out, const picture *p)
{
    const uint64_t drawn = p->e->records.count - p->left_out;
    hm_svg_text(out, "dim", "start", 24.0, 56.0);
    if (drawn == 0) {
        hm_out_text(out, "no call has a device time");
    } else {
        hm_svg_time(out, p->span_ns);
        hm_out_print(out, ", %.0f %% of it in calls", 100.0 * fmin(p->busy_ns / p->span_ns, 1.0));
    }
    if (drawn && p->left_out) {
        hm_out_text(out, "; ");
        hm_svg_count(out, p->left_out);
        hm_out_text(out, " more without device time");
    }
    hm_svg_text_end(out);
}

static void draw(hm_out *out, picture *p)
{
    const int height = lay_out(p);
    hm_svg_begin(out, WIDTH, height, "Time line", p->e->device);
    subtitle(out, p);
    hm_svg_legend(out, 24.0, 84.0, WIDTH - 48.0, p->counts, NULL, NULL);
    for (int kind = 1; kind < HM_KINDS; kind++) {
        if (p->counts[kind]) {
            ground(out, p->lane_y[kind], LANE);
        }
    }
    ground(out, p->panel_y - PANEL, PANEL);
    time_axis(out, p);
    for (int kind = 1; kind < HM_KINDS; kind++) {
        if (p->counts[kind]) {
            lane(out, p, kind);
        }
    }
    panel(out, p);
    hm_svg_end(out);
}

hopmla_status hm_write_timeline(hm_out *out, const hm_export *e, hopmla_error *error)
{
    picture *p = calloc(1, sizeof(*p));
    if (!p) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory to sort records for a picture");
    }
    p->e = e;
    scan(p);
    fill_columns(p);
    draw(out, p);
    free(p);
    return HOPMLA_OK;
}
