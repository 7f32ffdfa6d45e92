/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_BACKEND_H
#define HM_BACKEND_H

/** @file
 * The seam between lib/ and whatever computes. A backend is one constant table of functions; lib/ knows nothing else
 * of it, and a backend knows neither the pool's books nor the plan. Internal: not installed.
 *
 * Rules for every function below
 * - arguments were validated by lib/: pointers are set, sizes are in range and do not overflow;
 * - device, stream and every enqueued call leave the caller's current CUDA context as it was (push, pop);
 * - calls marked "enqueues" never synchronise and never allocate, and work while the stream is being captured;
 *   structs passed by pointer are copied before they return;
 * - a failure sets `error` through hm_fail* (lib/error.h), returns its status, and leaves nothing behind. */

#include "hopmla/hopmla.h"
#include "kernels/format.h"

/** A backend's state for one context. */
typedef struct hm_device hm_device;

/** How a context was asked for. */
typedef struct hm_open_options {
    int32_t device;
    int32_t cpu_threads;
    int32_t cpu_isa;
    struct CUctx_st *cu_context;
    void (*log)(void *user, int32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));
    void *log_user;
} hm_open_options;

/** Cached rows of every layer. Row t of page p of layer l: latent + l·layer_stride + p·latent_page_stride +
 * t·latent_row_stride, and the same with rope. A pool, and raw arrays that keep both parts in one row, have
 * rope = latent + 1024 bytes. A format without a rope part has rope NULL and its strides 0. layer_stride is 0 for raw
 * arrays (one layer), else pages·page_stride. */
typedef struct hm_kv {
    char *latent;
    char *rope;
    uint64_t latent_page_stride;
    uint64_t latent_row_stride;
    uint64_t rope_page_stride;
    uint64_t rope_row_stride;
    uint64_t layer_stride;
    uint64_t pages;
    uint32_t layers;
    int32_t format; /* HOPMLA_KV_* */
} hm_kv;

/** What a backend wants to keep about an hm_kv, so that it is made once for a plan: TMA descriptors on CUDA. */
typedef struct hm_binding {
    _Alignas(64) unsigned char bytes[256];
} hm_binding;

/** Everything that launches may depend on. */
typedef struct hm_envelope {
    uint32_t max_batch;
    uint32_t max_q_tokens;
    uint32_t heads;
    uint32_t max_units; /* 0: all */
    uint64_t max_kv_tokens;
    int32_t format;
    int32_t lse; /* HOPMLA_LSE_* */
} hm_envelope;

/** Tables on the device. A plan's are written by `apply`; a raw caller's are the caller's. */
typedef struct hm_tables {
    const int32_t *count;         /* [1], or NULL: max_batch rows */
    const int32_t *kv_lens;       /* [max_batch] */
    const int32_t *q_lens;        /* [max_batch], or NULL: max_q_tokens each */
    const int32_t *append_starts; /* [max_batch + 1]; NULL for raw */
    const int32_t *block_table;   /* [max_batch, table_stride]; NULL for a raw schedule */
    uint64_t table_stride;
} hm_tables;

/** One update of a plan's tables, as lib/ lays it out in pinned memory. Offsets are bytes from this header. */
typedef struct hm_staging {
    uint32_t count;   /* rows of the batch */
    uint32_t runs;    /* hm_run */
    uint32_t copies;  /* hm_copy */
    uint32_t entries; /* page ids over all runs */
    uint64_t rows_at; /* 4 arrays: int32 kv_lens[count], q_lens[count], q_starts[count + 1], append_starts[count + 1] */
    uint64_t runs_at; /* hm_run[runs] */
    uint64_t pages_at; /* int32[entries] */
    uint64_t copies_at;
} hm_staging;

/** block_table[row][first + i] = pages[offset + i] for i < n. */
typedef struct hm_run {
    uint32_t row;
    uint32_t first;
    uint32_t n;
    uint32_t offset;
} hm_run;

/** In every layer, the first `tokens` rows of page `source` go to page `destination`. */
typedef struct hm_copy {
    int32_t source;
    int32_t destination;
    uint32_t tokens;
    uint32_t reserved;
} hm_copy;

