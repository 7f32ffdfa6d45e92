/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_CONTEXT_H
#define HOPMLA_CONTEXT_H

#include "status.h"

/** @file
 * The context: a backend, a device, and the caller's callbacks. Everything else is made from it. */

#ifdef __cplusplus
extern "C" {
#endif

/** CUDA's own opaque types, so that a CUcontext, CUstream or CUevent can be passed as it is without a CUDA header.
 * On the CPU backend streams, events and graphs are the library's own objects behind the same types. */
struct CUctx_st;
struct CUstream_st;
typedef struct CUstream_st *hopmla_stream;

/** Opaque, reference counted: a pool keeps its context alive, a plan its pool. Handles may be destroyed in any order. */
typedef struct hopmla_context hopmla_context;

/** What computes; stored as int32_t. */
enum {
    HOPMLA_BACKEND_AUTO = 0, /**< CUDA where a driver and a device of compute capability 9.0 are, else CPU */
    HOPMLA_BACKEND_CPU = 1,
    HOPMLA_BACKEND_CUDA = 2
};

/** Highest instruction set that the CPU backend may use; stored as int32_t. */
enum {
    HOPMLA_CPU_ISA_AUTO = 0,
    HOPMLA_CPU_ISA_PORTABLE = 1,
    HOPMLA_CPU_ISA_AVX2 = 2,   /**< AVX2, FMA, F16C */
    HOPMLA_CPU_ISA_AVX512 = 3  /**< AVX-512 F, BW, DQ, VL */
};

/** Severity of a log line; stored as int32_t. */
enum {
    HOPMLA_LOG_ERROR = 1,
    HOPMLA_LOG_WARNING = 2,
    HOPMLA_LOG_INFO = 3,
    HOPMLA_LOG_DEBUG = 4
};

/** Receives a log line. Called on the thread that made the library call, with no lock held. The text is valid during
 * the call only. It must not call the library, throw or unwind. */
typedef void (*hopmla_log_fn)(void *user, int32_t level, const char *text);

/** What memory is for; stored as int32_t. */
enum {
    HOPMLA_MEMORY_HOST = 1,      /**< bookkeeping, ordinary host memory */
    HOPMLA_MEMORY_PINNED = 2,    /**< host memory that the device reads and writes (page-locked, mapped) */
    HOPMLA_MEMORY_POOL = 3,      /**< device memory that holds KV pages */
    HOPMLA_MEMORY_TABLES = 4,    /**< device memory that holds a plan's tables */
    HOPMLA_MEMORY_WORKSPACE = 5  /**< device memory that holds partial results, and what hopmla_memory_alloc gives */
};

/** Allocates memory. "Device memory" is host memory on the CPU backend. On CUDA the device context is current, but for
 * HOST memory, which may be asked for under a pool's mutex: the callback must not call the library.
 *
 * @param user       the pointer given with the callback
 * @param size       bytes, at least 1
 * @param alignment  a power of two, at most 4096
 * @param kind       HOPMLA_MEMORY_*
 * @param stream     the stream the memory is first used on, NULL where not known
 * @return the address, or NULL when there is none (the call then fails with an OUT_OF_…_MEMORY status).
 *
 * Books, pools, tables, workspaces and staging come from here; what a backend keeps for itself (threads and their
 * scratch, streams, events, graphs, measurements) does not. */
typedef void *(*hopmla_alloc_fn)(void *user, uint64_t size, uint64_t alignment, int32_t kind, hopmla_stream stream);

/** Takes back what the allocator gave, with the same size and kind. */
typedef void (*hopmla_free_fn)(void *user, void *address, uint64_t size, int32_t kind, hopmla_stream stream);

typedef struct hopmla_context_options {
    uint32_t struct_size;
    int32_t backend;              /**< HOPMLA_BACKEND_* */
    int32_t device;               /**< CUDA device ordinal, 0 or more; its primary context is used. Ignored when cu_context
                                       is set, and on CPU */
    int32_t cpu_threads;          /**< threads of the CPU backend, the calling one counted; 0: one per core this process may use; at most 1024 */
    int32_t cpu_isa;              /**< HOPMLA_CPU_ISA_*; one that the processor lacks is UNSUPPORTED */
    int32_t log_level;            /**< lines above this level are not made; 0: none */
    struct CUctx_st *cu_context;  /**< the caller's CUcontext, or NULL. It must outlive the context and its children. Not
                                       looked at on CPU */
    hopmla_log_fn log;            /**< or NULL */
    void *log_user;
    hopmla_alloc_fn alloc;        /**< with free, or both NULL for the library's own */
    hopmla_free_fn free;
    void *alloc_user;
} hopmla_context_options;

#define HOPMLA_CONTEXT_OPTIONS_INIT { sizeof(hopmla_context_options), HOPMLA_BACKEND_AUTO, 0, 0, \
    HOPMLA_CPU_ISA_AUTO, 0, 0, 0, 0, 0, 0, 0 }

