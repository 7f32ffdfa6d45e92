/* SPDX-License-Identifier: Apache-2.0 */

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "gpu_support.h"
#include "kernels/sm90/driver.h"

/** @file
 * What the CUDA backend takes for granted of the driver, checked on one: memory, streams, events, graphs, fences and
 * contexts. Ends with the measured ceilings. */

#define CALL(name, ...) hm_sm90_backend.name(gpu_device, __VA_ARGS__)

static void memory(void)
{
    static const int32_t kinds[] = { HOPMLA_MEMORY_PINNED, HOPMLA_MEMORY_POOL };
    int aligned = 1, freed = 1;
    MUST(enter, &gpu_error);
    for (uint64_t alignment = 256; alignment <= 4096; alignment *= 2) {
        for (int i = 0; i < 200; i++) {
            void *held = NULL, *made = NULL;
            MUST(alloc, 300, 1, kinds[i % 2], NULL, &held, &gpu_error); /* so that addresses move on */
            MUST(alloc, 1000, alignment, kinds[i % 2], NULL, &made, &gpu_error);
            hm_cu_address start = 0;
            int attribute = HM_CU_POINTER_ATTRIBUTE_RANGE_START_ADDR;
            void *value = &start;
            aligned &= (uintptr_t)made % alignment == 0;
            CALL(free, made, 1000, kinds[i % 2], NULL);
            hm_cu.cuPointerGetAttributes(1, &attribute, &value, (uintptr_t)made);
            freed &= start == 0;
            CALL(free, held, 300, kinds[i % 2], NULL);
        }
    }
    hm_sm90_backend.leave(gpu_device);
    gpu_check(aligned, "memory is aligned as asked");
    gpu_check(freed, "memory is given back");
    void *none = NULL;
    gpu_check(CALL(alloc, 1ull << 46, 256, HOPMLA_MEMORY_POOL, NULL, &none, NULL) == HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY,
              "too much memory is OUT_OF_DEVICE_MEMORY");
    gpu_check(none == NULL, "and gives nothing");
}

/* Pageable memory has been read when the copy returns. */
static void pageable_copies(hopmla_stream stream)
{
    enum {
        BYTES = 64 << 20
    };
    char *host = malloc(BYTES), *back = malloc(BYTES);
    memset(host, 1, BYTES);
    char *device = gpu_upload(host, BYTES, stream);
    memset(host, 2, BYTES);
    gpu_download(back, device, BYTES, stream);
    memset(host, 1, BYTES);
    gpu_check(memcmp(host, back, BYTES) == 0, "copies from and to pageable memory have ended when they return");
    gpu_release(device, BYTES);
    free(host);
    free(back);
}

static void *end_elsewhere(void *argument)
{
    hopmla_graph graph = NULL;
    CALL(graph_end, argument, &graph, NULL);
    return graph;
}

static void graphs(hopmla_stream stream)
{
    char *device = gpu_allocate(4096, HOPMLA_MEMORY_WORKSPACE), host[4096], expected[4096];
    hopmla_event event = NULL;
    hopmla_graph graph = NULL;
    pthread_t thread;
    void *ended = NULL;

    MUST(event_create, &event, &gpu_error);
    MUST(event_record, event, stream, &gpu_error);
    MUST(fill, device, 0, 4096, stream, &gpu_error);
    gpu_check(CALL(graph_end, stream, &graph, NULL) == HOPMLA_ERROR_STATE, "the end of no capture is STATE");
    gpu_check(CALL(graph_begin, NULL, NULL) == HOPMLA_ERROR_ARGUMENT, "capture of the default stream is ARGUMENT");

    MUST(graph_begin, stream, &gpu_error);
    gpu_check(CALL(graph_begin, stream, NULL) == HOPMLA_ERROR_CAPTURE, "capture in a capture is CAPTURE");
    MUST(stream_wait_event, stream, event, &gpu_error);
    gpu_check(CALL(copy, device, host, 16, stream, NULL) == HOPMLA_ERROR_CAPTURE, "a pageable copy in it is CAPTURE");
    MUST(fill, device, 9, 2048, stream, &gpu_error);
    int32_t capturing = 0;
    MUST(stream_check, stream, &capturing, &gpu_error);
    gpu_check(capturing == 1, "stream_check sees the capture");
    pthread_create(&thread, NULL, end_elsewhere, stream);
    pthread_join(thread, &ended);
    gpu_check(ended != NULL, "a capture ends on another thread");
    MUST(graph_launch, ended, stream, &gpu_error);
    gpu_download(host, device, 4096, stream);
    memset(expected, 9, 2048);
    memset(expected + 2048, 0, 2048);
    gpu_check(memcmp(host, expected, 4096) == 0, "the graph did what was captured");
    hm_sm90_backend.graph_destroy(gpu_device, ended);

    MUST(graph_begin, stream, &gpu_error);
    hopmla_status status = CALL(stream_synchronize, stream, NULL);
    gpu_check(status == HOPMLA_ERROR_CAPTURE, "a wait in a capture is CAPTURE");
    gpu_check(CALL(graph_end, stream, &graph, NULL) == HOPMLA_ERROR_STATE, "and breaks it: STATE");
    MUST(stream_check, stream, &capturing, &gpu_error);
    gpu_check(capturing == 0, "the stream is as before");
    hm_sm90_backend.event_destroy(gpu_device, event);
    CALL(free, device, 4096, HOPMLA_MEMORY_WORKSPACE, NULL);
}

