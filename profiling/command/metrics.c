/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include "profile.h"
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metrics {
    server *server;
    hopmla_profiler *profiler;
    hopmla_pool *pool;
    hopmla_export_options options;
};

typedef struct buffer {
    char *text;
    size_t length;
    size_t room;
} buffer;

static int32_t append(void *user, const void *text, uint64_t bytes)
{
    buffer *b = user;
    if (bytes > b->room - b->length)
        return 1;
    memcpy(b->text + b->length, text, bytes);
    b->length += bytes;
    return 0;
}

static size_t make_text(void *user, char *text, size_t room)
{
    const metrics *m = user;
    buffer b = { text, 0, room };
    hopmla_export_options options = m->options;
    options.write = append;
    options.user = &b;
    return hopmla_export_metrics(m->profiler, m->pool, &options, NULL) == HOPMLA_OK ? b.length : 0;
}

metrics *metrics_start(const char *address, const device *d, hopmla_pool *pool, const hopmla_ceilings *ceilings)
{
    char message[200];
    metrics *m = must_alloc(sizeof(*m));
    *m = (metrics){ .profiler = profile_profiler(), .pool = pool, .options = HOPMLA_EXPORT_OPTIONS_INIT };
    m->options.device = d->info.name;
    m->options.ceilings = ceilings;
    m->server = server_start(address, make_text, m, message);
    if (m->server == NULL)
        die("--metrics: %s", message);
    fprintf(stderr, "hopmla: metrics at http://%s/metrics\n", server_address(m->server));
    return m;
}

void metrics_stop(metrics *m)
{
    if (m == NULL)
        return;
    server_stop(m->server);
    free(m);
}
