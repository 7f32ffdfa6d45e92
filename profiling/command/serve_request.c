/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_request.h"

#include <string.h>

char *request_room(request_head *r, size_t *room)
{
    *room = sizeof(r->bytes) - r->length;
    return r->bytes + r->length;
}

/** Whether the text up to `end` starts with a word; goes behind it. */
static bool skip(const char **at, const char *end, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(end - *at) < length || memcmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

/** Judges "METHOD SP TARGET SP HTTP/1.x". */
static int judge(request_head *r, const char *at, const char *end)
{
    const char *space = memchr(at, ' ', (size_t)(end - at));
    if (space == NULL || space == at)
        return 400;
    for (const char *c = at; c < space; ++c) {
        if (*c < 'A' || *c > 'Z')
            return 400;
    }
    const char *method = at;
    r->head_only = skip(&method, space, "HEAD") && method == space;
    bool known = r->head_only || (skip(&method, space, "GET") && method == space);
    const char *target = space + 1, *after = memchr(target, ' ', (size_t)(end - target));
    if (after == NULL || *target != '/')
        return 400;
    const char *version = after + 1;
    if (!skip(&version, end, "HTTP/"))
        return 400;
    if (end - version != 3 || memcmp(version, "1.", 2) != 0 || version[2] < '0' || version[2] > '9')
        return 505;
    if (!known)
        return 405;
    return skip(&target, after, "/metrics") && (target == after || *target == '?') ? 200 : 404;
}

/** The head is whole at an empty line; lines may end with a line feed alone. */
int request_take(request_head *r, size_t n)
{
    size_t from = r->length > 3 ? r->length - 3 : 0;
    r->length += n;
    for (size_t i = from; i < r->length; ++i) {
        if (r->bytes[i] == '\0')
            return 400;
    }
    const char *end = r->bytes + r->length, *line = memchr(r->bytes, '\n', r->length);
    for (const char *feed = line; feed != NULL; feed = memchr(feed + 1, '\n', (size_t)(end - feed - 1))) {
        const char *next = feed + 1;
        if (next < end && *next == '\r')
            ++next;
        if (next < end && *next == '\n')
            return judge(r, r->bytes, line > r->bytes && line[-1] == '\r' ? line - 1 : line);
    }
    return r->length == sizeof(r->bytes) ? 431 : 0;
}

const char *request_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found: there is /metrics";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 431:
        return "Request Header Fields Too Large";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Service Unavailable";
    }
}
