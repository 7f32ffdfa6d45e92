/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

/* Cases of few short rows, for which the CUDA backend has ways of its own. */

/** Steps of a few pages in plans for many: tiles may be narrower than the plan's rows ask for. */
static void add_short(shape_list *list, bool full)
{
    static const uint32_t heads[] = { 17, 20, 32, 33, 48, 64, 65, 96, 128, 256 };
    for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); ++i) {
        for (unsigned raw = 0; raw < 2; ++raw) {
            shape *s = case_add(list, "short", raw ? case_raw : case_pool_decode, "short-%s-h%u", raw ? "raw" : "pool",
                                (unsigned)heads[i]);
            s->dtype = i % 3 == 0 ? HOPMLA_DTYPE_FP16 : HOPMLA_DTYPE_BF16;
            s->nope = i % 4 == 1;
            s->heads = heads[i];
            s->layers = raw ? 1 : 2;
            s->batch = 3;
            s->kv[0] = 1 + i;
            s->kv[1] = 65;
            s->kv[2] = 130;
            s->q[1] = i % 2;
            s->q[2] = heads[i] > 32 && heads[i] <= 128 ? 2 : 1;
            s->max_kv = 131072;
        }
    }
    for (unsigned i = 0; i < 4; ++i) {
        static const uint32_t graph_heads[] = { 20, 32, 64, 128 };
        shape *s = case_add(list, "short", case_graph, "short-graph-h%u", (unsigned)graph_heads[i]);
        s->heads = graph_heads[i];
        s->batch = 3;
        s->q[0] = 1 + i % 2;
        s->rounds = full ? 200 : 25;
        s->max_kv = 131072;
    }
}

/** Plans of few short rows: clusters of 2 to 16 CTAs with a page each, or two. */
static void add_clusters(shape_list *list, bool full)
{
    static const struct {
        uint32_t heads, batch, q, longest;
    } plans[] = {
        { 16, 4, 1, 1024 },  { 3, 3, 1, 64 },    { 48, 2, 1, 500 },  { 9, 3, 4, 200 },
        { 96, 1, 1, 1023 },  { 128, 4, 1, 128 }, { 16, 7, 1, 2048 }, { 20, 2, 2, 1500 },
        { 128, 1, 1, 1000 }, { 16, 14, 1, 513 }, { 5, 12, 5, 250 },  { 16, 50, 1, 200 },
    };
    for (unsigned i = 0; i < 2 * sizeof(plans) / sizeof(plans[0]); ++i) {
        const bool raw = i % 2 == 1;
        shape *s = case_add(list, "clusters", raw ? case_raw : case_pool_decode, "clusters-%s-h%u-b%u-q%u-l%u",
                            raw ? "raw" : "pool", (unsigned)plans[i / 2].heads, (unsigned)plans[i / 2].batch,
                            (unsigned)plans[i / 2].q, (unsigned)plans[i / 2].longest);
        s->heads = plans[i / 2].heads;
        s->dtype = i % 3 == 0 ? HOPMLA_DTYPE_FP16 : HOPMLA_DTYPE_BF16;
        s->nope = i % 5 > 2;
        s->layers = raw ? 1 : 3;
        s->more_batch = s->more_rows = !raw && plans[i / 2].batch > 1;
        s->batch = plans[i / 2].batch - s->more_batch;
        for (uint32_t j = 0; j < s->batch; ++j) {
            static const uint32_t lengths[] = { 0, 1, 63, 64, 65, 130, 777 };
            s->kv[j] = j == 0 ? plans[i / 2].longest : lengths[(i + j) % 7] % plans[i / 2].longest;
            s->q[j] = j == 0 ? plans[i / 2].q : (i + j) % (plans[i / 2].q + 1);
        }
        s->q_layout = (layout)(i % 3);
        s->out_layout = (layout)(i / 3 % 3);
        s->lse = (int32_t)(i % 3);
        s->no_lse = i == 4;
        s->outlier = i % 4 == 2;
    }
    for (unsigned i = 0; i < 6; ++i) {
        static const uint32_t heads[] = { 16, 128, 8, 48, 16, 3 }, batch[] = { 4, 1, 6, 1, 9, 12 };
        const bool graph = i < 4;
        shape *s = case_add(list, "clusters", graph ? case_graph : case_repeat, "clusters-%s-h%u-b%u",
                            graph ? "graph" : "repeat", (unsigned)heads[i], (unsigned)batch[i]);
        s->heads = heads[i];
        s->dtype = i % 2 == 0 ? HOPMLA_DTYPE_BF16 : HOPMLA_DTYPE_FP16;
        s->nope = i == 2;
        s->batch = batch[i];
        s->rounds = full ? 200 : 25;
        for (uint32_t j = 0; j < s->batch && !graph; ++j) {
            s->kv[j] = 70 * (j + 1);
            s->q[j] = 1;
        }
    }
}

void cases_short(shape_list *list, bool full)
{
    add_short(list, full);
    add_clusters(list, full);
}
