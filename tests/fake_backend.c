/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fake_backend.h"

#include <stdlib.h>
#include <string.h>

#include "lib/error.h"

enum op_kind {
    OP_APPLY,
    OP_SCHEDULE,
    OP_APPEND,
    OP_SIGNAL,
    OP_WAIT,
    OP_FILL,
    OP_COPY,
    OP_CALL,
    OP_NOTHING
};

typedef struct op {
    struct op *next;
    enum op_kind kind;
    hm_kv kv;
    hm_table_memory memory;
    hm_tables tables;
    const hm_staging *staging;
    hm_append append;
    uint64_t *fence;
    uint64_t value;
    void *destination;
    const void *source;
    void (*function)(void *user);
    void *user;
} op;

struct fake_stream {
    struct fake_stream *next;
    op *first;
    op **last;
    int capturing;
    int is_default;
};

uint64_t *fake_token(const void *base, int32_t page, uint32_t row)
{
    return (uint64_t *)(void *)((char *)(uintptr_t)base +
                                ((uint64_t)page * HOPMLA_PAGE_TOKENS + row) * HOPMLA_QK_DIM * 2);
}

/* Carrying out. */

static void run_apply(hm_device *device, const op *o)
{
    const hm_staging *s = o->staging;
    const char *base = (const char *)s;
    const int32_t *rows = (const int32_t *)(const void *)(base + s->rows_at);
    const hm_run *runs = (const hm_run *)(const void *)(base + s->runs_at);
    const int32_t *pages = (const int32_t *)(const void *)(base + s->pages_at);
    const hm_copy *copies = (const hm_copy *)(const void *)(base + s->copies_at);
    const uint32_t n = s->count;
    if (device->on_apply) {
        device->on_apply(device->on_apply_user);
        device->on_apply = NULL;
    }
    *o->memory.count = (int32_t)n;
    for (uint32_t i = 0; i < o->memory.max_batch; i++) {
        o->memory.kv_lens[i] = i < n ? rows[i] : 0;
        o->memory.q_lens[i] = i < n ? rows[n + i] : 0;
    }
    for (uint32_t i = 0; i <= o->memory.max_batch; i++) {
        const uint32_t at = i < n ? i : n;
        o->memory.q_starts[i] = rows[2 * n + at];
        o->memory.append_starts[i] = rows[3 * n + 1 + at];
    }
    for (uint32_t r = 0; r < s->runs; r++) {
        memcpy(&o->memory.block_table[runs[r].row * o->memory.table_stride + runs[r].first], &pages[runs[r].offset],
               runs[r].n * sizeof(*pages));
        device->entries += runs[r].n;
    }
    for (uint32_t c = 0; c < s->copies; c++) {
        for (uint32_t t = 0; t < copies[c].tokens; t++) {
            *fake_token(o->kv.latent, copies[c].destination, t) = *fake_token(o->kv.latent, copies[c].source, t);
        }
        device->copies++;
    }
}

static void run_append(const op *o)
{
    const hm_tables *t = &o->tables;
    for (int32_t row = 0; row < *t->count; row++) {
        const int32_t n = t->append_starts[row + 1] - t->append_starts[row];
        for (int32_t i = 0; i < n; i++) {
            const uint64_t at = (uint64_t)(t->append_starts[row] + i);
            const uint32_t position = (uint32_t)(t->kv_lens[row] - n + i);
            const int32_t page = t->block_table[(uint64_t)row * t->table_stride + position / HOPMLA_PAGE_TOKENS];
            if (at < o->append.tokens && o->append.layer == 0) {
                *fake_token(o->kv.latent, page, position % HOPMLA_PAGE_TOKENS) =
                    ((const uint64_t *)o->append.latent)[at];
            }
        }
    }
}

/* @return 0 when the stream has to wait */
static int run_op(hm_device *device, const op *o)
{
    switch (o->kind) {
    case OP_APPLY:
        run_apply(device, o);
        break;
    case OP_APPEND:
        run_append(o);
        break;
    case OP_SIGNAL:
        __atomic_store_n(o->fence, o->value, __ATOMIC_RELEASE);
        break;
    case OP_WAIT:
        return __atomic_load_n(o->fence, __ATOMIC_ACQUIRE) >= o->value;
    case OP_FILL:
        memset(o->destination, (int)o->append.layer, o->value);
        break;
    case OP_COPY:
        memcpy(o->destination, o->source, o->value);
        break;
    case OP_CALL:
        o->function(o->user);
        break;
    case OP_SCHEDULE:
    case OP_NOTHING:
        break;
    }
    return 1;
}

