/* SPDX-License-Identifier: Apache-2.0 */

/* Serves a text with the command's server until its standard input ends, for serve.py: serve_text ADDRESS [BYTES]. The
 * text says how often it was made. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profiling/command/serve.h"

static size_t padding;

static size_t make(void *user, char *text, size_t room)
{
    int *made = user;
    ++*made;
    if (padding >= room) {
        return 0;
    }
    memset(text, '#', padding);
    return padding + (size_t)snprintf(text + padding, room - padding, "made %d\n# EOF\n", *made);
}

int main(int argc, char **argv)
{
    char message[200];
    int made = 0;
    if (argc < 2) {
        return 2;
    }
    padding = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    server *s = server_start(argv[1], make, &made, message);
    if (!s) {
        printf("%s\n", message);
        return 1;
    }
    printf("%s\n", server_address(s));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    server_stop(s);
    return 0;
}
