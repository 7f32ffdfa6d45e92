/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <inttypes.h>
#include <math.h>

static void write_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; ++c) {
        if (*c == '"' || *c == '\\')
            fprintf(file, "\\%c", *c);
        else if (*c < 0x20)
            fprintf(file, "\\u%04x", *c);
        else
            fputc(*c, file);
    }
    fputc('"', file);
}

static void write_key(json_writer *w, const char *key)
{
    if (!w->first)
        fputs(", ", w->file);
    w->first = false;
    if (key != NULL) {
        write_string(w->file, key);
        fputs(": ", w->file);
    }
}

json_writer json_begin(FILE *file)
{
    fputc('{', file);
    return (json_writer){ file, true };
}

void json_open(json_writer *w, const char *key, char bracket)
{
    write_key(w, key);
    fputc(bracket, w->file);
    w->first = true;
}

void json_close(json_writer *w, char bracket)
{
    fputc(bracket, w->file);
    w->first = false;
}

void json_text(json_writer *w, const char *key, const char *value)
{
    write_key(w, key);
    write_string(w->file, value);
}

void json_count(json_writer *w, const char *key, uint64_t value)
{
    write_key(w, key);
    fprintf(w->file, "%" PRIu64, value);
}

void json_real(json_writer *w, const char *key, double value)
{
    write_key(w, key);
    if (isfinite(value))
        fprintf(w->file, "%.6g", value);
    else
        fputs("null", w->file);
}

void json_bool(json_writer *w, const char *key, bool value)
{
    write_key(w, key);
    fputs(value ? "true" : "false", w->file);
}

void json_end(json_writer *w)
{
    fputs("}\n", w->file);
    fflush(w->file);
}
