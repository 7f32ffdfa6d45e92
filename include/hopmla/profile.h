/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_PROFILE_H
#define HOPMLA_PROFILE_H

#include "plan.h"

/** @file
 * What calls cost: one record a call with analytic bytes and FLOPs, device time and hardware counters, totals of them,
 * and exporters.
 *
 *     hopmla_profiler_create(context, &options, &profiler, …)   clocks and counters; what is missing is said, not refused
 *     hopmla_profiler_start(profiler, …)
 *         … the engine's steps; graph launches between hopmla_plan_launch_begin and hopmla_plan_launch_end
 *     hopmla_profiler_stop(profiler, …)
 *     hopmla_profiler_read(profiler, records, …)                 at any time, also in between
 *     hopmla_export_records(HOPMLA_EXPORT_CSV, records, …)
 *
 * The caller's calls never fail, wait or allocate because of a profiler: what cannot be measured is marked as not valid,
 * what does not fit is dropped and counted. With no profiler started a call makes one relaxed atomic load more.
 *
 * NVTX ranges need no profiler: domain "hopmla", ranges append, decode, gather, update and launch, whenever a tool that
 * listens was there when the context was created. A launch of a graph with calls of one kind is a range of that kind.
 *
 * Calls made while their stream is being captured run nothing and make no record; graph launches are recorded between
 * hopmla_plan_launch_begin and hopmla_plan_launch_end. Calls and launches that fail make no record.
 *
 * Thread-safety: every function is thread-safe, but for the launches of one plan, which belong to the thread that uses
 * the plan. A profiler keeps its context alive. One profiler of a context can be started at a time, and hardware counters
 * belong to one in the process. In the child after fork() a profiler is stopped for good: reads and totals give nothing,
 * and hopmla_profiler_destroy frees no more than its own memory. */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hopmla_profiler hopmla_profiler;

/** What a record or a total is about; stored as int32_t. */
enum {
    HOPMLA_CALL_APPEND = 1, /**< hopmla_append */
    HOPMLA_CALL_DECODE = 2, /**< hopmla_decode, hopmla_decode_paged */
    HOPMLA_CALL_GATHER = 3, /**< hopmla_gather */
    HOPMLA_CALL_UPDATE = 4, /**< hopmla_plan_update, hopmla_decode_paged_prepare: tables, copies that forks owe, schedule */
    HOPMLA_CALL_LAUNCH = 5  /**< a launch of a graph that holds appends and decodes; of one kind it counts as that kind */
};

/** Where a figure comes from; stored as int32_t. */
enum {
    HOPMLA_SOURCE_NONE = 0,
    HOPMLA_SOURCE_ANALYTIC = 1, /**< computed from shapes and lengths. Reserved: no field says it in this release */
    HOPMLA_SOURCE_HOST = 2,     /**< the time of the call itself: the CPU backend, where a call ends with its work */
    HOPMLA_SOURCE_EVENT = 3,    /**< a pair of CUDA events: a few microseconds too long, for groups of calls */
    HOPMLA_SOURCE_ACTIVITY = 4, /**< CUPTI's kernel times: first start to last end */
    HOPMLA_SOURCE_COUNTER = 5   /**< CUPTI's range profiler: hardware counters. Reserved likewise */
};

/** Clocks that may be asked for; bits. Nothing of them: analytic figures alone, and on CPU the host's clock. */
enum {
    HOPMLA_CLOCK_EVENTS = 1,   /**< two CUDA events around each call. Ignored on CPU */
    HOPMLA_CLOCK_ACTIVITY = 2  /**< CUPTI activity; where it is given, it takes the place of events. Of a thread's last call
                                   the time comes a second later, or with hopmla_profiler_finish */
};

/** Sets of hardware counters; stored as int32_t. All are read in one pass, of one call at a time: a call that comes while
 * another is counted is not. No other work of the context runs beside a counted call. LIGHT makes the device idle for some
 * 40 microseconds before and after it, and no host thread wait. The others wait for the device before the call and after
 * it, a millisecond in all, and break a capture that another thread makes meanwhile where it is not known.
 *
 * What is known of captures: those between hopmla_graph_begin and hopmla_graph_end, and those of blocking streams. */
