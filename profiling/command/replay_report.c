/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include "format.h"
#include "json.h"

#include <stdio.h>

typedef struct summary {
    double gbps, tflops, fraction, p50, p99;
} summary;

static summary summarise(counters *c)
{
    summary s = { .p50 = percentile_of(c->step_us, c->steps, 0.5), .p99 = percentile_of(c->step_us, c->steps, 0.99) };
    if (c->decode_us > 0) {
        s.gbps = c->work.bytes / c->decode_us / 1e3;
        s.tflops = c->work.flops / c->decode_us / 1e6;
        s.fraction = c->bound_us / c->decode_us;
    }
    return s;
}

static void print_json(const engine *e, const scheduler *s, const counters *c, const summary *u)
{
    json_writer w = json_begin(stdout);
    json_text(&w, "trace", s->trace->path);
    json_text(&w, "backend", device_backend(e->device));
    json_text(&w, "device", e->device->info.name);
    json_count(&w, "layers", e->layers);
    json_count(&w, "heads", e->heads);
    json_text(&w, "format", format_name(e->format));
    json_count(&w, "requests", s->finished);
    json_count(&w, "prompt_tokens", s->prompt_tokens);
    json_count(&w, "reused_tokens", s->reused_tokens);
    json_count(&w, "output_tokens", s->output_tokens);
    json_count(&w, "steps", c->steps);
    json_count(&w, "pages", c->pages);
    json_count(&w, "pages_high_water", c->high_water);
    json_count(&w, "preemptions", s->preemptions);
    json_count(&w, "prefixes_evicted", s->prefix.evicted);
    json_real(&w, "decode_seconds", c->decode_us / 1e6);
    json_count(&w, "decode_bytes", (uint64_t)c->work.bytes);
    json_count(&w, "decode_bytes_once", (uint64_t)c->bytes_once);
    json_real(&w, "decode_gbps", u->gbps);
    json_real(&w, "decode_tflops", u->tflops);
    if (c->bound_us > 0)
        json_real(&w, "fraction", u->fraction);
    json_real(&w, "step_us_p50", u->p50);
    json_real(&w, "step_us_p99", u->p99);
    json_count(&w, "verified", c->verified);
    json_count(&w, "wrong", c->wrong);
    json_real(&w, "worst_out", c->errors.worst_out);
    json_real(&w, "worst_lse", c->errors.worst_lse);
    json_count(&w, "pages_leaked", c->leaked);
    json_real(&w, "seconds", c->seconds);
    json_end(&w);
}

void replay_report(const engine *e, const scheduler *s, counters *c, bool json)
{
    const summary u = summarise(c);
    if (json) {
        print_json(e, s, c, &u);
        return;
    }
    uint64_t prompts = s->prompt_tokens + s->reused_tokens;
    printf("%-20s %s, %s, %u layers, %u heads%s\n", "device", e->device->info.name, device_backend(e->device),
           (unsigned)e->layers, (unsigned)e->heads, format_is_nope(e->format) ? ", no rope part" : "");
    printf("%-20s %llu\n", "requests", (unsigned long long)s->finished);
    printf("%-20s %llu appended, %llu more shared (%.0f%%)\n", "prompt tokens", (unsigned long long)s->prompt_tokens,
           (unsigned long long)s->reused_tokens, 100.0 * (double)s->reused_tokens / (double)prompts);
    printf("%-20s %llu\n", "output tokens", (unsigned long long)s->output_tokens);
    printf("%-20s %llu in %.1f s\n", "steps", (unsigned long long)c->steps, c->seconds);
    printf("%-20s %.2f ms median, %.2f ms p99\n", "step time", u.p50 / 1e3, u.p99 / 1e3);
    printf("%-20s %llu of %llu\n", "pages high-water", (unsigned long long)c->high_water, (unsigned long long)c->pages);
    printf("%-20s %llu preemptions, %llu kept prefixes evicted\n", "pool full", (unsigned long long)s->preemptions,
           (unsigned long long)s->prefix.evicted);
    printf("%-20s %.2f GB, %.2f GB with shared pages once\n", "decode bytes", c->work.bytes / 1e9, c->bytes_once / 1e9);
    printf("%-20s %.1f GB/s, %.3f TFLOP/s", "decode", u.gbps, u.tflops);
    if (c->bound_us > 0)
        printf(", %.2f of the bound", u.fraction);
    printf("\n%-20s %llu rows, %llu wrong", "verified", (unsigned long long)c->verified, (unsigned long long)c->wrong);
    if (c->verified > 0)
        printf(", worst error %.1e, lse %.1e", c->errors.worst_out, c->errors.worst_lse);
    printf("\n%-20s %llu\n", "pages leaked", (unsigned long long)c->leaked);
}
