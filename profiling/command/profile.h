/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_PROFILE_H
#define COMMAND_PROFILE_H

/** @file
 * `hopmla profile`: a profiler around what another subcommand does. The others call these functions whether or not they
 * run under it; without it they do nothing. */

#include "device.h"

#include <stdbool.h>

/** Whether this program is `hopmla profile`. */
bool profile_asked(void);

/** Asks for a profiler that keeps totals alone, for whoever shows them; under `hopmla profile` there is a better one. */
void profile_ask_totals(void);

/** Makes the profiler, stopped, and the file of records. @param ceilings  or NULL where they are not known */
void profile_open(device *d, const hopmla_ceilings *ceilings);

void profile_start(void);
void profile_stop(void);

/** Takes in what has finished, and writes it to the file of records where there is one; to be called now and then. */
void profile_drain(void);

/** The profiler, or NULL. */
hopmla_profiler *profile_profiler(void);

/** What a kind has come to so far, over what has finished; zeroes without a profiler. */
hopmla_totals profile_totals(int32_t kind);

/** What has come on top since `before`: counts and sums alone. */
hopmla_totals profile_since(const hopmla_totals *before);

/** Waits for the last records and closes the profiler; profile_main prints what it found. The device is still open. */
void profile_close(void);

/** Enqueues a graph and tells the library what it holds, so that NVTX and profilers see it. */
void profile_launch(device *d, hopmla_plan *plan, hopmla_graph graph, uint32_t appends, uint32_t decodes);

#endif
