# SPDX-License-Identifier: Apache-2.0
"""What the exporters write against the rules of each format: export.py EXPORT_RECORDS

The program runs in a locale whose decimal point is a comma, where localedef can make one. OpenMetrics is read by
Prometheus' own parser where Python has it."""

import csv
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

KINDS = {"append", "decode", "gather", "update", "launch", "unknown"}
NAMES = {"kind", "format", "time_source"}
FLAGS = {"graph", "raw"}
SETS = {"many": 20000, "bare": 500, "few": 6, "none": 0, "odd": 12, "spot": 3000}
SVG = "{http://www.w3.org/2000/svg}"


def comma_locale(folder):
    """Environment with a locale of a decimal comma, or None."""
    if not shutil.which("localedef"):
        return None
    source = folder / "comma"
    source.write_text('LC_NUMERIC\ndecimal_point ","\nthousands_sep "."\ngrouping 3;3\nEND LC_NUMERIC\n')
    subprocess.run(["localedef", "-c", "-i", source, "-f", "ANSI_X3.4-1968", "--no-archive", folder / "xx_XX"],
                   capture_output=True)
    return {"LOCPATH": str(folder), "LC_ALL": "xx_XX"} if (folder / "xx_XX/LC_NUMERIC").exists() else None


def write(program, folder):
    extra = comma_locale(folder)
    made = subprocess.run([program, folder], check=True, capture_output=True, text=True,
                          env={**os.environ, **(extra or {})})
    if extra:
        assert made.stdout.strip() == ",", made.stdout
    else:
        print("no localedef: numbers were written in the C locale alone")
    left = [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]
    assert not left, left


def strict(text):
    """JSON as other readers have it: no NaN, no key twice."""
    def refuse(constant):
        raise ValueError(constant)

    def once(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), keys
        return dict(pairs)
    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


def lines(folder, name):
    """Records of the JSON lines, after the line of the ceilings."""
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n") or not text
    read = [strict(line) for line in text.splitlines()]
    if name != "bare":
        head = read.pop(0)
        assert head["kind"] == "ceilings" and head["read_bytes_per_second"] == 4.4e12, head
        assert head["flops_burst"] == 935e12 and head["flops_sustained"] == 735e12, head
        if name == "odd":
            assert head["device"] == 'a "card" <&> \\ with\nlines\tand \ufffd bytes \u20ac \ufffe\uffff', head["device"]
    assert len(read) == SETS[name], len(read)
    return read


def check_jsonl(folder, name):
    for record in lines(folder, name):
        assert record["kind"] in KINDS
        for key, value in record.items():
            kind = str if key in NAMES else bool if key in FLAGS else (int, float)
            assert isinstance(value, kind), (key, value)
        valid = record["valid"]
        assert ("flops" in record) == bool(valid & 1)
        assert ("device_ns" in record) == bool(valid & 2)
        assert ("bound_ns" in record) == bool(valid & 4)
        assert ("l2_bytes" in record) == bool(valid & 8)
        assert ("tensor_flops" in record) == bool(valid & 16)
        assert ("custom_1" in record) == bool(valid & 32)
    if name == "odd":
        records = lines(folder, name)
        assert "bytes_per_second" not in records[0] and "fraction" not in records[0]
        assert "intensity" not in records[1]
        assert (records[2]["kind"], records[2]["format"], records[2]["time_source"]) == ("unknown",) * 3
        assert records[4]["custom_0"] == 1 / 3 and "custom_7" not in records[4]
        assert records[5]["id"] == 2**64 - 1 and records[6]["host_begin_ns"] == -2**63
        assert records[9]["intensity"] == 1e300 and records[9]["flops_per_second"] == 1e-300
        assert records[11]["graph"] and records[11]["raw"] and not records[10]["graph"]


