/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_SCHEDULER_H
#define COMMAND_SCHEDULER_H

/** @file
 * A continuous batch over a pool: who runs, what each appends and decodes in the next step, who waits, and who has to
 * give way when pages run out. It books; it enqueues nothing. */

#include "prefix.h"

typedef struct running {
    uint32_t request;
    uint32_t holder;
    uint32_t computed; /* tokens in the cache */
} running;

/** The next step's rows, as arrays for the library and for whoever fills the tensors. */
typedef struct batch {
    uint32_t count;
    uint32_t appended; /* tokens over all rows */
    uint32_t queries;  /* rows that decode; each one token */
    hopmla_seq *seqs;
    uint32_t *n_append;
    uint32_t *q_lens;
    uint32_t *runs; /* index in scheduler.running */
    uint32_t *request;
    uint32_t *first; /* position of the first appended token; the last one's query decodes */
} batch;

typedef struct scheduler {
    const trace *trace;
    hopmla_pool *pool;
    prefix prefix;
    uint32_t max_batch;
    uint32_t chunk;   /* prompt tokens that a step may append */
    running *running; /* oldest first */
    uint32_t count;
    uint32_t arrived;   /* requests of the trace that are known */
    uint32_t started;   /* of these, taken from the queue at least once */
    uint32_t *returned; /* preempted ones, a stack: they go first */
    uint32_t n_returned;
    uint32_t *generated; /* [requests] output tokens so far */
    bool paused;         /* nobody is admitted between a preemption and the next request's end */
    batch batch;
    uint64_t finished;
    uint64_t preemptions;
    uint64_t prompt_tokens; /* appended for prompts, again after a preemption too */
    uint64_t reused_tokens; /* taken from a prefix that somebody held */
    uint64_t output_tokens;
} scheduler;

void scheduler_make(scheduler *s, const trace *t, hopmla_pool *pool, uint32_t max_batch, uint32_t chunk);
void scheduler_free(scheduler *s);

/** Lets requests with a timestamp of at most `now` arrive and admits those that fit. */
void scheduler_admit(scheduler *s, uint64_t now);

/** Whether every request has finished; whether nobody runs or waits. */
bool scheduler_done(const scheduler *s);
bool scheduler_idle(const scheduler *s);

/** Fills s->batch and reserves its pages, by eviction and preemption where needed. */
void scheduler_plan(scheduler *s);

/** Books the step as done: commits, enters prefixes, counts outputs, ends requests. */
void scheduler_commit(scheduler *s);

/** Releases whatever is kept. */
void scheduler_clear(scheduler *s);

#endif