enum {
    HOPMLA_COUNTERS_NONE = 0,
    HOPMLA_COUNTERS_LIGHT = 1, /**< DRAM bytes, L2 bytes, elapsed cycles */
    HOPMLA_COUNTERS_FULL = 2,  /**< and tensor operations, active cycles, tensor cycles */
    HOPMLA_COUNTERS_CUSTOM = 3 /**< those of hopmla_profiler_options.metrics, to hopmla_record.custom */
};

enum {
    HOPMLA_CUSTOM_METRICS = 8
};

/** Bits of hopmla_profiler_options.flags. */
enum {
    HOPMLA_PROFILER_TOTALS_ONLY = 1 /**< finished records go to the totals and are not kept: for a process that is scraped
                                         and whose records nobody reads. hopmla_profiler_read gives none, but it, or a
                                         scrape, has to come as often as without this flag: see there */
};

typedef struct hopmla_profiler_options {
    uint32_t struct_size;
    uint32_t clocks;          /**< HOPMLA_CLOCK_* bits */
    int32_t counters;         /**< HOPMLA_COUNTERS_* */
    uint32_t sample_period;   /**< counters are read for every n-th call of a kind; 0 and 1: for each */
    uint32_t capacity;        /**< records that may be under way or wait to be read, 1 … 2^24, rounded up to a power of
                                   two; 0: 65,536. Allocated at creation, 128 bytes each */
    uint32_t flags;           /**< HOPMLA_PROFILER_* bits */
    const char *metrics;      /**< CUSTOM only: CUPTI's names, at most 8, separated by commas; read at creation */
    const char *cupti_path;   /**< the libcupti.so to open, or its folder; or NULL: that of HOPMLA_CUPTI_PATH of the
                                   environment, else one already in the process, the loader's, the toolkit's. The first
                                   one that is opened serves the process from then on */
} hopmla_profiler_options;

#define HOPMLA_PROFILER_OPTIONS_INIT { sizeof(hopmla_profiler_options), 0, HOPMLA_COUNTERS_NONE, 1, 0, 0, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_profiler_options_init(hopmla_profiler_options *options, uint64_t size);

/** Creates a profiler, stopped. What the machine cannot give (no CUPTI, no privilege for counters, another tool that
 * holds them) is left out: hopmla_profiler_describe says what and why.
 *
 * @param options  NULL for the defaults
 *
 * Ownership: the caller's, until hopmla_profiler_destroy. *profiler is untouched on failure.
 * Opens CUPTI and creates events where they are asked for. Not during capture.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, and the driver's. */
HOPMLA_API hopmla_status hopmla_profiler_create(hopmla_context *context, const hopmla_profiler_options *options,
                                                hopmla_profiler **profiler, hopmla_error *error);

/** Stops and destroys it; records that were not read are lost. May be called in the middle of a step, and waits then
 * until calls that are being recorded on other threads have returned. NULL is allowed. */
HOPMLA_API void hopmla_profiler_destroy(hopmla_profiler *profiler);

/** Starts recording the context's calls. Opening a session of counters takes some 0.2 to 0.7 s, synchronises the device and
 * breaks captures under way in the context. CUPTI has room for one user in the process: while another one is there, or a
 * tool such as Nsight, its figures are left out, and hopmla_profiler_describe says so.
 * @return OK, NULL; STATE when this or another profiler of the context is started or still stopping, or after fork(); BUSY when hardware
 *         counters were promised and another profiler of the process holds them; CAPTURE when it is known that a capture
 *         is under way that they would break; and the driver's. */
HOPMLA_API hopmla_status hopmla_profiler_start(hopmla_profiler *profiler, hopmla_error *error);

/** Stops recording; what was recorded can still be read. A session of counters is not closed during a capture that is known,
 * but by the next start, stop or destroy. Waits until calls that are being recorded on other threads have
 * returned; synchronises the device only where a session of CUPTI is open. Stopping twice is allowed.
 * @return OK, NULL. */
