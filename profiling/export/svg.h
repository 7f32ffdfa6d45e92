/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SVG_H
#define HM_SVG_H

/** @file
 * What the pictures share: the page with its colours in light and dark, scales, ticks, and figures with units.
 *
 * Classes: ink, dim (text); grid, axis (lines); c1 … c5 (fill by HOPMLA_CALL_*), s1 … s5 (stroke); roof, roof2. */

#include "profiling/export/records.h"

/** A scale from values to the page, linear or logarithmic. */
typedef struct hm_scale {
    double low; /* values; of their logarithms where log */
    double high;
    double from; /* where they lie on the page */
    double to;
    int log;
} hm_scale;

double hm_scale_at(const hm_scale *scale, double value);

/** A figure of at most three digits with its unit, for example "4.4 TB/s". */
void hm_svg_quantity(hm_out *out, double value, const char *unit);

/** A time in ns, µs, ms or s. */
void hm_svg_time(hm_out *out, double ns);

/** A count with thousands apart. */
void hm_svg_count(hm_out *out, uint64_t count);

/** Opens the page with a title; `device` may be NULL. */
void hm_svg_begin(hm_out *out, int width, int height, const char *title, const char *device);
void hm_svg_end(hm_out *out);

/** Opens a text of a class at a place; anchor is start, middle or end. */
void hm_svg_text(hm_out *out, const char *class_name, const char *anchor, double x, double y);
void hm_svg_text_end(hm_out *out);

/** Grid lines and figures of a logarithmic scale: `across` for the vertical scale at the left of from … to. */
void hm_svg_log_axis(hm_out *out, const hm_scale *scale, int across, double from, double to, const char *unit);

/** Legend of the kinds that occur, in `width` from x on. `note` may write behind a kind's name. */
typedef void (*hm_svg_note)(hm_out *out, int kind, const void *user);
void hm_svg_legend(hm_out *out, double x, double y, double width, const uint64_t counts[HM_KINDS], hm_svg_note note,
                   const void *user);

/** The next step of 1, 2, 5 × 10^n that is at least `step`. */
double hm_nice_step(double step);

#endif
