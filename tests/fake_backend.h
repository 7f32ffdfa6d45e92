/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FAKE_BACKEND_H
#define FAKE_BACKEND_H

/** @file
 * A backend whose streams run when the test says so. Pages hold one 64-bit token in the first bytes of each row; append
 * moves tokens, apply does what it does everywhere, and decode only remembers its arguments. What is enqueued is
 * recorded: fences and waits can be looked at, and any enqueueing call can be made to fail.
 *
 *     hm_device *device;
 *     hopmla_context *context = fake_context(&device);
 *     device->deferred = 1;
 *     ... enqueue on streams made with hopmla_stream_create ...
 *     fake_run(device, stream, 3);     at most three operations of this stream, up to a wait that is not satisfied
 *     fake_run_all(device);
 *     hopmla_context_destroy(context);
 */

#include <pthread.h>

#include "kernels/backend.h"
#include "lib/context.h"

enum {
    FAKE_LOGGED_WAITS = 64
};

typedef struct fake_stream fake_stream;

typedef struct fake_wait {
    hopmla_stream stream;
    const uint64_t *fence;
    uint64_t value;
} fake_wait;

struct hm_device {
    int deferred;    /* 0: what is enqueued runs at once, unless the stream waits */
    int64_t fail_in; /* enqueueing calls until one fails with DRIVER, once; negative: none */
    uint64_t enqueued;
    fake_wait waits[FAKE_LOGGED_WAITS]; /* the first ones since n_waits was set to 0 */
    uint32_t n_waits;
    uint64_t copies;  /* made by apply */
    uint64_t entries; /* page ids sent to tables */
    uint64_t synchronizes;
    void (*on_apply)(void *user); /* called by the next apply that runs: what another thread may do just then */
    void *on_apply_user;
    hm_append append; /* the last ones enqueued */
    hm_gather gather;
    hm_decode decode;
    uint64_t appends;
    uint64_t gathers;
    uint64_t decodes;
    pthread_mutex_t lock; /* of all of it */
    fake_stream *streams;
};

/** The caller's reference; hopmla_context_destroy drops it. */
hopmla_context *fake_context(hm_device **device);

/** What stream_check says of the stream. */
void fake_capture(hm_device *device, hopmla_stream stream, int capturing);

/** Enqueues a call. */
void fake_call(hm_device *device, hopmla_stream stream, void (*function)(void *user), void *user);

/** Runs at most n operations. @return how many ran */
uint32_t fake_run(hm_device *device, hopmla_stream stream, uint32_t n);

/** Runs all streams to their end. @return 0 when a stream waits for what nobody will signal */
int fake_run_all(hm_device *device);

/** The token of a row of the first layer. */
uint64_t *fake_token(const void *base, int32_t page, uint32_t row);

#endif