static void events(hopmla_stream stream)
{
    hopmla_event begin = NULL, end = NULL;
    double microseconds = -1.0;
    MUST(event_create, &begin, &gpu_error);
    MUST(event_create, &end, &gpu_error);
    gpu_check(CALL(event_elapsed, begin, end, &microseconds, NULL) == HOPMLA_ERROR_STATE, "no time without events");
    MUST(event_record, begin, stream, &gpu_error);
    MUST(event_record, end, stream, &gpu_error);
    MUST(event_synchronize, end, &gpu_error);
    MUST(event_elapsed, begin, end, &microseconds, &gpu_error);
    gpu_check(microseconds >= 0.0 && microseconds < 1e5, "time between events");
    hm_sm90_backend.event_destroy(gpu_device, begin);
    hm_sm90_backend.event_destroy(gpu_device, end);
}

static void fences(hopmla_stream stream)
{
    uint64_t *fence = gpu_allocate(256, HOPMLA_MEMORY_PINNED);
    char *flag = gpu_allocate(256, HOPMLA_MEMORY_PINNED);
    hopmla_stream other = NULL;
    __atomic_store_n(fence, 4, __ATOMIC_RELEASE);
    *(volatile char *)flag = 0;
    MUST(stream_create, &other, &gpu_error);
    MUST(fence_wait, other, fence, 5, &gpu_error);
    MUST(fill, flag, 1, 1, other, &gpu_error);
    struct timespec pause = { 0, 20000000 };
    nanosleep(&pause, NULL);
    gpu_check(*(volatile char *)flag == 0, "a stream waits for a fence");
    MUST(fence_signal, stream, fence, 6, &gpu_error);
    MUST(stream_synchronize, other, &gpu_error);
    gpu_check(*(volatile char *)flag == 1, "and goes on when it has passed");
    gpu_check(__atomic_load_n(fence, __ATOMIC_ACQUIRE) == 6, "the host sees the fence");
    hm_sm90_backend.stream_destroy(gpu_device, other);
    CALL(free, fence, 256, HOPMLA_MEMORY_PINNED, NULL);
    CALL(free, flag, 256, HOPMLA_MEMORY_PINNED, NULL);
}

/* `foreign` is of the current context, which is not the device's. */
static void foreign_events(hopmla_stream stream, hopmla_stream foreign)
{
    hopmla_event own = NULL, other = NULL;
    double microseconds = -1.0;
    MUST(event_create, &own, &gpu_error);
    hm_cu.cuEventCreate(&other, HM_CU_EVENT_DEFAULT);
    MUST(event_record, own, stream, &gpu_error);
    MUST(stream_synchronize, stream, &gpu_error);
    gpu_check(CALL(event_elapsed, own, other, &microseconds, NULL) == HOPMLA_ERROR_STATE, "no time without its event");
    hm_cu.cuEventRecord(other, foreign);
    hm_cu.cuStreamSynchronize(foreign);
    gpu_check(CALL(event_elapsed, own, other, &microseconds, NULL) == HOPMLA_ERROR_MISMATCH, "its event is MISMATCH");
    gpu_check(CALL(event_record, other, stream, NULL) == HOPMLA_ERROR_MISMATCH, "and is not recorded elsewhere");
    gpu_check(CALL(stream_wait_event, stream, other, NULL) == HOPMLA_OK, "but is waited for");
    hm_cu.cuEventDestroy(other);
    hm_sm90_backend.event_destroy(gpu_device, own);
}

