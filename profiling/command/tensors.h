/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_TENSORS_H
#define COMMAND_TENSORS_H

/** @file
 * The q, out and lse of a case, in the layouts that its shape asks for, and their comparison with the reference. */

#include "check.h"

typedef struct view {
    int64_t token_stride;
    int64_t head_stride;
    uint64_t elements; /* the whole span, gaps counted */
} view;

typedef struct tensors {
    check *check;
    uint32_t rows;
    uint32_t layers; /* an out and an lse for each */
    view q;
    view qr; /* split q only */
    view out;
    view lse;
    float *q_values; /* [rows, heads, 576] */
    void *q_device;
    void *qr_device;
    char *out_device;   /* layers × out.elements of 16 bits */
    char *lse_device;   /* layers × lse.elements of 32 bits, or NULL */
    uint16_t *out_host; /* as fetched */
    float *lse_host;
} tensors;

/** What a query row attends to. */
typedef struct query {
    const uint32_t *ids; /* bank row of each cached token */
    uint64_t visible;    /* tokens; 0 also for rows that belong to no sequence */
} query;

/** Makes tensors of `rows` rows with random q and puts them on the device. */
void tensors_make(tensors *t, check *c, uint32_t rows, uint32_t layers);

/** Strides of a decode of one layer; addresses of its outputs. */
hopmla_decode_args tensors_args(const tensors *t, uint32_t layer);
void *tensors_out(const tensors *t, uint32_t layer);
void *tensors_lse(const tensors *t, uint32_t layer);

/** Fills the outputs with a pattern, so that what is not written shows. Enqueues. */
void tensors_reset(tensors *t);

/** Brings the outputs to the host; fails the case when anything between their rows was written. */
void tensors_fetch(tensors *t);

/** Holds the fetched outputs of every layer against the reference: all rows and heads when they fit the case's budget,
 * else random ones; rows without tokens always. @param queries  [rows] */
void tensors_verify(tensors *t, const query *queries);

/** Bank row of a token in a layer: layers hold different data. */
uint32_t bank_row(uint32_t id, uint32_t layer);

#endif
