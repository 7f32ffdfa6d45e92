/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void print(const char *format, va_list arguments)
{
    fflush(stdout);
    fputs("hopmla: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
    exit(COMMAND_FAILED);
}

void die_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try 'hopmla%s%s --help'.\n", command != NULL ? " " : "", command != NULL ? command : "");
    exit(COMMAND_USAGE);
}

void must(hopmla_status status, const hopmla_error *error, const char *call)
{
    if (status == HOPMLA_OK)
        return;
    if (error->native_code != 0)
        die("%s: %s: %s (driver code %d)", call, hopmla_status_name(status), error->message, (int)error->native_code);
    die("%s: %s: %s", call, hopmla_status_name(status), error->message);
}

void *must_alloc(uint64_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == NULL)
        die("no memory for %llu bytes", (unsigned long long)bytes);
    return memory;
}

void *must_zalloc(uint64_t count, uint64_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL)
        die("no memory for %llu × %llu bytes", (unsigned long long)count, (unsigned long long)size);
    return memory;
}

void *must_grow(void *array, uint64_t count, uint64_t *capacity, uint64_t size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity > 0 ? 2 * *capacity : 64;
    void *larger = realloc(array, *capacity * size);
    if (larger == NULL)
        die("no memory for %llu × %llu bytes", (unsigned long long)*capacity, (unsigned long long)size);
    return larger;
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