/* A second context of the device, by entry points that the library itself has no use for. */
static void contexts(hopmla_stream stream)
{
    hm_cu_result (*create)(hm_cu_context *, unsigned, hm_cu_device) = NULL;
    hm_cu_result (*destroy)(hm_cu_context) = NULL;
    hm_cu_result (*current)(hm_cu_context *) = NULL;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *symbols[] = { dlsym(driver, "cuCtxCreate_v2"), dlsym(driver, "cuCtxDestroy_v2"),
                        dlsym(driver, "cuCtxGetCurrent") };
    memcpy(&create, &symbols[0], sizeof(create));
    memcpy(&destroy, &symbols[1], sizeof(destroy));
    memcpy(&current, &symbols[2], sizeof(current));

    hm_cu_context mine = NULL, now = NULL;
    struct CUstream_st *foreign = NULL;
    int32_t capturing;
    gpu_check(create(&mine, 0, 0) == HM_CU_SUCCESS, "a context of the caller's"); /* it is current now */
    hm_cu.cuStreamCreate(&foreign, HM_CU_STREAM_NON_BLOCKING);
    gpu_check(CALL(stream_check, foreign, &capturing, NULL) == HOPMLA_ERROR_MISMATCH, "its stream is MISMATCH");
    gpu_check(CALL(stream_check, stream, &capturing, NULL) == HOPMLA_OK, "the device's own is not");
    foreign_events(stream, foreign);
    gpu_check(CALL(stream_check, NULL, &capturing, NULL) == HOPMLA_OK, "nor is the default stream");
    MUST(stream_synchronize, stream, &gpu_error);
    current(&now);
    gpu_check(now == mine, "the current context comes back");

    hm_open_options options = { .cu_context = mine };
    hm_device *second = NULL;
    gpu_check(hm_sm90_backend.open(&options, &second, &gpu_error) == HOPMLA_OK, "opening the caller's context");
    if (second) {
        gpu_check(hm_sm90_backend.stream_check(second, foreign, &capturing, NULL) == HOPMLA_OK, "its stream goes");
        gpu_check(hm_sm90_backend.stream_check(second, stream, &capturing, NULL) == HOPMLA_ERROR_MISMATCH,
                  "the other's does not");
        hm_sm90_backend.close(second);
    }
    current(&now);
    gpu_check(now == mine, "the current context comes back");
    hm_cu.cuStreamDestroy(foreign);
    destroy(mine);
}

int main(int argc, char **argv)
{
    hopmla_stream stream = NULL;
    gpu_open();
    MUST(stream_create, &stream, &gpu_error);
    memory();
    pageable_copies(stream);
    events(stream);
    graphs(stream);
    fences(stream);
    contexts(stream);
    if (argc < 2 || strcmp(argv[1], "--no-ceilings") != 0) {
        hopmla_ceilings ceilings = HOPMLA_CEILINGS_INIT;
        MUST(measure_ceilings, &ceilings, &gpu_error);
        printf("read %.0f GB/s, burst %.1f TFLOP/s, sustained %.1f TFLOP/s\n", ceilings.read_bytes_per_second / 1e9,
               ceilings.flops_burst / 1e12, ceilings.flops_sustained / 1e12);
        gpu_check(ceilings.read_bytes_per_second > 1e12, "a plausible bandwidth");
        gpu_check(ceilings.flops_burst > 3e14 && ceilings.flops_sustained > 3e14, "plausible FLOP rates");
        gpu_check(ceilings.flops_sustained <= ceilings.flops_burst * 1.02, "sustained is not above burst");
    }
    hm_sm90_backend.stream_destroy(gpu_device, stream);
    gpu_close();
    printf("%d failures\n", gpu_failures);
    return gpu_failures ? 1 : 0;
}
