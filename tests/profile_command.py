# SPDX-License-Identifier: Apache-2.0
"""The command's profile, roofline, export, and what replay serves and shows: profile_command.py COMMAND SOURCE_ROOT"""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml

command, root = sys.argv[1], pathlib.Path(sys.argv[2])
chat = str(root / "profiling/traces/chat.jsonl")
failures = 0


def run(*arguments, **others):
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=300, check=False, **others)


def expect(what, condition, result=None):
    global failures
    print(("ok      " if condition else "FAILED  ") + what)
    if not condition:
        failures += 1
        if result is not None:
            print("status", result.returncode, "\n", result.stdout, result.stderr)


def ends(what, result, status, text=""):
    expect(what, result.returncode == status and text in result.stdout + result.stderr, result)


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


REPLAY = ["replay", chat, "--backend", "cpu", "--limit", "6", "--layers", "3"]
BENCH = ["bench", "--backend", "cpu", "--quick", "--only", "b1-q1-h16-l1024", "--seconds", "0", "--layers", "2"]


def profile_replay(folder):
    path = folder / "replay.jsonl"
    result = run("profile", "--records", str(path), "--json", "--", *REPLAY, "--json")
    lines = objects(result.stdout)
    expect("profile -- replay --json", result.returncode == 0 and "steps" in lines[0], result)
    kinds = {line["call"]: line for line in lines[1:]}
    steps = lines[0]["steps"]
    expect("a line for each kind", set(kinds) == {"append", "decode", "update"}
           and all(line["kind"] == "profile" and line["dropped"] == 0 for line in kinds.values()), result)
    expect("every call was counted", kinds["update"]["calls"] == steps and kinds["append"]["calls"] == 3 * steps
           and kinds["append"]["records"] == steps and kinds["decode"]["calls"] == 3 * kinds["decode"]["records"] <= 3 * steps)
    decode = kinds["decode"]
    expect("time, rates and bound of decodes", decode["ms"] > 0 and decode["us_p50"] <= decode["us_p99"]
           and abs(decode["gbps"] / lines[0]["decode_gbps"] - 1) < 0.5 and 0 < decode["fraction"] < 20, result)
    head, *records = objects(path.read_text())
    expect("the file starts with the ceilings", head["kind"] == "ceilings" and head["flops_burst"] > 0 and head["device"])
    expect("all records are in it", [record["id"] for record in records] == list(range(1, len(records) + 1))
           and len(records) == sum(line["records"] for line in kinds.values()))
    small = run("profile", "--capacity", "16", "--json", "--", *REPLAY, "--no-ceilings", "--json")
    totals = {line["call"]: line for line in objects(small.stdout)[1:]}
    expect("a small ring drops nothing without a file", steps > 16 and set(totals) == set(kinds)
           and all(line["dropped"] == 0 and line["records"] == kinds[call]["records"] for call, line in totals.items()), small)
    table = run("profile", "--", *REPLAY, "--no-ceilings")
    ends("the table", table, 0, "\nkind         calls")
    expect("the table says what is not there", "no kernel times and no counters: " in table.stdout and "the host's clock" in table.stdout
           and "the ceilings were not measured" in table.stdout, table)
    return path


