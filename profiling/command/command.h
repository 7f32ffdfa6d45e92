/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_COMMAND_H
#define COMMAND_COMMAND_H

/** @file
 * What every subcommand shares: how it is entered and how it ends.
 *
 * A program may end itself where a library may not: whatever cannot go on calls die. */

#include "hopmla/hopmla.h"

#include <stddef.h>
#include <stdint.h>

enum {
    COMMAND_FAILED = 1, /* it ran, and something was wrong */
    COMMAND_USAGE = 2   /* it was asked for something it does not know */
};

int info_main(int argc, char **argv);
int check_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int replay_main(int argc, char **argv);
int profile_main(int argc, char **argv);
int roofline_main(int argc, char **argv);
int export_main(int argc, char **argv);

/** Prints "hopmla: …" to stderr and ends with COMMAND_FAILED. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Prints "hopmla: …" and where help is, and ends with COMMAND_USAGE. @param command  the subcommand, or NULL */
_Noreturn void die_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Ends the program with the library's own words unless status is OK. @param call  what was called */
void must(hopmla_status status, const hopmla_error *error, const char *call);

/** malloc and calloc that end the program when there is no memory. Never NULL, for 0 bytes neither. */
void *must_alloc(uint64_t bytes);
void *must_zalloc(uint64_t count, uint64_t size);

/** Makes room for one more element of a growing array: doubles *capacity when count has reached it. */
void *must_grow(void *array, uint64_t count, uint64_t *capacity, uint64_t size);

/** Seconds of a clock that never goes back. */
double seconds_now(void);

#endif
