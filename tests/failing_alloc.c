/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/failing_alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The payload is cut out of a larger allocation, so that it can be put at a wrong address on purpose. */
typedef struct failing_alloc_block {
    struct failing_alloc_block *next;
    void *base;
    void *address;
    uint64_t size;
    int32_t kind;
} block;

/* Fresh memory is not zero. */
enum {
    POISON = 0xa5
};

static block *new_block(uint64_t size, uint64_t alignment, int32_t kind, int misalign)
{
    block *made = malloc(sizeof(*made));
    if (!made) {
        return NULL;
    }
    const size_t at_least = alignment < sizeof(void *) ? sizeof(void *) : (size_t)alignment;
    if (posix_memalign(&made->base, at_least, (size_t)size + at_least)) {
        free(made);
        return NULL;
    }
    made->address = (char *)made->base + (misalign ? at_least / 2 : 0);
    made->size = size;
    made->kind = kind;
    memset(made->address, POISON, (size_t)size);
    return made;
}

static void *allocate(void *user, uint64_t size, uint64_t alignment, int32_t kind, hopmla_stream stream)
{
    failing_alloc *allocator = user;
    block *made = NULL;
    (void)stream;
    pthread_mutex_lock(&allocator->lock);
    allocator->calls++;
    const int counts = (allocator->kinds & FAILING_ALLOC_KIND(kind)) != 0;
    const int chosen = counts && allocator->counted == allocator->fail_at;
    allocator->counted += counts;
    if (chosen) {
        allocator->failed = 1;
        allocator->failed_kind = kind;
    }
    if (!chosen || allocator->misalign) {
        made = new_block(size, alignment, kind, chosen);
    }
    if (made) {
        made->next = allocator->blocks;
        allocator->blocks = made;
        allocator->live_blocks++;
        allocator->live_bytes += size;
        if (allocator->live_bytes > allocator->peak_bytes) {
            allocator->peak_bytes = allocator->live_bytes;
        }
    }
    pthread_mutex_unlock(&allocator->lock);
    return made ? made->address : NULL;
}

static void release(void *user, void *address, uint64_t size, int32_t kind, hopmla_stream stream)
{
    failing_alloc *allocator = user;
    (void)stream;
    pthread_mutex_lock(&allocator->lock);
    block **link = &allocator->blocks;
    while (*link && (*link)->address != address) {
        link = &(*link)->next;
    }
    block *found = *link;
    if (!found || found->size != size || found->kind != kind) {
        allocator->bad_frees++;
    }
    if (found) {
        *link = found->next;
        allocator->live_blocks--;
        allocator->live_bytes -= found->size;
        free(found->base);
        free(found);
    }
    pthread_mutex_unlock(&allocator->lock);
}

void failing_alloc_init(failing_alloc *allocator)
{
    *allocator = (failing_alloc){ .kinds = FAILING_ALLOC_ALL, .fail_at = -1 };
    pthread_mutex_init(&allocator->lock, NULL);
}

void failing_alloc_finish(failing_alloc *allocator)
{
    while (allocator->blocks) {
        block *next = allocator->blocks->next;
        free(allocator->blocks->base);
        free(allocator->blocks);
        allocator->blocks = next;
    }
    pthread_mutex_destroy(&allocator->lock);
}

void failing_alloc_use(failing_alloc *allocator, hopmla_context_options *options)
{
    options->alloc = allocate;
    options->free = release;
    options->alloc_user = allocator;
}

int64_t failing_alloc_sweep(failing_alloc_scenario scenario, void *user, uint32_t kinds)
{
    for (int64_t n = 0;; n++) {
        failing_alloc allocator;
        failing_alloc_init(&allocator);
        allocator.kinds = kinds;
        allocator.fail_at = n;
        const hopmla_status status = scenario(&allocator, user);
        const uint64_t live = allocator.live_blocks;
        const uint64_t bad_frees = allocator.bad_frees;
        const int failed = allocator.failed;
        failing_alloc_finish(&allocator);

        if (live || bad_frees) {
            fail_msg("allocation %lld failing: %llu blocks leaked, %llu wrong frees", (long long)n,
                     (unsigned long long)live, (unsigned long long)bad_frees);
        }
        if (!failed) {
            assert_int_equal(status, HOPMLA_OK);
            return n;
        }
        if (status != HOPMLA_ERROR_OUT_OF_HOST_MEMORY && status != HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY) {
            fail_msg("allocation %lld failing: the call returned %s", (long long)n, hopmla_status_name(status));
        }
    }
}