def profile_without_a_device():
    """On CUDA over a driver without a device, where the test is given one: events, and no word of CUPTI's but why."""
    driver = os.environ.get("FAKE_CUDA")
    if not driver:
        print("skipped there is no driver without a device")
        return
    others = {"env": {**os.environ, "HOPMLA_LIBCUDA": driver, "HOPMLA_CUPTI_PATH": "/nonexistent/libcupti.so"}}
    arguments = [*REPLAY, "--backend", "cuda", "--pages", "200", "--no-ceilings", "--limit", "2"]
    result = run("profile", "--json", "--", *arguments, "--json", **others)
    lines = objects(result.stdout)
    expect("a replay on CUDA is timed by events", result.returncode == 0 and len(lines) == 4
           and all(line["times"].startswith("CUDA events") and line["ms"] > 0 for line in lines[1:]), result)
    cupti = os.environ.get("FAKE_CUPTI")  # the build makes one where it has CUPTI's headers
    ends("and says what CUPTI is missing for", run("profile", "--", *arguments, **others), 0,
         "/nonexistent/libcupti.so" if cupti else "built without CUPTI")
    if not cupti:
        print("skipped there is no CUPTI without a device")
        return
    others["env"]["HOPMLA_CUPTI_PATH"] = cupti
    result = run("profile", "--json", "--", *arguments, "--json", **others)
    lines = objects(result.stdout)
    expect("with CUPTI by kernel times and counters", result.returncode == 0 and len(lines) == 4
           and all(line["times"] == "CUPTI's kernel times" and line["dram_read_ratio"] > 0 and line["l2_ratio"] > 0
                   for line in lines[1:]) and lines[2]["call"] == "decode" and lines[2]["tensor_ratio"] > 0, result)
    ends("columns of the hardware", run("profile", "--", *arguments, **others), 0, "DRAM      DRAM        L2    tensor")
    ends("a metric of one's own", run("profile", "--counters", "dram__bytes_read.sum", "--", *arguments, **others), 0, "decode")


def profile_bench(folder):
    path = folder / "bench.jsonl"
    result = run("profile", "--records", str(path), "--json", "--", *BENCH, "--json")
    lines = objects(result.stdout)
    expect("profile -- bench --json", result.returncode == 0 and lines[0]["kind"] == "ceilings"
           and lines[1]["watched_us"] > 0 and lines[2]["kind"] == "profile", result)
    records = objects(path.read_text())[1:]
    expect("replays apart are watched", [r["calls"] for r in records] == [2] * lines[2]["records"]
           and all(r["graph"] and r["kind"] == "decode" and r["batch"] == 1 and r["heads"] == 16 for r in records))
    expect("records tell the bytes and FLOPs of bench", all(abs(r["flops"] / 2 / lines[1]["flops"] - 1) < 1e-5
                                                            and abs(r["bytes"] / 2 / lines[1]["bytes"] - 1) < 1e-3
                                                            for r in records))
    ends("the column of bench", run("profile", "--", *BENCH), 0, "watched us")


def profile_usage(folder):
    ends("profile --help", run("profile", "--help"), 0, "replay|bench")
    for name in ["profile", "roofline", "export"]:
        help_text = run(name, "--help").stdout
        expect(name + " --help fits a terminal", help_text and max(map(len, help_text.splitlines())) <= 110)
    ends("profile alone", run("profile"), 2, "after -- comes replay or bench")
    ends("profile of something else", run("profile", "--", "check"), 2, "not 'check'")
    ends("profile of profile", run("profile", "--", "profile", "--", "replay"), 2, "not 'profile'")
    ends("unknown clock", run("profile", "--clocks", "sundial", "--", *REPLAY), 2, "not one of none, events, activity")
    ends("unknown counters", run("profile", "--counters", "heavy", "--", *REPLAY), 2, "not one of none, light, full")
    ends("no file to write", run("profile", "--records", str(folder / "none/x"), "--", *REPLAY, "--no-ceilings"), 1, "none/x: ")
    ends("a full disk", run("profile", "--records", "/dev/full", "--", *REPLAY, "--no-ceilings"), 1, "/dev/full: ")
    ends("books make no calls", run("profile", "--", "bench", "--pool"), 2, "no calls to profile")
    for clocks in ["none", "events"]:
        for counters in ["none", "light", "dram__bytes_read.sum"]:
            ends(f"clocks {clocks}, counters {counters}", run("profile", "--clocks", clocks, "--counters", counters, "--sample",
                 "2", "--capacity", "16", "--", *REPLAY, "--no-ceilings", "--limit", "1"), 0, "append")


