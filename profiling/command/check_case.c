/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Something to give back, the newest first. */
struct undo {
    undo *before;
    void (*give_back)(check *c, undo *u);
    void *object;
    uint64_t bytes;
};

static void remember(check *c, void (*give_back)(check *c, undo *u), void *object, uint64_t bytes)
{
    undo *u = must_alloc(sizeof(*u));
    *u = (undo){ c->undone, give_back, object, bytes };
    c->undone = u;
}

static void give_back_host(check *c, undo *u)
{
    (void)c;
    free(u->object);
}

static void give_back_device(check *c, undo *u)
{
    hopmla_memory_free(c->device->context, u->object, u->bytes, HOPMLA_MEMORY_WORKSPACE);
}

static void give_back_pool(check *c, undo *u)
{
    (void)c;
    hopmla_pool_destroy(u->object);
}

static void give_back_plan(check *c, undo *u)
{
    (void)c;
    hopmla_plan_destroy(u->object);
}

static void give_back_graph(check *c, undo *u)
{
    hopmla_graph_destroy(c->device->context, u->object);
}

void case_fail(check *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->message, sizeof(c->message), format, arguments);
    va_end(arguments);
    longjmp(c->failed, 1);
}

void case_expect(check *c, hopmla_status status, const hopmla_error *error, const char *call)
{
    if (status != HOPMLA_OK)
        case_fail(c, "%s: %s: %s", call, hopmla_status_name(status), error->message);
}

void *case_host(check *c, uint64_t bytes)
{
    void *memory = must_zalloc(1, bytes);
    remember(c, give_back_host, memory, bytes);
    return memory;
}

void *case_device(check *c, uint64_t bytes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    void *memory = NULL;
    bytes += 1024;
    case_expect(c, hopmla_memory_alloc(c->device->context, bytes, HOPMLA_MEMORY_WORKSPACE, &memory, &error), &error,
                "hopmla_memory_alloc");
    remember(c, give_back_device, memory, bytes);
    case_expect(c, hopmla_memory_fill(c->device->context, memory, c->junk, bytes, c->device->stream, &error), &error,
                "hopmla_memory_fill");
    return (char *)memory + (1024 - (uintptr_t)memory % 1024) % 1024;
}

void case_copy(check *c, void *destination, const void *source, uint64_t bytes)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    if (bytes > 0)
        case_expect(c, hopmla_memory_copy(c->device->context, destination, source, bytes, c->device->stream, &error),
                    &error, "hopmla_memory_copy");
    case_synchronize(c);
}

void case_synchronize(check *c)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    case_expect(c, hopmla_stream_synchronize(c->device->context, c->device->stream, &error), &error,
                "hopmla_stream_synchronize");
}

hopmla_pool *case_pool(check *c, const hopmla_pool_options *options)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_pool *pool = NULL;
    case_expect(c, hopmla_pool_create(c->device->context, options, &pool, &error), &error, "hopmla_pool_create");
    remember(c, give_back_pool, pool, 0);
    return pool;
}

hopmla_plan *case_plan(check *c, hopmla_pool *pool, const hopmla_plan_options *options)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_plan *plan = NULL;
    case_expect(c, hopmla_plan_create(pool, options, &plan, &error), &error, "hopmla_plan_create");
    remember(c, give_back_plan, plan, 0);
    return plan;
}

void case_keep_graph(check *c, hopmla_graph graph)
{
    remember(c, give_back_graph, graph, 0);
}

/** A capture that the case left open would make everything after it fail. */
static void end_capture(check *c)
{
    hopmla_graph graph = NULL;
    if (c->capturing && hopmla_graph_end(c->device->context, c->device->stream, &graph, NULL) == HOPMLA_OK)
        hopmla_graph_destroy(c->device->context, graph);
    c->capturing = false;
}

bool case_run(check *c)
{
    volatile bool passed = false;
    c->errors = (tolerance){ 0 };
    c->message[0] = '\0';
    c->junk = 0xff;
    c->undone = NULL;
    if (setjmp(c->failed) == 0) {
        c->shape->run(c);
        if (!tolerance_met(&c->errors))
            case_fail(c, "%llu values beyond tolerance; 1 − 2Σxy/Σ(x²+y²) is %.2g", (unsigned long long)c->errors.bad,
                      tolerance_difference(&c->errors));
        passed = true;
    }
    end_capture(c);
    hopmla_stream_synchronize(c->device->context, c->device->stream, NULL);
    while (c->undone != NULL) {
        undo *u = c->undone;
        c->undone = u->before;
        u->give_back(c, u);
        free(u);
    }
    return passed;
}
