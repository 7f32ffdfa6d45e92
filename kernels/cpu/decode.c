/* SPDX-License-Identifier: Apache-2.0 */

/* A decode: threads take tasks in order; who finishes a block's last split combines them all, in order. */

#include <math.h>
#include <sched.h>
#include <string.h>

#include "kernels/cpu/attend.h"
#include "kernels/cpu/threads.h"

enum {
    FILL_TOKENS = 16,
    SPINS_BEFORE_YIELD = 64
};

#define LOG2_E 1.44269504088896340736

typedef struct partial {
    float (*o)[HOPMLA_LATENT_DIM];
    float *m;
    float *l;
} partial;

static hm_slot *slot_of(const hm_decode_job *job, uint64_t number)
{
    return &job->workspace.slots[number % job->workspace.slot_count];
}

static partial partial_of(const hm_decode_job *job, uint64_t number)
{
    const hm_cpu_workspace *w = &job->workspace;
    void *base = w->partials + number % w->slot_count * w->partial_bytes;
    partial p = { .o = base };
    p.m = (float *)base + (size_t)w->partial_rows * HOPMLA_LATENT_DIM;
    p.l = p.m + w->partial_rows;
    return p;
}

/* Until the former user's block is combined. Its tasks were all taken before this one, and the oldest of them waits for
 * nobody: so there is always one that gets on. */
static void wait_for_slot(const hm_decode_job *job, uint64_t number)
{
    hm_slot *slot = slot_of(job, number);
    for (int spins = 0; atomic_load_explicit(&slot->owner, memory_order_acquire) != number; spins++) {
        if (spins >= SPINS_BEFORE_YIELD) {
            sched_yield();
        }
    }
}

static void combine(const hm_decode_job *job, const hm_block *block, uint64_t first, hm_scratch *scratch)
{
    for (uint32_t r = 0; r < block->rows; r++) {
        float m = -INFINITY, l = 0.0f;
        for (uint32_t s = 0; s < block->splits; s++) {
            float other = partial_of(job, first + s).m[r];
            m = other > m ? other : m;
        }
        float *o = scratch->o[r];
        memset(o, 0, sizeof scratch->o[r]);
        for (uint32_t s = 0; s < block->splits; s++) {
            partial from = partial_of(job, first + s);
            if (from.l[r] == 0.0f) {
                continue; /* nothing visible: its o may not have been written */
            }
            float weight = exp2f(from.m[r] - m);
            l += weight * from.l[r];
            job->isa->accumulate(o, from.o[r], weight, HOPMLA_LATENT_DIM);
        }
        hm_write_row(job, block, r, o, m, l);
    }
}

/* A task of a block that is split: its result goes to the ring. */
static void run_split(hm_decode_job *job, const hm_block *block, uint64_t first, uint32_t split, hm_scratch *scratch)
{
    uint32_t tokens = hm_split_tokens(block->kv_len, block->blocks), begin = split * tokens;
    wait_for_slot(job, first);
    wait_for_slot(job, first + split);
    if (block->rows > 0) {
        uint32_t end = block->kv_len - begin < tokens ? block->kv_len : begin + tokens;
        partial to = partial_of(job, first + split);
        hm_attend(job, block, begin, end, scratch, to.o);
        memcpy(to.m, scratch->m, block->rows * sizeof *to.m);
        memcpy(to.l, scratch->l, block->rows * sizeof *to.l);
    }
    hm_slot *lead = slot_of(job, first);
    if (atomic_fetch_add_explicit(&lead->arrived, 1, memory_order_acq_rel) + 1 < block->splits) {
        return;
    }
    combine(job, block, first, scratch);
    atomic_store_explicit(&lead->arrived, 0, memory_order_relaxed);
    for (uint64_t number = first; number < first + block->splits; number++) {
        atomic_store_explicit(&slot_of(job, number)->owner, number + job->workspace.slot_count, memory_order_release);
    }
}

