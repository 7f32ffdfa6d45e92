/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fake_cuda.h"

/** @file
 * Memory: all of it is the host's. */

typedef struct block {
    struct block *next;
    char *given;
    void *base;
    size_t bytes;
    unsigned type; /* CU_MEMORYTYPE: 1 host, 2 device */
} block;

static block *blocks;
static pthread_mutex_t block_lock = PTHREAD_MUTEX_INITIALIZER;

/* Large pieces are not from malloc, which a test run may have fill every byte that it gives out. */
#define LARGE (64u << 20)

static void *get_memory(size_t bytes)
{
    void *memory = NULL;
    if (bytes < LARGE) {
        return posix_memalign(&memory, 4096, bytes + 4096) ? NULL : memory;
    }
    memory = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void put_memory(void *memory, size_t bytes)
{
    if (bytes < LARGE) {
        free(memory);
    } else {
        munmap(memory, bytes + 4096);
    }
}

static void *add_block(size_t bytes, unsigned type)
{
    block *made = malloc(sizeof(*made));
    made->bytes = bytes;
    made->base = get_memory(bytes);
    if (!made->base) {
        free(made);
        return NULL;
    }
    made->given = (char *)made->base + (fake.misaligned ? 256 : 0);
    made->type = type;
    pthread_mutex_lock(&block_lock);
    made->next = blocks;
    blocks = made;
    pthread_mutex_unlock(&block_lock);
    fake.blocks++;
    fake.bytes += (long long)bytes;
    return made->given;
}

static block **find_block(uint64_t address)
{
    block **place = &blocks;
    while (*place &&
           (address < (uintptr_t)(*place)->given || address >= (uintptr_t)(*place)->given + (*place)->bytes)) {
        place = &(*place)->next;
    }
    return place;
}

static hm_cu_result remove_block(uint64_t address, unsigned type)
{
    pthread_mutex_lock(&block_lock);
    block **place = find_block(address);
    block *found = *place;
    if (!found || (uintptr_t)found->given != address || found->type != type) {
        pthread_mutex_unlock(&block_lock);
        fake.bad_frees++;
        return HM_CU_INVALID_VALUE;
    }
    *place = found->next;
    pthread_mutex_unlock(&block_lock);
    fake.blocks--;
    fake.bytes -= (long long)found->bytes;
    put_memory(found->base, found->bytes);
    free(found);
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuMemAlloc(hm_cu_address *address, size_t bytes)
{
    FAKE_ENTER(cuMemAlloc);
    FAKE_NEED_CONTEXT();
    *address = (uintptr_t)add_block(bytes, 2);
    return *address ? HM_CU_SUCCESS : HM_CU_OUT_OF_MEMORY;
}

hm_cu_result fake_cuMemFree(hm_cu_address address)
{
    FAKE_NEED_CONTEXT();
    hm_cu_result code = remove_block(address, 2);
    return code ? code : fake_fault("cuMemFree");
}

hm_cu_result fake_cuMemHostAlloc(void **address, size_t bytes, unsigned flags)
{
    FAKE_ENTER(cuMemHostAlloc);
    FAKE_NEED_CONTEXT();
    if (flags != (HM_CU_MEMHOSTALLOC_PORTABLE | HM_CU_MEMHOSTALLOC_DEVICEMAP)) {
        return HM_CU_INVALID_VALUE;
    }
    *address = add_block(bytes, 1);
    return *address ? HM_CU_SUCCESS : HM_CU_OUT_OF_MEMORY;
}

hm_cu_result fake_cuMemFreeHost(void *address)
{
    FAKE_NEED_CONTEXT();
    hm_cu_result code = remove_block((uintptr_t)address, 1);
    return code ? code : fake_fault("cuMemFreeHost");
}

hm_cu_result fake_cuPointerGetAttributes(unsigned count, int *attributes, void **values, hm_cu_address address)
{
    FAKE_ENTER(cuPointerGetAttributes);
    FAKE_NEED_CONTEXT();
    pthread_mutex_lock(&block_lock);
    block *found = *find_block(address);
    for (unsigned i = 0; i < count; i++) {
        if (attributes[i] == HM_CU_POINTER_ATTRIBUTE_MEMORY_TYPE) {
            *(unsigned *)values[i] = found ? found->type : 0;
        } else {
            *(hm_cu_address *)values[i] = found ? (uintptr_t)found->given : 0;
        }
    }
    pthread_mutex_unlock(&block_lock);
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuMemcpyAsync(hm_cu_address destination, hm_cu_address source, size_t bytes,
                                struct CUstream_st *stream)
{
    FAKE_ENTER(cuMemcpyAsync);
    FAKE_NEED_STREAM(stream);
    if (!fake_record(stream)) {
        memmove((void *)(uintptr_t)destination, (const void *)(uintptr_t)source, bytes);
    }
    return HM_CU_SUCCESS;
}

hm_cu_result fake_cuMemsetD8Async(hm_cu_address destination, unsigned char value, size_t bytes,
                                  struct CUstream_st *stream)
{
    FAKE_ENTER(cuMemsetD8Async);
    FAKE_NEED_STREAM(stream);
    if (!fake_record(stream)) {
        memset((void *)(uintptr_t)destination, value, bytes);
    }
    return HM_CU_SUCCESS;
}
