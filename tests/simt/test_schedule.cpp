/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * The kernels ahead of a decode and behind it, their own code, on the host: every page of a random batch belongs to one
 * segment, every row of what was cut is merged once, from its parts, and everything else is left as it was. What decode
 * itself would store is made up. */

#include "on_host.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace
{
constexpr uint16_t kUntouched = 0x7777;
constexpr float kUntouchedLse = 12345.0f;

uint64_t random_state;
const char *now_at;
int taken[HM_SM90_MERGE_BY_CTA + 4]; /* ways to merge */
int narrowed;                        /* batches with narrow tiles */

uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return uint32_t((random_state >> 20) % below);
}

void require(bool holds, const char *what)
{
    if (!holds) {
        std::fprintf(stderr, "test_schedule: %s: not so: %s\n", now_at, what);
        std::exit(1);
    }
}
#define REQUIRE(condition) require(condition, #condition)

int pages_of(int tokens)
{
    return (tokens + HM_SM90_PAGE_TOKENS - 1) / HM_SM90_PAGE_TOKENS;
}
float widen(uint16_t bits)
{
    const uint32_t word = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

/** A batch, as the host would describe it. */
struct Batch {
    hm_sm90_shape shape{};
    bool twice = false; /* CTAs of combine for each of decode: two */
    std::vector<int32_t> kv_lens, q_lens;
    int narrow_rows = HM_SM90_NARROW_ROWS;
    int tail = 0;                                    /* rows behind the batch */
    std::vector<int32_t> append_starts, block_table; /* of a plan; empty for a raw call */

    Batch(int units, int heads, int tile_rows, int max_batch, int max_q, int max_kv)
    {
        shape.heads = heads;
        shape.tile_rows = tile_rows;
        shape.tiles = (heads * max_q + tile_rows - 1) / tile_rows;
        shape.tile_stride = std::min(shape.tiles, units);
        shape.groups =
            std::min(units / shape.tile_stride, pages_of(max_kv) * max_batch * (tile_rows / HM_SM90_NARROW_ROWS));
        shape.max_batch = max_batch;
        shape.max_q = max_q;
        shape.max_kv = max_kv;
    }
    int requests() const { return int(kv_lens.size()); }
    int rows(int request) const { return q_lens[request] * shape.heads; }
    int table_stride() const { return pages_of(shape.max_kv); }
    /** The first page that an append of this step may write. */
    int fresh_page(int request) const
    {
        const int appended =
            append_starts.empty() ? 0 : append_starts[size_t(request) + 1] - append_starts[size_t(request)];
        return appended > 0 ? (kv_lens[request] - appended) / HM_SM90_PAGE_TOKENS : INT32_MAX;
    }
    bool live(int request) const { return kv_lens[request] > 0 && q_lens[request] > 0; }
    int ctas() const { return shape.groups * shape.tile_stride; }
    int merge_grid() const { return ctas() * (twice ? 2 : 1); }
    int64_t partial_row(int group, int part, int row) const
    {
        return (int64_t(group) * 2 + part) * shape.tiles * shape.tile_rows + row;
    }
};

/** Memory of a workspace, each part with its own bounds, full of nonsense. */
struct Space {
    hm_sm90_header header;
    std::vector<hm_sm90_group> groups;
    std::vector<hm_sm90_split> splits;
    std::vector<hm_sm90_segment> segments;
    std::vector<int32_t> empties, kv_lens, q_lens, q_starts, live;
    std::vector<int64_t> costs;
    std::vector<float> partial_lse;
    std::vector<uint16_t> partial_out;
    hm_sm90_workspace addresses;

    explicit Space(const hm_sm90_shape &s)
        : groups(s.groups), splits(s.groups), segments(s.max_batch + s.groups), empties(s.max_batch, -1),
          kv_lens(s.max_batch, -1), q_lens(s.max_batch, -1), q_starts(s.max_batch + 1, -1), live(s.max_batch, -1),
          costs(s.max_batch + 1, -1), partial_lse(size_t(2) * s.groups * s.tiles * s.tile_rows, NAN),
          partial_out(partial_lse.size() * 512, 0x7FC0)
    {
        std::memset(&header, 0xAA, sizeof header);
        std::memset(groups.data(), 0xAA, groups.size() * sizeof groups[0]);
        std::memset(splits.data(), 0xAA, splits.size() * sizeof splits[0]);
        std::memset(segments.data(), 0xAA, segments.size() * sizeof segments[0]);
        addresses = { &header,        groups.data(),  splits.data(),      segments.data(),
                      empties.data(), kv_lens.data(), q_lens.data(),      q_starts.data(),
                      live.data(),    costs.data(),   partial_lse.data(), partial_out.data() };
    }
};

/** A stretch of a request that a group has. */
struct Stretch {
    int group, part, begin, end;
};
using Stretches = std::vector<std::vector<Stretch>>; /* by request, in order of pages */

/** How many records a group has: more than one where its CTAs have narrow tiles. */
int records_of(const Batch &b)
{
    int pages = 0;
    for (int r = 0; r < b.requests(); r++) {
        pages += b.live(r) ? pages_of(b.kv_lens[r]) : 0;
    }
    const int times = b.shape.tile_rows / b.narrow_rows;
    return pages > 0 && pages * times <= b.shape.groups ? times : 1;
}

/** The groups' work, one record each. The others of a group differ from it in where their tiles start. */
std::vector<hm_sm90_group> read_groups(const Batch &b, const Space &s)
{
    const int records = records_of(b), rows = b.shape.tile_rows / records;
    std::vector<hm_sm90_group> groups;
    for (int i = 0; i < b.shape.groups; i++) {
        hm_sm90_group record = s.groups[i];
        REQUIRE(record.start.rows == rows && record.start.row == i % records * b.shape.tile_stride * rows);
        if (i / records >= b.shape.groups / records) {
            REQUIRE(record.start.count == 0); /* CTAs that are left over */
            continue;
        }
        REQUIRE(record.start.group == i / records);
        record.start.row = 0;
        if (i % records == 0) {
            groups.push_back(record);
        }
        REQUIRE(std::memcmp(&groups.back(), &record, sizeof record) == 0);
    }
    return groups;
}

Stretches read_segments(const Batch &b, const Space &s, const std::vector<hm_sm90_group> &groups)
{
    Stretches found(b.requests());
    std::vector<int> starts(b.requests() + 1, 0);
    for (int r = 0; r < b.requests(); r++) {
        starts[r + 1] = starts[r] + b.q_lens[r];
    }
    for (int g = 0; g < int(groups.size()); g++) {
        const hm_sm90_group &group = groups[size_t(g)];
        int slots[2] = { 0, 0 };
        REQUIRE(group.start.count >= 0 && group.start.first >= 0 &&
                group.start.first + group.start.count <= int(s.segments.size()));
        for (int i = 0; i < group.start.count; i++) {
            const hm_sm90_segment &segment = s.segments[group.start.first + i];
            const int r = segment.request;
            REQUIRE(i >= HM_SM90_INLINE_SEGMENTS || std::memcmp(&segment, &group.head[i], sizeof segment) == 0);
            REQUIRE(r >= 0 && r < b.requests() && b.live(r));
            REQUIRE(segment.kv_len == b.kv_lens[r] && segment.q_len == b.q_lens[r] && segment.q_start == starts[r]);
            REQUIRE(segment.page_begin >= 0 && segment.page_begin < segment.page_end);
            REQUIRE(segment.page_end <= pages_of(b.kv_lens[r]));
            REQUIRE(segment.part >= -1 && segment.part <= 1);
            REQUIRE(segment.fresh_page == b.fresh_page(r));
            if (segment.part >= 0) {
                REQUIRE(slots[segment.part]++ == 0);
            }
            found[r].push_back({ g, segment.part, segment.page_begin, segment.page_end });
        }
    }
    for (auto &stretches : found) {
        std::sort(stretches.begin(), stretches.end(), [](auto &a, auto &b) { return a.begin < b.begin; });
    }
    return found;
}

/** What a group's CTAs are told of the page that they load first. */
void check_early_pages(const Batch &b, const Space &s, const std::vector<hm_sm90_group> &groups)
{
    const auto busy = std::count_if(groups.begin(), groups.end(), [](auto &group) { return group.start.count > 0; });
    for (const hm_sm90_group &group : groups) {
        if (group.start.count == 0) {
            continue;
        }
        const hm_sm90_segment &segment = s.segments[group.start.first];
        const bool known = !b.block_table.empty() && segment.page_begin < b.fresh_page(segment.request);
        const int at = segment.request * b.table_stride() + segment.page_begin;
        REQUIRE(group.start.early_page == (known ? b.block_table[size_t(at)] : -1));
        REQUIRE(group.start.early_rows == b.rows(segment.request));
        REQUIRE(group.start.early_whole == (busy * 2 <= int(groups.size())));
    }
}

/** Every page once, parts numbered as combine takes them. @return how many requests were cut */
int check_stretches(const Batch &b, const Space &s, const Stretches &found)
{
    std::map<int, const hm_sm90_split *> by_group;
    int cut = 0, rows = 0;
    REQUIRE(s.header.splits >= 0 && s.header.splits <= b.shape.groups);
    for (int i = 0; i < s.header.splits; i++) {
        by_group[s.splits[i].first_group] = &s.splits[i];
    }
    REQUIRE(int(by_group.size()) == s.header.splits);
    for (int r = 0; r < b.requests(); r++) {
        int page = 0;
        for (size_t i = 0; i < found[r].size(); i++) {
            const Stretch &stretch = found[r][i];
            REQUIRE(stretch.begin == page);
            REQUIRE(stretch.group == found[r][0].group + int(i));
            REQUIRE(stretch.part == (found[r].size() == 1 ? -1 : i == 0 ? 1 : 0));
            page = stretch.end;
        }
        REQUIRE(page == (b.live(r) ? pages_of(b.kv_lens[r]) : 0));
        if (found[r].size() > 1) {
            cut++;
            rows += b.rows(r);
            REQUIRE(by_group.count(found[r][0].group) == 1);
            const hm_sm90_split &split = *by_group[found[r][0].group];
            REQUIRE(split.parts == int(found[r].size()) && split.q_start == s.q_starts[r]);
            const int before = &split == &s.splits[0] ? 0 : (&split)[-1].row_end;
            REQUIRE(split.row_end - before == b.rows(r));
        }
    }
    REQUIRE(cut == s.header.splits);
    REQUIRE(cut == 0 || s.splits[cut - 1].row_end == rows);
    return cut;
}

/** What decode leaves of the stretches of requests that were cut. */
void make_parts(const Batch &b, Space &s, const Stretches &found)
{
    for (int r = 0; r < b.requests(); r++) {
        for (const Stretch &stretch : found[r]) {
            for (int row = 0; stretch.part >= 0 && row < b.rows(r); row++) {
                const int64_t at = b.partial_row(stretch.group, stretch.part, row);
                s.partial_lse[at] = draw(9) == 0 ? -INFINITY : float(int(draw(2000)) - 1000) / 100;
                for (int column = 0; column < 512; column++) {
                    s.partial_out[at * 512 + column] =
                        s.partial_lse[at] == -INFINITY ? 0 : uint16_t(0x3d80u + draw(0x180) + (draw(2) << 15));
                }
            }
        }
    }
}

struct Output {
    std::vector<uint16_t> out;
    std::vector<float> lse;
};

void check_row(const Batch &b, const Space &s, const std::vector<Stretch> &stretches, int row, const uint16_t *out,
               float lse)
{
    double top = -INFINITY, weight = 0, sum[512] = {};
    for (const Stretch &stretch : stretches) {
        top = std::max(top, double(s.partial_lse[b.partial_row(stretch.group, stretch.part, row)]));
    }
    for (const Stretch &stretch : stretches) {
        const int64_t at = b.partial_row(stretch.group, stretch.part, row);
        const double w = top == -INFINITY ? 0 : std::exp2(s.partial_lse[at] - top);
        weight += w;
        for (int column = 0; column < 512; column++) {
            sum[column] += w * widen(s.partial_out[at * 512 + column]);
        }
    }
    const double want = weight > 0 ? top + std::log2(weight) : -INFINITY;
    REQUIRE(lse == want || std::fabs(lse - want) <= 1e-5);
    for (int column = 0; column < 512; column++) {
        const double value = weight > 0 ? sum[column] / weight : 0;
        REQUIRE(std::fabs(widen(out[column]) - value) <= std::fabs(value) / 256 + 1e-5);
    }
}

/** @param held  query tokens that out has rows for */
void check_output(const Batch &b, const Space &s, const Stretches &found, const Output &o, int held)
{
    const int heads = b.shape.heads;
    size_t at = 0; /* token × heads + head */
    for (int r = 0; r <= b.requests(); r++) {
        const int rows = r < b.requests() ? b.rows(r) : b.tail * heads;
        for (int row = 0; row < rows; row++, at++) {
            const uint16_t *out = &o.out[at * 512];
            const bool beyond = at >= size_t(held) * size_t(heads);
            if (!beyond && r < b.requests() && found[r].size() > 1) {
                check_row(b, s, found[r], row, out, o.lse[at]);
                continue;
            }
            const bool left = beyond || (r < b.requests() && b.live(r));
            REQUIRE(o.lse[at] == (left ? kUntouchedLse : -INFINITY));
            REQUIRE(std::all_of(out, out + 512, [&](uint16_t x) { return x == (left ? kUntouched : 0); }));
        }
    }
    REQUIRE(at == o.lse.size());
}

/** Every row of every stretch is in one CTA's tile, which knows where combine looks for it. */
void check_work(const Batch &b, const Space &s, const Stretches &found)
{
    hm_sm90_decode_params decode{};
    decode.early = !b.append_starts.empty();
    decode.shape = b.shape;
    decode.workspace = s.addresses;
    std::map<std::pair<int, int>, std::vector<int>> times; /* by request and first page: of each row */
    for (const Visit &visit : work_on_host(decode)) {
        const auto &stretches = found[size_t(visit.request)];
        const auto stretch = std::find_if(stretches.begin(), stretches.end(),
                                          [&](const Stretch &x) { return x.begin == visit.page_begin; });
        REQUIRE(stretch != stretches.end());
        REQUIRE(visit.partial == (stretch->part < 0 ? -1 : b.partial_row(stretch->group, stretch->part, visit.row)));
        REQUIRE(visit.early_page < 0 ||
                visit.early_page == b.block_table[size_t(visit.request * b.table_stride() + visit.page_begin)]);
        auto &rows = times[{ visit.request, visit.page_begin }];
        rows.resize(size_t(b.rows(visit.request)), 0);
        for (int row = visit.row; row < visit.row + visit.rows && row < b.rows(visit.request); row++) {
            rows[size_t(row)]++;
        }
    }
    size_t all = 0;
    for (const auto &stretches : found) {
        all += stretches.size();
    }
    REQUIRE(times.size() == all);
    for (const auto &stretch : times) {
        REQUIRE(std::all_of(stretch.second.begin(), stretch.second.end(), [](int n) { return n == 1; }));
    }
}

/** Merges what was split. @param held  query tokens that out has rows for: the others are to be left alone */
void merge(const Batch &b, const Space &s, const Stretches &found, int held)
{
    const size_t rows = size_t(s.header.q_total + b.tail) * size_t(b.shape.heads);
    Output o{ std::vector<uint16_t>(rows * 512, kUntouched), std::vector<float>(rows, kUntouchedLse) };
    hm_sm90_decode_params decode{};
    decode.out = o.out.data();
    decode.lse = o.lse.data();
    decode.out_token_stride = b.shape.heads * 512;
    decode.out_head_stride = 512;
    decode.lse_token_stride = b.shape.heads;
    decode.lse_head_stride = 1;
    decode.rows = held;
    decode.lse_kind = HM_SM90_LSE_BASE2;
    decode.heads_inverse = 1.0f / float(b.shape.heads);
    decode.shape = b.shape;
    decode.workspace = s.addresses;
    REQUIRE(combine_on_host(decode, unsigned(b.merge_grid())));
    check_output(b, s, found, o, held);
}

/** Has the schedule written for the batch. */
void run_schedule(const Batch &b, Space &s)
{
    hm_sm90_schedule_params schedule{};
    const int32_t count = b.requests();
    std::vector<int32_t> kv_lens = b.kv_lens, q_lens = b.q_lens;
    kv_lens.resize(size_t(b.shape.max_batch), -1); /* may be read, not used */
    q_lens.resize(size_t(b.shape.max_batch), -1);
    schedule.count = &count;
    schedule.kv_lens = kv_lens.data();
    schedule.q_lens = q_lens.data();
    schedule.append_starts = b.append_starts.empty() ? nullptr : b.append_starts.data();
    schedule.block_table = b.block_table.empty() ? nullptr : b.block_table.data();
    schedule.table_stride = uint64_t(b.table_stride());
    schedule.merge_grid = b.merge_grid();
    schedule.narrow_rows = b.narrow_rows;
    schedule.shape = b.shape;
    schedule.workspace = s.addresses;
    schedule_on_host(schedule);
    REQUIRE(s.header.error == 0 && s.header.count == count);
}

/** @return how many requests were cut */
int play(const Batch &b)
{
    Space s(b.shape);
    run_schedule(b, s);
    REQUIRE(s.header.merge_ctas >= 1 && s.header.merge_ctas <= b.merge_grid());
    const std::vector<hm_sm90_group> groups = read_groups(b, s);
    const Stretches found = read_segments(b, s, groups);
    const int cut = check_stretches(b, s, found);
    check_early_pages(b, s, groups);
    check_work(b, s, found);
    taken[s.header.merge_way] += cut > 0;
    narrowed += records_of(b) > 1;
    make_parts(b, s, found);

    int tokens = b.tail;
    for (int32_t q : b.q_lens) {
        tokens += q;
    }
    REQUIRE(s.header.q_total == tokens - b.tail);
    merge(b, s, found, tokens);
    if (tokens > 0 && draw(2)) {
        merge(b, s, found, int(draw(uint32_t(tokens))));
    }
    return cut;
}

int length(int kind, int max_kv)
{
    const uint32_t tokens = uint32_t(max_kv);
    switch (kind) {
    case 0:
        return max_kv;
    case 1:
        return 1 + int(draw(std::min(tokens, 64u)));
    case 2:
        return draw(4) == 0 ? max_kv : int(draw(200)) % max_kv;
    default:
        return int(draw(tokens + 1));
    }
}

/** Gives the batch what a plan has besides: appended tokens, and a table of pages. */
void make_plan(Batch &b)
{
    b.append_starts.assign(size_t(b.shape.max_batch) + 1, 0);
    for (int r = 0; r < b.shape.max_batch; r++) {
        const int most = r < b.requests() ? std::min(b.kv_lens[r], 100) : 0;
        b.append_starts[size_t(r) + 1] = b.append_starts[size_t(r)] + int(draw(uint32_t(most) + 1));
    }
    b.block_table.resize(size_t(b.shape.max_batch) * size_t(b.table_stride()));
    for (int32_t &page : b.block_table) {
        page = int32_t(draw(1000000));
    }
}

Batch draw_batch()
{
    static const int heads[] = { 1, 3, 16, 17, 40, 64, 65, 128 }, tiles[] = { 16, 32, 64 },
                     units[] = { 1, 2, 7, 16, 33 };
    const int max_q = 1 + int(draw(3)), max_batch = 1 + int(draw(40)), max_kv = 1 + int(draw(1u << (6 + draw(9))));
    Batch b(units[draw(5)], heads[draw(8)], tiles[draw(3)], max_batch, max_q, max_kv);
    const int kind = int(draw(4)), requests = int(draw(uint32_t(max_batch) + 1));
    b.twice = draw(2);
    b.narrow_rows = draw(2) ? int(HM_SM90_NARROW_ROWS) : b.shape.tile_rows;
    b.tail = int(draw(3));
    for (int r = 0; r < requests; r++) {
        b.kv_lens.push_back(length(kind, max_kv));
        b.q_lens.push_back(draw(6) == 0 ? 0 : 1 + int(draw(uint32_t(max_q))));
    }
    if (draw(2)) {
        make_plan(b);
    }
    return b;
}

/** A batch that clusters have: a CTA for each part of a request, with as many pages as the others but for the last ones. */
Batch draw_cluster_batch()
{
    static const int heads[] = { 1, 16, 17, 128 };
    const int parts = 2 << draw(4), most = parts * (1 + int(draw(2))), max_q = 1 + int(draw(3));
    const int max_kv = 1 + int(draw(uint32_t(most * HM_SM90_PAGE_TOKENS)));
    const int max_batch = 1 + int(draw(uint32_t(HM_SM90_MAX_UNITS / parts)));
    Batch b(HM_SM90_MAX_UNITS, heads[draw(4)], HM_SM90_NARROW_ROWS, max_batch, max_q, max_kv);
    b.shape.parts = parts;
    b.shape.groups = max_batch * parts;
    const int kind = int(draw(4)), requests = int(draw(uint32_t(max_batch) + 1));
    for (int r = 0; r < requests; r++) {
        b.kv_lens.push_back(draw(6) == 0 ? 0 : length(kind, max_kv));
        b.q_lens.push_back(draw(6) == 0 ? 0 : 1 + int(draw(uint32_t(max_q))));
    }
    if (draw(2)) {
        make_plan(b);
    }
    return b;
}

/** Every page of a request is one CTA's, in order; CTAs without pages know the request too. */
void check_cluster(const Batch &b, const Space &s, int request, int q_start)
{
    const bool there = request < b.requests() && b.q_lens[size_t(request)] > 0;
    const int pages = there ? pages_of(b.kv_lens[size_t(request)]) : 0;
    const int each = (pages + b.shape.parts - 1) / b.shape.parts;
    int page = 0, with_pages = 0;
    for (int part = 0; part < b.shape.parts; part++) {
        const hm_sm90_group &cta = s.groups[size_t(request * b.shape.parts + part)];
        const hm_sm90_segment &segment = cta.head[0];
        REQUIRE(cta.start.rows == b.shape.tile_rows && cta.start.row == 0);
        if (!there) {
            REQUIRE(cta.start.count == 0 && segment.q_len == 0);
            continue;
        }
        const int fresh_page = b.fresh_page(request);
        REQUIRE(segment.request == request && segment.kv_len == b.kv_lens[size_t(request)]);
        REQUIRE(segment.q_len == b.q_lens[size_t(request)] && segment.q_start == q_start);
        REQUIRE(segment.page_begin == page && segment.page_end - page <= each && segment.fresh_page == fresh_page);
        REQUIRE(cta.start.count == (segment.page_end > page));
        REQUIRE(cta.start.early_rows == b.rows(request));
        const bool known = !b.block_table.empty() && cta.start.count > 0 && page < fresh_page;
        REQUIRE(cta.start.early_page == (known ? b.block_table[size_t(request * b.table_stride() + page)] : -1));
        page = segment.page_end;
        with_pages += cta.start.count;
    }
    REQUIRE(page == pages);
    for (int part = 0; there && part < b.shape.parts; part++) {
        REQUIRE(s.groups[size_t(request * b.shape.parts + part)].head[0].part == with_pages);
    }
}

void play_clusters(const Batch &b)
{
    Space s(b.shape);
    run_schedule(b, s);
    int q_start = 0;
    for (int r = 0; r < b.shape.max_batch; r++) {
        check_cluster(b, s, r, q_start);
        q_start += r < b.requests() ? b.q_lens[size_t(r)] : 0;
    }
    REQUIRE(s.header.q_total == q_start && s.header.splits == 0);
}

/* A device of 132 processors. */
void play_large_batches()
{
    static const struct {
        const char *name;
        int heads, tile_rows, requests, tokens;
        bool twice;
        bool ragged = false;
    } large[] = {
        { "one of 131,072 tokens", 16, 16, 1, 131072, false },
        { "one of 131,072 tokens, 64 heads", 64, 64, 1, 131072, true },
        { "one of 131,072 tokens, 128 heads", 128, 64, 1, 131072, true },
        { "four of 8192", 64, 64, 4, 8192, true },
        { "sixteen of 4096", 32, 32, 16, 4096, false },
        { "130 of 4096", 128, 64, 130, 4096, true },
        { "90 of 1000", 16, 16, 90, 1000, false },
        { "700 of up to 300", 1, 16, 700, 300, false, true },
        { "1024 of up to 300, the most that are put in order", 16, 16, 1024, 300, false, true },
        { "1025 of up to 300, one too many to be put in order", 16, 16, 1025, 300, false, true },
        { "4096 of up to 300, the most in shared memory", 1, 32, 4096, 300, false, true },
        { "4097 of up to 300", 1, 32, 4097, 300, false, true },
        { "5000 of up to 300, too many for shared memory", 1, 64, 5000, 300, true, true },
    };
    for (const auto &l : large) {
        now_at = l.name;
        random_state = 88172645463325252ull;
        Batch b(132, l.heads, l.tile_rows, l.requests, 1, l.tokens);
        b.twice = l.twice;
        for (int r = 0; r < l.requests; r++) {
            b.kv_lens.push_back(l.ragged ? int(draw(uint32_t(l.tokens) + 1)) : l.tokens);
        }
        b.q_lens.assign(size_t(l.requests), 1);
        play(b);
    }
}
}  // namespace

int main(int argc, char **argv)
{
    const int batches = argc > 1 ? std::atoi(argv[1]) : 200;
    int cut = 0;
    play_large_batches();
    for (int i = 0; i < batches; i++) {
        char name[32];
        std::snprintf(name, sizeof name, "random batch %d", i);
        now_at = name;
        random_state = 0x9e3779b97f4a7c15ull * uint64_t(i + 1);
        cut += play(draw_batch());
        play_clusters(draw_cluster_batch());
    }
    std::printf("test_schedule: %d random batches, %d requests cut and merged, by ways", batches, cut);
    for (int times : taken) {
        std::printf(" %d", times);
    }
    std::printf(", %d with narrow tiles\n", narrowed);
    now_at = "at the end";
    REQUIRE(narrowed > 0);
    for (int times : taken) {
        REQUIRE(times > 0);
    }
    return 0;
}
