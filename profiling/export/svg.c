/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/export/svg.h"

#include <math.h>

double hm_scale_at(const hm_scale *scale, double value)
{
    const double at = scale->log ? log10(value) : value;
    const double place = scale->from + (at - scale->low) / (scale->high - scale->low) * (scale->to - scale->from);
    const double least = fmin(scale->from, scale->to), most = fmax(scale->from, scale->to);
    return fmin(fmax(place, least), most);
}

void hm_svg_quantity(hm_out *out, double value, const char *unit)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P", "E" };
    unsigned p = 0;
    while (value >= 999.5 && p + 1 < sizeof(prefixes) / sizeof(prefixes[0])) {
        value /= 1000.0;
        p++;
    }
    hm_out_print(out, "%.3g%s%s%s", value, *unit || p ? " " : "", prefixes[p], unit);
}

void hm_svg_time(hm_out *out, double ns)
{
    static const char *const units[] = { "ns", "µs", "ms", "s" };
    unsigned u = 0;
    if (ns == 0.0) {
        hm_out_text(out, "0");
        return;
    }
    while (fabs(ns) >= 999.5 && u + 1 < sizeof(units) / sizeof(units[0])) {
        ns /= 1000.0;
        u++;
    }
    hm_out_print(out, fabs(ns) < 999.5 ? "%.3g %s" : "%.0f %s", ns, units[u]);
}

void hm_svg_count(hm_out *out, uint64_t count)
{
    if (count >= 1000) {
        hm_svg_count(out, count / 1000);
        hm_out_print(out, ",%03u", (unsigned)(count % 1000));
    } else {
        hm_out_unsigned(out, count);
    }
}

/* Colours keep apart for colour-blind eyes too, after Okabe and Ito. */
static const char style[] =
    "<style>\n"
    "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:12px}\n"
    ".title{font-size:17px;font-weight:600}.halo{stroke:#fff;stroke-width:3px;paint-order:stroke}"
    ".page{fill:#fff}.ink{fill:#1f2328}.dim{fill:#59636e}\n"
    ".grid{stroke:#d1d9e0;stroke-width:1}.fine{stroke:#eff2f5;stroke-width:1}.axis{stroke:#818b98;stroke-width:1}\n"
    ".lane{fill:#f6f8fa}.roof{stroke:#1f2328;stroke-width:2;fill:none}\n"
    ".roof2{stroke:#59636e;stroke-width:1.5;stroke-dasharray:6 4;fill:none}.dot{stroke:#fff;stroke-width:.6}\n"
    ".c1{fill:#008a62}.c2{fill:#0a6ebd}.c3{fill:#b0578f}.c4{fill:#b87d00}.c5{fill:#d0500a}\n"
    ".s1{stroke:#008a62}.s2{stroke:#0a6ebd}.s3{stroke:#b0578f}.s4{stroke:#b87d00}.s5{stroke:#d0500a}\n"
    ".rate{fill:none;stroke-width:2;stroke-linecap:round}\n"
    "@media (prefers-color-scheme:dark){\n"
    ".halo{stroke:#0d1117}.page{fill:#0d1117}.ink{fill:#e6edf3}.dim{fill:#9198a1}.grid{stroke:#30363d}.fine{stroke:#1b2027}\n"
    ".axis{stroke:#656c76}.lane{fill:#161b22}.roof{stroke:#e6edf3}.roof2{stroke:#9198a1}.dot{stroke:#0d1117}\n"
    ".c1{fill:#2fc79a}.c2{fill:#58a6f5}.c3{fill:#e79ac4}.c4{fill:#e8b339}.c5{fill:#ff8a4a}\n"
    ".s1{stroke:#2fc79a}.s2{stroke:#58a6f5}.s3{stroke:#e79ac4}.s4{stroke:#e8b339}.s5{stroke:#ff8a4a}\n"
    "}\n"
    "</style>\n";

