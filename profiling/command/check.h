/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_CHECK_H
#define COMMAND_CHECK_H

/** @file
 * The conformance suite: what a case is, and what a running case has at hand.
 *
 * A case fails by case_fail, which jumps back to the suite; everything it allocated is on a list and is given back
 * there. So the code of a case reads straight down. */

#include "device.h"
#include "format.h"
#include "random.h"
#include "tolerance.h"

#include <setjmp.h>
#include <stdbool.h>

enum {
    CASE_ROWS = 128,         /* largest batch */
    BANK_ROWS = 4093,        /* random cached rows that all cases draw from; prime, so that strides reach all */
    BANK_SPECIAL = CASE_ROWS /* rows behind them that a case makes for itself */
};

/** Where a [rows, heads, n] tensor's values are. */
typedef enum layout {
    LAYOUT_PACKED,
    LAYOUT_STRIDED,   /* gaps between heads and between tokens */
    LAYOUT_TRANSPOSED /* [heads, rows, n] in memory */
} layout;

/** What is wrong on purpose with the arrays of a raw case. */
typedef enum defect {
    DEFECT_NONE,
    DEFECT_PAGE,
    DEFECT_LENGTH,
    DEFECT_ROWS
} defect;

typedef struct check check;

/** A case. Zero is a usable value of most fields; case_add sets the others. */
typedef struct shape {
    const char *group;
    char name[64]; /* unique; --only finds it */
    void (*run)(check *c);
    int32_t dtype; /* HOPMLA_DTYPE_BF16 or FP16: of the pool, q and out */
    bool nope;     /* cached rows and q without a rope part: what the bank has of one is left out */
    int32_t lse;   /* HOPMLA_LSE_* */
    uint32_t heads;
    uint32_t layers;
    uint32_t batch;
    uint32_t kv[CASE_ROWS]; /* cached tokens of each row, those of the last step counted */
    uint32_t q[CASE_ROWS];  /* query tokens of each row */
    uint32_t more_batch;    /* the envelope's batch beyond `batch` */
    uint32_t more_rows;     /* rows of the tensors beyond the sum of q */
    uint64_t max_kv;        /* the envelope's; 0: the longest row */
    uint32_t max_units;
    uint32_t rounds; /* steps of a case that plays */
    layout q_layout;
    layout out_layout;
    layout lse_layout;
    bool split; /* q in two tensors */
    bool no_lse;
    bool outlier; /* one cached row in each sequence that a query matches overwhelmingly */
    float scale;
    float gain;     /* factor on q */
    int32_t source; /* element type of appended rows; 0: the pool's */
    bool apart;     /* latent and rope rows in tensors of their own: of an append, of raw pages */
    bool strided;   /* gaps between these rows */
    bool no_q_lens; /* raw: NULL for the query lengths */
    defect defect;  /* raw */
} shape;

typedef struct shape_list {
    shape *shapes;
    uint64_t count;
    uint64_t capacity;
} shape_list;

/** Appends a case of one row with 16 heads, 200 cached tokens and one query token, and returns it to be changed. The
 * name is a printf text. The pointer holds until the next call. */
shape *case_add(shape_list *list, const char *group, void (*run)(check *c), const char *name, ...)
    __attribute__((format(printf, 4, 5)));

/** HOPMLA_KV_* of its cache; values of a cached row and of a query. */
int32_t shape_format(const shape *s);
uint32_t shape_values(const shape *s);

/** Every case of the suite, in order. */
void cases_list(shape_list *list, uint64_t seed, bool full);
/** Those of them whose rows are few and short. */
void cases_short(shape_list *list, bool full);

/** Random cached rows, once as bits and once as values. */
typedef struct bank {
    uint16_t *bits; /* [BANK_ROWS + BANK_SPECIAL, 576] */
    float *values;
} bank;

typedef struct undo undo;

struct check {
    device *device;
    const shape *shape;
    bank *bank; /* of the shape's dtype */
    random_state random;
    uint64_t budget; /* cached tokens × heads that the reference may take on for one case */
    uint8_t junk;    /* what memory holds before anything is written */
    bool capturing;
    undo *undone;
    tolerance errors;
    char message[320];
    jmp_buf failed;
};

_Noreturn void case_fail(check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Fails the case unless status is OK. */
void case_expect(check *c, hopmla_status status, const hopmla_error *error, const char *call);

/** Host memory, zeroed; device memory full of junk, 1024-byte aligned. Both go when the case ends. */
void *case_host(check *c, uint64_t bytes);
void *case_device(check *c, uint64_t bytes);

/** Copies and waits. */
void case_copy(check *c, void *destination, const void *source, uint64_t bytes);
void case_synchronize(check *c);

/** Objects that go when the case ends. */
hopmla_pool *case_pool(check *c, const hopmla_pool_options *options);
hopmla_plan *case_plan(check *c, hopmla_pool *pool, const hopmla_plan_options *options);
void case_keep_graph(check *c, hopmla_graph graph);

/** Runs one case. @return whether it passed; the message and the errors are in c */
bool case_run(check *c);

/** What `run` of a shape can be. */
void case_pool_decode(check *c); /* cases_world.c: appends, then decodes */
void case_repeat(check *c);      /* the same twice in other memory: the same bits */
void case_graph(check *c);       /* one capture, many steps with other batches */
void case_family(check *c);      /* forks, copy-on-write, truncation */
void case_append(check *c);      /* all sources of an append, read back by gather */
void case_raw(check *c);         /* decode_paged over arrays of the case's own */

#endif
