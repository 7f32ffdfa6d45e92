/* SPDX-License-Identifier: Apache-2.0 */
#include "args.h"
#include "command.h"
#include "json.h"

#include <stdio.h>

/** One backend: what it runs on, or why it does not. */
typedef struct backend {
    const char *name;
    int32_t kind;
    hopmla_status status;
    hopmla_error error;
    hopmla_context_info info;
} backend;

static void probe(backend *b)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_context *context = NULL;
    options.backend = b->kind;
    b->error = (hopmla_error)HOPMLA_ERROR_INIT;
    b->info = (hopmla_context_info)HOPMLA_CONTEXT_INFO_INIT;
    b->status = hopmla_context_create(&options, &context, &b->error);
    if (b->status == HOPMLA_OK)
        b->status = hopmla_context_describe(context, &b->info, &b->error);
    hopmla_context_destroy(context);
}

static const char *isa_name(int32_t isa)
{
    static const char *const names[] = { "", "portable", "avx2", "avx512" };
    return isa >= 0 && isa < 4 ? names[isa] : "unknown";
}

static void print_backend(const backend *b)
{
    if (b->status != HOPMLA_OK) {
        printf("%-10s not available: %s: %s\n", b->name, hopmla_status_name(b->status), b->error.message);
        printf("%-10s %s\n", "", hopmla_status_text(b->status));
        return;
    }
    const hopmla_context_info *i = &b->info;
    printf("%-10s %s\n", b->name, i->name);
    if (i->backend == HOPMLA_BACKEND_CPU) {
        printf("%-10s %d threads, %s, %.1f GiB of memory\n", "", (int)i->units, isa_name(i->cpu_isa),
               (double)i->memory_bytes / 0x1p30);
    } else {
        printf("%-10s device %d, compute capability %d.%d, %d multiprocessors\n", "", (int)i->device,
               (int)i->compute_major, (int)i->compute_minor, (int)i->units);
        printf("%-10s %.1f GiB of memory, %.0f MiB of L2, driver for CUDA %d.%d\n", "",
               (double)i->memory_bytes / 0x1p30, (double)i->l2_bytes / 0x1p20, (int)i->driver_version / 1000,
               (int)i->driver_version % 1000 / 10);
    }
}

static void write_backend(json_writer *w, const backend *b)
{
    json_open(w, b->name, '{');
    json_bool(w, "available", b->status == HOPMLA_OK);
    json_text(w, "status", hopmla_status_name(b->status));
    if (b->status != HOPMLA_OK) {
        json_text(w, "reason", b->error.message);
    } else {
        json_text(w, "name", b->info.name);
        json_count(w, "units", (uint64_t)b->info.units);
        json_count(w, "memory_bytes", b->info.memory_bytes);
        if (b->info.backend == HOPMLA_BACKEND_CPU) {
            json_text(w, "isa", isa_name(b->info.cpu_isa));
        } else {
            json_count(w, "device", (uint64_t)b->info.device);
            json_count(w, "compute_major", (uint64_t)b->info.compute_major);
            json_count(w, "compute_minor", (uint64_t)b->info.compute_minor);
            json_count(w, "l2_bytes", b->info.l2_bytes);
            json_count(w, "driver_version", (uint64_t)b->info.driver_version);
        }
    }
    json_close(w, '}');
}

int info_main(int argc, char **argv)
{
    bool json = false;
    const option options[] = { { OPTION_FLAG, "json", NULL, &json, 0, 0, "one JSON object instead of text" } };
    const usage u = { "info",  NULL, "Says which version this is, what it runs on, and what is missing and why.",
                      options, 1,    NULL };
    args_parse(&u, argc, argv);

    backend backends[] = { { .name = "cpu", .kind = HOPMLA_BACKEND_CPU },
                           { .name = "cuda", .kind = HOPMLA_BACKEND_CUDA } };
    probe(&backends[0]);
    probe(&backends[1]);
    if (json) {
        json_writer w = json_begin(stdout);
        json_text(&w, "version", hopmla_version_string());
        json_count(&w, "abi", hopmla_abi_version());
        json_open(&w, "backends", '{');
        write_backend(&w, &backends[0]);
        write_backend(&w, &backends[1]);
        json_close(&w, '}');
        json_end(&w);
    } else {
        printf("%-10s %s, ABI %u\n", "hopmla", hopmla_version_string(), (unsigned)hopmla_abi_version());
        print_backend(&backends[0]);
        print_backend(&backends[1]);
    }
    return 0;
}
