/* SPDX-License-Identifier: Apache-2.0 */

/* One pool of threads. A job runs on all of them, the caller being index 0; callers that come meanwhile wait for their
 * turn. Between jobs the threads sleep, after looking out for the next one for some ten microseconds: a decode follows a
 * decode. A child made by fork() has none of them: it must make a context of its own. */

#include "kernels/cpu/threads.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "kernels/cpu/machine.h"
#include "lib/error.h"

enum {
    POOL_WORTHWHILE_BYTES = 256 * 1024,
    LOOKS = 1000 /* before sleeping */
};

typedef struct worker {
    hm_threads *threads;
    pthread_t id;
    int index;
} worker;

struct hm_threads {
    pthread_mutex_t turn; /* held by the caller whose job runs */
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t start;
    pthread_cond_t finished;
    _Atomic uint64_t job; /* number of the job that runs or ran last */
    void (*fn)(void *arg, int index, int count);
    void *arg;
    int count;           /* indices of the job */
    _Atomic int running; /* threads that are still at it, the caller apart */
    int ending;
    int n;           /* threads, the caller counted */
    int looks;       /* LOOKS, or 0 where threads would take each other's core */
    int started;     /* of workers */
    worker *workers; /* [n − 1] */
    void *memory;
    hm_scratch *scratch; /* [n] */
};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *work(void *argument)
{
    worker *self = argument;
    hm_threads *t = self->threads;
    uint64_t done = 0;
    for (;;) {
        for (int i = 0; i < t->looks && atomic_load_explicit(&t->job, memory_order_relaxed) == done; i++) {
            pause_briefly();
        }
        pthread_mutex_lock(&t->lock);
        while (!t->ending && t->job == done) {
            pthread_cond_wait(&t->start, &t->lock);
        }
        int ending = t->ending, taken = self->index < t->count;
        done = t->job;
        pthread_mutex_unlock(&t->lock);
        if (ending) {
            return NULL;
        }
        if (taken) {
            t->fn(t->arg, self->index, t->count);
            pthread_mutex_lock(&t->lock);
            if (--t->running == 0) {
                pthread_cond_signal(&t->finished);
            }
            pthread_mutex_unlock(&t->lock);
        }
    }
}

/* The host program's signals are none of the workers' business. */
static int start_worker(worker *w)
{
    sigset_t all, former;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    int failed = pthread_create(&w->id, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (!failed) {
        pthread_setname_np(w->id, "hopmla-cpu");
    }
    return failed;
}

/* calloc: large blocks come as untouched pages, so that scratch costs nothing before it is used, and lies near the
 * thread that uses it. */
static int allocate(hm_threads *t)
{
    t->memory = calloc(1, (size_t)t->n * sizeof *t->scratch + _Alignof(hm_scratch));
    t->workers = calloc((size_t)t->n, sizeof *t->workers);
    if (!t->memory || !t->workers) {
        return -1;
    }
    uintptr_t at = (uintptr_t)t->memory + _Alignof(hm_scratch) - 1;
    t->scratch = (hm_scratch *)(at - at % _Alignof(hm_scratch));
    return 0;
}

hopmla_status hm_threads_create(hm_threads **threads, int n, hopmla_error *error)
{
    hm_threads *t = calloc(1, sizeof *t);
    if (!t) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for the thread pool");
    }
    pthread_mutex_init(&t->turn, NULL);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->start, NULL);
    pthread_cond_init(&t->finished, NULL);
    t->n = n;
    t->looks = n <= hm_cpu_usable_cores() ? LOOKS : 0;
    if (allocate(t)) {
        hm_threads_destroy(t);
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory for the scratch of %d threads", n);
    }
    while (t->started < n - 1) {
        const int index = t->started + 1;
        worker *w = &t->workers[t->started];
        w->threads = t;
        w->index = index;
        int code = start_worker(w);
        if (code) {
            hm_threads_destroy(t);
            return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "cannot start thread %d of %d (%d)", index, n, code);
        }
        t->started++;
    }
    *threads = t;
    return HOPMLA_OK;
}

void hm_threads_destroy(hm_threads *t)
{
    if (!t) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->ending = 1;
    pthread_cond_broadcast(&t->start);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->started; i++) {
        pthread_join(t->workers[i].id, NULL);
    }
    pthread_cond_destroy(&t->finished);
    pthread_cond_destroy(&t->start);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->turn);
    free(t->workers);
    free(t->memory);
    free(t);
}

void hm_threads_run_on(hm_threads *t, int most, void (*fn)(void *arg, int index, int count), void *arg)
{
    int count = most < t->n ? most : t->n;
    pthread_mutex_lock(&t->turn);
    if (count > 1) {
        pthread_mutex_lock(&t->lock);
        t->fn = fn;
        t->arg = arg;
        t->count = count;
        t->running = count - 1;
        t->job++;
        pthread_cond_broadcast(&t->start);
        pthread_mutex_unlock(&t->lock);
    }
    fn(arg, 0, count > 1 ? count : 1);
    if (count > 1) {
        for (int i = 0; i < t->looks && atomic_load_explicit(&t->running, memory_order_relaxed) > 0; i++) {
            pause_briefly();
        }
        pthread_mutex_lock(&t->lock);
        while (t->running > 0) {
            pthread_cond_wait(&t->finished, &t->lock);
        }
        pthread_mutex_unlock(&t->lock);
    }
    pthread_mutex_unlock(&t->turn);
}

void hm_threads_run(hm_threads *t, void (*fn)(void *arg, int index, int count), void *arg)
{
    hm_threads_run_on(t, t->n, fn, arg);
}

void hm_threads_run_bytes(hm_threads *t, uint64_t bytes, void (*fn)(void *arg, int index, int count), void *arg)
{
    if (bytes < POOL_WORTHWHILE_BYTES) {
        fn(arg, 0, 1);
    } else {
        hm_threads_run(t, fn, arg);
    }
}

hm_scratch *hm_threads_scratch(hm_threads *t, int index)
{
    return &t->scratch[index];
}