def check_csv(folder, name):
    with open(folder / f"{name}.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    records = lines(folder, name)
    assert len(rows) == len(records)
    for row, record in zip(rows, records):
        assert None not in row and None not in row.values()  # no row is longer or shorter than the header
        for key, text in row.items():
            value = record.get(key)
            if value is None:
                assert text == "", (key, text)
            elif key in NAMES:
                assert text == value
            elif key in FLAGS:
                assert text == str(value).lower()
            else:
                assert type(value)(text) == value, (key, text, value)


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_trace(folder, name):
    """The rules of the trace event format (Google's "Trace Event Format", JSON object form)."""
    trace = strict((folder / f"{name}.trace.json").read_text(encoding="utf-8"))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events = trace["traceEvents"]
    processes, threads, starts, ends, complete = {}, {}, {}, {}, {}
    for event in events:
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["name"], str)
        phase = event["ph"]
        if phase == "M":
            assert event["name"] in ("process_name", "thread_name") and isinstance(event["args"]["name"], str)
            names = processes if event["name"] == "process_name" else threads
            key = event["pid"] if names is processes else (event["pid"], event["tid"])
            assert key not in names, key
            names[key] = event["args"]["name"]
            continue
        assert number(event["ts"]), event
        if phase == "X":
            assert number(event["dur"]) and event["dur"] >= 0, event
            assert event["name"] in KINDS and isinstance(event["args"], dict)
            complete.setdefault((event["pid"], event["tid"]), []).append(event)
        elif phase == "C":
            assert event["args"] and all(number(value) for value in event["args"].values())
        elif phase in "sf":
            side = starts if phase == "s" else ends
            assert event["id"] not in side or name == "odd"
            side[event["id"]] = event
            assert phase == "s" or event["bp"] == "e"
        else:
            raise AssertionError(event)
    assert set(processes) == {1, 2}
    assert set(complete) <= set(threads) and set(threads) == set(complete)
    assert starts.keys() == ends.keys()
    hosts = sum(len(some) for (pid, _), some in complete.items() if pid == 1)
    assert hosts == SETS[name]
    if name != "odd":  # whose times meet the end of 64 bits
        check_nesting(complete)
        records = lines(folder, name)
        timed = [event for (pid, _), some in complete.items() if pid == 2 for event in some]
        assert len(timed) == sum("device_ns" in record for record in records)
        by_id = {record["id"]: record for record in records}
        for event in timed:
            record = by_id[event["args"]["id"]]
            assert event["args"] == record
            assert round(event["ts"] * 1000) == record["device_begin_ns"]
            assert round(event["dur"] * 1000) == record["device_ns"]


def check_nesting(complete):
    """Complete events of a track follow one another or nest: Perfetto drops one that overlaps in part."""
    for events in complete.values():
        open_ends = []
        for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
            begin, end = round(event["ts"] * 1000), round((event["ts"] + event["dur"]) * 1000)
            while open_ends and open_ends[-1] <= begin + 1:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 1, event
            open_ends.append(end)


def picture(folder, name, which):
    path = folder / f"{name}.{which}.svg"
    assert path.stat().st_size < 300_000, path.stat().st_size
    root = xml.parse(path).getroot()
    assert root.tag == SVG + "svg"
    _, _, width, height = map(float, root.get("viewBox").split())
    style = root.find(SVG + "style").text
    assert "prefers-color-scheme:dark" in style
    # Every class that is used has a colour, and those of light have one in dark.
    light, dark = style.split("@media")
    for part in root.iter():
        for one in (part.get("class") or "").split():
            assert f".{one}{{" in light or f".{one}," in light, one
    for one in ("page", "ink", "dim", "grid", "c1", "c5", "s1", "s5", "roof", "halo"):
        assert f".{one}{{" in dark, one
    assert not re.search(r"nan|inf\b", "".join(root.itertext()) + path.read_text(encoding="utf-8").lower())
    for part in root.iter():
        for key in ("x", "cx", "y", "cy", "width"):
            if part.get(key) is not None:
                limit = width if key in ("x", "cx", "width") else height
                assert -1 <= float(part.get(key)) <= limit + 1, (part.attrib, limit)
    return root, " ".join(" ".join(root.itertext()).split())


