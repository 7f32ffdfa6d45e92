/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"
#include "lines.h"

bool bench_take_format(json_reader *r, int32_t *format)
{
    const json_field *field = json_find(r, "format");
    *format = HOPMLA_KV_BF16;
    if (field != NULL &&
        (field->kind != JSON_TEXT || !format_named(field->text, format) || format_dtype(*format) != HOPMLA_DTYPE_BF16))
        return json_wrong(r, "\"format\" is neither \"bf16\" nor \"bf16-nope\"");
    return true;
}

static bool read_lens(json_reader *r, bench_suite *suite, const json_field *kind, const uint64_t shape[3])
{
    uint64_t same = 0;
    int32_t format = 0;
    const json_field *lens = json_find(r, "lens");
    bool list = lens != NULL && lens->kind == JSON_INTEGERS;
    if (!list && !json_take_count(r, "lens", 0, 1 << 20, &same))
        return false;
    if (list && lens->count != shape[0])
        return json_wrong(r, "\"lens\" has %llu numbers, but \"b\" is %llu", (unsigned long long)lens->count,
                          (unsigned long long)shape[0]);
    for (uint64_t i = 0; list && i < lens->count; ++i) {
        int64_t len = r->integers[lens->first + i];
        if (len < 0 || len > 1 << 20)
            return json_wrong(r, "a length in \"lens\" is %lld, not between 0 and %d", (long long)len, 1 << 20);
    }
    if (!bench_take_format(r, &format))
        return false;
    bench_case *c = bench_add(suite, kind->text, (uint32_t)shape[0], (uint32_t)shape[1], (uint32_t)shape[2]);
    c->format = format;
    for (uint32_t i = 0; i < c->b; ++i)
        c->lens[i] = (uint32_t)(list ? (uint64_t)r->integers[lens->first + i] : same);
    return true;
}

static bool take_case(json_reader *r, void *user)
{
    uint64_t shape[3];
    const json_field *kind = json_find(r, "kind");
    if (kind == NULL || kind->kind != JSON_TEXT || kind->text[0] == '\0')
        return json_wrong(r, "\"kind\" is missing, or is not a text");
    return json_take_count(r, "b", 1, 65535, &shape[0]) && json_take_count(r, "s_q", 1, 1024, &shape[1]) &&
           json_take_count(r, "h", 1, 256, &shape[2]) && read_lens(r, user, kind, shape);
}

void bench_read_suite(bench_suite *suite, const char *path)
{
    suite->name = "cases";
    lines_read(path, take_case, suite);
    if (suite->count == 0)
        die("%s: no cases in it", path);
}