HOPMLA_API hopmla_status hopmla_profiler_stop(hopmla_profiler *profiler, hopmla_error *error);

/** What a profiler measures here. */
typedef struct hopmla_profiler_info {
    uint32_t struct_size;
    int32_t started;              /**< 1 or 0 */
    int32_t time_source;          /**< HOPMLA_SOURCE_* of device times */
    int32_t counters;             /**< HOPMLA_COUNTERS_* that are read */
    int32_t nvtx;                 /**< 1 when a tool listens to ranges */
    uint32_t capacity;
    uint64_t recorded;            /**< records made since creation, dropped ones too */
    uint64_t dropped;             /**< of these, those that found the ring full */
    uint64_t waiting;             /**< made and not yet read, those of work that still runs too */
    uint64_t untimed;             /**< finished without the device time that time_source promises: all 8,192 pairs of
                                       events were in use, because nothing was read for as many calls, or a driver
                                       call failed */
    char activity_missing[256];   /**< why there are no activity times though asked for, and how to get them; else empty */
    char counters_missing[256];   /**< the same for counters */
} hopmla_profiler_info;

#define HOPMLA_PROFILER_INFO_INIT { sizeof(hopmla_profiler_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 }, { 0 } }

/** Describes it, and takes in what has finished, as hopmla_profiler_read does: makes driver calls (event queries), and with
 * counters may synchronise the device. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_profiler_describe(hopmla_profiler *profiler, hopmla_profiler_info *info,
                                                  hopmla_error *error);

/** Ceilings that bounds are computed from, of records that are summed or read from now on; until then bound and fraction
 * are not valid.
 * @param ceilings  NULL: none from now on
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT when a rate is not finite and > 0, or reserved is not 0. */
HOPMLA_API hopmla_status hopmla_profiler_set_ceilings(hopmla_profiler *profiler, const hopmla_ceilings *ceilings,
                                                      hopmla_error *error);

/** Which figures of a record hold; bits of hopmla_record.valid. */
enum {
    HOPMLA_VALID_WORK = 1,    /**< kv_tokens, flops, bytes, unique_bytes, intensity. Not for raw calls: the host does not
                                   know their lengths. Nor for a decode or launch in a step whose update came before
                                   the profiler's start, while another thread is in a call with the same pool */
    HOPMLA_VALID_TIME = 2,    /**< device_begin_ns, device_ns; with WORK also bytes_per_second, flops_per_second */
    HOPMLA_VALID_BOUND = 4,   /**< bound_ns; with TIME also fraction */
    HOPMLA_VALID_DRAM = 8,    /**< dram_read_bytes, dram_write_bytes, l2_bytes, elapsed_cycles */
    HOPMLA_VALID_TENSOR = 16, /**< tensor_flops, active_cycles, tensor_cycles */
    HOPMLA_VALID_CUSTOM = 32  /**< custom */
};

/** Bits of hopmla_record.flags. */
enum {
    HOPMLA_RECORD_GRAPH = 1, /**< a launch of a graph */
    HOPMLA_RECORD_RAW = 2    /**< without a pool */
};

/** One call, or one launch of a graph with the sums of the calls in it. FLOPs are 2 × 1088, without a rope part 2 × 1024,
 * for each query row (token and head) and visible token. Bytes of a decode are each batch row's cached tokens once, q,
 * out and lse (of a launch with lse, always); of an append, its sources and the rows written; of a gather, rows read and
 * written; of an update, the tables sent and the rows copied, read and written. Partial results that a kernel keeps for
 * itself are not counted. */
