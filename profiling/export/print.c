/* SPDX-License-Identifier: Apache-2.0 */

/* Numbers and escaped text. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profiling/export/out_internal.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void hm_out_unsigned(hm_out *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    hm_out_bytes(out, digits + at, sizeof(digits) - at);
}

void hm_out_signed(hm_out *out, int64_t value)
{
    if (value < 0) {
        hm_out_text(out, "-");
    }
    hm_out_unsigned(out, value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value);
}

void hm_out_real(hm_out *out, double value)
{
    char text[32];
    if (value == floor(value) && fabs(value) < 0x1p53) {
        hm_out_signed(out, (int64_t)value); /* as most counts and all zeroes are: much faster */
        return;
    }
    const locale_t former = uselocale(out->locale);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    uselocale(former);
    hm_out_text(out, text);
}

/* Bytes of the UTF-8 character that starts here; 0 where none does. Overlong forms and surrogates are none. */
static size_t character(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x80) {
        return 1;
    }
    const size_t bytes = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    if (c[0] < 0xc2 || c[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < bytes; i++) {
        if ((c[i] & 0xc0) != 0x80) { /* the NUL at the end, too */
            return 0;
        }
    }
    const int overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    const int surrogate = c[0] == 0xed && c[1] >= 0xa0;
    const int beyond = c[0] == 0xf4 && c[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : bytes;
}

/* Goes through text; `escape` prints what the character that starts at `c` becomes and returns 1, or 0 for as it is. */
static void escaped(hm_out *out, const char *text, int (*escape)(hm_out *out, const char *c))
{
    while (*text) {
        const size_t bytes = character(text);
        if (bytes == 0) {
            hm_out_text(out, REPLACEMENT);
        } else if (!escape(out, text)) {
            hm_out_bytes(out, text, bytes);
        }
        text += bytes ? bytes : 1;
    }
}

static int escape_json(hm_out *out, const char *c)
{
    if (*c == '"' || *c == '\\') {
        hm_out_print(out, "\\%c", *c);
    } else if ((unsigned char)*c < 0x20 || *c == 0x7f) {
        hm_out_print(out, "\\u%04x", (unsigned)*c);
    } else {
        return 0;
    }
    return 1;
}

void hm_out_json(hm_out *out, const char *text)
{
    hm_out_text(out, "\"");
    escaped(out, text, escape_json);
    hm_out_text(out, "\"");
}

/* Control characters, and the two others of the first 65,536 that XML does not allow. */
static int is_none_of_xml(const char *c)
{
    return (unsigned char)*c < 0x20 || *c == 0x7f || strncmp(c, "\xef\xbf\xbe", 3) == 0 ||
           strncmp(c, "\xef\xbf\xbf", 3) == 0;
}

static int escape_xml(hm_out *out, const char *c)
{
    const char *as = *c == '<'           ? "&lt;"
                     : *c == '>'         ? "&gt;"
                     : *c == '&'         ? "&amp;"
                     : *c == '"'         ? "&quot;"
                     : *c == '\''        ? "&#39;"
                     : is_none_of_xml(c) ? REPLACEMENT
                                         : NULL;
    if (as) {
        hm_out_text(out, as);
    }
    return as != NULL;
}

void hm_out_xml(hm_out *out, const char *text)
{
    escaped(out, text, escape_xml);
}

static int escape_label(hm_out *out, const char *c)
{
    if (*c == '\n') {
        hm_out_text(out, "\\n");
    } else if (*c == '"' || *c == '\\') {
        hm_out_print(out, "\\%c", *c);
    } else {
        return 0;
    }
    return 1;
}

void hm_out_label(hm_out *out, const char *text)
{
    hm_out_text(out, "\"");
    escaped(out, text, escape_label);
    hm_out_text(out, "\"");
}
