/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_DASHBOARD_H
#define COMMAND_DASHBOARD_H

/** @file
 * What a replay is doing, on stderr while it runs: a few lines that are drawn again and again on a terminal that is large
 * enough, one line on a smaller one, and nothing where there is none. */

#include "replay.h"

enum {
    DASHBOARD_STEPS = 48 /* whose times are shown as bars */
};

typedef struct dashboard {
    enum {
        DASHBOARD_NONE,
        DASHBOARD_LINE,
        DASHBOARD_FULL
    } kind;
    bool utf8;
    double started;
    double printed;
    int lines; /* on the screen, above the cursor */
    double step_us[DASHBOARD_STEPS];
    uint64_t steps; /* entered into step_us */
} dashboard;

/** Whether stderr is a terminal that shows one. */
bool dashboard_wanted(void);

dashboard dashboard_start(void);

/** To be called after each step; draws ten times a second. */
void dashboard_show(dashboard *d, const engine *e, const scheduler *s, const counters *c);

/** Takes it off the screen. */
void dashboard_clear(dashboard *d);

#endif
