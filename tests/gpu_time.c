/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "gpu_support.h"

/** @file
 * How long the small kernels take: launches in a graph, as an engine makes them, with cold pages. Prints microseconds a
 * launch; checks nothing. */

enum {
    LAYERS = 61,
    PAGES = 2048,
    TABLE_STRIDE = 512
};

typedef struct bench {
    hm_kv kv;
    hm_envelope envelope;
    hm_table_memory memory;
    hm_tables tables;
    gpu_staging staging;
    hopmla_stream stream;
    hopmla_event begin, end;
    void *source;
} bench;

static double measure(bench *b, hopmla_graph graph, int launches)
{
    double best = 1e30;
    for (int i = 0; i < 10; i++) {
        double microseconds = 0.0;
        MUST(event_record, b->begin, b->stream, &gpu_error);
        MUST(graph_launch, graph, b->stream, &gpu_error);
        MUST(event_record, b->end, b->stream, &gpu_error);
        MUST(event_synchronize, b->end, &gpu_error);
        MUST(event_elapsed, b->begin, b->end, &microseconds, &gpu_error);
        best = microseconds < best ? microseconds : best;
    }
    return best / launches;
}

/* Every row appends the same number of tokens, which are all it holds. */
static void set_batch(bench *b, uint32_t rows, uint32_t tokens)
{
    gpu_staging *s = &b->staging;
    gpu_begin_staging(s, rows, b->stream);
    uint32_t pages = (tokens + 63) / 64;
    for (uint32_t i = 0; i < rows; i++) {
        s->kv_lens[i] = (int32_t)tokens;
        s->q_lens[i] = 1;
        s->q_starts[i + 1] = (int32_t)i + 1;
        s->append_starts[i + 1] = (int32_t)((i + 1) * tokens);
        s->runs[s->header->runs++] = (hm_run){ i, 0, pages, s->header->entries };
        for (uint32_t j = 0; j < pages; j++) {
            s->page_ids[s->header->entries++] = (int32_t)((i * pages + j) * 5 % PAGES);
        }
    }
    MUST(apply, &b->kv, &b->memory, s->header, b->stream, &gpu_error);
}

static void time_append(bench *b, uint32_t rows, uint32_t tokens, int32_t dtype)
{
    hopmla_graph graph = NULL;
    hm_append append = { b->source, b->source, 576, 576, (uint64_t)rows * tokens, 0, dtype };
    set_batch(b, rows, tokens);
    MUST(graph_begin, b->stream, &gpu_error);
    for (append.layer = 0; append.layer < LAYERS; append.layer++) {
        MUST(append, &b->envelope, &b->kv, &b->tables, &append, b->stream, &gpu_error);
    }
    MUST(graph_end, b->stream, &graph, &gpu_error);
    double microseconds = measure(b, graph, LAYERS);
    double bytes = (double)rows * tokens * 576 * (dtype == HOPMLA_DTYPE_FP32 ? 6 : 4);
    printf("append %5u x %5u tokens of %s: %7.2f us, %5.0f GB/s read and written\n", rows, tokens,
           dtype == HOPMLA_DTYPE_FP32 ? "float32 " : "bfloat16", microseconds, bytes / microseconds / 1e3);
    hm_sm90_backend.graph_destroy(gpu_device, graph);
}

static void time_apply(bench *b, uint32_t rows, uint32_t tokens, uint32_t copies)
{
    double best = 1e30;
    set_batch(b, rows, tokens);
    for (uint32_t i = 0; i < copies; i++) {
        b->staging.copies[i] = (hm_copy){ (int32_t)i, (int32_t)(PAGES / 2 + i), 64, 0 };
    }
    b->staging.header->copies = copies;
    for (int i = 0; i < 10; i++) {
        double microseconds = 0.0;
        MUST(stream_synchronize, b->stream, &gpu_error);
        MUST(event_record, b->begin, b->stream, &gpu_error);
        MUST(apply, &b->kv, &b->memory, b->staging.header, b->stream, &gpu_error);
        MUST(event_record, b->end, b->stream, &gpu_error);
        MUST(event_synchronize, b->end, &gpu_error);
        MUST(event_elapsed, b->begin, b->end, &microseconds, &gpu_error);
        best = microseconds < best ? microseconds : best;
    }
    printf("apply of %5u rows, %6u page ids, %3u copies in %d layers: %7.2f us\n", rows, b->staging.header->entries,
           copies, LAYERS, best);
}

static void time_schedule(bench *b, uint32_t rows, uint32_t tokens, uint32_t heads)
{
    hopmla_graph graph = NULL;
    const hm_envelope envelope = {
        .max_batch = rows, .max_q_tokens = 1, .heads = heads, .max_kv_tokens = 131072, .format = HOPMLA_KV_BF16
    };
    const uint64_t bytes = hm_sm90_backend.workspace_bytes(gpu_device, &envelope);
    void *workspace = gpu_allocate(bytes, HOPMLA_MEMORY_WORKSPACE);
    set_batch(b, rows, tokens);
    MUST(graph_begin, b->stream, &gpu_error);
    for (int i = 0; i < LAYERS; i++) {
        MUST(schedule, &envelope, &b->tables, workspace, b->stream, &gpu_error);
    }
    MUST(graph_end, b->stream, &graph, &gpu_error);
    printf("schedule of %4u rows of %5u tokens, %3u heads: %7.2f us\n", rows, tokens, heads, measure(b, graph, LAYERS));
    hm_sm90_backend.graph_destroy(gpu_device, graph);
    gpu_release(workspace, bytes);
}

int main(void)
{
    bench b;
    memset(&b, 0, sizeof(b));
    gpu_open();
    MUST(stream_create, &b.stream, &gpu_error);
    MUST(event_create, &b.begin, &gpu_error);
    MUST(event_create, &b.end, &gpu_error);
    b.kv = gpu_make_kv(LAYERS, PAGES, HOPMLA_KV_BF16);
    b.envelope = (hm_envelope){ .max_batch = 4096 };
    gpu_make_tables(4096, TABLE_STRIDE, &b.memory, &b.tables);
    gpu_make_staging(4096, 65536, 512, &b.staging);
    b.source = gpu_allocate(65536ull * 576 * 4, HOPMLA_MEMORY_WORKSPACE);
    MUST(fill, b.source, 0x3C, 65536ull * 576 * 4, b.stream, &gpu_error);

    for (int32_t i = 0; i < 2; i++) {
        int32_t dtype = i ? HOPMLA_DTYPE_FP32 : HOPMLA_DTYPE_BF16;
        time_append(&b, 1, 1, dtype);
        time_append(&b, 256, 1, dtype);
        time_append(&b, 4096, 1, dtype);
        time_append(&b, 4, 8192, dtype);
        time_append(&b, 1024, 64, dtype);
    }
    time_apply(&b, 1, 64, 0);
    time_apply(&b, 256, 64, 0);
    time_apply(&b, 4096, 64, 0);
    time_apply(&b, 16, 32768, 0);
    time_apply(&b, 1, 64, 1);
    time_apply(&b, 256, 64, 256);
    time_schedule(&b, 1, 32768, 16);
    time_schedule(&b, 16, 4096, 16);
    time_schedule(&b, 128, 1024, 16);
    time_schedule(&b, 128, 1024, 128);
    time_schedule(&b, 1024, 64, 16);
    hm_sm90_backend.close(gpu_device);
    return 0;
}