/* The request of a task: the last one that starts at or before it. Requests without tasks start where the next does. */
static uint32_t request_of(const hm_cpu_workspace *w, uint64_t task)
{
    uint32_t low = 0, high = w->header->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (w->task_starts[middle] <= task) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void run_task(hm_decode_job *job, uint64_t task, hm_scratch *scratch)
{
    const hm_cpu_workspace *w = &job->workspace;
    uint32_t request = request_of(w, task), heads = job->envelope->heads;
    hm_block block = { .request = request,
                       .kv_len = (uint32_t)w->kv_lens[request],
                       .q_len = (uint32_t)w->q_lens[request],
                       .q_start = w->q_starts[request] };
    block.blocks = hm_blocks(block.q_len * heads);
    block.splits = hm_splits(block.kv_len, block.blocks);
    uint64_t own = task - w->task_starts[request];
    uint32_t split = (uint32_t)(own % block.splits);
    block.first_row = (uint32_t)(own / block.splits) * HM_BLOCK_ROWS;

    /* Rows of query tokens beyond decode->rows do not exist. */
    uint64_t room = job->decode->rows > block.q_start ? job->decode->rows - block.q_start : 0;
    uint32_t all = (uint32_t)(room < block.q_len ? room : block.q_len) * heads;
    uint32_t left = all > block.first_row ? all - block.first_row : 0;
    block.rows = left < HM_BLOCK_ROWS ? left : HM_BLOCK_ROWS;

    if (block.splits > 1) {
        run_split(job, &block, w->partial_starts[request] + own - split, split, scratch);
    } else if (block.rows > 0) {
        hm_attend(job, &block, 0, block.kv_len, scratch, scratch->o);
        for (uint32_t r = 0; r < block.rows; r++) {
            hm_write_row(job, &block, r, scratch->o[r], scratch->m[r], scratch->l[r]);
        }
    }
}

static void fill(const hm_decode_job *job, uint64_t n)
{
    uint64_t token = job->workspace.header->q_tokens + n * FILL_TOKENS;
    for (uint64_t end = token + FILL_TOKENS; token < end && token < job->decode->rows; token++) {
        hm_write_empty(job, token);
    }
}

static void work(void *argument, int index, int count)
{
    hm_decode_job *job = argument;
    hm_scratch *scratch = hm_threads_scratch(job->threads, index);
    uint64_t tasks = job->workspace.header->tasks;
    (void)count;
    for (;;) {
        uint64_t task = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (task < tasks) {
            run_task(job, task, scratch);
        } else if (task - tasks < job->fills) {
            fill(job, task - tasks);
        } else {
            return;
        }
    }
}

void hm_cpu_decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                   const hm_decode *decode, void *workspace)
{
    hm_decode_job job = { .isa = hm_cpu_isa(device->isa),
                          .envelope = envelope,
                          .kv = kv,
                          .tables = tables,
                          .decode = decode,
                          .threads = device->threads,
                          .workspace = hm_cpu_workspace_at(device, envelope, workspace),
                          .factor = (float)(decode->softmax_scale * LOG2_E) };
    hm_cpu_header *header = job.workspace.header;
    if (header->q_tokens > decode->rows) {
        __atomic_fetch_or(&header->error, HOPMLA_PAGED_BAD_ROWS, __ATOMIC_RELAXED);
    } else {
        job.fills = (decode->rows - header->q_tokens + FILL_TOKENS - 1) / FILL_TOKENS;
    }
    for (uint32_t i = 0; i < job.workspace.slot_count; i++) {
        atomic_init(&job.workspace.slots[i].owner, i);
        atomic_init(&job.workspace.slots[i].arrived, 0);
    }
    uint64_t tasks = header->tasks + job.fills;
    if (tasks > 0) {
        hm_threads_run_on(device->threads, tasks < INT32_MAX ? (int)tasks : INT32_MAX, work, &job);
    }
}
