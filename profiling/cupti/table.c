/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/cupti/table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/context.h"
#include "profiling/observe/observe.h"

enum {
    LAUNCHES = 1 << 16, /* launches, of anybody in the process, between a launch's first record and its last */
    THREADS = 256,      /* calls of further ones are known to be complete once all is settled */
    DEPTH = 8,          /* names on a thread's stack: more than one are of launches that ended elsewhere */
    ID_BITS = 40,
    LAST_NS = 1000000000
};

/* Thread-local variables would need the dynamic linker as one more library, or room that it may not have. */
typedef struct thread_slot {
    pthread_t self;
    uint64_t seen; /* largest id of a call of which records have come */
    uint64_t stack[DEPTH];
    uint32_t depth;
    uint32_t used;
} thread_slot;

typedef struct call_slot {
    uint64_t id;
    uint64_t first;
    uint64_t last;
    uint32_t kernels;
    uint32_t launches;
    uint32_t returned;
    uint32_t thread; /* its slot, or THREADS */
    uint64_t ended;  /* mark before which it ended; 0: not yet */
    int64_t ended_at;
} call_slot;

/* What came of a launch before it was known whose it is. */
typedef struct launch_slot {
    uint32_t launch;
    uint32_t kernels;
    uint64_t id; /* 0: not known, or nobody's */
    uint64_t first;
    uint64_t last;
    uint32_t returned;
    uint32_t reserved;
} launch_slot;

struct hm_table {
    pthread_mutex_t lock;
    uint32_t mask;
    uint32_t reserved;
    uint64_t begun;   /* largest id so far */
    uint64_t mark;    /* the next one, from 1 */
    uint64_t settled; /* of calls that ended before this mark nothing more will come */
    uint64_t doubted; /* up to this id something may be missing */
    uint64_t number;  /* of the table in the process */
    thread_slot threads[THREADS];
    launch_slot launches[LAUNCHES];
    call_slot calls[];
};

static size_t table_bytes(uint32_t calls)
{
    return sizeof(hm_table) + calls * sizeof(call_slot);
}

hm_table *hm_table_create(hopmla_context *context, uint32_t calls)
{
    static atomic_uint tables;
    hm_table *table = hm_host_zalloc(context, 1, table_bytes(calls));
    if (table) {
        table->number = atomic_fetch_add_explicit(&tables, 1, memory_order_relaxed);
        pthread_mutex_init(&table->lock, NULL);
        table->mask = calls - 1;
        table->mark = 1;
    }
    return table;
}

void hm_table_destroy(hopmla_context *context, hm_table *table)
{
    if (table) {
        hm_free(context, table, table_bytes(table->mask + 1), HOPMLA_MEMORY_HOST, NULL);
    }
}

void hm_table_restart(hm_table *table)
{
    pthread_mutex_lock(&table->lock);
    memset(table->launches, 0, sizeof(table->launches));
    pthread_mutex_unlock(&table->lock);
}

static call_slot *find_call(hm_table *table, uint64_t id)
{
    call_slot *call = &table->calls[id & table->mask];
    return id && call->id == id ? call : NULL;
}

uint64_t hm_table_name(const hm_table *table, uint64_t id)
{
    return (table->number << ID_BITS) | id;
}

/* The calling thread's, or THREADS when there is no room. A later thread may be taken for one that has ended, whose stack
 * is gone with it: popping an empty stack does no harm. */
static uint32_t find_thread(hm_table *table)
{
    const pthread_t self = pthread_self();
    for (uint32_t i = 0; i < THREADS; i++) {
        thread_slot *slot = &table->threads[i];
        if (!slot->used) {
            slot->used = 1;
            slot->self = self;
            return i;
        }
        if (pthread_equal(slot->self, self)) {
            return i;
        }
    }
    return THREADS;
}

/* Room for one more, and no name below it of a call that is over. */
static uint32_t clear_stack(hm_table *table, thread_slot *thread)
{
    const uint32_t depth = thread->depth;
    while (thread->depth > 0) {
        const call_slot *call = find_call(table, thread->stack[thread->depth - 1]);
        if (thread->depth < DEPTH && call && !call->ended) {
            break;
        }
        thread->depth--;
    }
    return depth - thread->depth;
}

uint32_t hm_table_begin(hm_table *table, uint64_t id)
{
    uint32_t stale = 0;
    pthread_mutex_lock(&table->lock);
    const uint32_t at = find_thread(table);
    if (at < THREADS) {
        thread_slot *thread = &table->threads[at];
        stale = clear_stack(table, thread);
        thread->stack[thread->depth++] = id;
    }
    table->calls[id & table->mask] = (call_slot){ .id = id, .thread = at };
    table->begun = id > table->begun ? id : table->begun;
    pthread_mutex_unlock(&table->lock);
    return stale;
}

/* Takes the name from the top of the thread's stack, if it is there. */
static int take_name(hm_table *table, uint64_t id)
{
    const uint32_t at = find_thread(table);
    if (at == THREADS) {
        return 1;
    }
    thread_slot *thread = &table->threads[at];
    const int is_top = thread->depth > 0 && thread->stack[thread->depth - 1] == id;
    thread->depth -= (uint32_t)is_top;
    return is_top;
}

