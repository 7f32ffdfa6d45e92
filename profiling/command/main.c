/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} subcommands[] = {
    { "info", info_main, "version, backends and device, and what is missing and why" },
    { "check", check_main, "conformance suite against a float64 reference" },
    { "bench", bench_main, "decode times against the device's measured ceilings; --pool: costs of the books" },
    { "replay", replay_main, "serves a request trace from a paged pool" },
    { "profile", profile_main, "runs replay or bench under a profiler: time, bytes and FLOPs of each kind of call" },
    { "roofline", roofline_main, "draws the records of a profiled run as a roofline picture" },
    { "export", export_main, "writes the records of a profiled run as a table, a trace or a picture" },
};

enum {
    SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0])
};

static void print_help(void)
{
    puts("Usage: hopmla COMMAND [options]\n\n"
         "Paged latent-KV pools and Multi-head Latent Attention decode.\n\nCommands:");
    for (int i = 0; i < SUBCOMMANDS; ++i)
        printf("  %-8s %s\n", subcommands[i].name, subcommands[i].summary);
    puts("\n'hopmla COMMAND --help' lists a command's options. 'hopmla --version' prints the version.\n"
         "Exit status: 0 all well, 1 something failed, 2 wrong usage.");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        die_usage(NULL, "a command is missing");
    if (hopmla_abi_version() != HOPMLA_ABI_VERSION)
        die("built for ABI %d, but the library in use has ABI %u", HOPMLA_ABI_VERSION, (unsigned)hopmla_abi_version());
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hopmla %s\n", hopmla_version_string());
        return 0;
    }
    for (int i = 0; i < SUBCOMMANDS; ++i) {
        if (strcmp(argv[1], subcommands[i].name) == 0) {
            int status = subcommands[i].run(argc - 1, argv + 1);
            if (fflush(stdout) != 0 || ferror(stdout))
                die("standard output could not be written");
            return status;
        }
    }
    die_usage(NULL, "'%s' is not a command", argv[1]);
}