def check_roofline(folder, name):
    root, text = picture(folder, name, "roofline")
    dots = [part for part in root.iter(SVG + "circle") if "dot" in (part.get("class") or "")]
    if name == "few":
        assert len(dots) == 6 and "6 calls" in text
    if name == "spot":
        assert len(dots) == 1 and "× 3,000" in text
    if name == "none":
        assert not dots and "0 calls" in text
    if name == "bare":
        assert "no ceilings" in text and "burst" not in text
    else:
        assert all(word in text for word in ("4.4 TB/s read", "935 TFLOP/s burst", "735 TFLOP/s sustained"))
    if name in ("few", "many", "spot"):
        # A dot under the roofs is drawn under them: the slope and the flat roof as they are in the picture.
        paths = [part.get("d") for part in root.iter(SVG + "path") if part.get("class") == "roof"]
        x0, y0, x1, y1 = map(float, re.fullmatch(r"M(\S+) (\S+)L(\S+) (\S+)", paths[0]).groups())
        for dot in dots:
            x, y = float(dot.get("cx")), float(dot.get("cy"))
            assert y >= (y1 if x >= x1 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)) - 1.0, (x, y)


def check_timeline(folder, name):
    root, text = picture(folder, name, "timeline")
    bars = [part for part in root.iter(SVG + "rect") if re.fullmatch("c[1-5]", part.get("class") or "")]
    if name == "few":
        assert len(bars) == 6
    if name == "none":
        assert "no call has a device time" in text
    if name == "many":  # updates alone are few enough for a bar each
        assert len(bars) == 313 and all(part.get("class") == "c4" for part in bars)


def check_metrics(folder):
    texts = {name: (folder / f"{name}.metrics").read_text(encoding="utf-8") for name in ("all", "nothing")}
    for text in texts.values():
        assert text.endswith("\n# EOF\n") and text.count("# EOF") == 1
        assert all(re.match(r"(# )?[A-Z ]*hopmla_|# EOF", line) for line in text.splitlines())
    everything = texts["all"]
    kinds = re.findall(r"^# TYPE (\S+) ", everything, flags=re.M)
    assert len(kinds) == len(set(kinds)) and kinds == re.findall(r"^# HELP (\S+) \S", everything, flags=re.M)
    samples = re.findall(r'^(\w+(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?) (\S+)$', everything, flags=re.M)
    assert len(samples) == len({name for name, _ in samples})
    assert len(samples) == sum(not line.startswith("#") for line in everything.splitlines())
    labels = {label for name, _ in samples for label in re.findall(r'(\w+)="', name)}
    assert labels == {"kind", "quantile", "version", "device"}, labels
    values = dict(samples)
    assert values['hopmla_flops_total{kind="decode"}'] == str(2**62)
    assert values['hopmla_device_time_seconds{kind="decode",quantile="0.99"}'] == "4e-05"
    assert float(values['hopmla_device_time_seconds_sum{kind="decode"}']) == 12.345678901
    assert values["hopmla_pool_pages"] == "1024"
    return texts


def parse_metrics(texts):
    """With Prometheus' own parsers: the library's, and promtool."""
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
    except ImportError:
        return False
    families = {family.name: family for family in parse(texts["all"])}
    assert families["hopmla_device_time_seconds"].type == "summary"
    assert families["hopmla_dram_read_bytes"].unit == "bytes"
    device = families["hopmla_build"].samples[0].labels["device"]
    assert device == 'a "card" \\ with\nlines and \ufffd', device
    assert {s.labels["kind"] for s in families["hopmla_calls"].samples} == KINDS - {"unknown"}
    assert [family.name for family in parse(texts["nothing"])] == ["hopmla_build"]
    return True


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write(sys.argv[1], folder)
        for which in SETS:
            for check in (check_jsonl, check_csv, check_trace, check_roofline, check_timeline):
                check(folder, which)
            print(which, "ok")
        if not parse_metrics(check_metrics(folder)):
            print("no prometheus_client in this Python: metrics were checked by the test's own rules alone")


main()