void hm_table_not_pushed(hm_table *table, uint64_t id)
{
    pthread_mutex_lock(&table->lock);
    take_name(table, id);
    pthread_mutex_unlock(&table->lock);
}

int hm_table_end(hm_table *table, uint64_t id)
{
    pthread_mutex_lock(&table->lock);
    const int is_top = take_name(table, id);
    call_slot *call = find_call(table, id);
    if (call) {
        call->ended = table->mark;
        call->ended_at = hm_now();
    }
    pthread_mutex_unlock(&table->lock);
    return is_top;
}

static void add(call_slot *call, uint64_t first, uint64_t last, uint32_t kernels)
{
    if (kernels) {
        call->first = call->kernels && call->first < first ? call->first : first;
        call->last = call->kernels && call->last > last ? call->last : last;
        call->kernels += kernels;
    }
}

static launch_slot *find_launch(hm_table *table, uint32_t launch)
{
    launch_slot *slot = &table->launches[launch % LAUNCHES];
    if (slot->launch != launch) {
        *slot = (launch_slot){ .launch = launch };
    }
    return slot;
}

void hm_table_launch(hm_table *table, uint32_t launch, uint64_t name)
{
    const uint64_t id = name & ((UINT64_C(1) << ID_BITS) - 1);
    pthread_mutex_lock(&table->lock);
    call_slot *call = find_call(table, id);
    if (call && name == hm_table_name(table, id)) {
        launch_slot *slot = find_launch(table, launch);
        slot->id = id;
        call->launches++;
        call->returned += slot->returned;
        add(call, slot->first, slot->last, slot->kernels);
        if (call->thread < THREADS && table->threads[call->thread].seen < id) {
            table->threads[call->thread].seen = id;
        }
    }
    pthread_mutex_unlock(&table->lock);
}

void hm_table_kernel(hm_table *table, uint32_t launch, uint64_t first, uint64_t last, int64_t shift)
{
    if (first == 0 || last < first) {
        return; /* it has not run to its end */
    }
    pthread_mutex_lock(&table->lock);
    launch_slot *slot = find_launch(table, launch);
    first += (uint64_t)shift;
    last += (uint64_t)shift;
    if (slot->id) {
        call_slot *call = find_call(table, slot->id);
        if (call) {
            add(call, first, last, 1);
        }
    } else {
        slot->first = slot->kernels && slot->first < first ? slot->first : first;
        slot->last = slot->kernels && slot->last > last ? slot->last : last;
        slot->kernels++;
    }
    pthread_mutex_unlock(&table->lock);
}

void hm_table_returned(hm_table *table, uint32_t launch)
{
    pthread_mutex_lock(&table->lock);
    launch_slot *slot = find_launch(table, launch);
    call_slot *call = find_call(table, slot->id);
    if (call) {
        call->returned++;
    } else {
        slot->returned++;
    }
    pthread_mutex_unlock(&table->lock);
}

void hm_table_dropped(hm_table *table)
{
    pthread_mutex_lock(&table->lock);
    table->doubted = table->begun;
    pthread_mutex_unlock(&table->lock);
}

uint64_t hm_table_mark(hm_table *table)
{
    pthread_mutex_lock(&table->lock);
    const uint64_t mark = table->mark++;
    pthread_mutex_unlock(&table->lock);
    return mark;
}

void hm_table_settle(hm_table *table, uint64_t mark)
{
    pthread_mutex_lock(&table->lock);
    table->settled = mark > table->settled ? mark : table->settled;
    pthread_mutex_unlock(&table->lock);
}

/* A thread's records come in the order of its launches, those of a launch from "belongs to" over its kernels to
 * "returned". So nothing more will come when each launch has returned and a later call of the thread is seen; or none for
 * so long that this one is taken for the last. A launch through the runtime may be there twice, with its kernels once. */
static int is_complete(const hm_table *table, const call_slot *call)
{
    if (!call->ended || call->returned < call->launches) {
        return 0;
    }
    if (call->ended <= table->settled) {
        return 1;
    }
    if (call->thread < THREADS && table->threads[call->thread].seen > call->id) {
        return 1;
    }
    return call->kernels > 0 && hm_now() - call->ended_at > LAST_NS;
}

int hm_table_get(hm_table *table, uint64_t id, hm_times *times)
{
    int found = -1;
    pthread_mutex_lock(&table->lock);
    const call_slot *call = find_call(table, id);
    if (call && id > table->doubted) {
        const int is_all = is_complete(table, call);
        const int is_over = call->ended && call->ended <= table->settled;
        found = is_all && call->kernels ? 1 : is_all || is_over ? -1 : 0;
    }
    if (found == 1) {
        *times = (hm_times){ .first = call->first, .last = call->last, .kernels = call->kernels };
    }
    pthread_mutex_unlock(&table->lock);
    return found;
}