typedef struct hopmla_record {
    uint32_t struct_size;
    int32_t kind;             /**< HOPMLA_CALL_* */
    uint64_t id;              /**< 1, 2, … in the order of the calls; a gap was dropped */
    uint64_t plan;            /**< number of the plan in the process, from 1, as in hopmla_plan_tables; 0: raw */
    uint64_t step;            /**< of the plan, from 1: one for each update */
    uint32_t calls;           /**< 1, or those in the graph */
    uint32_t layer;           /**< of one call */
    uint32_t batch;           /**< batch rows */
    uint32_t rows;            /**< query tokens (decode, launch), tokens (append, gather), batch rows (update) */
    uint32_t heads;
    int32_t format;           /**< HOPMLA_KV_* */
    uint32_t page_bytes;      /**< of one page of one layer */
    uint32_t flags;           /**< HOPMLA_RECORD_* */
    uint32_t valid;           /**< HOPMLA_VALID_* */
    int32_t time_source;      /**< HOPMLA_SOURCE_* of the device time */
    uint64_t kv_tokens;       /**< cached tokens of all batch rows that decode, this step's counted, in one layer */
    uint64_t flops;
    uint64_t bytes;
    uint64_t unique_bytes;    /**< the same with cached tokens that several batch rows share counted once */
    int64_t host_begin_ns;    /**< CLOCK_MONOTONIC when the call came */
    int64_t host_ns;          /**< that the call took; of a launch, from begin to end */
    int64_t device_begin_ns;  /**< on the same clock; by events wrong by 50 microseconds at most when read within some 30 s
                                   of the call; later, by as much more as the two clocks have drifted apart since */
    int64_t device_ns;
    double intensity;         /**< FLOPs / bytes */
    double bytes_per_second;
    double flops_per_second;
    double bound_ns;          /**< the longer of unique bytes at the read ceiling and FLOPs at the higher FLOP ceiling */
    double fraction;          /**< bound_ns / device_ns */
    uint64_t dram_read_bytes;
    uint64_t dram_write_bytes;
    uint64_t l2_bytes;        /**< asked of L2 by the multiprocessors */
    uint64_t elapsed_cycles;
    uint64_t tensor_flops;    /**< of the pool format's wgmma */
    double active_cycles;     /**< of a multiprocessor on average */
    double tensor_cycles;     /**< in which its tensor cores worked, on average */
    double custom[HOPMLA_CUSTOM_METRICS]; /**< in the order of options.metrics; NaN beyond their number */
} hopmla_record;

/** Reads records in the order of their calls, finished ones only, and takes them out of the ring. Never waits: what is
 * still running stays for a later read.
 *
 * Calls are not taken in by themselves, but by this function (`capacity` may be 0), hopmla_profiler_describe,
 * hopmla_profiler_finish, hopmla_profiler_get_totals and hopmla_export_metrics. One of them has to be called, also for
 * totals alone, before `capacity` records are under way, or those that come then are dropped; and before 8,192 are with
 * events as the clock, or they have no time. An engine that calls append and decode for each of 61 layers makes 123
 * records a step: with 50 steps a second 65,536 are full after 10 s and 8,192 after 1.3 s, so read every second. Where
 * launches of graphs stand for the layers it is two records a step: 655 s and 81 s.
 *
 * Counters come in together: those of 512 calls with LIGHT, of 128 with the others, or of fewer when half the ring waits
 * for them; calls beyond that are not counted until then. This, as in every function that takes in what has finished,
 * synchronises the device for some 30 to 60 ms, and is put off while a capture is known.
 *
 * @param records      [capacity] with `record_size` bytes between them; may be NULL when capacity is 0
 * @param record_size  sizeof(hopmla_record) in the caller's header; each record's struct_size says what was written
 * @param count        receives how many were written
 * Makes driver calls (event queries). @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_profiler_read(hopmla_profiler *profiler, hopmla_record *records, uint64_t record_size,
                                              uint32_t capacity, uint32_t *count, hopmla_error *error);

/** Waits until every record of a call that has returned can be read. Synchronises the context; not during capture. Behind a
 * launch that was begun and not ended records wait until its end, or a stop: hopmla_profiler_info.waiting counts them.
 * @return OK, NULL, and the driver's. */
HOPMLA_API hopmla_status hopmla_profiler_finish(hopmla_profiler *profiler, hopmla_error *error);