static uint32_t run_stream(hm_device *device, fake_stream *stream, uint32_t n)
{
    uint32_t done = 0;
    while (done < n && stream->first && run_op(device, stream->first)) {
        op *o = stream->first;
        stream->first = o->next;
        if (!stream->first) {
            stream->last = &stream->first;
        }
        free(o);
        done++;
    }
    return done;
}

static int run_all(hm_device *device)
{
    uint64_t ran;
    uint64_t left;
    do {
        ran = 0;
        left = 0;
        for (fake_stream *s = device->streams; s; s = s->next) {
            ran += run_stream(device, s, UINT32_MAX);
            left += s->first != NULL;
        }
    } while (ran > 0 && left > 0);
    return left == 0;
}

static fake_stream *find(const hm_device *device, hopmla_stream stream)
{
    for (fake_stream *s = device->streams; s; s = s->next) {
        if (stream ? (hopmla_stream)s == stream : s->is_default) {
            return s;
        }
    }
    return NULL;
}

uint32_t fake_run(hm_device *device, hopmla_stream stream, uint32_t n)
{
    pthread_mutex_lock(&device->lock);
    const uint32_t done = run_stream(device, find(device, stream), n);
    pthread_mutex_unlock(&device->lock);
    return done;
}

int fake_run_all(hm_device *device)
{
    pthread_mutex_lock(&device->lock);
    const int done = run_all(device);
    pthread_mutex_unlock(&device->lock);
    return done;
}

static hopmla_status enqueue(hm_device *device, hopmla_stream stream, const op *what, hopmla_error *error)
{
    pthread_mutex_lock(&device->lock);
    const int fails = device->fail_in == 0;
    device->fail_in -= device->fail_in >= 0;
    if (!fails) {
        fake_stream *s = find(device, stream);
        op *o = malloc(sizeof(*o));
        *o = *what;
        o->next = NULL;
        *s->last = o;
        s->last = &o->next;
        device->enqueued++;
        if (!device->deferred) {
            run_stream(device, s, UINT32_MAX);
        }
    }
    pthread_mutex_unlock(&device->lock);
    return fails ? hm_fail_native(error, HOPMLA_ERROR_DRIVER, 719, "the test wants this call to fail") : HOPMLA_OK;
}

void fake_call(hm_device *device, hopmla_stream stream, void (*function)(void *user), void *user)
{
    enqueue(device, stream, &(op){ .kind = OP_CALL, .function = function, .user = user }, NULL);
}

void fake_capture(hm_device *device, hopmla_stream stream, int capturing)
{
    pthread_mutex_lock(&device->lock);
    find(device, stream)->capturing = capturing;
    pthread_mutex_unlock(&device->lock);
}

/* The table. */

static hopmla_status fake_open(const hm_open_options *options, hm_device **device, hopmla_error *error)
{
    (void)options;
    (void)device;
    return hm_fail(error, HOPMLA_ERROR_NOT_BUILT, "made by fake_context");
}

static void free_stream(fake_stream *s)
{
    while (s->first) {
        op *o = s->first;
        s->first = o->next;
        free(o);
    }
    free(s);
}

static void fake_close(hm_device *device)
{
    while (device->streams) {
        fake_stream *s = device->streams;
        device->streams = s->next;
        free_stream(s);
    }
    pthread_mutex_destroy(&device->lock);
    free(device);
}

static void fake_describe(const hm_device *device, hopmla_context_info *info)
{
    (void)device;
    info->backend = HOPMLA_BACKEND_CPU;
    info->device = -1;
}

static hopmla_status fake_alloc(hm_device *device, uint64_t bytes, uint64_t alignment, int32_t kind,
                                hopmla_stream stream, void **memory, hopmla_error *error)
{
    (void)device;
    (void)stream;
    if (posix_memalign(memory, (size_t)(alignment < sizeof(void *) ? sizeof(void *) : alignment), (size_t)bytes)) {
        return hm_fail_memory(error, kind, bytes);
    }
    memset(*memory, 0xc3, bytes < 1 << 22 ? (size_t)bytes : 1 << 22);
    return HOPMLA_OK;
}