/** Where `apply` writes: a plan's own arrays behind the const pointers of hm_tables. */
typedef struct hm_table_memory {
    int32_t *count;         /* [1] */
    int32_t *kv_lens;       /* [max_batch]; 0 is written beyond count */
    int32_t *q_lens;        /* [max_batch]; 0 beyond count */
    int32_t *q_starts;      /* [max_batch + 1]; the total beyond count */
    int32_t *append_starts; /* [max_batch + 1]; the total beyond count */
    int32_t *block_table;   /* [max_batch, table_stride] */
    uint64_t table_stride;
    uint32_t max_batch;
    uint32_t reserved;
} hm_table_memory;

/** An append; strides in elements, never 0. Without a rope part rope is NULL and its stride 0. */
typedef struct hm_append {
    const void *latent;
    const void *rope;
    int64_t latent_stride;
    int64_t rope_stride;
    uint64_t tokens; /* rows in the sources: appended tokens beyond it are left out */
    uint32_t layer;
    int32_t dtype; /* HOPMLA_DTYPE_*: the pool's or FP32 */
} hm_append;

/** A gather; rows at or beyond kv_lens[row] are written as 0, and so is everything when row is beyond count. */
typedef struct hm_gather {
    void *destination;
    int64_t stride;
    uint64_t first;
    uint64_t count;
    uint32_t layer;
    uint32_t row;
} hm_gather;

/** A decode; strides in elements, never 0. A joint q comes as q_rope = q + 512 elements with the same strides; without
 * a rope part q_rope is NULL and its strides 0. */
typedef struct hm_decode {
    const void *q;
    const void *q_rope;
    void *out;
    float *lse; /* or NULL */
    int64_t q_token_stride;
    int64_t q_head_stride;
    int64_t qr_token_stride;
    int64_t qr_head_stride;
    int64_t out_token_stride;
    int64_t out_head_stride;
    int64_t lse_token_stride;
    int64_t lse_head_stride;
    uint32_t layer;
    uint32_t rows;
    float softmax_scale;
    uint32_t reserved;
} hm_decode;