/** Sums over finished records since creation, read or not. */
typedef struct hopmla_totals {
    uint32_t struct_size;
    int32_t kind;
    uint64_t plan;             /**< number of the plan; 0: all plans and raw calls */
    uint64_t records;
    uint64_t dropped;          /**< records of the kind that are in none of the others; 0 for one plan: not known */
    uint64_t calls;
    uint64_t timed;            /**< records with a device time: what the times below are of */
    uint64_t flops;            /**< of all records whose work is known */
    uint64_t bytes;
    uint64_t timed_flops;      /**< of these, those with a device time: for rates, over timed_work_ns */
    uint64_t timed_bytes;
    int64_t time_ns;           /**< sum */
    int64_t time_min_ns;
    int64_t time_max_ns;
    int64_t time_p50_ns;       /**< percentiles, within 5 % */
    int64_t time_p90_ns;
    int64_t time_p99_ns;
    double bound_ns;           /**< sum over timed records whose bound is known */
    double bound_time_ns;      /**< their times: bound_ns / bound_time_ns is the mean fraction */
    uint64_t counted;          /**< records with DRAM counters whose work is known: what raw calls read and wrote has
                                    no analytic bytes to be compared with, and is in their records alone */
    uint64_t counted_bytes;    /**< their analytic bytes */
    uint64_t dram_read_bytes;
    uint64_t dram_write_bytes;
    uint64_t l2_bytes;
    uint64_t counted_flops;    /**< analytic FLOPs of records with tensor counters whose work is known */
    uint64_t tensor_flops;
    uint64_t unique_bytes;       /**< of all records whose work is known, as bounds are computed from them */
    uint64_t timed_unique_bytes; /**< of these, those with a device time */
    int64_t timed_work_ns;       /**< device times of records whose work is known; less than time_ns where raw calls are
                                      among them */
} hopmla_totals;

#define HOPMLA_TOTALS_INIT { sizeof(hopmla_totals), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, \
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Reads the totals of a kind, of one plan or of all. Takes in what has finished, as hopmla_profiler_read does, and never
 * waits for what still runs: makes driver calls (event queries), and with counters may synchronise the device.
 * @param plan  or NULL for all. Totals are kept for the first 64 plans seen, destroyed ones too
 * @return OK, NULL, STRUCT_SIZE, ENUM, MISMATCH; TOO_MANY when 64 other plans were seen before this one: its records are in
 *         the totals of all plans only. */
HOPMLA_API hopmla_status hopmla_profiler_get_totals(hopmla_profiler *profiler, int32_t kind, hopmla_plan *plan,
                                                    hopmla_totals *totals, hopmla_error *error);

/** What a graph holds. Replays call no function of the library, so the caller says it. */
typedef struct hopmla_launch_note {
    uint32_t struct_size;
    uint32_t appends;   /**< calls of hopmla_append with this plan in the graph */
    uint32_t decodes;   /**< calls of hopmla_decode */
    int32_t dtype;      /**< HOPMLA_DTYPE_* of the appends' sources, or 0: the pool's */
} hopmla_launch_note;

#define HOPMLA_LAUNCH_NOTE_INIT { sizeof(hopmla_launch_note), 0, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_launch_note_init(hopmla_launch_note *note, uint64_t size);

/** Tells that a graph with this plan's calls is about to be launched on the step's stream: opens an NVTX range, and
 * starts a record where a profiler is started. hopmla_plan_launch_end must follow on the same thread, and soon: records are
 * read in the order of their calls, so those of all threads that come behind this one wait for its end, and are dropped
 * when they fill the ring.
 *
 * Costs the checks of its arguments where nobody listens. May enqueue an event. Not capturable.
 * @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT when the note counts no call or more than 2^20, DTYPE, MISMATCH,
 *         CAPTURE, STATE after another begin or outside the open step and its stream, and the driver's. */
HOPMLA_API hopmla_status hopmla_plan_launch_begin(hopmla_plan *plan, const hopmla_launch_note *note,
                                                  hopmla_stream stream, hopmla_error *error);

