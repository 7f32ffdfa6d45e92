/* SPDX-License-Identifier: Apache-2.0 */
#include "args.h"

#include "command.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const usage *u)
{
    printf("Usage: hopmla %s", u->command);
    if (u->positional != NULL)
        printf(" %s", u->positional);
    printf(" [options]\n\n%s\n\nOptions:\n", u->summary);
    for (unsigned i = 0; i <= u->count; ++i) {
        static const option help = { OPTION_FLAG, "help", NULL, NULL, 0, 0, "print this and exit" };
        const option *o = i < u->count ? &u->options[i] : &help;
        char left[40];
        snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
        printf("  %-20s ", left);
        for (const char *c = o->help; *c != '\0'; ++c) {
            putchar(*c);
            if (*c == '\n')
                printf("%23s", "");
        }
        putchar('\n');
    }
    if (u->details != NULL)
        printf("\n%s\n", u->details);
}

uint64_t args_count(const char *command, const char *name, const char *text, uint64_t low, uint64_t high)
{
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
        die_usage(command, "--%s: '%s' is not a whole number", name, text);
    if (n < low || n > high)
        die_usage(command, "--%s: %s is not between %llu and %llu", name, text, (unsigned long long)low,
                  (unsigned long long)high);
    return n;
}

static void set_real(const usage *u, const option *o, const char *text)
{
    char *end = NULL;
    double x = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !isfinite(x))
        die_usage(u->command, "--%s: '%s' is not a number", o->name, text);
    if (x < (double)o->low || x > (double)o->high)
        die_usage(u->command, "--%s: %s is not between %llu and %llu", o->name, text, (unsigned long long)o->low,
                  (unsigned long long)o->high);
    *(double *)o->target = x;
}

static void set_backend(const usage *u, const option *o, const char *text)
{
    static const struct {
        const char *name;
        int32_t value;
    } known[] = { { "auto", HOPMLA_BACKEND_AUTO }, { "cpu", HOPMLA_BACKEND_CPU }, { "cuda", HOPMLA_BACKEND_CUDA } };
    for (unsigned i = 0; i < 3; ++i) {
        if (strcmp(text, known[i].name) == 0) {
            *(int32_t *)o->target = known[i].value;
            return;
        }
    }
    die_usage(u->command, "--%s: '%s' is not one of cpu, cuda, auto", o->name, text);
}

static const option *find(const usage *u, const char *name, size_t length)
{
    for (unsigned i = 0; i < u->count; ++i) {
        if (strlen(u->options[i].name) == length && memcmp(u->options[i].name, name, length) == 0)
            return &u->options[i];
    }
    die_usage(u->command, "unknown option '--%.*s'", (int)length, name);
}

static void set(const usage *u, const option *o, const char *text)
{
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->target = true;
        break;
    case OPTION_TEXT:
        *(const char **)o->target = text;
        break;
    case OPTION_COUNT:
        *(uint64_t *)o->target = args_count(u->command, o->name, text, o->low, o->high);
        break;
    case OPTION_REAL:
        set_real(u, o, text);
        break;
    case OPTION_BACKEND:
        set_backend(u, o, text);
        break;
    }
}

const char *args_parse(const usage *u, int argc, char **argv)
{
    const char *positional = NULL;
    for (int i = 1; i < argc; ++i) {
        const char *argument = argv[i];
        if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
            print_help(u);
            exit(0);
        }
        if (strcmp(argument, "-o") == 0)
            argument = "--output";
        if (strncmp(argument, "--", 2) != 0) {
            if (u->positional == NULL || positional != NULL)
                die_usage(u->command, "unexpected argument '%s'", argument);
            positional = argument;
            continue;
        }
        size_t length = strcspn(argument + 2, "=");
        const option *o = find(u, argument + 2, length);
        const char *text = argument[2 + length] == '=' ? argument + 3 + length : NULL;
        if (o->kind == OPTION_FLAG) {
            if (text != NULL)
                die_usage(u->command, "--%s takes no value", o->name);
        } else if (text == NULL) {
            if (i + 1 == argc)
                die_usage(u->command, "--%s needs a value", o->name);
            text = argv[++i];
        }
        set(u, o, text);
    }
    if (u->positional != NULL && positional == NULL)
        die_usage(u->command, "%s is missing", u->positional);
    return positional;
}
