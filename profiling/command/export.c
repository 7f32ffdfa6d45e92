/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * `hopmla export` and `hopmla roofline`: records of a run as a table, a trace or a picture. */

#include "args.h"
#include "records_file.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    int32_t format;
} formats[] = {
    { "csv", HOPMLA_EXPORT_CSV },           { "trace", HOPMLA_EXPORT_TRACE },       { "jsonl", HOPMLA_EXPORT_JSONL },
    { "roofline", HOPMLA_EXPORT_ROOFLINE }, { "timeline", HOPMLA_EXPORT_TIMELINE },
};

static int32_t format_of(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); ++i) {
        if (strcmp(name, formats[i].name) == 0)
            return formats[i].format;
    }
    die_usage("export", "--format: '%s' is not one of csv, trace, roofline, timeline, jsonl", name);
}

static int32_t to_stdout(void *user, const void *text, uint64_t bytes)
{
    (void)user;
    return fwrite(text, 1, bytes, stdout) == bytes ? 0 : 1;
}

static int run(const char *path, int32_t format, const char *output)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    records_file f;
    records_file_read(&f, path);
    options.path = output;
    options.write = output == NULL ? to_stdout : NULL;
    options.device = f.device[0] != '\0' ? f.device : NULL;
    options.ceilings = f.has_ceilings ? &f.ceilings : NULL;
    hopmla_status status = hopmla_export_records(format, f.records, sizeof(*f.records), f.count, &options, &error);
    if (status == HOPMLA_ERROR_IO && output == NULL)
        die("standard output could not be written");
    if (status == HOPMLA_ERROR_IO)
        die("%s: %s", output, strerror(error.native_code));
    must(status, &error, "hopmla_export_records");
    records_file_free(&f);
    return 0;
}

#define OUTPUT                                                                                                         \
    {                                                                                                                  \
        OPTION_TEXT, "output", "FILE", &output, 0, 0, "also -o: where to; replaced whole (standard output)"            \
    }

int export_main(int argc, char **argv)
{
    const char *output = NULL, *format = NULL;
    const option options[] = {
        { OPTION_TEXT, "format", "NAME", &format, 0, 0,
          "csv: a row a record\n"
          "trace: Chrome's trace events, for ui.perfetto.dev\n"
          "roofline: picture (SVG) of FLOP/s against intensity, with the ceilings\n"
          "timeline: picture (SVG) of what ran when, and how fast bytes moved\n"
          "jsonl: as it was" },
        OUTPUT,
    };
    const usage u = { "export",
                      "RECORDS",
                      "Writes records of a run in another format.",
                      options,
                      sizeof(options) / sizeof(options[0]),
                      "RECORDS is what 'hopmla profile --records FILE' or hopmla_export_records wrote: JSON lines." };
    const char *path = args_parse(&u, argc, argv);
    if (format == NULL)
        die_usage("export", "--format is missing");
    return run(path, format_of(format), output);
}

int roofline_main(int argc, char **argv)
{
    const char *output = NULL;
    const option options[] = { OUTPUT };
    const usage u = { "roofline",
                      "RECORDS",
                      "Draws a roofline picture (SVG) of a run: the same as 'hopmla export --format roofline'.",
                      options,
                      sizeof(options) / sizeof(options[0]),
                      "RECORDS is what 'hopmla profile --records FILE' or hopmla_export_records wrote: JSON lines." };
    const char *path = args_parse(&u, argc, argv);
    return run(path, HOPMLA_EXPORT_ROOFLINE, output);
}