typedef struct hm_backend {
    int32_t kind; /* HOPMLA_BACKEND_* */

    hopmla_status (*open)(const hm_open_options *options, hm_device **device, hopmla_error *error);
    void (*close)(hm_device *device);
    /** Fills everything of info but struct_size. */
    void (*describe)(const hm_device *device, hopmla_context_info *info);
    hopmla_status (*measure_ceilings)(hm_device *device, hopmla_ceilings *ceilings, hopmla_error *error);

    /** The library's own allocator for every kind but HOST. OUT_OF_DEVICE_MEMORY, for PINNED OUT_OF_HOST_MEMORY, when
     * there is none (hm_fail_memory); DRIVER or DRIVER_STICKY when the driver fails for another reason. */
    hopmla_status (*alloc)(hm_device *device, uint64_t bytes, uint64_t alignment, int32_t kind, hopmla_stream stream,
                           void **memory, hopmla_error *error);
    void (*free)(hm_device *device, void *memory, uint64_t bytes, int32_t kind, hopmla_stream stream);
    /** Makes the device's context current and puts the former one back: around the caller's allocator callbacks. */
    hopmla_status (*enter)(hm_device *device, hopmla_error *error);
    void (*leave)(hm_device *device);
    /** Waits for everything in the context. */
    hopmla_status (*synchronize)(hm_device *device, hopmla_error *error);

    hopmla_status (*copy)(hm_device *device, void *destination, const void *source, uint64_t bytes,
                          hopmla_stream stream, hopmla_error *error); /* enqueues */
    hopmla_status (*fill)(hm_device *device, void *destination, uint8_t value, uint64_t bytes, hopmla_stream stream,
                          hopmla_error *error); /* enqueues */

    /** MISMATCH when the stream is of another context; *capturing receives 1 while it is being captured. */
    hopmla_status (*stream_check)(hm_device *device, hopmla_stream stream, int32_t *capturing, hopmla_error *error);
    hopmla_status (*stream_create)(hm_device *device, hopmla_stream *stream, hopmla_error *error);
    void (*stream_destroy)(hm_device *device, hopmla_stream stream);
    hopmla_status (*stream_synchronize)(hm_device *device, hopmla_stream stream, hopmla_error *error);
    /** From here to graph_launch: MISMATCH when an event or graph turns out to be of another context. The CPU backend
     * knows its own; CUDA tells in event_record and event_elapsed, else only when the other context is gone. */
    hopmla_status (*stream_wait_event)(hm_device *device, hopmla_stream stream, hopmla_event event,
                                       hopmla_error *error);
    hopmla_status (*event_create)(hm_device *device, hopmla_event *event, hopmla_error *error);
    void (*event_destroy)(hm_device *device, hopmla_event event);
    hopmla_status (*event_record)(hm_device *device, hopmla_event event, hopmla_stream stream, hopmla_error *error);
    /** Whether the event has happened, without waiting. Not affected by, nor breaking, captures under way elsewhere. */
    hopmla_status (*event_query)(hm_device *device, hopmla_event event, int32_t *happened, hopmla_error *error);
    hopmla_status (*event_synchronize)(hm_device *device, hopmla_event event, hopmla_error *error);
    hopmla_status (*event_elapsed)(hm_device *device, hopmla_event begin, hopmla_event end, double *microseconds,
                                   hopmla_error *error);
    hopmla_status (*graph_begin)(hm_device *device, hopmla_stream stream, hopmla_error *error);
    hopmla_status (*graph_end)(hm_device *device, hopmla_stream stream, hopmla_graph *graph, hopmla_error *error);
    hopmla_status (*graph_launch)(hm_device *device, hopmla_graph graph, hopmla_stream stream, hopmla_error *error);
    void (*graph_destroy)(hm_device *device, hopmla_graph graph);

    /** The stream writes value to *fence (pinned memory, 8-byte aligned) after all its work so far: visible to the host
     * with that work's effects. Enqueues; not captured. */
    hopmla_status (*fence_signal)(hm_device *device, hopmla_stream stream, uint64_t *fence, uint64_t value,
                                  hopmla_error *error);
    /** Later work of the stream waits until *fence >= value. Enqueues; not captured. */
    hopmla_status (*fence_wait)(hm_device *device, hopmla_stream stream, const uint64_t *fence, uint64_t value,
                                hopmla_error *error);

    hopmla_status (*bind)(hm_device *device, const hm_kv *kv, hm_binding *binding, hopmla_error *error);
    /** Carries out one update: writes all rows' arrays, the runs, then the copies. `staging` is pinned and stays valid
     * until the stream has passed. Enqueues; not captured. */
    hopmla_status (*apply)(hm_device *device, const hm_kv *kv, const hm_table_memory *memory, const hm_staging *staging,
                           hopmla_stream stream, hopmla_error *error);

    /** Bytes of workspace for an envelope, a multiple of 1024. The first uint32 of a workspace is the error word
     * (HOPMLA_PAGED_BAD_*). */
    uint64_t (*workspace_bytes)(const hm_device *device, const hm_envelope *envelope);
    /** Reads lengths (count, kv_lens, q_lens), of a plan the other tables too, clears the error word and writes the
     * schedule into the workspace, which later decodes follow. A length outside the envelope is cut and reported in the
     * error word. Enqueues. */
    hopmla_status (*schedule)(hm_device *device, const hm_envelope *envelope, const hm_tables *tables, void *workspace,
                              hopmla_stream stream, hopmla_error *error);
    /** Enqueues. */
    hopmla_status (*append)(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                            const hm_append *append, hopmla_stream stream, hopmla_error *error);
    /** Enqueues. */
    hopmla_status (*gather)(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_tables *tables,
                            const hm_gather *gather, hopmla_stream stream, hopmla_error *error);
    /** Rows from the batch's total up to decode->rows get output 0 and the empty LSE. Only block_table and table_stride
     * of `tables` are read; lengths come from the workspace. A page id outside 0 … pages − 1 counts as zeros and is
     * reported in the error word. Enqueues. */
    hopmla_status (*decode)(hm_device *device, const hm_envelope *envelope, const hm_kv *kv, const hm_binding *binding,
                            const hm_tables *tables, const hm_decode *decode, void *workspace, hopmla_stream stream,
                            hopmla_error *error);
} hm_backend;

extern const hm_backend hm_cpu_backend;
#if HOPMLA_HAVE_CUDA
extern const hm_backend hm_sm90_backend;
#endif

#endif
