/* SPDX-License-Identifier: Apache-2.0 */
#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool blank(const char *line, uint64_t length)
{
    for (uint64_t i = 0; i < length; ++i) {
        if (strchr(" \t\r", line[i]) == NULL || line[i] == '\0')
            return false;
    }
    return true;
}

void lines_read(const char *path, bool (*take)(json_reader *r, void *user), void *user)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        die("%s: %s", path, strerror(errno));
    json_reader reader = { 0 };
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; (n = getline(&line, &room, file)) >= 0;) {
        uint64_t length = (uint64_t)n;
        ++reader.line;
        if (length > 0 && line[length - 1] == '\n')
            --length;
        if (blank(line, length))
            continue;
        if (!json_read(&reader, line, length) || !take(&reader, user))
            die("%s:%llu: %s", path, (unsigned long long)reader.line, reader.message);
    }
    if (ferror(file))
        die("%s: %s", path, strerror(errno));
    free(line);
    json_reader_free(&reader);
    fclose(file);
}
