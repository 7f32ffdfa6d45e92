/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/ceilings/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "profiling/ceilings/conditions.h"
#include "profiling/export/out.h"

#define HEADER "hopmla ceilings 1\n"
#define NUMBERS 6
#define LARGEST 1e18 /* of a number; a double holds its leading digits, and 64 bits the whole */

void hm_cache_key(const hopmla_context_info *info, char key[HM_CACHE_KEY])
{
    char release[32];
    hm_driver_release(info, release, sizeof(release));
    snprintf(key, HM_CACHE_KEY, "%s; %d units; isa %d; %" PRIu64 " bytes; cuda %d; driver %s; hopmla %s", info->name,
             (int)info->units, (int)info->cpu_isa, info->memory_bytes, (int)info->driver_version,
             *release ? release : "-", hopmla_version_string());
    for (char *c = key; *c; c++) {
        if (*c == '\t' || *c == '\n') {
            *c = ' ';
        }
    }
}

/* `folder` and then `file` behind it; NULL without memory. */
static char *join(const char *folder, const char *file)
{
    const size_t size = strlen(folder) + strlen(file) + 1;
    char *path = malloc(size);
    if (path) {
        snprintf(path, size, "%s%s", folder, file);
    }
    return path;
}

static int is_absolute(const char *path)
{
    return path && path[0] == '/';
}

/* Makes the folders of a path that are missing behind the first `base` bytes of it, which name one that must be there. */
static void make_folders(char *path, size_t base)
{
    for (char *slash = strchr(path + base + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700); /* one that is missing for good is found out by the one who writes */
        *slash = '/';
    }
}

char *hm_cache_usual_path(void)
{
    const char *cache = secure_getenv("XDG_CACHE_HOME");
    const char *home = secure_getenv("HOME");
    char *path = is_absolute(cache)  ? join(cache, "/hopmla/ceilings")
                 : is_absolute(home) ? join(home, "/.cache/hopmla/ceilings")
                                     : NULL;
    if (path) {
        make_folders(path, is_absolute(cache) ? 0 : strlen(home));
    }
    return path;
}

/* Fills `text`, of HM_CACHE_BYTES + 1, with the whole file and a NUL. @return whether it is one of ours */
static int read_file(const char *path, char *text)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    const size_t length = fread(text, 1, HM_CACHE_BYTES + 1, file);
    const int failed = ferror(file);
    fclose(file);
    if (failed || length > HM_CACHE_BYTES) {
        return 0;
    }
    text[length] = '\0';
    return strlen(text) == length && strncmp(text, HEADER, strlen(HEADER)) == 0;
}

/* Takes the line at *at, which ends with a line feed; cuts it off there. NULL at the end of the text. */
static char *next_line(char **at)
{
    char *line = *at;
    char *end = strchr(line, '\n');
    if (!end) {
        return NULL;
    }
    *end = '\0';
    *at = end + 1;
    return line;
}

static int parse_number(const char **at, double *value)
{
    char *end;
    if (**at < '0' || **at > '9') {
        return 0;
    }
    errno = 0;
    const unsigned long long number = strtoull(*at, &end, 10);
    if (errno || *end != ' ' || (double)number > LARGEST) {
        return 0;
    }
    *value = (double)number;
    *at = end + 1;
    return 1;
}

/* What stands behind the key. */
static int parse(const char *at, hopmla_ceilings *ceilings)
{
    double numbers[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) {
        if (!parse_number(&at, &numbers[i])) {
            return 0;
        }
    }
    const size_t length = strlen(at);
    if (numbers[1] <= 0.0 || numbers[2] <= 0.0 || numbers[3] <= 0.0 || length == 0 ||
        length >= sizeof(ceilings->driver)) {
        return 0;
    }
    ceilings->unix_time = (int64_t)numbers[0];
    ceilings->read_bytes_per_second = numbers[1];
    ceilings->flops_burst = numbers[2];
    ceilings->flops_sustained = numbers[3];
    ceilings->sustained_mhz = numbers[4] / 1e3;
    ceilings->sustained_watts = numbers[5] / 1e3;
    memset(ceilings->driver, 0, sizeof(ceilings->driver));
    if (strcmp(at, "-") != 0) {
        memcpy(ceilings->driver, at, length);
    }
    return 1;
}

/* Where the numbers of a line with this key are; NULL for another line. */
static const char *behind_key(const char *line, const char *key)
{
    const size_t length = strlen(key);
    return strncmp(line, key, length) == 0 && line[length] == '\t' ? line + length + 1 : NULL;
}

int hm_cache_find(const char *path, const char *key, hopmla_ceilings *ceilings)
{
    char *text = malloc(HM_CACHE_BYTES + 1);
    if (!text || !read_file(path, text)) {
        free(text);
        return 0;
    }
    int found = 0;
    char *at = text + strlen(HEADER);
    for (char *line = next_line(&at); line && !found; line = next_line(&at)) {
        const char *numbers = behind_key(line, key);
        hopmla_ceilings own = HOPMLA_CEILINGS_INIT;
        found = numbers && parse(numbers, &own);
        if (found) {
            *ceilings = own;
        }
    }
    free(text);
    return found;
}

/* Whether a line is worth keeping: understood, and of another key. */
static int is_other(const char *line, const char *key)
{
    const char *tab = strchr(line, '\t');
    hopmla_ceilings own = HOPMLA_CEILINGS_INIT;
    return tab && tab != line && !behind_key(line, key) && parse(tab + 1, &own);
}

static void write_line(hm_out *out, const char *key, const hopmla_ceilings *c)
{
    hm_out_text(out, key);
    hm_out_print(out, "\t%.0f %.0f %.0f %.0f %.0f %.0f %s\n", (double)c->unix_time, c->read_bytes_per_second,
                 c->flops_burst, c->flops_sustained, c->sustained_mhz * 1e3, c->sustained_watts * 1e3,
                 *c->driver ? c->driver : "-");
}

/* The lines of other keys that the file holds now. */
static void copy_others(hm_out *out, char *text, const char *key)
{
    char *at = text + strlen(HEADER);
    int kept = 1;
    for (char *line = next_line(&at); line && kept < HM_CACHE_LINES; line = next_line(&at)) {
        if (is_other(line, key)) {
            hm_out_text(out, line);
            hm_out_text(out, "\n");
            kept++;
        }
    }
}

/* The new line first: where there are too many the last are left out. */
hopmla_status hm_cache_add(const char *path, const char *key, const hopmla_ceilings *ceilings, hopmla_error *error)
{
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    hm_out *out;
    options.path = path;
    char *text = malloc(HM_CACHE_BYTES + 1);
    if (!text) {
        return hm_fail(error, HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "no memory to read the cache");
    }
    const hopmla_status status = hm_out_open(&options, &out, error);
    if (status) {
        free(text);
        return status;
    }
    hm_out_text(out, HEADER);
    write_line(out, key, ceilings);
    if (read_file(path, text)) {
        copy_others(out, text, key);
    }
    free(text);
    return hm_out_close(out, error);
}