/** Sets every field to its default. @param size sizeof the struct in the caller's header.
 * @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_context_options_init(hopmla_context_options *options, uint64_t size);

/** What a context runs on. */
typedef struct hopmla_context_info {
    uint32_t struct_size;
    int32_t backend;             /**< HOPMLA_BACKEND_CPU or HOPMLA_BACKEND_CUDA */
    int32_t device;              /**< ordinal; -1 on CPU */
    int32_t driver_version;      /**< CUDA version the driver supports, for example 13000; 0 on CPU */
    int32_t compute_major;
    int32_t compute_minor;
    int32_t units;               /**< streaming multiprocessors, or threads of the CPU backend */
    int32_t cpu_isa;             /**< the one in use; 0 on CUDA */
    uint64_t memory_bytes;       /**< of the device, or of the machine */
    uint64_t l2_bytes;           /**< 0 where not known */
    char name[128];              /**< of the device or processor */
} hopmla_context_info;

#define HOPMLA_CONTEXT_INFO_INIT { sizeof(hopmla_context_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 } }

/** Creates a context. On CUDA it retains the primary context or takes the caller's, loads every kernel, and leaves the
 * calling thread's current context as it was; nothing is loaded lazily afterwards.
 *
 * @param options  NULL for the defaults
 * @param context  receives the handle; untouched on failure
 *
 * Ownership: the caller's, until hopmla_context_destroy.
 * Thread-safe. May synchronise the device while it loads: call it outside stream capture. A context does not survive
 * fork(): the child makes its own.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, UNSUPPORTED, NO_DRIVER, OLD_DRIVER, NO_DEVICE, DEVICE,
 *         NOT_BUILT, and the driver's. With AUTO only argument errors, UNSUPPORTED and OUT_OF_HOST_MEMORY: what keeps
 *         CUDA from being used is logged at INFO. */
HOPMLA_API hopmla_status hopmla_context_create(const hopmla_context_options *options, hopmla_context **context,
                                               hopmla_error *error);

/** Drops the caller's reference; the context goes when its last pool has gone. NULL is allowed.
 * Thread-safe; the handle must not be used afterwards. */
HOPMLA_API void hopmla_context_destroy(hopmla_context *context);

/** Describes what a context runs on.
 *
 * @param info  struct_size set by the caller
 * Thread-safe. Makes no driver call. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_context_describe(hopmla_context *context, hopmla_context_info *info,
                                                 hopmla_error *error);

/** Measured ceilings of the device, and the conditions that they were measured under. */
typedef struct hopmla_ceilings {
    uint32_t struct_size;
    uint32_t reserved;                 /**< 0 */
    double read_bytes_per_second;      /**< reading memory far larger than the cache */
    double flops_burst;                /**< bf16 multiply-add with float32 sums on random data, in the first milliseconds */
    double flops_sustained;            /**< the same after about two seconds of it, when power limits the clock */
    int64_t unix_time;                 /**< when it was, in seconds since 1970 */
    double sustained_mhz;              /**< clock of the multiprocessors during the sustained part, as NVML tells it; 0 where
                                            it could not be read, and on CPU */
    double sustained_watts;            /**< power of the card then; likewise */
    char driver[32];                   /**< its release, for example "580.159.03"; empty where not known */
} hopmla_ceilings;

#define HOPMLA_CEILINGS_INIT { sizeof(hopmla_ceilings), 0, 0.0, 0.0, 0.0, 0, 0.0, 0.0, { 0 } }

/** Measures the ceilings that decode times are held against, by kernels of the library's own: a streaming read, and a
 * loop of matrix multiplications without memory traffic. Takes about three seconds and allocates 1 GiB of device
 * memory meanwhile (64 MiB on CPU).
 *
 * Thread-safe, but meaningless while other work runs. Synchronises; not capturable.
 * @return OK, NULL, STRUCT_SIZE, and the driver's. */
HOPMLA_API hopmla_status hopmla_measure_ceilings(hopmla_context *context, hopmla_ceilings *ceilings,
                                                 hopmla_error *error);

/** Reads ceilings that were measured earlier from a file, or measures them as above and adds them to it. They hold for
 * one model of device with its memory and multiprocessors (on CPU: the processor, its instruction set in use and the
 * number of threads), one release of the driver and one of this library: two cards of a model share them.
 *
 * A file that is damaged or missing means that they are measured; one that cannot be written is logged as a WARNING. It
 * is replaced whole, so that a reader never finds half of it. Ceilings that were taken on a busy device stay in it: delete
 * the file to have them measured anew.
 *
 * @param path  the file; NULL: $XDG_CACHE_HOME/hopmla/ceilings or ~/.cache/hopmla/ceilings, whose folders are made. Where
 *              neither variable is set they are measured and not kept
 * @return OK, NULL, STRUCT_SIZE, ARGUMENT when path is empty, and the driver's. */
HOPMLA_API hopmla_status hopmla_load_ceilings(hopmla_context *context, const char *path, hopmla_ceilings *ceilings,
                                              hopmla_error *error);

#ifdef __cplusplus
}
#endif

#endif
