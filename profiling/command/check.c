/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include "args.h"
#include "half.h"
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_GROUPS = 24
};

typedef struct group {
    const char *name;
    uint32_t cases;
    uint32_t failed;
    tolerance errors;
} group;

typedef struct failure {
    const shape *shape;
    char message[320];
} failure;

typedef struct results {
    group groups[MAX_GROUPS];
    uint32_t n_groups;
    failure *failures;
    uint64_t failed;
    uint64_t capacity;
    uint32_t cases;
    tolerance errors;
    double seconds;
} results;

typedef struct request {
    int32_t backend;
    uint64_t seed;
    bool full;
    bool quick;
    bool json;
    const char *only;
} request;

static bank bank_make(int32_t dtype, uint64_t seed)
{
    uint64_t used = (uint64_t)BANK_ROWS * HOPMLA_QK_DIM, count = used + (uint64_t)BANK_SPECIAL * HOPMLA_QK_DIM;
    bank b = { must_zalloc(count, sizeof(uint16_t)), must_zalloc(count, sizeof(float)) };
    const float *values = half_values(dtype);
    random_state r;
    random_seed(&r, random_mix(seed, (uint64_t)dtype));
    random_fill(&r, dtype, b.bits, used);
    for (uint64_t i = 0; i < used; ++i)
        b.values[i] = values[b.bits[i]];
    return b;
}

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0;
    for (; *name != '\0'; ++name)
        hash = random_mix(hash, (unsigned char)*name);
    return hash;
}

static group *group_of(results *r, const char *name)
{
    for (uint32_t i = 0; i < r->n_groups; ++i) {
        if (strcmp(r->groups[i].name, name) == 0)
            return &r->groups[i];
    }
    if (r->n_groups == MAX_GROUPS)
        die("more groups of cases than there is room for");
    r->groups[r->n_groups] = (group){ .name = name };
    return &r->groups[r->n_groups++];
}

static void note(results *r, const check *c, bool passed)
{
    group *g = group_of(r, c->shape->group);
    ++r->cases;
    ++g->cases;
    tolerance_merge(&g->errors, &c->errors);
    tolerance_merge(&r->errors, &c->errors);
    if (passed)
        return;
    ++g->failed;
    r->failures = must_grow(r->failures, r->failed, &r->capacity, sizeof(failure));
    r->failures[r->failed].shape = c->shape;
    memcpy(r->failures[r->failed++].message, c->message, sizeof(c->message));
}

/** With --quick every fourth case, and none that is long: for slow machines and for checkers that slow them down. */
static bool wanted(const request *q, const shape *s, uint64_t index)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < s->batch; ++i)
        tokens += s->kv[i];
    return (q->only == NULL || strstr(s->name, q->only) != NULL) && (!q->quick || (index % 4 == 0 && tokens < 10000));
}

static void run_all(results *r, device *d, const request *q, const shape_list *list)
{
    bank banks[2] = { bank_make(HOPMLA_DTYPE_BF16, q->seed), bank_make(HOPMLA_DTYPE_FP16, q->seed) };
    bool terminal = isatty(STDERR_FILENO);
    double start = seconds_now();
    for (uint64_t i = 0; i < list->count; ++i) {
        const shape *s = &list->shapes[i];
        if (!wanted(q, s, i))
            continue;
        if (terminal)
            fprintf(stderr, "\r%4" PRIu64 " of %" PRIu64 "  %-50s", i + 1, list->count, s->name);
        check c = { .device = d, .shape = s, .bank = &banks[s->dtype == HOPMLA_DTYPE_FP16] };
        c.budget = q->full ? 16u << 20 : q->quick ? 1u << 18 : 3u << 20;
        random_seed(&c.random, random_mix(q->seed, hash_name(s->name)));
        note(r, &c, case_run(&c));
    }
    r->seconds = seconds_now() - start;
    if (terminal)
        fprintf(stderr, "\r%70s\r", "");
    for (int i = 0; i < 2; ++i) {
        free(banks[i].bits);
        free(banks[i].values);
    }
}

static void print_row(const char *name, uint32_t cases, uint32_t failed, const tolerance *errors)
{
    printf("%-10s %6u %7u %7u %12.2e %12.2e\n", name, (unsigned)cases, (unsigned)(cases - failed), (unsigned)failed,
           errors->worst_out, errors->worst_lse);
}

static void print_table(const results *r, const device *d, const request *q)
{
    printf("%-10s %6s %7s %7s %12s %12s\n", "group", "cases", "passed", "failed", "worst out", "worst lse");
    for (uint32_t i = 0; i < r->n_groups; ++i)
        print_row(r->groups[i].name, r->groups[i].cases, r->groups[i].failed, &r->groups[i].errors);
    print_row("all", r->cases, (uint32_t)r->failed, &r->errors);
    printf("backend %s, seed %" PRIu64 ", %.1f s\n", device_backend(d), q->seed, r->seconds);
}

