/* SPDX-License-Identifier: Apache-2.0 */

/* The roofline picture: arithmetic intensity against FLOP/s, both logarithmic, with the ceilings as roofs. Records that
 * fall together are drawn as one larger dot, so that the picture stays small however many there are. */

#include <math.h>
#include <stdlib.h>

#include "lib/error.h"
#include "profiling/export/svg.h"

enum {
    WIDTH = 960,
    HEIGHT = 600,
    LEFT = 104,
    RIGHT = WIDTH - 28,
    TOP = 104,
    BOTTOM = HEIGHT - 60,
    CELL = 6, /* pixels */
    COLUMNS = (RIGHT - LEFT) / CELL + 1,
    ROWS = (BOTTOM - TOP) / CELL + 1,
    FEW_DOTS = 12 /* up to which each dot says how many it stands for */
};

typedef struct cell {
    uint32_t count;
    float x; /* sums of places on the page */
    float y;
} cell;

typedef struct picture {
    const hm_export *e;
    hm_scale x;
    hm_scale y;
    uint64_t drawn[HM_KINDS];
    double bound_ns[HM_KINDS];
    double time_ns[HM_KINDS];
    uint64_t left_out;
    unsigned dots;
    cell *cells; /* [HM_KINDS][ROWS][COLUMNS] */
} picture;

static cell *cell_at(const picture *p, int kind, int row, int column)
{
    return &p->cells[((size_t)kind * ROWS + (size_t)row) * COLUMNS + (size_t)column];
}

static int can_be_drawn(const hopmla_record *record)
{
    const uint32_t needs = HOPMLA_VALID_WORK | HOPMLA_VALID_TIME;
    return hm_kind_index(record) && (record->valid & needs) == needs && isfinite(record->intensity) &&
           record->intensity > 0.0 && isfinite(record->flops_per_second) && record->flops_per_second > 0.0;
}

typedef struct range {
    double low;
    double high;
} range;

/* Figures that no device reaches, up or down, lie on the edge instead of making the scale useless. */
static void widen(range *r, double value)
{
    if (value > 1e-6 && value < 1e24) {
        r->low = fmin(r->low, log10(value));
        r->high = fmax(r->high, log10(value));
    }
}

/* Ends at 1, 2 or 5 times a power of ten around what is shown, at least two powers of ten apart. */
static void settle(hm_scale *scale, range r, double from, double to)
{
    if (r.low > r.high) {
        r.low = r.high = 0.0;
    }
    const double missing = fmax(2.0 - (r.high - r.low), 0.0);
    scale->low = -log10(hm_nice_step(pow(10.0, -(r.low - 0.75 * missing))));
    scale->high = log10(hm_nice_step(pow(10.0, r.high + 0.25 * missing)));
    scale->from = from;
    scale->to = to;
    scale->log = 1;
}

static void scan(picture *p)
{
    range x = { INFINITY, -INFINITY }, y = { INFINITY, -INFINITY };
    for (uint64_t i = 0; i < p->e->records.count; i++) {
        hopmla_record record;
        hm_records_get(&p->e->records, i, &record);
        if (!can_be_drawn(&record)) {
            p->left_out++;
            continue;
        }
        const int kind = hm_kind_index(&record);
        widen(&x, record.intensity);
        widen(&y, record.flops_per_second);
        p->drawn[kind]++;
        if (record.valid & HOPMLA_VALID_BOUND && isfinite(record.bound_ns)) {
            p->bound_ns[kind] += record.bound_ns;
            p->time_ns[kind] += (double)record.device_ns;
        }
    }
    const hopmla_ceilings *c = p->e->ceilings;
    if (c) {
        const double ridge = c->flops_burst / c->read_bytes_per_second;
        widen(&x, ridge / 8.0);
        widen(&x, ridge * 4.0);
        widen(&y, c->flops_burst * 1.2);
        widen(&y, c->flops_burst / 8.0);
    }
    settle(&p->x, x, LEFT, RIGHT);
    settle(&p->y, y, BOTTOM, TOP);
}

static void sort_into_cells(picture *p)
{
    for (uint64_t i = 0; i < p->e->records.count; i++) {
        hopmla_record record;
        hm_records_get(&p->e->records, i, &record);
        if (can_be_drawn(&record)) {
            const double x = hm_scale_at(&p->x, record.intensity), y = hm_scale_at(&p->y, record.flops_per_second);
            cell *c = cell_at(p, hm_kind_index(&record), (int)((y - TOP) / CELL), (int)((x - LEFT) / CELL));
            p->dots += c->count == 0;
            c->count += c->count < UINT32_MAX;
            c->x += (float)(x - c->x) / (float)c->count; /* the mean so far */
            c->y += (float)(y - c->y) / (float)c->count;
        }
    }
}

static double back(const hm_scale *scale, double place)
{
    return pow(10.0, scale->low + (place - scale->from) / (scale->to - scale->from) * (scale->high - scale->low));
}

static void dot(hm_out *out, const picture *p, int kind, const cell *c)
{
    const double radius = fmin(4.0 + 1.5 * log10(c->count), 10.0);
    hm_out_print(out, "<circle class=\"c%d dot\" fill-opacity=\".8\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>%s, ",
                 kind, (double)c->x, (double)c->y, radius, hm_kind_name(kind));
    hm_svg_count(out, c->count);
    hm_out_text(out, c->count == 1 ? " call: " : " calls: ");
    hm_svg_quantity(out, back(&p->y, c->y), "FLOP/s");
    hm_out_text(out, " at ");
    hm_svg_quantity(out, back(&p->x, c->x), "FLOP/byte");
    hm_out_text(out, "</title></circle>\n");
    if (c->count > 1 && p->dots <= FEW_DOTS) {
        hm_svg_text(out, "dim", "start", c->x + radius + 4.0, c->y + 4.0);
        hm_out_text(out, "× ");
        hm_svg_count(out, c->count);
        hm_svg_text_end(out);
    }
}

