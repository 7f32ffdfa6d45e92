/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FAKE_CUPTI_H
#define FAKE_CUPTI_H

/** @file
 * A CUPTI without a device, which the library opens by HOPMLA_CUPTI_PATH. A test that links against it too sets
 * `fake_cupti` to say what goes wrong and what is measured. Each pair of a push and a pop of an external id stands for two
 * launches of one kernel each; each range, for counters that tell its place. What leaves the real one broken or crashes it
 * aborts here: an order of calls that it does not bear, a range in a range, a stop with a range open, a call in a child
 * after fork(). */

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    FAKE_KERNEL_NS = 1500, /* between a call's first start and its last end: 2 × FAKE_KERNEL_NS */
    FAKE_LIVE = 4          /* of fake_cupti.live */
};

typedef struct fake_cupti {
    /* What it is like. */
    uint32_t passes;        /* that the metrics need */
    const char *no_metric;  /* a name that the chip does not have */
    const char *subscriber; /* who is there already, or NULL */
    int32_t kernels_run;    /* 1: kernels have not ended, so their buffers are not handed over */
    int32_t drops;          /* 1: the next buffer that is asked for is lost */
    uint32_t most_ranges;   /* that come back of a window; 0: all */
    int32_t not_a_number;   /* 1: counters that were not counted */

    /* Faults. */
    const char *fail_name; /* of the function whose calls fail, or NULL: of any */
    int32_t fail_code;     /* 0: none fails */
    int32_t fail_at;       /* the call that fails, from 0 */
    int32_t fail_for_good; /* 1: later ones too */

    /* What happened. */
    atomic_int calls;  /* that a fault counts */
    atomic_int faults; /* calls that were made to fail */
    atomic_int all_calls;
    atomic_int pushes;         /* of ranges */
    atomic_int windows;        /* opened */
    atomic_int externals_left; /* on any stack */

    /* What is live: hosts, enabled range profilers, started ones, subscribers. */
    atomic_int live[FAKE_LIVE];
} fake_cupti_state;

extern fake_cupti_state fake_cupti;

/** Back to a CUPTI that gives all, without faults. */
void fake_cupti_reset(void);

/** Lets the at-th call from now of `name` (NULL: of any function) return `code`. */
void fake_cupti_fail(const char *name, int32_t at, int32_t code);

/** How much of it is live. */
int fake_cupti_live(void);

#endif
