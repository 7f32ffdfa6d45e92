/* SPDX-License-Identifier: Apache-2.0 */
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum {
    MAX_THREADS = 64
};

typedef struct team {
    uint64_t count;
    void (*task)(void *user, uint64_t i);
    void *user;
    atomic_uint_fast64_t next;
} team;

static void *work(void *argument)
{
    team *t = argument;
    for (uint64_t i; (i = atomic_fetch_add(&t->next, 1)) < t->count;)
        t->task(t->user, i);
    return NULL;
}

static int cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

void team_run(uint64_t count, void (*task)(void *user, uint64_t i), void *user)
{
    team t = { count, task, user, 0 };
    pthread_t threads[MAX_THREADS];
    int wanted = cores() - 1, started = 0;
    if (wanted > MAX_THREADS)
        wanted = MAX_THREADS;
    /* The caller works too: with no thread at all everything still gets done. */
    while (started < wanted && (uint64_t)started + 1 < count && pthread_create(&threads[started], NULL, work, &t) == 0)
        ++started;
    work(&t);
    while (started > 0)
        pthread_join(threads[--started], NULL);
}