static void print_failures(const results *r, const device *d, const request *q)
{
    for (uint64_t i = 0; i < r->failed; ++i) {
        const shape *s = r->failures[i].shape;
        fprintf(stderr,
                "hopmla: %s failed: %s\n  heads %u, batch %u, layers %u; to run it again: hopmla check --backend "
                "%s --seed %" PRIu64 "%s --only %s\n",
                s->name, r->failures[i].message, (unsigned)s->heads, (unsigned)s->batch, (unsigned)s->layers,
                device_backend(d), q->seed, q->full ? " --full" : "", s->name);
    }
}

static void print_json(const results *r, const device *d, const request *q)
{
    json_writer w = json_begin(stdout);
    json_text(&w, "backend", device_backend(d));
    json_text(&w, "device", d->info.name);
    json_count(&w, "seed", q->seed);
    json_count(&w, "cases", r->cases);
    json_count(&w, "passed", r->cases - r->failed);
    json_count(&w, "failed", r->failed);
    json_real(&w, "worst_out", r->errors.worst_out);
    json_real(&w, "worst_lse", r->errors.worst_lse);
    json_real(&w, "seconds", r->seconds);
    json_open(&w, "groups", '[');
    for (uint32_t i = 0; i < r->n_groups; ++i) {
        json_open(&w, NULL, '{');
        json_text(&w, "group", r->groups[i].name);
        json_count(&w, "cases", r->groups[i].cases);
        json_count(&w, "failed", r->groups[i].failed);
        json_real(&w, "worst_out", r->groups[i].errors.worst_out);
        json_real(&w, "worst_lse", r->groups[i].errors.worst_lse);
        json_close(&w, '}');
    }
    json_close(&w, ']');
    json_open(&w, "failures", '[');
    for (uint64_t i = 0; i < r->failed; ++i) {
        json_open(&w, NULL, '{');
        json_text(&w, "name", r->failures[i].shape->name);
        json_text(&w, "message", r->failures[i].message);
        json_close(&w, '}');
    }
    json_close(&w, ']');
    json_end(&w);
}

int check_main(int argc, char **argv)
{
    request q = { .backend = HOPMLA_BACKEND_AUTO, .seed = 1 };
    bool list_only = false;
    const option options[] = {
        { OPTION_BACKEND, "backend", "B", &q.backend, 0, 0, "cpu, cuda or auto (the default)" },
        { OPTION_COUNT, "seed", "S", &q.seed, 0, UINT64_MAX, "of the data and of the random shapes (1)" },
        { OPTION_FLAG, "full", NULL, &q.full, 0, 0,
          "more random shapes, longer plays, a million tokens; minutes on a CPU" },
        { OPTION_FLAG, "quick", NULL, &q.quick, 0, 0, "every fourth case, fewer rows of each" },
        { OPTION_TEXT, "only", "NAME", &q.only, 0, 0, "cases whose name contains NAME" },
        { OPTION_FLAG, "list", NULL, &list_only, 0, 0, "print the names of the cases and exit" },
        { OPTION_FLAG, "json", NULL, &q.json, 0, 0, "one JSON object instead of the table" },
    };
    const usage u = {
        "check",
        NULL,
        "Runs the conformance suite against a float64 reference. Exit status 0 only if every case passes.",
        options,
        sizeof(options) / sizeof(options[0]),
        "An output may be off by 8e-4 or by 2.01/128 of itself, the outputs of a case together by 5e-6 in\n"
        "1 - 2 sum(xy) / sum(x^2 + y^2), a log-sum-exp by 1e-6, by 8.01/65536 of itself, or by 8 * 2^-24 of\n"
        "scale * sum |q k|, a mean over the tokens by their probabilities: what float32 sums of terms that\n"
        "cancel are off by, 7e-8 with the usual inputs. The table's errors are absolute for values up to 1,\n"
        "relative beyond. Pools, tables and workspaces start full of NaN."
    };
    args_parse(&u, argc, argv);
    shape_list list = { 0 };
    cases_list(&list, q.seed, q.full);
    results r = { .failures = NULL };
    if (list_only) {
        for (uint64_t i = 0; i < list.count; ++i)
            puts(list.shapes[i].name);
    } else {
        device d;
        device_open(&d, q.backend);
        run_all(&r, &d, &q, &list);
        if (r.cases == 0)
            die("no case that is asked for has a name with '%s'", q.only != NULL ? q.only : "");
        if (q.json)
            print_json(&r, &d, &q);
        else
            print_table(&r, &d, &q);
        print_failures(&r, &d, &q);
        device_close(&d);
    }
    free(r.failures);
    free(list.shapes);
    return r.failed > 0 ? COMMAND_FAILED : 0;
}