static void fake_free(hm_device *device, void *memory, uint64_t bytes, int32_t kind, hopmla_stream stream)
{
    (void)device;
    (void)bytes;
    (void)kind;
    (void)stream;
    free(memory);
}

static hopmla_status fake_enter(hm_device *device, hopmla_error *error)
{
    (void)device;
    (void)error;
    return HOPMLA_OK;
}

static void fake_leave(hm_device *device)
{
    (void)device;
}

static hopmla_status fake_synchronize(hm_device *device, hopmla_error *error)
{
    (void)error;
    pthread_mutex_lock(&device->lock);
    device->synchronizes++;
    run_all(device);
    pthread_mutex_unlock(&device->lock);
    return HOPMLA_OK;
}

static hopmla_status fake_copy(hm_device *device, void *destination, const void *source, uint64_t bytes,
                               hopmla_stream stream, hopmla_error *error)
{
    const op o = { .kind = OP_COPY, .destination = destination, .source = source, .value = bytes };
    return enqueue(device, stream, &o, error);
}

static hopmla_status fake_fill(hm_device *device, void *destination, uint8_t value, uint64_t bytes,
                               hopmla_stream stream, hopmla_error *error)
{
    const op o = { .kind = OP_FILL, .destination = destination, .value = bytes, .append.layer = value };
    return enqueue(device, stream, &o, error);
}

static hopmla_status fake_stream_check(hm_device *device, hopmla_stream stream, int32_t *capturing, hopmla_error *error)
{
    pthread_mutex_lock(&device->lock);
    const fake_stream *s = find(device, stream);
    *capturing = s && s->capturing;
    pthread_mutex_unlock(&device->lock);
    return s ? HOPMLA_OK : hm_fail(error, HOPMLA_ERROR_MISMATCH, "stream is none of this context's");
}

static hopmla_status fake_stream_create(hm_device *device, hopmla_stream *stream, hopmla_error *error)
{
    (void)error;
    fake_stream *s = calloc(1, sizeof(*s));
    s->last = &s->first;
    pthread_mutex_lock(&device->lock);
    s->next = device->streams;
    device->streams = s;
    pthread_mutex_unlock(&device->lock);
    *stream = (hopmla_stream)s;
    return HOPMLA_OK;
}

static void fake_stream_destroy(hm_device *device, hopmla_stream stream)
{
    pthread_mutex_lock(&device->lock);
    fake_stream *s = find(device, stream);
    fake_stream **link = &device->streams;
    while (*link != s) {
        link = &(*link)->next;
    }
    *link = s->next;
    pthread_mutex_unlock(&device->lock);
    free_stream(s);
}

static hopmla_status fake_stream_synchronize(hm_device *device, hopmla_stream stream, hopmla_error *error)
{
    pthread_mutex_lock(&device->lock);
    run_stream(device, find(device, stream), UINT32_MAX);
    pthread_mutex_unlock(&device->lock);
    (void)error;
    return HOPMLA_OK;
}

static hopmla_status fake_fence_signal(hm_device *device, hopmla_stream stream, uint64_t *fence, uint64_t value,
                                       hopmla_error *error)
{
    return enqueue(device, stream, &(op){ .kind = OP_SIGNAL, .fence = fence, .value = value }, error);
}

static hopmla_status fake_fence_wait(hm_device *device, hopmla_stream stream, const uint64_t *fence, uint64_t value,
                                     hopmla_error *error)
{
    const op o = { .kind = OP_WAIT, .fence = (uint64_t *)(uintptr_t)fence, .value = value };
    const hopmla_status status = enqueue(device, stream, &o, error);
    pthread_mutex_lock(&device->lock);
    if (status == HOPMLA_OK && device->n_waits < FAKE_LOGGED_WAITS) {
        device->waits[device->n_waits++] = (fake_wait){ stream, fence, value };
    }
    pthread_mutex_unlock(&device->lock);
    return status;
}