static void dots(hm_out *out, const picture *p)
{
    for (int kind = 1; kind < HM_KINDS; kind++) {
        for (int row = 0; row < ROWS; row++) {
            for (int column = 0; column < COLUMNS && !hm_out_failed(out); column++) {
                const cell *c = cell_at(p, kind, row, column);
                if (c->count) {
                    dot(out, p, kind, c);
                }
            }
        }
    }
}

/* A flat roof from where it meets the slope to the right edge, with its name above or below the line. */
static void flat_roof(hm_out *out, const picture *p, const char *class_name, double flops, const char *name, int below)
{
    const double ridge = flops / p->e->ceilings->read_bytes_per_second;
    const double y = hm_scale_at(&p->y, flops);
    if (log10(ridge) >= p->x.high || log10(flops) <= p->y.low || log10(flops) > p->y.high) {
        return;
    }
    hm_out_print(out, "<path class=\"%s\" d=\"M%.1f %.1fH%d\"/>\n", class_name, hm_scale_at(&p->x, ridge), y, RIGHT);
    hm_svg_text(out, "ink halo", "end", RIGHT - 6.0, below ? y + 16.0 : y - 7.0);
    hm_svg_quantity(out, flops, "FLOP/s");
    hm_out_print(out, " %s", name);
    hm_svg_text_end(out);
}

/* The slope from the left or the lower edge to the highest roof. */
static void slope(hm_out *out, const picture *p, double bytes_per_second, double top)
{
    const double low = fmax(pow(10.0, p->x.low), pow(10.0, p->y.low) / bytes_per_second);
    const double high = fmin(top / bytes_per_second, pow(10.0, p->x.high));
    if (low >= high) {
        return;
    }
    const double x0 = hm_scale_at(&p->x, low), y0 = hm_scale_at(&p->y, low * bytes_per_second);
    const double x1 = hm_scale_at(&p->x, high), y1 = hm_scale_at(&p->y, high * bytes_per_second);
    hm_out_print(out, "<path class=\"roof\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", x0, y0, x1, y1);
    const double pi = 3.14159265358979;
    hm_out_print(out,
                 "<text class=\"ink halo\" text-anchor=\"middle\" transform=\"translate(%.1f %.1f) rotate(%.1f)\" "
                 "dy=\"-7\">",
                 0.5 * (x0 + x1), 0.5 * (y0 + y1), atan2(y1 - y0, x1 - x0) * 180.0 / pi);
    hm_svg_quantity(out, bytes_per_second, "B/s");
    hm_out_text(out, " read</text>\n");
}

static void roofs(hm_out *out, const picture *p)
{
    const hopmla_ceilings *c = p->e->ceilings;
    const int burst_is_higher = c->flops_burst >= c->flops_sustained;
    slope(out, p, c->read_bytes_per_second, fmax(c->flops_burst, c->flops_sustained));
    flat_roof(out, p, "roof2", c->flops_sustained, "sustained", burst_is_higher);
    flat_roof(out, p, "roof", c->flops_burst, "burst", !burst_is_higher);
}

static void mean_fraction(hm_out *out, int kind, const void *user)
{
    const picture *p = user;
    if (p->time_ns[kind] > 0.0) {
        hm_out_print(out, ", %.2f of the bound", p->bound_ns[kind] / p->time_ns[kind]);
    }
}

static void subtitle(hm_out *out, const picture *p)
{
    hm_svg_text(out, "dim", "start", 24.0, 56.0);
    hm_svg_count(out, p->e->records.count - p->left_out);
    hm_out_text(out, p->e->records.count - p->left_out == 1 ? " call" : " calls");
    if (p->left_out) {
        hm_out_text(out, "; ");
        hm_svg_count(out, p->left_out);
        hm_out_text(out, " more without FLOPs or device time");
    }
    hm_out_text(out, p->e->ceilings ? "" : "; no ceilings given");
    hm_svg_text_end(out);
}

static void draw(hm_out *out, const picture *p)
{
    hm_svg_begin(out, WIDTH, HEIGHT, "Roofline", p->e->device);
    subtitle(out, p);
    hm_svg_legend(out, 24.0, 84.0, WIDTH - 48.0, p->drawn, mean_fraction, p);
    hm_svg_log_axis(out, &p->x, 0, TOP, BOTTOM, "");
    hm_svg_log_axis(out, &p->y, 1, LEFT, RIGHT, "FLOP/s");
    hm_out_print(out, "<path class=\"axis\" fill=\"none\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, BOTTOM, RIGHT);
    hm_svg_text(out, "dim", "middle", 0.5 * (LEFT + RIGHT), HEIGHT - 18.0);
    hm_out_text(out, "arithmetic intensity, FLOP/byte");
    hm_svg_text_end(out);
    dots(out, p);
    if (p->e->ceilings) {
        roofs(out, p);
    }
    hm_svg_end(out);
}

hopmla_status hm_write_roofline(hm_out *out, const hm_export *e, hopmla_error *error)
{
    picture p = { .e = e };
    p.cells = calloc((size_t)HM_KINDS * ROWS * COLUMNS, sizeof(*p.cells));
    if (!p.cells) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory to sort records for a picture");
    }
    scan(&p);
    sort_into_cells(&p);
    draw(out, &p);
    free(p.cells);
    return HOPMLA_OK;
}
