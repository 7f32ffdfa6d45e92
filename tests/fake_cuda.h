/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

/** @file
 * A CUDA driver without a device: host memory, streams that run at once, kernels that do nothing. The library opens it
 * by HOPMLA_LIBCUDA; a test that links against it too sets `fake` to say what goes wrong, and reads from it what is live.
 * Rules of the driver that are easy to break are enforced: a current context where one is needed, streams and functions
 * of that context, nothing during capture that a capture refuses. */

#include <pthread.h>
#include <stdatomic.h>

#include "kernels/sm90/driver.h"

typedef struct fake_launch {
    char kernel[64];
    unsigned grid[3];
    unsigned block;
    unsigned shared_bytes;
    unsigned cluster[2]; /* CTAs along x and y; 1 each without the attribute */
    int programmatic;
    struct CUstream_st *stream;
} fake_launch;

enum {
    FAKE_HISTORY = 64
};

typedef struct fake_cuda {
    /* What the machine is like. */
    int version;     /* CUDA version; entry points that came later are missing */
    int init_result; /* of cuInit */
    int devices;
    int major, minor; /* compute capability */
    int load_result;  /* of cuLibraryLoadData */
    int misaligned;   /* 1: memory is aligned to no more than the 256 bytes that are promised */
    atomic_int slow;  /* 1: no event is seen to happen */
    int clocked;      /* 1: events tell the time; 0: any two are 1.5 ms apart */

    /* Faults. A call that gives something back does so even when it is made to fail. */
    const char *fail_name; /* of the entry point whose calls fail, or NULL: of any */
    int fail_code;         /* 0: none fails */
    int fail_at;           /* the call that fails, from 0, counted from when fake_cuda_fail was called */
    int fail_for_good;     /* 1: all later calls fail too, as after a sticky error */

    /* What happened. */
    atomic_int calls;  /* that a fault counts */
    atomic_int faults; /* calls that were made to fail */
    atomic_int launches;
    atomic_int graph_launches;
    atomic_int bad_frees;              /* of what is not live, or of the other kind */
    fake_launch history[FAKE_HISTORY]; /* launch i is at i modulo its size */

    /* What is live. */
    atomic_int retains; /* of the primary context */
    atomic_int libraries;
    atomic_int streams;
    atomic_int events;
    atomic_int graphs; /* templates and executables */
    atomic_int blocks; /* of memory */
    atomic_llong bytes;
} fake_cuda;

extern fake_cuda fake;

/** Back to a machine with one device of 9.0, without faults, and a driver of CUDA 13.0 or what the environment variable
 * FAKE_CUDA_VERSION says. Live things stay. */
void fake_cuda_reset(void);

/** Lets the at-th call from now of `name` (NULL: of any entry point) return `code`. */
void fake_cuda_fail(const char *name, int at, int code);

/** Things that are live, and contexts that the calling thread has pushed and not popped. */
int fake_cuda_live(void);
int fake_cuda_depth(void);

/** A context that is not the primary one, and a stream and an event (which has happened) of it. Never freed. */
hm_cu_context fake_cuda_context(void);
struct CUstream_st *fake_cuda_foreign_stream(void);
struct CUevent_st *fake_cuda_foreign_event(void);

/** From now on every call in the primary context, and in the other one, returns such a code, as after a fault in a kernel
 * or a reset: all but push and pop, as with the real driver. 0: none; what the context held is still there then. */
void fake_cuda_lose(int primary_code, int other_code);

/* Between the files of the fake. */

struct CUctx_st {
    int lost; /* what every call in it, or with a thing of it, returns; 0: it is well */
};

struct CUstream_st {
    hm_cu_context context;
    int capture; /* as cuStreamIsCapturing says: 0 no, 1 yes, 2 broken */
    int nodes;
};

struct CUevent_st {
    hm_cu_context context;
    int recorded;
    int64_t time; /* when, ns of the monotonic clock */
};

struct CUgraph_st {
    int nodes;
};

struct CUgraphExec_st {
    int nodes;
};

hm_cu_context fake_current(void);

/** 0, or why no call can be made: no context is current, or it is lost. */
hm_cu_result fake_check_context(void);

/** A zeroed object, and its end. What is never deleted stays reachable, so that a leak checker does not blame the fake for
 * what a lost context holds. */
void *fake_new(size_t size);
void fake_delete(void *object);

hm_cu_result fake_fault(const char *name);

/** 0, or why nothing can be enqueued on the stream now. */
hm_cu_result fake_check_stream(struct CUstream_st *stream);

/** 1 when the call on the stream is recorded instead of run. */
int fake_record(struct CUstream_st *stream);

#define FAKE_ENTER(name)                                                                                               \
    do {                                                                                                               \
        hm_cu_result fault = fake_fault(#name);                                                                        \
        if (fault) {                                                                                                   \
            return fault;                                                                                              \
        }                                                                                                              \
    } while (0)

#define FAKE_NEED_CONTEXT()                                                                                            \
    do {                                                                                                               \
        hm_cu_result lost = fake_check_context();                                                                      \
        if (lost) {                                                                                                    \
            return lost;                                                                                               \
        }                                                                                                              \
    } while (0)

#define FAKE_NEED_STREAM(stream)                                                                                       \
    do {                                                                                                               \
        hm_cu_result bad = fake_check_stream(stream);                                                                  \
        if (bad) {                                                                                                     \
            return bad;                                                                                                \
        }                                                                                                              \
    } while (0)

#define FAKE_DECLARE(name, version, required, arguments) hm_cu_result fake_##name arguments;
HM_CU_FUNCTIONS(FAKE_DECLARE)
#undef FAKE_DECLARE

#endif
