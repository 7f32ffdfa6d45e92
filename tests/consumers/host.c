/* SPDX-License-Identifier: Apache-2.0 */
/* Loads plugins that are linked against the library, with RTLD_LOCAL, two at a time; unloads them, and does it again; then
 * the library itself, the way a program does that works without it: host PLUGIN PLUGIN LIBRARY. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return handle;
}

static int call(void *handle, const char *name)
{
    int (*function)(void);
    void *symbol = dlsym(handle, name);
    if (!symbol) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    memcpy(&function, &symbol, sizeof(function));
    return function();
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    for (int i = 0; i < 5; i++) {
        void *one = load(argv[1]), *two = load(argv[2]);
        if (call(one, "decode_once") || call(two, "decode_once")) {
            return 1;
        }
        dlclose(one);
        if (call(two, "decode_once")) {
            return 1;
        }
        dlclose(two);
    }
    if (dlsym(RTLD_DEFAULT, "hopmla_version")) {
        fprintf(stderr, "a local library became global\n");
        return 1;
    }
    void *library = load(argv[3]);
    printf("version %#x\n", (unsigned)call(library, "hopmla_version"));
    return dlclose(library);
}