def exports(folder, path):
    for format_name, check in [("roofline", xml.fromstring), ("timeline", xml.fromstring), ("trace", json.loads),
                               ("csv", str), ("jsonl", objects)]:
        output = folder / ("out." + format_name)
        result = run("export", str(path), "--format", format_name, "-o", str(output))
        ends("export --format " + format_name, result, 0)
        check(output.read_text())
        same = run("export", str(path), "--format", format_name)
        expect(f"{format_name} to standard output", same.stdout == output.read_text() and not same.stderr, same)
    with open(folder / "appended", "w+") as file:
        file.write("before\n")
        file.flush()
        subprocess.run([command, "export", str(path), "--format", "jsonl", "-o", "/dev/stdout"], stdout=file, check=True)
        file.write("after\n")
    expect("-o /dev/stdout is standard output", (folder / "appended").read_text() == "before\n" + path.read_text() + "after\n")
    expect("records go through unchanged", (folder / "out.jsonl").read_text() == path.read_text())
    expect("roofline is export --format roofline",
           run("roofline", str(path)).stdout == (folder / "out.roofline").read_text())
    ends("roofline into a folder", run("roofline", str(path), "-o", str(folder)), 1, "Is a directory")
    ends("roofline to nowhere", run("roofline", str(path), "--output=" + str(folder / "none/x")), 1, "No such file")
    ends("export without a format", run("export", str(path)), 2, "--format is missing")
    ends("export with an unknown one", run("export", str(path), "--format", "png"), 2, "not one of csv")
    ends("no records", run("roofline", str(folder / "none")), 1, "none: No such file")
    bad = folder / "bad.jsonl"
    whole = path.read_text().splitlines()[1]
    for text, says in [("{", ":1: "), ("[]", ":1: "), ("{}", '"kind" is missing'), ('{"kind": 5}', '"kind" is missing'),
                       ('{"kind": "decode", "flops": -1}', '"flops" is out of range'),
                       ('{"kind": "decode", "flops": 1.5}', '"flops" is not a whole number'),
                       ('{"kind": "decode", "flops": 18446744073709551616}', '"flops" is not a whole number of 64 bits'),
                       ('{"kind": "decode", "host_ns": 9223372036854775808}', '"host_ns" is out of range'),
                       ('{"kind": "decode", "batch": 4294967296}', '"batch" is out of range'),
                       ('{"kind": "decode", "host_ns": -9223372036854775809}', '"host_ns" is not a whole number'),
                       ('{"kind": "decode", "graph": 1}', '"graph" is neither'),
                       ('{"kind": "decode", "format": 1}', '"format" is not a text'),
                       ('{"kind": "decode", "fraction": "x"}', '"fraction" is not a number'),
                       ('{"kind": "ceilings", "flops_burst": 0}', '"read_bytes_per_second" is missing'),
                       (whole + "\n" + whole[:50], ":2: ")]:
        bad.write_text(text + "\n")
        ends(f"records: {text[:50]!r}", run("roofline", str(bad)), 1, says)
    for name in ["bf16", "fp16", "bf16-nope", "fp16-nope"]:
        bad.write_text('{"kind":"decode","format":"' + name + '"}\n')
        ends("records of " + name, run("export", str(bad), "--format", "jsonl"), 0, '"format":"' + name + '"')
    whole = ['"id":18446744073709551615', '"host_begin_ns":-9223372036854775808']
    bad.write_text('{"kind":"decode",' + ",".join(whole) + "}\n")
    result = run("export", str(bad), "--format", "jsonl")
    expect("integers of all 64 bits", result.returncode == 0 and all(text in result.stdout for text in whole), result)
    bad.write_text('{"kind": "of the future", "later": 3}\n{"kind": "ceilings", "device": "x"}\n\n')
    ends("records of a newer release", run("export", str(bad), "--format", "jsonl"), 0, '{"kind":"unknown"')


