/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"
#include "json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Reading works on a copy of the line that ends in NUL, so that one look ahead is always allowed; strings are
 * unescaped in place. A NUL inside the line is refused first. */

static bool wrong_here(json_reader *r, const char *what)
{
    if (r->at >= r->end)
        snprintf(r->message, sizeof(r->message), "the line ends where %s should be", what);
    else
        snprintf(r->message, sizeof(r->message), "%s should be at column %" PRIu64, what,
                 (uint64_t)(r->at - r->copy) + 1);
    return false;
}

bool json_wrong(json_reader *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->message, sizeof(r->message), format, arguments);
    va_end(arguments);
    return false;
}

static void skip_space(json_reader *r)
{
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\r')
        ++r->at;
}

static bool expect(json_reader *r, char c, const char *what)
{
    skip_space(r);
    if (*r->at != c)
        return wrong_here(r, what);
    ++r->at;
    return true;
}

/** The four hexadecimal digits after "\u", as UTF-8 at *to. Halves of surrogate pairs are refused. */
static bool read_unicode(json_reader *r, char **to)
{
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++r->at) {
        char c = *r->at;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return wrong_here(r, "a hexadecimal digit");
        code = code << 4 | digit;
    }
    if (code == 0 || (code >= 0xd800 && code < 0xe000))
        return json_wrong(r, "\\u%04x is not allowed in a string", code);
    if (code < 0x80) {
        *(*to)++ = (char)code;
    } else if (code < 0x800) {
        *(*to)++ = (char)(0xc0 | code >> 6);
        *(*to)++ = (char)(0x80 | (code & 0x3f));
    } else {
        *(*to)++ = (char)(0xe0 | code >> 12);
        *(*to)++ = (char)(0x80 | (code >> 6 & 0x3f));
        *(*to)++ = (char)(0x80 | (code & 0x3f));
    }
    return true;
}

static bool read_string(json_reader *r, const char **text, const char *what)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (!expect(r, '"', what))
        return false;
    char *to = r->copy + (r->at - r->copy);
    *text = to;
    while (*r->at != '"') {
        if (r->at >= r->end || (unsigned char)*r->at < 0x20)
            return wrong_here(r, "the end of a string");
        if (*r->at != '\\') {
            *to++ = *r->at++;
            continue;
        }
        ++r->at;
        const char *escape = *r->at != '\0' ? strchr(escapes, *r->at) : NULL;
        if (escape != NULL) {
            *to++ = meanings[escape - escapes];
            ++r->at;
        } else if (*r->at == 'u') {
            ++r->at;
            if (!read_unicode(r, &to))
                return false;
        } else {
            return wrong_here(r, "an escape");
        }
    }
    ++r->at;
    *to = '\0';
    return true;
}

static bool digits(const char **at)
{
    const char *start = *at;
    while (**at >= '0' && **at <= '9')
        ++*at;
    return *at > start;
}

/** JSON's own grammar, which is narrower than strtod's. */
static bool read_number(json_reader *r, json_field *field)
{
    const char *start = r->at, *end = r->at;
    end += *end == '-';
    bool leading_zero = *end == '0';
    const char *whole = end;
    if (!digits(&end) || (leading_zero && end - whole > 1))
        return wrong_here(r, "a number, a string, a word or an array of whole numbers");
    bool integer = true;
    if (*end == '.') {
        ++end;
        integer = false;
        if (!digits(&end))
            return r->at = end, wrong_here(r, "a digit");
    }
    if (*end == 'e' || *end == 'E') {
        end += end[1] == '+' || end[1] == '-' ? 2 : 1;
        integer = false;
        if (!digits(&end))
            return r->at = end, wrong_here(r, "a digit");
    }
    field->kind = JSON_NUMBER;
    field->number = strtod(start, NULL);
    errno = 0;
    field->integer = strtoll(start, NULL, 10);
    field->whole = integer && errno == 0;
    errno = 0;
    field->natural = strtoull(start, NULL, 10);
    field->is_natural = integer && *start != '-' && errno == 0;
    r->at = end;
    return true;
}

