/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_JSON_H
#define COMMAND_JSON_H

/** @file
 * The little JSON that the command speaks: a writer of nested objects on one line, and a strict reader of one-line
 * objects whose values are numbers, strings, arrays of integers, true, false or null. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/** Writes to `file`; starts with an object open. A key of NULL is for elements of an array. */
typedef struct json_writer {
    FILE *file;
    bool first; /* nothing written yet in the innermost object or array */
} json_writer;

json_writer json_begin(FILE *file);
void json_open(json_writer *w, const char *key, char bracket); /* '{' or '[' */
void json_close(json_writer *w, char bracket);                 /* '}' or ']' */
void json_text(json_writer *w, const char *key, const char *value);
void json_count(json_writer *w, const char *key, uint64_t value);
void json_real(json_writer *w, const char *key, double value); /* what is not finite is written as null */
void json_bool(json_writer *w, const char *key, bool value);
/** Closes the outermost object and ends the line. */
void json_end(json_writer *w);

typedef enum json_kind {
    JSON_NUMBER,
    JSON_TEXT,
    JSON_INTEGERS,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
} json_kind;

typedef struct json_field {
    json_kind kind;
    bool whole;       /* NUMBER: it is an integer that fits `integer` */
    bool is_natural;  /* NUMBER: it is one from 0 that fits `natural` */
    const char *name; /* NUL-terminated, in the reader's own copy */
    const char *text; /* TEXT: likewise */
    double number;    /* NUMBER */
    int64_t integer;
    uint64_t natural;
    uint64_t first; /* INTEGERS: in the reader's `integers` */
    uint64_t count;
} json_field;

/** One line taken apart. Memory is kept from line to line. */
typedef struct json_reader {
    json_field *fields;
    uint64_t n_fields;
    uint64_t fields_capacity;
    int64_t *integers;
    uint64_t n_integers;
    uint64_t integers_capacity;
    char *copy;
    uint64_t copy_bytes;
    uint64_t line;     /* its number in the file, for whoever knows it */
    const char *end;   /* of the line in `copy` */
    const char *at;    /* where reading is */
    char message[120]; /* what is wrong, with the column, after json_read gave false */
} json_reader;

/** Takes one line apart: an object, and nothing behind it. */
bool json_read(json_reader *r, const char *line, uint64_t length);

/** @return the field, or NULL */
const json_field *json_find(const json_reader *r, const char *name);

/** Sets the message to a printf text about a field. @return false */
bool json_wrong(json_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Takes a whole number in low … high out of a line; anything else leaves the message and gives false. */
bool json_take_count(json_reader *r, const char *name, uint64_t low, uint64_t high, uint64_t *value);

void json_reader_free(json_reader *r);

#endif
