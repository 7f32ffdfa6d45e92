/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

#define MUST(call, ...) must(call(__VA_ARGS__, &error), &error, #call)

void scheduler_make(scheduler *s, const trace *t, hopmla_pool *pool, uint32_t max_batch, uint32_t chunk)
{
    *s =
        (scheduler){ .trace = t, .pool = pool, .prefix = prefix_make(t, pool), .max_batch = max_batch, .chunk = chunk };
    s->running = must_zalloc(max_batch, sizeof(*s->running));
    s->returned = must_zalloc(max_batch, sizeof(*s->returned));
    s->generated = must_zalloc(t->count, sizeof(*s->generated));
    batch *b = &s->batch;
    b->seqs = must_zalloc(max_batch, sizeof(*b->seqs));
    b->n_append = must_zalloc(max_batch, sizeof(uint32_t));
    b->q_lens = must_zalloc(max_batch, sizeof(uint32_t));
    b->runs = must_zalloc(max_batch, sizeof(uint32_t));
    b->request = must_zalloc(max_batch, sizeof(uint32_t));
    b->first = must_zalloc(max_batch, sizeof(uint32_t));
}

void scheduler_free(scheduler *s)
{
    prefix_free(&s->prefix);
    free(s->running);
    free(s->returned);
    free(s->generated);
    free(s->batch.seqs);
    free(s->batch.n_append);
    free(s->batch.q_lens);
    free(s->batch.runs);
    free(s->batch.request);
    free(s->batch.first);
    memset(s, 0, sizeof(*s));
}

bool scheduler_done(const scheduler *s)
{
    return s->finished == s->trace->count;
}

bool scheduler_idle(const scheduler *s)
{
    return s->count == 0 && s->n_returned == 0 && s->started == s->arrived;
}

/** Tokens that must be in the cache before the request's next query. */
static uint32_t needed(const scheduler *s, uint32_t request)
{
    return s->trace->requests[request].input + s->generated[request];
}

/** Reserves; evicts kept prefixes as long as that helps. @return false when pages are missing all the same */
static bool reserve(scheduler *s, const hopmla_seq *seqs, const uint32_t *n_new, uint32_t count)
{
    for (;;) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        hopmla_status status = hopmla_seq_reserve(s->pool, seqs, n_new, count, &error);
        if (status != HOPMLA_ERROR_OUT_OF_PAGES)
            return must(status, &error, "hopmla_seq_reserve"), true;
        if (!prefix_evict(&s->prefix))
            return false;
    }
}

/** Takes pages for everything that the request needs so far, and one page more, so that it is not the first to run out.
 * The last page is no condition when nobody else runs. */
static bool admit(scheduler *s, uint32_t request)
{
    uint32_t shared = 0, slot = prefix_start(&s->prefix, request, &shared);
    uint32_t n_new = needed(s, request) - shared, more = n_new + HOPMLA_PAGE_TOKENS;
    hopmla_seq seq = s->prefix.holders[slot].seq;
    if (!reserve(s, &seq, s->count > 0 ? &more : &n_new, 1)) {
        prefix_drop(&s->prefix, slot);
        return false;
    }
    s->running[s->count++] = (running){ request, slot, shared };
    s->reused_tokens += shared;
    return true;
}

void scheduler_admit(scheduler *s, uint64_t now)
{
    while (s->arrived < s->trace->count && s->trace->requests[s->arrived].timestamp <= now)
        ++s->arrived;
    if (s->count == 0)
        s->paused = false;
    while (!s->paused && s->count < s->max_batch) {
        if (s->n_returned > 0) {
            if (!admit(s, s->returned[s->n_returned - 1]))
                return;
            --s->n_returned;
        } else if (s->started < s->arrived) {
            if (!admit(s, s->started))
                return;
            ++s->started;
        } else {
            return;
        }
    }
}

/** The newest request gives its pages back and starts again later; what it generated is computed again then. */
static void preempt(scheduler *s)
{
    running *r = &s->running[--s->count];
    prefix_drop(&s->prefix, r->holder);
    s->returned[s->n_returned++] = r->request;
    s->paused = true;
    ++s->preemptions;
}

/** Every row that decodes takes part; prompts share the chunk, oldest first. */
static void fill(scheduler *s)
{
    batch *b = &s->batch;
    uint32_t room = s->chunk;
    b->count = b->appended = b->queries = 0;
    for (uint32_t i = 0; i < s->count; ++i) {
        const running *r = &s->running[i];
        uint32_t missing = needed(s, r->request) - r->computed, n = missing;
        if (missing > 1) {
            n = missing < room ? missing : room;
            room -= n;
        }
        if (n == 0)
            continue;
        b->seqs[b->count] = s->prefix.holders[r->holder].seq;
        b->n_append[b->count] = n;
        b->q_lens[b->count] = n == missing;
        b->runs[b->count] = i;
        b->request[b->count] = r->request;
        b->first[b->count] = r->computed;
        b->appended += n;
        b->queries += b->q_lens[b->count++];
    }
}

void scheduler_plan(scheduler *s)
{
    for (fill(s); !reserve(s, s->batch.seqs, s->batch.n_append, s->batch.count); fill(s)) {
        if (s->count == 1)
            die("%s:%llu: this request alone needs more pages than the pool has", s->trace->path,
                (unsigned long long)s->trace->requests[s->running[0].request].line);
        preempt(s);
    }
}

void scheduler_commit(scheduler *s)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const batch *b = &s->batch;
    MUST(hopmla_seq_commit, s->pool, b->seqs, b->n_append, b->count);
    for (uint32_t i = 0; i < b->count; ++i) {
        running *r = &s->running[b->runs[i]];
        const trace_request *q = &s->trace->requests[r->request];
        if (r->computed < q->input)
            s->prompt_tokens += b->n_append[i] < q->input - r->computed ? b->n_append[i] : q->input - r->computed;
        r->computed += b->n_append[i];
        prefix_enter(&s->prefix, r->holder, r->computed);
        s->generated[r->request] += b->q_lens[i];
        s->output_tokens += b->q_lens[i];
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < s->count; ++i) {
        const running r = s->running[i];
        if (s->generated[r.request] < s->trace->requests[r.request].output) {
            s->running[left++] = r;
            continue;
        }
        prefix_keep(&s->prefix, r.holder);
        ++s->finished;
        s->paused = false;
    }
    s->count = left;
}

void scheduler_clear(scheduler *s)
{
    for (uint32_t i = 0; i < s->prefix.count; ++i) {
        if (s->prefix.holders[i].used)
            prefix_drop(&s->prefix, i);
    }
}