void hm_svg_begin(hm_out *out, int width, int height, const char *title, const char *device)
{
    hm_out_print(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                 "role=\"img\">\n<title>%s",
                 width, height, width, height, title);
    if (device) {
        hm_out_text(out, ", ");
        hm_out_xml(out, device);
    }
    hm_out_text(out, "</title>\n");
    hm_out_text(out, style);
    hm_out_print(out, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", width, height);
    hm_out_print(out, "<text class=\"ink title\" x=\"24\" y=\"34\">%s", title);
    if (device) {
        hm_out_text(out, "<tspan class=\"dim\" font-weight=\"400\" dx=\"10\">");
        hm_out_xml(out, device);
        hm_out_text(out, "</tspan>");
    }
    hm_out_text(out, "</text>\n");
}

void hm_svg_end(hm_out *out)
{
    hm_out_text(out, "</svg>\n");
}

void hm_svg_text(hm_out *out, const char *class_name, const char *anchor, double x, double y)
{
    hm_out_print(out, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", class_name, anchor, x, y);
}

void hm_svg_text_end(hm_out *out)
{
    hm_out_text(out, "</text>\n");
}

static void log_tick(hm_out *out, const hm_scale *scale, int across, double from, double to, double value,
                     const char *unit, int labelled)
{
    const double at = hm_scale_at(scale, value);
    const char *class_name = labelled ? "grid" : "fine";
    if (across) {
        hm_out_print(out, "<path class=\"%s\" d=\"M%.1f %.1fH%.1f\"/>\n", class_name, from, at, to);
    } else {
        hm_out_print(out, "<path class=\"%s\" d=\"M%.1f %.1fV%.1f\"/>\n", class_name, at, from, to);
    }
    if (labelled) {
        hm_svg_text(out, "dim", across ? "end" : "middle", across ? from - 8.0 : at, across ? at + 4.0 : to + 18.0);
        hm_svg_quantity(out, value, unit);
        hm_svg_text_end(out);
    }
}

/* All lines at 1, 2 and 5; figures at 1 alone where there are many decades. */
void hm_svg_log_axis(hm_out *out, const hm_scale *scale, int across, double from, double to, const char *unit)
{
    static const double steps[] = { 1.0, 2.0, 5.0 };
    const int all = scale->high - scale->low < 2.5;
    const int every = 1 + (int)((scale->high - scale->low) / 12.0); /* decades that get a figure */
    const double slack = 1e-9;
    for (int decade = (int)floor(scale->low); decade <= (int)ceil(scale->high); decade++) {
        for (int s = 0; s < 3; s++) {
            const double value = steps[s] * pow(10.0, decade);
            if (log10(value) >= scale->low - slack && log10(value) <= scale->high + slack) {
                log_tick(out, scale, across, from, to, value, unit, all || (s == 0 && decade % every == 0));
            }
        }
    }
}

void hm_svg_legend(hm_out *out, double x, double y, double width, const uint64_t counts[HM_KINDS], hm_svg_note note,
                   const void *user)
{
    int shown = 0;
    for (int kind = 1; kind < HM_KINDS; kind++) {
        shown += counts[kind] != 0;
    }
    for (int kind = 1; kind < HM_KINDS; kind++) {
        if (counts[kind]) {
            hm_out_print(out, "<circle class=\"c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", kind, x + 5.0, y - 4.0);
            hm_svg_text(out, "ink", "start", x + 16.0, y);
            hm_out_text(out, hm_kind_name(kind));
            hm_out_text(out, " <tspan class=\"dim\">");
            hm_svg_count(out, counts[kind]);
            if (note) {
                note(out, kind, user);
            }
            hm_out_text(out, "</tspan>");
            hm_svg_text_end(out);
            x += fmin(width / shown, 240.0);
        }
    }
}

double hm_nice_step(double step)
{
    const double decade = pow(10.0, floor(log10(step)));
    const double digit = step / decade;
    return decade * (digit <= 1.0 ? 1.0 : digit <= 2.0 ? 2.0 : digit <= 5.0 ? 5.0 : 10.0);
}