static hopmla_status fake_bind(hm_device *device, const hm_kv *kv, hm_binding *binding, hopmla_error *error)
{
    (void)kv;
    memset(binding, 0, sizeof(*binding));
    pthread_mutex_lock(&device->lock);
    const int fails = device->fail_in == 0;
    device->fail_in -= device->fail_in >= 0;
    pthread_mutex_unlock(&device->lock);
    return fails ? hm_fail(error, HOPMLA_ERROR_DRIVER, "the test wants this call to fail") : HOPMLA_OK;
}

static hopmla_status fake_apply(hm_device *device, const hm_kv *kv, const hm_table_memory *memory,
                                const hm_staging *staging, hopmla_stream stream, hopmla_error *error)
{
    return enqueue(device, stream, &(op){ .kind = OP_APPLY, .kv = *kv, .memory = *memory, .staging = staging }, error);
}

static uint64_t fake_workspace_bytes(const hm_device *device, const hm_envelope *envelope)
{
    (void)device;
    return 1024 * (uint64_t)envelope->max_batch;
}

static hopmla_status fake_schedule(hm_device *device, const hm_envelope *envelope, const hm_tables *tables,
                                   void *workspace, hopmla_stream stream, hopmla_error *error)
{
    (void)envelope;
    (void)workspace;
    return enqueue(device, stream, &(op){ .kind = OP_SCHEDULE, .tables = *tables }, error);
}

static hopmla_status fake_append(hm_device *device, const hm_envelope *envelope, const hm_kv *kv,
                                 const hm_tables *tables, const hm_append *append, hopmla_stream stream,
                                 hopmla_error *error)
{
    (void)envelope;
    pthread_mutex_lock(&device->lock);
    device->append = *append;
    device->appends++;
    pthread_mutex_unlock(&device->lock);
    return enqueue(device, stream, &(op){ .kind = OP_APPEND, .kv = *kv, .tables = *tables, .append = *append }, error);
}

static hopmla_status fake_gather(hm_device *device, const hm_envelope *envelope, const hm_kv *kv,
                                 const hm_tables *tables, const hm_gather *gather, hopmla_stream stream,
                                 hopmla_error *error)
{
    (void)envelope;
    (void)kv;
    (void)tables;
    pthread_mutex_lock(&device->lock);
    device->gather = *gather;
    device->gathers++;
    pthread_mutex_unlock(&device->lock);
    return enqueue(device, stream, &(op){ .kind = OP_NOTHING }, error);
}

static hopmla_status fake_decode(hm_device *device, const hm_envelope *envelope, const hm_kv *kv,
                                 const hm_binding *binding, const hm_tables *tables, const hm_decode *decode,
                                 void *workspace, hopmla_stream stream, hopmla_error *error)
{
    (void)envelope;
    (void)kv;
    (void)binding;
    (void)tables;
    (void)workspace;
    pthread_mutex_lock(&device->lock);
    device->decode = *decode;
    device->decodes++;
    pthread_mutex_unlock(&device->lock);
    return enqueue(device, stream, &(op){ .kind = OP_NOTHING }, error);
}

static const hm_backend fake_backend = {
    .kind = HOPMLA_BACKEND_CPU,
    .open = fake_open,
    .close = fake_close,
    .describe = fake_describe,
    .alloc = fake_alloc,
    .free = fake_free,
    .enter = fake_enter,
    .leave = fake_leave,
    .synchronize = fake_synchronize,
    .copy = fake_copy,
    .fill = fake_fill,
    .stream_check = fake_stream_check,
    .stream_create = fake_stream_create,
    .stream_destroy = fake_stream_destroy,
    .stream_synchronize = fake_stream_synchronize,
    .fence_signal = fake_fence_signal,
    .fence_wait = fake_fence_wait,
    .bind = fake_bind,
    .apply = fake_apply,
    .workspace_bytes = fake_workspace_bytes,
    .schedule = fake_schedule,
    .append = fake_append,
    .gather = fake_gather,
    .decode = fake_decode,
};

hopmla_context *fake_context(hm_device **device)
{
    hm_device *made = calloc(1, sizeof(*made));
    made->fail_in = -1;
    pthread_mutex_init(&made->lock, NULL);
    hopmla_stream first;
    fake_stream_create(made, &first, NULL);
    made->streams->is_default = 1;
    hopmla_context *context = calloc(1, sizeof(*context));
    atomic_init(&context->references, 1);
    context->backend = &fake_backend;
    context->device = made;
    *device = made;
    return context;
}
