/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_ARGS_H
#define COMMAND_ARGS_H

/** @file
 * Options of a subcommand, declared as a table; the same table makes its --help. */

#include <stdbool.h>
#include <stdint.h>

typedef enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char * */
    OPTION_COUNT,  /* uint64_t, low … high */
    OPTION_REAL,   /* double, low … high */
    OPTION_BACKEND /* int32_t: cpu, cuda or auto */
} option_kind;

typedef struct option {
    option_kind kind;
    const char *name;  /* without the dashes */
    const char *value; /* what --help calls the value; NULL for a flag */
    void *target;      /* keeps its default when the option is not given */
    uint64_t low;
    uint64_t high;
    const char *help; /* may hold line feeds */
} option;

typedef struct usage {
    const char *command;
    const char *positional; /* name of the one positional argument, or NULL when there is none */
    const char *summary;    /* the first paragraph of --help */
    const option *options;
    unsigned count;
    const char *details; /* the last paragraph, or NULL */
} usage;

/** Parses argv[1 …]: "--name value", "--name=value", flags, -o for --output, --help (prints and ends the program), and
 * the positional argument. Anything else ends the program with the usage status. @return the positional argument, or NULL */
const char *args_parse(const usage *u, int argc, char **argv);

/** Reads the whole number of an option that is not always one; low … high, or the program ends with the usage status. */
uint64_t args_count(const char *command, const char *name, const char *text, uint64_t low, uint64_t high);

#endif
