/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ON_HOST_H
#define ON_HOST_H

/** @file
 * The kernels around a decode, run on the host as simt.h does. */

#include "kernels/sm90/params.h"

#include <vector>

void schedule_on_host(const hm_sm90_schedule_params &params);

/** A tile of one segment, as a CTA of the decode comes to it. */
struct Visit {
    int request, page_begin;
    int row, rows;   /* where the tile starts, and how many it has */
    int64_t partial; /* row of the partial results; −1: a whole request */
    int early_page;  /* that the CTA asks for before it knows its work; −1: none */
};

/** What all CTAs of a decode come to. */
std::vector<Visit> work_on_host(const hm_sm90_decode_params &params);

/** BF16. @return whether some thread waited for the decode: with none, the next kernel could start before it has ended */
bool combine_on_host(const hm_sm90_decode_params &params, unsigned grid);

#endif