static bool read_integers(json_reader *r, json_field *field)
{
    ++r->at;
    field->kind = JSON_INTEGERS;
    field->first = r->n_integers;
    skip_space(r);
    if (*r->at == ']') {
        ++r->at;
        return true;
    }
    for (;;) {
        json_field element = { 0 };
        skip_space(r);
        const char *start = r->at;
        if (*start != '-' && (*start < '0' || *start > '9'))
            return wrong_here(r, "a whole number");
        if (!read_number(r, &element))
            return false;
        if (!element.whole)
            return r->at = start, wrong_here(r, "a whole number");
        r->integers = must_grow(r->integers, r->n_integers, &r->integers_capacity, sizeof(*r->integers));
        r->integers[r->n_integers++] = element.integer;
        ++field->count;
        skip_space(r);
        if (*r->at == ',') {
            ++r->at;
            continue;
        }
        return expect(r, ']', "',' or ']'");
    }
}

/** Takes true, false or null. */
static bool read_word(json_reader *r, json_field *field)
{
    static const struct {
        const char *text;
        json_kind kind;
    } words[] = { { "true", JSON_TRUE }, { "false", JSON_FALSE }, { "null", JSON_NULL } };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i) {
        size_t length = strlen(words[i].text);
        if (strncmp(r->at, words[i].text, length) == 0) {
            field->kind = words[i].kind;
            r->at += length;
            return true;
        }
    }
    return false;
}

static bool read_value(json_reader *r, json_field *field)
{
    skip_space(r);
    if (read_word(r, field))
        return true;
    if (*r->at == '[')
        return read_integers(r, field);
    if (*r->at == '"') {
        field->kind = JSON_TEXT;
        return read_string(r, &field->text, "a string");
    }
    return read_number(r, field);
}

static bool read_object(json_reader *r)
{
    if (!expect(r, '{', "'{'"))
        return false;
    skip_space(r);
    if (*r->at == '}') {
        ++r->at;
        return true;
    }
    for (;;) {
        json_field field = { 0 };
        skip_space(r);
        if (!read_string(r, &field.name, "a field's name") || !expect(r, ':', "':'") || !read_value(r, &field))
            return false;
        if (json_find(r, field.name) != NULL)
            return json_wrong(r, "the field \"%.40s\" stands twice", field.name);
        r->fields = must_grow(r->fields, r->n_fields, &r->fields_capacity, sizeof(*r->fields));
        r->fields[r->n_fields++] = field;
        skip_space(r);
        if (*r->at == ',') {
            ++r->at;
            continue;
        }
        return expect(r, '}', "',' or '}'");
    }
}

bool json_read(json_reader *r, const char *line, uint64_t length)
{
    if (r->copy_bytes < length + 1) {
        free(r->copy);
        r->copy = must_alloc(length + 1);
        r->copy_bytes = length + 1;
    }
    memcpy(r->copy, line, length);
    r->copy[length] = '\0';
    r->at = r->copy;
    r->end = r->copy + length;
    r->n_fields = r->n_integers = 0;
    if (memchr(line, '\0', length) != NULL)
        return json_wrong(r, "the line holds a NUL byte");
    if (!read_object(r))
        return false;
    skip_space(r);
    return r->at >= r->end || wrong_here(r, "the end of the line");
}

const json_field *json_find(const json_reader *r, const char *name)
{
    for (uint64_t i = 0; i < r->n_fields; ++i) {
        if (strcmp(r->fields[i].name, name) == 0)
            return &r->fields[i];
    }
    return NULL;
}

bool json_take_count(json_reader *r, const char *name, uint64_t low, uint64_t high, uint64_t *value)
{
    const json_field *field = json_find(r, name);
    if (field == NULL)
        return json_wrong(r, "the field \"%s\" is missing", name);
    if (field->kind != JSON_NUMBER || !field->whole)
        return json_wrong(r, "\"%s\" is not a whole number", name);
    if (field->integer < 0 || (uint64_t)field->integer < low || (uint64_t)field->integer > high)
        return json_wrong(r, "\"%s\" is %" PRId64 ", not between %" PRIu64 " and %" PRIu64, name, field->integer, low,
                          high);
    *value = (uint64_t)field->integer;
    return true;
}

void json_reader_free(json_reader *r)
{
    free(r->fields);
    free(r->integers);
    free(r->copy);
    memset(r, 0, sizeof(*r));
}