@contextlib.contextmanager
def replaying(*arguments):
    """A replay that serves metrics, from when it does. @return the process, the URL"""
    process = subprocess.Popen([command, *REPLAY[:4], "--no-ceilings", "--metrics", "127.0.0.1:0", *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    yield process, re.search(r"http://\S+", line).group()
    process.communicate(timeout=300)
    expect("the replay ends well", process.returncode == 0)


def scrape(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def values(text):
    return {name: float(value) for name, value in re.findall(r"^(hopmla\S*(?:\{.*\})?) (\S+)$", text, flags=re.M)}


def metrics():
    with replaying("--limit", "40") as (process, url):
        first = scrape(url)
        texts = [first]
        while process.poll() is None and len(texts) < 5:
            time.sleep(0.4)
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                texts.append(scrape(url))
    expect("scraped more than once", len(texts) > 1)
    expect("every answer is whole", all(text.endswith("# EOF\n") for text in texts))
    seen = [values(text) for text in texts]
    totals = [name for name in seen[0] if "_total" in name or "_count" in name or "_sum" in name]
    expect("totals only grow", len(totals) > 50 and all(a[name] <= b[name] for a, b in zip(seen, seen[1:]) for name in totals))
    decodes = 'hopmla_calls_total{kind="decode"}'
    expect("decodes are counted while it runs", seen[-1][decodes] > seen[0][decodes], None)
    expect("the pool is told of", seen[-1]["hopmla_pool_pages"] == 1024 and seen[-1]["hopmla_pool_pages_used"] > 0)
    expect("no labels but kind, quantile and the library's",
           set(re.findall(r'(\w+)="', texts[-1])) == {"kind", "quantile", "version", "device"})
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
        names = {family.name for text in texts for family in parse(text)}
        expect("Prometheus' parser takes it", {"hopmla_device_time_seconds", "hopmla_pool_pages"} <= names)
    except ImportError:
        print("skipped prometheus_client is not there")
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        scrape(url)
        expect("nobody listens afterwards", False)
    for address in ["nowhere", "127.0.0.1:99999", "192.0.2.1:9400"]:
        ends("metrics at " + address, run(*REPLAY, "--no-ceilings", "--metrics", address), 1, "--metrics: ")


def on_terminal(columns, rows, arguments, **environment):
    """What a program writes to a terminal of that size, and its exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(environment)
        os.execv(command, [command, *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    data = b""
    with contextlib.suppress(OSError):  # its end, on Linux
        while select.select([terminal], [], [], 120)[0]:
            piece = os.read(terminal, 65536)
            if not piece:
                break
            data += piece
    os.close(terminal)
    return data.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def widest(text):
    """Columns that the widest line takes."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return max(len(line) for line in re.split(r"[\r\n]+", plain))


def terminal():
    arguments = [*REPLAY, "--no-ceilings"]
    try:
        os.close(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        print("skipped no terminal can be made here:", error)
        return
    text, status = on_terminal(100, 30, arguments, TERM="xterm", LC_ALL="C.UTF-8")
    live = text[:text.rindex("\x1b[J")]
    expect("a dashboard on a terminal", status == 0 and all(word in live for word in
           ("hopmla replay", "requests", "pages", "steps", "tokens", "GB/s")) and "\x1b[" in live)
    expect("with bars of Unicode", "█" in live or "·" in live)
    expect("not wider than the terminal", widest(live) <= 80)
    expect("it is taken away before the table", "\x1b" not in text[text.rindex("\x1b[J") + 3:] and "pages leaked" in text)
    text, status = on_terminal(100, 30, arguments, TERM="xterm", LC_ALL="C")
    expect("plain characters without UTF-8", status == 0 and text.isascii() and "#" in text)
    for columns, rows, name in [(60, 30, "xterm"), (100, 10, "xterm"), (100, 30, "dumb")]:
        text, status = on_terminal(columns, rows, arguments, TERM=name, LC_ALL="C")
        expect(f"one line on {name} of {columns} x {rows}", status == 0 and "\x1b" not in text and "requests, step" in text)
    result = run(*arguments)
    expect("nothing where there is no terminal", result.returncode == 0 and not result.stderr, result)


with tempfile.TemporaryDirectory() as name:
    place = pathlib.Path(name)
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    recorded = profile_replay(place)
    profile_without_a_device()
    profile_bench(place)
    profile_usage(place)
    exports(place, recorded)
    metrics()
    terminal()
sys.exit(failures > 0)
