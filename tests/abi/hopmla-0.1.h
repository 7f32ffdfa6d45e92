/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* The headers of release 0.1, made by ./dev abi --update until that release is out, never touched afterwards. */
/* version.h */
#ifndef HOPMLA_VERSION_H
#define HOPMLA_VERSION_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#define HOPMLA_API __attribute__((visibility("default")))
#define HOPMLA_VERSION_MAJOR 0
#define HOPMLA_VERSION_MINOR 1
#define HOPMLA_VERSION_PATCH 0
#define HOPMLA_ABI_VERSION 0
HOPMLA_API uint32_t hopmla_version(void);
HOPMLA_API const char *hopmla_version_string(void);
HOPMLA_API uint32_t hopmla_abi_version(void);
#ifdef __cplusplus
}
#endif
#endif
/* status.h */
#ifndef HOPMLA_STATUS_H
#define HOPMLA_STATUS_H
#ifdef __cplusplus
extern "C" {
#endif
typedef int32_t hopmla_status;
enum {
    HOPMLA_OK = 0,
    HOPMLA_ERROR_ARGUMENT = -100,
    HOPMLA_ERROR_NULL = -101,
    HOPMLA_ERROR_STRUCT_SIZE = -102,
    HOPMLA_ERROR_STRUCT_TAIL = -103,
    HOPMLA_ERROR_ENUM = -104,
    HOPMLA_ERROR_OVERFLOW = -105,
    HOPMLA_ERROR_STALE_ID = -106,
    HOPMLA_ERROR_FOREIGN_ID = -107,
    HOPMLA_ERROR_DUPLICATE_ID = -108,
    HOPMLA_ERROR_ALIGNMENT = -109,
    HOPMLA_ERROR_DTYPE = -110,
    HOPMLA_ERROR_MISMATCH = -111,
    HOPMLA_ERROR_ENVELOPE = -112,
    HOPMLA_ERROR_RANGE = -113,
    HOPMLA_ERROR_STATE = -200,
    HOPMLA_ERROR_CAPTURE = -201,
    HOPMLA_ERROR_NO_STORAGE = -202,
    HOPMLA_ERROR_OUT_OF_PAGES = -300,
    HOPMLA_ERROR_OUT_OF_HOST_MEMORY = -301,
    HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY = -302,
    HOPMLA_ERROR_TOO_MANY = -303,
    HOPMLA_ERROR_BUSY = -400,
    HOPMLA_ERROR_NO_DRIVER = -500,
    HOPMLA_ERROR_OLD_DRIVER = -501,
    HOPMLA_ERROR_NO_DEVICE = -502,
    HOPMLA_ERROR_DEVICE = -503,
    HOPMLA_ERROR_NOT_BUILT = -504,
    HOPMLA_ERROR_UNSUPPORTED = -505,
    HOPMLA_ERROR_DRIVER = -600,
    HOPMLA_ERROR_DRIVER_STICKY = -700,
    HOPMLA_ERROR_INTERNAL = -800,
    HOPMLA_ERROR_IO = -900
};
typedef struct hopmla_error {
    uint32_t struct_size;
    hopmla_status status;
    int32_t native_code;
    uint32_t reserved;
    int64_t value;
    char message[232];
} hopmla_error;
#define HOPMLA_ERROR_INIT { sizeof(hopmla_error), 0, 0, 0, 0, { 0 } }
HOPMLA_API hopmla_status hopmla_error_init(hopmla_error *error, uint64_t size);
HOPMLA_API const char *hopmla_status_name(hopmla_status status);
HOPMLA_API const char *hopmla_status_text(hopmla_status status);
#ifdef __cplusplus
}
#endif
#endif
/* context.h */
#ifndef HOPMLA_CONTEXT_H
#define HOPMLA_CONTEXT_H
#ifdef __cplusplus
extern "C" {
#endif
struct CUctx_st;
struct CUstream_st;
typedef struct CUstream_st *hopmla_stream;
typedef struct hopmla_context hopmla_context;
enum {
    HOPMLA_BACKEND_AUTO = 0,
    HOPMLA_BACKEND_CPU = 1,
    HOPMLA_BACKEND_CUDA = 2
};
enum {
    HOPMLA_CPU_ISA_AUTO = 0,
    HOPMLA_CPU_ISA_PORTABLE = 1,
    HOPMLA_CPU_ISA_AVX2 = 2,
    HOPMLA_CPU_ISA_AVX512 = 3
};
enum {
    HOPMLA_LOG_ERROR = 1,
    HOPMLA_LOG_WARNING = 2,
    HOPMLA_LOG_INFO = 3,
    HOPMLA_LOG_DEBUG = 4
};
typedef void (*hopmla_log_fn)(void *user, int32_t level, const char *text);
enum {
    HOPMLA_MEMORY_HOST = 1,
    HOPMLA_MEMORY_PINNED = 2,
    HOPMLA_MEMORY_POOL = 3,
    HOPMLA_MEMORY_TABLES = 4,
    HOPMLA_MEMORY_WORKSPACE = 5
};
typedef void *(*hopmla_alloc_fn)(void *user, uint64_t size, uint64_t alignment, int32_t kind, hopmla_stream stream);
typedef void (*hopmla_free_fn)(void *user, void *address, uint64_t size, int32_t kind, hopmla_stream stream);
typedef struct hopmla_context_options {
    uint32_t struct_size;
    int32_t backend;
    int32_t device;
    int32_t cpu_threads;
    int32_t cpu_isa;
    int32_t log_level;
    struct CUctx_st *cu_context;
    hopmla_log_fn log;
    void *log_user;
    hopmla_alloc_fn alloc;
    hopmla_free_fn free;
    void *alloc_user;
} hopmla_context_options;
#define HOPMLA_CONTEXT_OPTIONS_INIT { sizeof(hopmla_context_options), HOPMLA_BACKEND_AUTO, 0, 0, \
    HOPMLA_CPU_ISA_AUTO, 0, 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_context_options_init(hopmla_context_options *options, uint64_t size);
typedef struct hopmla_context_info {
    uint32_t struct_size;
    int32_t backend;
    int32_t device;
    int32_t driver_version;
    int32_t compute_major;
    int32_t compute_minor;
    int32_t units;
    int32_t cpu_isa;
    uint64_t memory_bytes;
    uint64_t l2_bytes;
    char name[128];
} hopmla_context_info;
#define HOPMLA_CONTEXT_INFO_INIT { sizeof(hopmla_context_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 } }
HOPMLA_API hopmla_status hopmla_context_create(const hopmla_context_options *options, hopmla_context **context,
                                               hopmla_error *error);
HOPMLA_API void hopmla_context_destroy(hopmla_context *context);
HOPMLA_API hopmla_status hopmla_context_describe(hopmla_context *context, hopmla_context_info *info,
                                                 hopmla_error *error);
typedef struct hopmla_ceilings {
    uint32_t struct_size;
    uint32_t reserved;
    double read_bytes_per_second;
    double flops_burst;
    double flops_sustained;
    int64_t unix_time;
    double sustained_mhz;
    double sustained_watts;
    char driver[32];
} hopmla_ceilings;
#define HOPMLA_CEILINGS_INIT { sizeof(hopmla_ceilings), 0, 0.0, 0.0, 0.0, 0, 0.0, 0.0, { 0 } }
HOPMLA_API hopmla_status hopmla_measure_ceilings(hopmla_context *context, hopmla_ceilings *ceilings,
                                                 hopmla_error *error);
HOPMLA_API hopmla_status hopmla_load_ceilings(hopmla_context *context, const char *path, hopmla_ceilings *ceilings,
                                              hopmla_error *error);
#ifdef __cplusplus
}
#endif
#endif
/* device.h */
#ifndef HOPMLA_DEVICE_H
#define HOPMLA_DEVICE_H
#ifdef __cplusplus
extern "C" {
#endif
struct CUevent_st;
struct CUgraphExec_st;
typedef struct CUevent_st *hopmla_event;
typedef struct CUgraphExec_st *hopmla_graph;
HOPMLA_API hopmla_status hopmla_memory_alloc(hopmla_context *context, uint64_t bytes, int32_t kind, void **memory,
                                             hopmla_error *error);
HOPMLA_API void hopmla_memory_free(hopmla_context *context, void *memory, uint64_t bytes, int32_t kind);
HOPMLA_API hopmla_status hopmla_memory_copy(hopmla_context *context, void *destination, const void *source,
                                            uint64_t bytes, hopmla_stream stream, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_memory_fill(hopmla_context *context, void *destination, uint8_t value, uint64_t bytes,
                                            hopmla_stream stream, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_stream_create(hopmla_context *context, hopmla_stream *stream, hopmla_error *error);
HOPMLA_API void hopmla_stream_destroy(hopmla_context *context, hopmla_stream stream);
HOPMLA_API hopmla_status hopmla_stream_synchronize(hopmla_context *context, hopmla_stream stream, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_stream_wait_event(hopmla_context *context, hopmla_stream stream, hopmla_event event,
                                                  hopmla_error *error);
HOPMLA_API hopmla_status hopmla_event_create(hopmla_context *context, hopmla_event *event, hopmla_error *error);
HOPMLA_API void hopmla_event_destroy(hopmla_context *context, hopmla_event event);
HOPMLA_API hopmla_status hopmla_event_record(hopmla_context *context, hopmla_event event, hopmla_stream stream,
                                             hopmla_error *error);
HOPMLA_API hopmla_status hopmla_event_synchronize(hopmla_context *context, hopmla_event event, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_event_elapsed(hopmla_context *context, hopmla_event begin, hopmla_event end,
                                              double *microseconds, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_graph_begin(hopmla_context *context, hopmla_stream stream, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_graph_end(hopmla_context *context, hopmla_stream stream, hopmla_graph *graph,
                                          hopmla_error *error);
HOPMLA_API hopmla_status hopmla_graph_launch(hopmla_context *context, hopmla_graph graph, hopmla_stream stream,
                                             hopmla_error *error);
HOPMLA_API void hopmla_graph_destroy(hopmla_context *context, hopmla_graph graph);
#ifdef __cplusplus
}
#endif
#endif
/* pool.h */
#ifndef HOPMLA_POOL_H
#define HOPMLA_POOL_H
#ifdef __cplusplus
extern "C" {
#endif
enum {
    HOPMLA_PAGE_TOKENS = 64,
    HOPMLA_LATENT_DIM = 512,
    HOPMLA_ROPE_DIM = 64,
    HOPMLA_QK_DIM = 576
};
enum {
    HOPMLA_DTYPE_BF16 = 1,
    HOPMLA_DTYPE_FP16 = 2,
    HOPMLA_DTYPE_FP32 = 3
};
enum {
    HOPMLA_KV_BF16 = 1,
    HOPMLA_KV_FP16 = 2,
    HOPMLA_KV_BF16_NOPE = 3,
    HOPMLA_KV_FP16_NOPE = 4
};
enum {
    HOPMLA_STORAGE_LIBRARY = 1,
    HOPMLA_STORAGE_CALLER = 2,
    HOPMLA_STORAGE_NONE = 3
};
typedef struct hopmla_pool hopmla_pool;
typedef uint64_t hopmla_seq;
typedef struct hopmla_pool_options {
    uint32_t struct_size;
    int32_t format;
    int32_t storage;
    uint32_t layers;
    uint64_t pages;
    uint64_t bytes;
    uint32_t max_sequences;
    uint32_t page_tokens;
    void *memory;
    uint64_t memory_bytes;
} hopmla_pool_options;
#define HOPMLA_POOL_OPTIONS_INIT { sizeof(hopmla_pool_options), 0, HOPMLA_STORAGE_LIBRARY, 0, 0, 0, 65536, \
    HOPMLA_PAGE_TOKENS, 0, 0 }
HOPMLA_API hopmla_status hopmla_pool_options_init(hopmla_pool_options *options, uint64_t size);
typedef struct hopmla_pool_layout {
    uint32_t struct_size;
    int32_t format;
    int32_t storage;
    int32_t backend;
    int32_t device;
    uint32_t layers;
    uint32_t page_tokens;
    uint32_t row_stride;
    uint64_t pages;
    uint64_t page_stride;
    uint64_t layer_stride;
    uint64_t bytes;
    uint64_t host_bytes;
    void *base;
} hopmla_pool_layout;
#define HOPMLA_POOL_LAYOUT_INIT { sizeof(hopmla_pool_layout), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_pool_query(hopmla_context *context, const hopmla_pool_options *options,
                                           hopmla_pool_layout *layout, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_pool_create(hopmla_context *context, const hopmla_pool_options *options,
                                            hopmla_pool **pool, hopmla_error *error);
HOPMLA_API void hopmla_pool_destroy(hopmla_pool *pool);
HOPMLA_API hopmla_status hopmla_pool_describe(hopmla_pool *pool, hopmla_pool_layout *layout, hopmla_error *error);
typedef struct hopmla_pool_stats {
    uint32_t struct_size;
    uint32_t sequences;
    uint64_t pages_total;
    uint64_t pages_free;
    uint64_t pages_used;
    uint64_t pages_shared;
    uint64_t pages_pinned;
    uint64_t pages_high_water;
    uint64_t tokens_committed;
    uint64_t tokens_reserved;
    uint64_t copies_owed;
} hopmla_pool_stats;
#define HOPMLA_POOL_STATS_INIT { sizeof(hopmla_pool_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_pool_get_stats(hopmla_pool *pool, hopmla_pool_stats *stats, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_seq_create(hopmla_pool *pool, hopmla_seq *seqs, uint32_t count, hopmla_error *error);
#define HOPMLA_ALL_TOKENS UINT64_MAX
HOPMLA_API hopmla_status hopmla_seq_fork(hopmla_pool *pool, hopmla_seq parent, uint64_t length, hopmla_seq *child,
                                         hopmla_error *error);
HOPMLA_API hopmla_status hopmla_seq_reserve(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_new,
                                            uint32_t count, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_seq_commit(hopmla_pool *pool, const hopmla_seq *seqs, const uint32_t *n_tokens,
                                           uint32_t count, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_seq_truncate(hopmla_pool *pool, const hopmla_seq *seqs, const uint64_t *lengths,
                                             uint32_t count, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_seq_release(hopmla_pool *pool, const hopmla_seq *seqs, uint32_t count,
                                            hopmla_error *error);
typedef struct hopmla_seq_info {
    uint32_t struct_size;
    uint32_t pages;
    uint32_t pages_shared;
    uint32_t copy_owed;
    uint64_t committed;
    uint64_t reserved;
} hopmla_seq_info;
#define HOPMLA_SEQ_INFO_INIT { sizeof(hopmla_seq_info), 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_seq_describe(hopmla_pool *pool, hopmla_seq seq, hopmla_seq_info *info,
                                             hopmla_error *error);
HOPMLA_API hopmla_status hopmla_seq_pages(hopmla_pool *pool, hopmla_seq seq, int32_t *pages, uint32_t capacity,
                                          uint32_t *n_pages, hopmla_error *error);
#ifdef __cplusplus
}
#endif
#endif
/* plan.h */
#ifndef HOPMLA_PLAN_H
#define HOPMLA_PLAN_H
#ifdef __cplusplus
extern "C" {
#endif
typedef struct hopmla_plan hopmla_plan;
enum {
    HOPMLA_LSE_NATURAL = 0,
    HOPMLA_LSE_BASE2 = 1,
    HOPMLA_LSE_NATURAL_POSINF = 2
};
typedef struct hopmla_plan_options {
    uint32_t struct_size;
    uint32_t max_batch;
    uint32_t max_q_tokens;
    uint32_t heads;
    uint64_t max_kv_tokens;
    int32_t lse;
    uint32_t max_units;
    uint32_t staging_depth;
    uint32_t reserved;
    void *memory;
    uint64_t memory_bytes;
} hopmla_plan_options;
#define HOPMLA_PLAN_OPTIONS_INIT { sizeof(hopmla_plan_options), 0, 1, 0, 0, HOPMLA_LSE_NATURAL, 0, 4, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_plan_options_init(hopmla_plan_options *options, uint64_t size);
HOPMLA_API hopmla_status hopmla_plan_query(hopmla_pool *pool, const hopmla_plan_options *options,
                                           uint64_t *device_bytes, uint64_t *pinned_bytes, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_plan_create(hopmla_pool *pool, const hopmla_plan_options *options, hopmla_plan **plan,
                                            hopmla_error *error);
HOPMLA_API void hopmla_plan_destroy(hopmla_plan *plan);
HOPMLA_API hopmla_status hopmla_plan_update(hopmla_plan *plan, const hopmla_seq *seqs, const uint32_t *n_append,
                                            const uint32_t *q_lens, uint32_t count, hopmla_stream stream,
                                            hopmla_error *error);
HOPMLA_API hopmla_status hopmla_plan_end(hopmla_plan *plan, hopmla_stream stream, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_plan_done(hopmla_plan *plan, int32_t *done, hopmla_error *error);
typedef struct hopmla_append_args {
    uint32_t struct_size;
    uint32_t layer;
    int32_t dtype;
    uint32_t reserved;
    uint64_t tokens;
    int64_t latent_stride;
    int64_t rope_stride;
} hopmla_append_args;
#define HOPMLA_APPEND_ARGS_INIT { sizeof(hopmla_append_args), 0, HOPMLA_DTYPE_BF16, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_append_args_init(hopmla_append_args *args, uint64_t size);
HOPMLA_API hopmla_status hopmla_append(hopmla_plan *plan, const hopmla_append_args *args, const void *latent,
                                       const void *rope, hopmla_stream stream, hopmla_error *error);
typedef struct hopmla_gather_args {
    uint32_t struct_size;
    uint32_t layer;
    uint32_t row;
    uint32_t reserved;
    uint64_t first;
    uint64_t count;
    int64_t stride;
} hopmla_gather_args;
#define HOPMLA_GATHER_ARGS_INIT { sizeof(hopmla_gather_args), 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_gather_args_init(hopmla_gather_args *args, uint64_t size);
HOPMLA_API hopmla_status hopmla_gather(hopmla_plan *plan, const hopmla_gather_args *args, void *destination,
                                       hopmla_stream stream, hopmla_error *error);
typedef struct hopmla_decode_args {
    uint32_t struct_size;
    uint32_t layer;
    uint32_t rows;
    float softmax_scale;
    int64_t q_token_stride;
    int64_t q_head_stride;
    int64_t qr_token_stride;
    int64_t qr_head_stride;
    int64_t out_token_stride;
    int64_t out_head_stride;
    int64_t lse_token_stride;
    int64_t lse_head_stride;
} hopmla_decode_args;
#define HOPMLA_DECODE_ARGS_INIT { sizeof(hopmla_decode_args), 0, 0, 0.0f, 0, 0, 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_decode_args_init(hopmla_decode_args *args, uint64_t size);
HOPMLA_API hopmla_status hopmla_decode(hopmla_plan *plan, const hopmla_decode_args *args, const void *q,
                                       const void *q_rope, void *out, void *lse, hopmla_stream stream,
                                       hopmla_error *error);
typedef struct hopmla_plan_tables {
    uint32_t struct_size;
    uint32_t max_batch;
    uint32_t table_stride;
    uint32_t reserved;
    const int32_t *count;
    const int32_t *kv_lens;
    const int32_t *q_lens;
    const int32_t *q_starts;
    const int32_t *append_starts;
    const int32_t *block_table;
    uint64_t number;
} hopmla_plan_tables;
#define HOPMLA_PLAN_TABLES_INIT { sizeof(hopmla_plan_tables), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_plan_get_tables(hopmla_plan *plan, hopmla_plan_tables *tables, hopmla_error *error);
#ifdef __cplusplus
}
#endif
#endif
/* paged.h */
#ifndef HOPMLA_PAGED_H
#define HOPMLA_PAGED_H
#ifdef __cplusplus
extern "C" {
#endif
typedef struct hopmla_paged_desc {
    uint32_t struct_size;
    int32_t format;
    uint32_t batch;
    uint32_t max_q_tokens;
    uint64_t max_kv_tokens;
    uint32_t heads;
    int32_t lse;
    uint32_t max_units;
    uint32_t page_tokens;
    uint64_t pages;
    uint64_t table_stride;
    uint64_t latent_page_stride;
    uint64_t latent_row_stride;
    uint64_t rope_page_stride;
    uint64_t rope_row_stride;
} hopmla_paged_desc;
#define HOPMLA_PAGED_DESC_INIT { sizeof(hopmla_paged_desc), 0, 0, 1, 0, 0, HOPMLA_LSE_NATURAL, 0, HOPMLA_PAGE_TOKENS, \
    0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_paged_desc_init(hopmla_paged_desc *desc, uint64_t size);
HOPMLA_API hopmla_status hopmla_decode_paged_workspace(hopmla_context *context, const hopmla_paged_desc *desc,
                                                       uint64_t *bytes, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_decode_paged_prepare(hopmla_context *context, const hopmla_paged_desc *desc,
                                                     const int32_t *kv_lens, const int32_t *q_lens, void *workspace,
                                                     uint64_t workspace_bytes, hopmla_stream stream,
                                                     hopmla_error *error);
HOPMLA_API hopmla_status hopmla_decode_paged(hopmla_context *context, const hopmla_paged_desc *desc,
                                             const hopmla_decode_args *args, const void *latent, const void *rope,
                                             const int32_t *block_table, const void *q, const void *q_rope, void *out,
                                             void *lse, void *workspace, uint64_t workspace_bytes,
                                             hopmla_stream stream, hopmla_error *error);
enum {
    HOPMLA_PAGED_BAD_PAGE = 1,
    HOPMLA_PAGED_BAD_LENGTH = 2,
    HOPMLA_PAGED_BAD_ROWS = 4
};
HOPMLA_API hopmla_status hopmla_decode_paged_errors(hopmla_context *context, const void *workspace, uint32_t *word,
                                                    hopmla_stream stream, hopmla_error *error);
#ifdef __cplusplus
}
#endif
#endif
/* profile.h */
#ifndef HOPMLA_PROFILE_H
#define HOPMLA_PROFILE_H
#ifdef __cplusplus
extern "C" {
#endif
typedef struct hopmla_profiler hopmla_profiler;
enum {
    HOPMLA_CALL_APPEND = 1,
    HOPMLA_CALL_DECODE = 2,
    HOPMLA_CALL_GATHER = 3,
    HOPMLA_CALL_UPDATE = 4,
    HOPMLA_CALL_LAUNCH = 5
};
enum {
    HOPMLA_SOURCE_NONE = 0,
    HOPMLA_SOURCE_ANALYTIC = 1,
    HOPMLA_SOURCE_HOST = 2,
    HOPMLA_SOURCE_EVENT = 3,
    HOPMLA_SOURCE_ACTIVITY = 4,
    HOPMLA_SOURCE_COUNTER = 5
};
enum {
    HOPMLA_CLOCK_EVENTS = 1,
    HOPMLA_CLOCK_ACTIVITY = 2
};
enum {
    HOPMLA_COUNTERS_NONE = 0,
    HOPMLA_COUNTERS_LIGHT = 1,
    HOPMLA_COUNTERS_FULL = 2,
    HOPMLA_COUNTERS_CUSTOM = 3
};
enum {
    HOPMLA_CUSTOM_METRICS = 8
};
enum {
    HOPMLA_PROFILER_TOTALS_ONLY = 1
};
typedef struct hopmla_profiler_options {
    uint32_t struct_size;
    uint32_t clocks;
    int32_t counters;
    uint32_t sample_period;
    uint32_t capacity;
    uint32_t flags;
    const char *metrics;
    const char *cupti_path;
} hopmla_profiler_options;
#define HOPMLA_PROFILER_OPTIONS_INIT { sizeof(hopmla_profiler_options), 0, HOPMLA_COUNTERS_NONE, 1, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_profiler_options_init(hopmla_profiler_options *options, uint64_t size);
HOPMLA_API hopmla_status hopmla_profiler_create(hopmla_context *context, const hopmla_profiler_options *options,
                                                hopmla_profiler **profiler, hopmla_error *error);
HOPMLA_API void hopmla_profiler_destroy(hopmla_profiler *profiler);
HOPMLA_API hopmla_status hopmla_profiler_start(hopmla_profiler *profiler, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_profiler_stop(hopmla_profiler *profiler, hopmla_error *error);
typedef struct hopmla_profiler_info {
    uint32_t struct_size;
    int32_t started;
    int32_t time_source;
    int32_t counters;
    int32_t nvtx;
    uint32_t capacity;
    uint64_t recorded;
    uint64_t dropped;
    uint64_t waiting;
    uint64_t untimed;
    char activity_missing[256];
    char counters_missing[256];
} hopmla_profiler_info;
#define HOPMLA_PROFILER_INFO_INIT { sizeof(hopmla_profiler_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 }, { 0 } }
HOPMLA_API hopmla_status hopmla_profiler_describe(hopmla_profiler *profiler, hopmla_profiler_info *info,
                                                  hopmla_error *error);
HOPMLA_API hopmla_status hopmla_profiler_set_ceilings(hopmla_profiler *profiler, const hopmla_ceilings *ceilings,
                                                      hopmla_error *error);
enum {
    HOPMLA_VALID_WORK = 1,
    HOPMLA_VALID_TIME = 2,
    HOPMLA_VALID_BOUND = 4,
    HOPMLA_VALID_DRAM = 8,
    HOPMLA_VALID_TENSOR = 16,
    HOPMLA_VALID_CUSTOM = 32
};
enum {
    HOPMLA_RECORD_GRAPH = 1,
    HOPMLA_RECORD_RAW = 2
};
typedef struct hopmla_record {
    uint32_t struct_size;
    int32_t kind;
    uint64_t id;
    uint64_t plan;
    uint64_t step;
    uint32_t calls;
    uint32_t layer;
    uint32_t batch;
    uint32_t rows;
    uint32_t heads;
    int32_t format;
    uint32_t page_bytes;
    uint32_t flags;
    uint32_t valid;
    int32_t time_source;
    uint64_t kv_tokens;
    uint64_t flops;
    uint64_t bytes;
    uint64_t unique_bytes;
    int64_t host_begin_ns;
    int64_t host_ns;
    int64_t device_begin_ns;
    int64_t device_ns;
    double intensity;
    double bytes_per_second;
    double flops_per_second;
    double bound_ns;
    double fraction;
    uint64_t dram_read_bytes;
    uint64_t dram_write_bytes;
    uint64_t l2_bytes;
    uint64_t elapsed_cycles;
    uint64_t tensor_flops;
    double active_cycles;
    double tensor_cycles;
    double custom[HOPMLA_CUSTOM_METRICS];
} hopmla_record;
HOPMLA_API hopmla_status hopmla_profiler_read(hopmla_profiler *profiler, hopmla_record *records, uint64_t record_size,
                                              uint32_t capacity, uint32_t *count, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_profiler_finish(hopmla_profiler *profiler, hopmla_error *error);
typedef struct hopmla_totals {
    uint32_t struct_size;
    int32_t kind;
    uint64_t plan;
    uint64_t records;
    uint64_t dropped;
    uint64_t calls;
    uint64_t timed;
    uint64_t flops;
    uint64_t bytes;
    uint64_t timed_flops;
    uint64_t timed_bytes;
    int64_t time_ns;
    int64_t time_min_ns;
    int64_t time_max_ns;
    int64_t time_p50_ns;
    int64_t time_p90_ns;
    int64_t time_p99_ns;
    double bound_ns;
    double bound_time_ns;
    uint64_t counted;
    uint64_t counted_bytes;
    uint64_t dram_read_bytes;
    uint64_t dram_write_bytes;
    uint64_t l2_bytes;
    uint64_t counted_flops;
    uint64_t tensor_flops;
    uint64_t unique_bytes;
    uint64_t timed_unique_bytes;
    int64_t timed_work_ns;
} hopmla_totals;
#define HOPMLA_TOTALS_INIT { sizeof(hopmla_totals), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, \
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_profiler_get_totals(hopmla_profiler *profiler, int32_t kind, hopmla_plan *plan,
                                                    hopmla_totals *totals, hopmla_error *error);
typedef struct hopmla_launch_note {
    uint32_t struct_size;
    uint32_t appends;
    uint32_t decodes;
    int32_t dtype;
} hopmla_launch_note;
#define HOPMLA_LAUNCH_NOTE_INIT { sizeof(hopmla_launch_note), 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_launch_note_init(hopmla_launch_note *note, uint64_t size);
HOPMLA_API hopmla_status hopmla_plan_launch_begin(hopmla_plan *plan, const hopmla_launch_note *note,
                                                  hopmla_stream stream, hopmla_error *error);
HOPMLA_API hopmla_status hopmla_plan_launch_end(hopmla_plan *plan, int32_t launched, hopmla_stream stream,
                                                hopmla_error *error);
enum {
    HOPMLA_EXPORT_JSONL = 1,
    HOPMLA_EXPORT_CSV = 2,
    HOPMLA_EXPORT_TRACE = 3,
    HOPMLA_EXPORT_ROOFLINE = 4,
    HOPMLA_EXPORT_TIMELINE = 5
};
typedef int32_t (*hopmla_write_fn)(void *user, const void *text, uint64_t bytes);
typedef struct hopmla_export_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *path;
    hopmla_write_fn write;
    void *user;
    const char *device;
    const hopmla_ceilings *ceilings;
} hopmla_export_options;
#define HOPMLA_EXPORT_OPTIONS_INIT { sizeof(hopmla_export_options), 0, 0, 0, 0, 0, 0 }
HOPMLA_API hopmla_status hopmla_export_options_init(hopmla_export_options *options, uint64_t size);
HOPMLA_API hopmla_status hopmla_export_records(int32_t format, const hopmla_record *records, uint64_t record_size,
                                               uint64_t count, const hopmla_export_options *options,
                                               hopmla_error *error);
HOPMLA_API hopmla_status hopmla_export_metrics(hopmla_profiler *profiler, hopmla_pool *pool,
                                               const hopmla_export_options *options, hopmla_error *error);
#ifdef __cplusplus
}
#endif
#endif
