/* SPDX-License-Identifier: Apache-2.0 */
/* What cgo cannot say itself: the version guard, and calls whose addresses come as integers, because a device address is
 * not a pointer of Go's. */
#ifndef HOPMLA_GO_SHIM_H
#define HOPMLA_GO_SHIM_H

#include <hopmla/hopmla.h>
#include <stdint.h>

#if !defined(HOPMLA_ABI_VERSION) || HOPMLA_ABI_VERSION != 0
#error "this module needs hopmla headers of ABI number 0: take the module of the library's release"
#endif
#if HOPMLA_VERSION_MAJOR == 0 && HOPMLA_VERSION_MINOR < 1
#error "this module needs hopmla 0.1 or later"
#endif

void hopmla_go_log(void *user, int32_t level, const char *text);

static inline hopmla_status go_context_create(const hopmla_context_options *options, uintptr_t cu_context,
                                              uintptr_t log, hopmla_context **context, hopmla_error *error)
{
    hopmla_context_options own = *options;
    own.cu_context = (struct CUctx_st *)cu_context;
    if (log) {
        own.log = hopmla_go_log;
        own.log_user = (void *)log;
    }
    return hopmla_context_create(&own, context, error);
}

static inline hopmla_status go_pool_create(hopmla_context *context, const hopmla_pool_options *options,
                                           uintptr_t memory, hopmla_pool **pool, hopmla_error *error)
{
    hopmla_pool_options own = *options;
    own.memory = (void *)memory;
    return hopmla_pool_create(context, &own, pool, error);
}

static inline hopmla_status go_plan_create(hopmla_pool *pool, const hopmla_plan_options *options, uintptr_t memory,
                                           hopmla_plan **plan, hopmla_error *error)
{
    hopmla_plan_options own = *options;
    own.memory = (void *)memory;
    return hopmla_plan_create(pool, &own, plan, error);
}

static inline hopmla_stream go_stream(uintptr_t stream)
{
    return (hopmla_stream)stream;
}

static inline hopmla_status go_append(hopmla_plan *plan, const hopmla_append_args *args, uintptr_t latent,
                                      uintptr_t rope, hopmla_stream stream, hopmla_error *error)
{
    return hopmla_append(plan, args, (const void *)latent, (const void *)rope, stream, error);
}

static inline hopmla_status go_decode(hopmla_plan *plan, const hopmla_decode_args *args, uintptr_t q, uintptr_t q_rope,
                                      uintptr_t out, uintptr_t lse, hopmla_stream stream, hopmla_error *error)
{
    return hopmla_decode(plan, args, (const void *)q, (const void *)q_rope, (void *)out, (void *)lse, stream, error);
}

static inline hopmla_status go_gather(hopmla_plan *plan, const hopmla_gather_args *args, uintptr_t destination,
                                      hopmla_stream stream, hopmla_error *error)
{
    return hopmla_gather(plan, args, (void *)destination, stream, error);
}

static inline hopmla_status go_upload(hopmla_context *context, uintptr_t destination, const void *source,
                                      uint64_t bytes, hopmla_stream stream, hopmla_error *error)
{
    return hopmla_memory_copy(context, (void *)destination, source, bytes, stream, error);
}

static inline hopmla_status go_download(hopmla_context *context, void *destination, uintptr_t source, uint64_t bytes,
                                        hopmla_stream stream, hopmla_error *error)
{
    return hopmla_memory_copy(context, destination, (const void *)source, bytes, stream, error);
}

static inline hopmla_status go_paged_prepare(hopmla_context *context, const hopmla_paged_desc *desc, uintptr_t kv_lens,
                                             uintptr_t q_lens, uintptr_t workspace, uint64_t workspace_bytes,
                                             hopmla_stream stream, hopmla_error *error)
{
    return hopmla_decode_paged_prepare(context, desc, (const int32_t *)kv_lens, (const int32_t *)q_lens,
                                       (void *)workspace, workspace_bytes, stream, error);
}

typedef struct go_paged_tensors {
    uintptr_t latent, rope, block_table, q, q_rope, out, lse, workspace;
    uint64_t workspace_bytes;
} go_paged_tensors;

static inline hopmla_status go_paged_decode(hopmla_context *context, const hopmla_paged_desc *desc,
                                            const hopmla_decode_args *args, const go_paged_tensors *t,
                                            hopmla_stream stream, hopmla_error *error)
{
    return hopmla_decode_paged(context, desc, args, (const void *)t->latent, (const void *)t->rope,
                               (const int32_t *)t->block_table, (const void *)t->q, (const void *)t->q_rope,
                               (void *)t->out, (void *)t->lse, (void *)t->workspace, t->workspace_bytes, stream, error);
}

static inline hopmla_status go_paged_errors(hopmla_context *context, uintptr_t workspace, uint32_t *word,
                                            hopmla_stream stream, hopmla_error *error)
{
    return hopmla_decode_paged_errors(context, (const void *)workspace, word, stream, error);
}

int32_t hopmla_go_write(void *user, const void *text, uint64_t bytes);

/* A file when there is a path, else a writer; the ceilings' address may be of Go's memory, as an argument. */
static inline hopmla_export_options go_export_options(const char *path, uintptr_t writer, const char *device,
                                                      const hopmla_ceilings *ceilings)
{
    hopmla_export_options options = HOPMLA_EXPORT_OPTIONS_INIT;
    options.path = path;
    options.device = device;
    options.ceilings = ceilings;
    if (writer) {
        options.write = hopmla_go_write;
        options.user = (void *)writer;
    }
    return options;
}

static inline hopmla_status go_export_records(int32_t format, const hopmla_record *records, uint64_t count,
                                              const char *path, uintptr_t writer, const char *device,
                                              const hopmla_ceilings *ceilings, hopmla_error *error)
{
    const hopmla_export_options options = go_export_options(path, writer, device, ceilings);
    return hopmla_export_records(format, records, sizeof(*records), count, &options, error);
}

static inline hopmla_status go_export_metrics(hopmla_profiler *profiler, hopmla_pool *pool, uintptr_t writer,
                                              const char *device, const hopmla_ceilings *ceilings, hopmla_error *error)
{
    const hopmla_export_options options = go_export_options(NULL, writer, device, ceilings);
    return hopmla_export_metrics(profiler, pool, &options, error);
}

#endif
