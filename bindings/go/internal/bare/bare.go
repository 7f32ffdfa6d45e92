// SPDX-License-Identifier: Apache-2.0

// Package bare makes the calls that the module's benchmark is held against: the same decode of no rows, by C alone and
// through cgo without the module. Only that benchmark uses it.
package bare

/*
#cgo pkg-config: hopmla
#include <hopmla/hopmla.h>
#include <stdlib.h>

typedef struct bare_plan {
    hopmla_context *context;
    hopmla_pool *pool;
    hopmla_plan *plan;
    hopmla_decode_args args;
    hopmla_error error;
} bare_plan;

static hopmla_status bare_open(bare_plan *b)
{
    const hopmla_error error = HOPMLA_ERROR_INIT;
    const hopmla_decode_args args = HOPMLA_DECODE_ARGS_INIT;
    hopmla_context_options context = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_pool_options pool = HOPMLA_POOL_OPTIONS_INIT;
    hopmla_plan_options plan = HOPMLA_PLAN_OPTIONS_INIT;
    b->error = error, b->args = args, b->args.softmax_scale = 1;
    context.backend = HOPMLA_BACKEND_CPU;
    pool.format = HOPMLA_KV_BF16, pool.layers = 1, pool.pages = 4;
    plan.max_batch = 4, plan.heads = 3, plan.max_kv_tokens = 640;
    hopmla_status status = hopmla_context_create(&context, &b->context, &b->error);
    if (!status) {
        status = hopmla_pool_create(b->context, &pool, &b->pool, &b->error);
    }
    if (!status) {
        status = hopmla_plan_create(b->pool, &plan, &b->plan, &b->error);
    }
    return status;
}

static void bare_close(bare_plan *b)
{
    hopmla_plan_destroy(b->plan);
    hopmla_pool_destroy(b->pool);
    hopmla_context_destroy(b->context);
}

static hopmla_status bare_decode(bare_plan *b, int n)
{
    hopmla_status status = 0;
    for (int i = 0; i < n; i++) {
        status |= hopmla_decode(b->plan, &b->args, 0, 0, 0, 0, 0, &b->error);
    }
    return status;
}
*/
import "C"

import "unsafe"

// Plan is a plan that C holds.
type Plan struct{ p *C.bare_plan }

// Open makes one; a status other than 0 says that it failed.
func Open() (*Plan, int32) {
	p := (*C.bare_plan)(C.calloc(1, C.sizeof_bare_plan))
	return &Plan{p}, int32(C.bare_open(p))
}

// Close ends it.
func (p *Plan) Close() {
	C.bare_close(p.p)
	C.free(unsafe.Pointer(p.p))
}

// Decode makes n calls in C.
func (p *Plan) Decode(n int) int32 { return int32(C.bare_decode(p.p, C.int(n))) }