/** Ends it, right after the launch was enqueued or has failed.
 * @param launched  1; or 0 when the launch failed, or nothing was launched after all: then there is no record
 * @return OK, NULL, STATE without a begin or on another stream than its, ARGUMENT when launched is neither 0 nor 1. */
HOPMLA_API hopmla_status hopmla_plan_launch_end(hopmla_plan *plan, int32_t launched, hopmla_stream stream,
                                                hopmla_error *error);

/* Exporters. */

/** Formats; stored as int32_t. */
enum {
    HOPMLA_EXPORT_JSONL = 1,    /**< a JSON object a record, with the fields' names; invalid figures are left out. Before
                                     them one of kind "ceilings" where device or ceilings are given */
    HOPMLA_EXPORT_CSV = 2,      /**< a row a record under one header line; invalid figures are empty */
    HOPMLA_EXPORT_TRACE = 3,    /**< Chrome's trace events, which Perfetto reads: host and device tracks, counters */
    HOPMLA_EXPORT_ROOFLINE = 4, /**< SVG: intensity against FLOP/s with the ceilings as roofs */
    HOPMLA_EXPORT_TIMELINE = 5  /**< SVG: device times by kind along a time axis */
};

/** Receives a piece of the text. It must not call the library, throw or unwind. @return 0 to go on; anything else ends
 * the export. */
typedef int32_t (*hopmla_write_fn)(void *user, const void *text, uint64_t bytes);

/** Where an export goes, and what it says of itself. */
typedef struct hopmla_export_options {
    uint32_t struct_size;
    uint32_t reserved;                /**< 0 */
    const char *path;                 /**< a file to write, replaced whole when the export has succeeded; or NULL */
    hopmla_write_fn write;            /**< with path NULL */
    void *user;
    const char *device;               /**< its name, for titles, or NULL */
    const hopmla_ceilings *ceilings;  /**< or NULL: no roofs are drawn */
} hopmla_export_options;

#define HOPMLA_EXPORT_OPTIONS_INIT { sizeof(hopmla_export_options), 0, 0, 0, 0, 0, 0 }

/** Sets every field to its default. @return OK, NULL, STRUCT_SIZE. */
HOPMLA_API hopmla_status hopmla_export_options_init(hopmla_export_options *options, uint64_t size);

/** Writes records in a format. Numbers do not depend on the locale.
 *
 * Needs about 1 MiB of memory whatever the count is. A path that names no regular file (a pipe) is written in place; so
 * is an open descriptor (/dev/stdout, /dev/fd/N), from where it stands. A pipe whose reader has gone is IO with EPIPE,
 * without a signal. Nothing is written before all arguments are found right.
 *
 * @param records  [count] with record_size bytes between them; may be NULL when count is 0
 * Makes no driver call. @return OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT when neither path nor write is given
 *         or both are, when a ceiling is not finite and > 0, a reserved field not 0, or count is absurd; IO with errno
 *         in error->native_code, or when the callback ended it; OUT_OF_HOST_MEMORY. */
HOPMLA_API hopmla_status hopmla_export_records(int32_t format, const hopmla_record *records, uint64_t record_size,
                                               uint64_t count, const hopmla_export_options *options,
                                               hopmla_error *error);

/** Writes OpenMetrics text of a profiler's totals and of a pool's books: monotonic totals, gauges, and a summary of
 * device times. The only labels are kind and quantile, and device and version of an info metric: the number of lines does
 * not grow with what a program does. Ends with "# EOF".
 *
 * Takes in what has finished, as hopmla_profiler_read does: makes driver calls (event queries), and with counters may
 * synchronise the device. Without a profiler it makes no driver call.
 *
 * @param profiler  or NULL
 * @param pool      or NULL
 * @param options   device goes to an info metric; ceilings to gauges
 * @return as for hopmla_export_records; MISMATCH when both are given and of different contexts. */
HOPMLA_API hopmla_status hopmla_export_metrics(hopmla_profiler *profiler, hopmla_pool *pool,
                                               const hopmla_export_options *options, hopmla_error *error);

#ifdef __cplusplus
}
#endif

#endif
