/* SPDX-License-Identifier: Apache-2.0 */

/* The workspace's layout, and the schedule of a batch in it. */

#include "kernels/cpu/workspace.h"

static uint64_t take(uint64_t *at, uint64_t bytes)
{
    uint64_t place = *at;
    *at = (place + bytes + 63) / 64 * 64;
    return place;
}

/* A block's partial results are held until its last split is done, while threads run ahead with the blocks behind it:
 * room for one whole block, and some for every thread. */
static uint32_t ring_size(const hm_device *device, const hm_envelope *envelope)
{
    uint64_t longest = (envelope->max_kv_tokens + HM_SPLIT_TOKENS - 1) / HM_SPLIT_TOKENS;
    if (longest <= 1) {
        return 0;
    }
    longest = longest < HM_MAX_SPLITS ? longest : HM_MAX_SPLITS;
    uint64_t all = longest * hm_blocks(envelope->max_q_tokens * envelope->heads) * envelope->max_batch;
    uint64_t ring = HM_MAX_SPLITS + 2 * (uint64_t)device->thread_count;
    return (uint32_t)(all < ring ? all : ring);
}

hm_cpu_workspace hm_cpu_workspace_at(const hm_device *device, const hm_envelope *envelope, void *memory)
{
    hm_cpu_workspace w = { .slot_count = ring_size(device, envelope) };
    uint64_t batch = envelope->max_batch, rows = (uint64_t)envelope->max_q_tokens * envelope->heads;
    w.partial_rows = (uint32_t)(rows < HM_BLOCK_ROWS ? rows : HM_BLOCK_ROWS);
    uint64_t header = take(&w.bytes, sizeof(hm_cpu_header));
    uint64_t kv_lens = take(&w.bytes, batch * sizeof(int32_t));
    uint64_t q_lens = take(&w.bytes, batch * sizeof(int32_t));
    uint64_t q_starts = take(&w.bytes, (batch + 1) * sizeof(uint64_t));
    uint64_t task_starts = take(&w.bytes, (batch + 1) * sizeof(uint64_t));
    uint64_t partial_starts = take(&w.bytes, (batch + 1) * sizeof(uint64_t));
    uint64_t slots = take(&w.bytes, w.slot_count * sizeof(hm_slot));
    take(&w.partial_bytes, w.partial_rows * (HOPMLA_LATENT_DIM + 2) * sizeof(float));
    uint64_t partials = take(&w.bytes, w.slot_count * w.partial_bytes);
    w.bytes = (w.bytes + 1023) / 1024 * 1024;
    if (memory) {
        char *base = memory;
        w.header = (void *)(base + header);
        w.kv_lens = (void *)(base + kv_lens);
        w.q_lens = (void *)(base + q_lens);
        w.q_starts = (void *)(base + q_starts);
        w.task_starts = (void *)(base + task_starts);
        w.partial_starts = (void *)(base + partial_starts);
        w.slots = (void *)(base + slots);
        w.partials = base + partials;
    }
    return w;
}

uint64_t hm_cpu_workspace_bytes(const hm_device *device, const hm_envelope *envelope)
{
    return hm_cpu_workspace_at(device, envelope, NULL).bytes;
}

/* The nearest value in 0 … most. */
static uint32_t cut(int32_t value, uint64_t most, uint32_t *error)
{
    if (value >= 0 && (uint64_t)value <= most) {
        return (uint32_t)value;
    }
    *error |= HOPMLA_PAGED_BAD_LENGTH;
    return value < 0 ? 0 : (uint32_t)most;
}

void hm_cpu_schedule(hm_device *device, const hm_envelope *envelope, const hm_tables *tables, void *workspace)
{
    hm_cpu_workspace w = hm_cpu_workspace_at(device, envelope, workspace);
    uint32_t error = 0;
    uint32_t count = tables->count ? cut(*tables->count, envelope->max_batch, &error) : envelope->max_batch;
    uint64_t q_tokens = 0, tasks = 0, partials = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t kv_len = cut(tables->kv_lens[i], envelope->max_kv_tokens, &error);
        uint32_t q_len =
            tables->q_lens ? cut(tables->q_lens[i], envelope->max_q_tokens, &error) : envelope->max_q_tokens;
        uint32_t blocks = hm_blocks(q_len * envelope->heads), splits = hm_splits(kv_len, blocks);
        uint64_t own = (uint64_t)blocks * splits;
        w.kv_lens[i] = (int32_t)kv_len;
        w.q_lens[i] = (int32_t)q_len;
        w.q_starts[i] = q_tokens;
        w.task_starts[i] = tasks;
        w.partial_starts[i] = partials;
        q_tokens += q_len;
        tasks += own;
        partials += splits > 1 ? own : 0;
    }
    w.q_starts[count] = q_tokens;
    w.task_starts[count] = tasks;
    w.partial_starts[count] = partials;
    *w.header = (hm_cpu_header){ .error = error, .count = count, .q_tokens = q_tokens, .tasks = tasks };
}
