# SPDX-License-Identifier: Apache-2.0
"""The hopmla command from outside: command.py COMMAND SOURCE_ROOT. Options, outputs, endings; the CPU backend."""

import json
import pathlib
import subprocess
import sys
import tempfile

command, root = sys.argv[1], pathlib.Path(sys.argv[2])
traces = root / "profiling/traces"
chat = str(traces / "chat.jsonl")
failures = 0


def run(*arguments):
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=300, check=False)


def expect(what, condition, result=None):
    global failures
    print(("ok      " if condition else "FAILED  ") + what)
    if not condition:
        failures += 1
        if result is not None:
            print("status", result.returncode, "\n", result.stdout, result.stderr)


def objects(what, result):
    """Its output as JSON, an object a line."""
    try:
        return [json.loads(line) for line in result.stdout.splitlines()]
    except ValueError:
        expect(what + ": JSON", False, result)
        return []


def ends(what, result, status, text=""):
    expect(what, result.returncode == status and text in result.stdout + result.stderr, result)


def usage():
    ends("--version", run("--version"), 0, "hopmla ")
    ends("--help", run("--help"), 0, "replay")
    for name in ["info", "check", "bench", "replay"]:
        result = run(name, "--help")
        ends(name + " --help", result, 0, "--json")
        expect(name + " --help is for stdout and fits a terminal",
               not result.stderr and max(map(len, result.stdout.splitlines())) <= 110, result)
        ends(name + ": unknown option", run(name, "--frob"), 2, "hopmla: unknown option '--frob'")
        ends(name + ": value for a flag", run(name, "--json=1"), 2, "--json takes no value")
    ends("no command", run(), 2, "hopmla: ")
    ends("unknown command", run("frob"), 2, "'frob' is not a command")
    ends("missing value", run("check", "--seed"), 2, "--seed needs a value")
    ends("bad number", run("check", "--seed", "-1"), 2, "not a whole number")
    ends("number out of range", run("replay", chat, "--heads", "257"), 2, "not between 1 and 256")
    ends("bad backend", run("check", "--backend", "tpu"), 2, "not one of cpu, cuda, auto")
    ends("missing file name", run("replay"), 2, "TRACE is missing")
    ends("one file too many", run("replay", chat, chat), 2, "unexpected argument")


def info():
    ends("info", run("info"), 0, "ABI")
    found = objects("info", run("info", "--json"))
    expect("info says what there is",
           bool(found) and found[0]["backends"]["cpu"]["available"] is True and "abi" in found[0])
    if found and not found[0]["backends"]["cuda"]["available"]:
        expect("info says why not", len(found[0]["backends"]["cuda"]["reason"]) > 10)


def check():
    result = run("check", "--backend", "cpu", "--only", "heads-1", "--json")
    found = objects("check", result)
    expect("check", bool(found) and result.returncode == 0 and found[0]["cases"] == found[0]["passed"] > 0
           and found[0]["failed"] == 0 and 0 < found[0]["worst_out"] < 1e-2 and found[0]["backend"] == "cpu", result)
    ends("check's table", run("check", "--backend", "cpu", "--only", "lse-"), 0, "worst lse")
    ends("check without a case", run("check", "--backend", "cpu", "--only", "nothing-like-it"), 1, "nothing-like-it")
    names = run("check", "--list").stdout.split()
    expect("check's names are unique", len(names) == len(set(names)) > 100)


def bench(folder):
    quick = ["bench", "--backend", "cpu", "--seconds", "0", "--layers", "1"]
    result = run(*quick, "--quick", "--only", "h16-l1024", "--json")
    rows = objects("bench", result)
    expect("bench: ceilings, then rows", result.returncode == 0 and len(rows) >= 3 and rows[0]["kind"] == "ceilings"
           and rows[0]["read_gbps"] > 0 and rows[0]["burst_tflops"] > 0, result)
    expect("bench: rows", all(row["us"] > 0 and row["right"] and row["fraction"] > 0 and row["layers"] == 1
                              and row["bound_us"] > 0 for row in rows[1:]), result)
    cases = folder / "cases.jsonl"
    cases.write_text('{"kind":"mine","b":2,"s_q":2,"h":5,"lens":[100,0]}\n\n{"kind":"mine","b":1,"s_q":1,"h":1,"lens":7}\n')
    rows = objects("bench --cases", run(*quick, "--cases", str(cases), "--json"))
    expect("bench --cases", [row.get("mean_len") for row in rows[1:]] == [50, 7])
    ends("bench's table", run(*quick, "--cases", str(cases)), 0, "geometric mean")
    for line, text in [('{"kind":"x","b":2,"s_q":1,"h":1,"lens":[1]}', '"lens" has 1 numbers, but "b" is 2'),
                       ('{"kind":"x","b":1,"s_q":1,"h":257,"lens":1}', '"h" is 257'),
                       ('{"b":1,"s_q":1,"h":1,"lens":1}', '"kind" is missing'),
                       ('{"kind":"x","b":1,"s_q":1,"h":1,"lens":1,"format":"fp16"}', '"format" is neither "bf16" nor'),
                       ('{"kind":"x","b":1,"s_q":1,"h":1,"lens":1,"format":3}', '"format" is neither "bf16" nor')]:
        cases.write_text(line + "\n")
        ends("bench: " + line, run(*quick, "--cases", str(cases)), 1, f"{cases}:1: {text}")
    long = "a kind with a name that is longer than most"
    cases.write_text(json.dumps({"kind": long, "b": 1, "s_q": 4, "h": 16, "lens": 130}) + "\n")
    result = run(*quick, "--cases", str(cases), "--json", "--steady", "--envelope", "tight")
    rows = objects("bench --steady", result)
    expect("bench --steady, --envelope tight, a long kind",
           result.returncode == 0 and len(rows) == 2 and rows[1]["kind"] == long and rows[1]["burst_us"] > 0
           and rows[1]["steady_us"] > 0 and rows[1]["envelope"] == 0, result)
    ends("bench: envelope", run(*quick, "--envelope", "0"), 2, "--envelope: 0 is not between 1")
    ends("bench: suite", run(*quick, "--suite", "frob"), 2, "'frob' is not one of peers, heads, nope, all")
    names = [(row["h"], row["suite"]) for row in
             objects("bench --suite", run(*quick, "--quick", "--suite", "heads", "--only", "b1-q1", "--json"))[1:]]
    expect("bench --suite", (8, "heads") in names and {h for h, _ in names} <= {8, 20, 96})
    cases.write_text("".join(json.dumps({"kind": "x", "b": 2, "s_q": 1, "h": 3, "lens": [50, 70], "format": name}) + "\n"
                             for name in ["bf16", "bf16-nope"]))
    result = run(*quick, "--cases", str(cases), "--json")
    rows = objects("bench over two formats", result)[1:]
    expect("bench over two formats", [(row["format"], row["flops"], row["bytes"], row["right"]) for row in rows]
           == [(name, 2 * 3 * 120 * (qk + 512), 120 * 2 * qk + 2 * 3 * 2 * (qk + 512), True)
               for name, qk in [("bf16", 576), ("bf16-nope", 512)]], result)
    cases.write_text(result.stdout)
    ends("a row's name tells the format", run("bench", "--results", str(cases), "--against", str(cases)), 0,
         "x-b2-q1-h3-l60-bf16-nope ")
    found = objects("bench --suite nope", run(*quick, "--suite", "nope", "--only", "b1-q1-h16-l4096", "--json"))[1:]
    expect("bench --suite nope", [(row["suite"], row["format"], row["right"]) for row in found]
           == [("nope", "bf16-nope", True)])


PEERS = """# a card
# kind\tb\ts_q\th\tmean_len\tlayers\tbound_us\tone_us\tone_err\ttwo_us
fixed\t1\t1\t16\t1024\t61\t0.1\t12.0\t1e-3\t10.0
fixed\t1\t1\t16\t4096\t61\t0.1\t20.0\t1e-3\t-
varlen\t2\t1\t16\t1500\t61\t0.1\t8.0\t1e-3\t9.0
mtp\t1\t2\t16\t7\t61\t0.1\t8.0\t1e-3\t9.0
"""


def compare(folder):
    """Two files of results, neither of them measured here."""
    ours, peers = folder / "ours.jsonl", folder / "peers.tsv"

    def row(b, length, us, kind="fixed", **more):
        return json.dumps({"kind": kind, "b": b, "s_q": 1, "h": 16, "mean_len": length, "us": us, **more}) + "\n"

    ours.write_text('{"kind": "ceilings", "read_gbps": null}\n' + row(1, 1024, 99) + row(1, 1024, 5, steady_us=6)
                    + row(1, 4096, 5.0) + row(2, 1500.6, 16, "varlen") + row(9, 9, 9))
    peers.write_text(PEERS)
    result = run("bench", "--results", str(ours), "--against", str(peers), "--json")
    rows = objects("bench --results", result)
    expect("the better peer, row by row", result.returncode == 0
           and [(r["us"], r["other_us"], r["ratio"]) for r in rows[:-1]] == [(5, 10, 2), (5, 20, 4), (16, 8, 0.5)], result)
    mean = rows[-1] if rows else {}
    expect("the geometric mean", mean.get("rows") == 3 and abs(mean["ratio"] - 4 ** (1 / 3)) < 1e-4
           and mean["slower"] == 1 and mean["only_own"] == 1 and mean["only_other"] == 1, result)
    ends("the comparison's table", run("bench", "--results", str(ours), "--against", str(peers)), 0,
         "3 rows, geometric mean 1.587, 1 below 1")
    other = folder / "other.jsonl"
    other.write_text(row(1, 1024, 10, steady_us=9) + row(1, 4096, 5, right=False))
    rows = objects("two runs", run("bench", "--results", str(ours), "--against", str(other), "--json"))
    expect("steady times; wrong results do not count", len(rows) == 2 and rows[0]["steady_ratio"] == 1.5
           and rows[1]["wrong"] == 1 and rows[1]["rows"] == 1)
    measured = run("bench", "--backend", "cpu", "--quick", "--only", "b1-q1-h16-l1024", "--seconds", "0", "--layers",
                   "1", "--json", "--against", str(peers))
    rows = objects("bench --against", measured)
    expect("a run against a file", [r["kind"] for r in rows] == ["ceilings", "fixed", "comparison", "comparison mean"])
    ours.write_text(measured.stdout)
    ends("what was printed can be read", run("bench", "--results", str(ours), "--against", str(ours)), 0,
         "1 rows, geometric mean 1.000")
    ends("results with nothing to compare", run("bench", "--results", str(ours)), 2, "--results needs --against")
    peers.write_text("# nothing\n")
    for text, what in [("# nothing\n", "no times in it"),
                       ("hello\n", ":1: neither JSON nor"),
                       (PEERS + "fixed\t1\n", ":7: not as many fields"),
                       (PEERS.replace("12.0", "x"), ":3: a number should be in"),
                       (PEERS.replace("12.0", "nan"), ":3: a number should be in"),
                       ("# " + "a\t" * 99, ":1: more columns than"),
                       (row(1, 1, -1), ':1: the field "us"'),
                       (row(1, 1, 0), ':1: "us" is 0'),
                       (row(0, 1, 1), ':1: "b" is 0'),
                       ('{"b": 1}', ':1: "kind" is missing'),
                       ('{"kind": tru}', ":1: a number, a string, a word")]:
        peers.write_text(text)
        ends(f"results: {text[-20:]!r}", run("bench", "--results", str(ours), "--against", str(peers)), 1, what)
    ends("results: no file", run("bench", "--results", str(ours), "--against", str(folder / "none")), 1, "none: No such")


def books():
    result = run("bench", "--pool", "--pages", "1000", "--json")
    rows = objects("bench --pool", result)
    expect("bench --pool", result.returncode == 0 and len(rows) > 2
           and all(row["pages"] == 1000 and row["step_ns"] > 0 for row in rows), result)
    ends("bench --pool's table", run("bench", "--pool", "--pages", "1000"), 0, "together")


def replay(folder):
    arguments = ["replay", chat, "--backend", "cpu", "--no-ceilings", "--limit", "30"]
    result = run(*arguments, "--verify", "2", "--json")
    found = objects("replay", result)
    nope = objects("replay --format", run(*arguments, "--verify", "2", "--json", "--format", "bf16-nope"))
    expect("replay --format", bool(found and nope) and nope[0]["format"] == "bf16-nope" and nope[0]["verified"] > 0
           and nope[0]["wrong"] == 0 and nope[0]["decode_bytes"] < found[0]["decode_bytes"])
    lines = [json.loads(line) for line in pathlib.Path(chat).read_text(encoding="utf-8").splitlines()[:30]]
    expect("replay serves everything, right and without leaks",
           bool(found) and result.returncode == 0 and found[0]["requests"] == 30 and found[0]["wrong"] == 0
           and found[0]["verified"] > 0 and found[0]["pages_leaked"] == 0 and found[0]["reused_tokens"] > 0
           and 0 < found[0]["decode_bytes_once"] < found[0]["decode_bytes"]
           and found[0]["output_tokens"] == sum(line["output_length"] for line in lines), result)
    # Short prompts that grow long, all at once: more than the pool holds, so that requests have to give way.
    growing = folder / "growing.jsonl"
    growing.write_text("".join(json.dumps({"timestamp": 0, "input_length": 60 + i, "output_length": 150 + 10 * i,
                                           "hash_ids": [i // 2]}) + "\n" for i in range(12)))
    full = ["replay", str(growing), "--backend", "cpu", "--no-ceilings", "--verify", "3", "--json", "--pages", "20",
            "--layers", "3", "--heads", "5", "--chunk", "50"]
    result = run(*full)
    found = objects("replay", result)
    expect("replay in a pool that is too small for all",
           bool(found) and result.returncode == 0 and found[0]["requests"] == 12 and found[0]["wrong"] == 0
           and found[0]["preemptions"] > 0 and found[0]["prefixes_evicted"] > 0 and found[0]["pages_leaked"] == 0
           and found[0]["pages_high_water"] <= 20 and found[0]["reused_tokens"] > 0
           and found[0]["output_tokens"] == sum(150 + 10 * i for i in range(12)), result)
    again = objects("replay", run(*full))
    fixed = ["steps", "preemptions", "prefixes_evicted", "prompt_tokens", "pages_high_water", "worst_out"]
    expect("replay goes the same way again",
           bool(found and again) and [found[0][key] for key in fixed] == [again[0][key] for key in fixed])
    ends("replay's table", run(*arguments[:-1], "3"), 0, "pages leaked")
    ends("replay: format", run(*arguments, "--format", "fp16"), 2, "--format: 'fp16' is not one of bf16, bf16-nope")
    ends("replay in a pool that cannot hold a request", run(*arguments, "--pages", "2"), 1, f"{chat}:")


def shared_bytes(folder):
    """Two requests of the same 512 tokens, one after the other and both at once: then two steps decode them together,
    and 448 of the second one's tokens are in shared pages that are full."""
    path, bytes_of = folder / "pair.jsonl", []
    for second in [10000, 50]:
        path.write_text("".join(json.dumps({"timestamp": arrival, "input_length": 512, "output_length": 3, "hash_ids": [1]})
                                + "\n" for arrival in [0, second]))
        found = objects("replay, a pair", run("replay", str(path), "--backend", "cpu", "--no-ceilings", "--layers", "1",
                                              "--heads", "1", "--json"))
        bytes_of.append((found[0]["decode_bytes"], found[0]["decode_bytes_once"]) if found else (0, 0))
    (apart, apart_once), (together, together_once) = bytes_of
    expect("bytes of a decode, shared pages once",
           apart == apart_once == together > 0 and together - together_once == 2 * 448 * 1152)


def bad_traces(folder):
    good = '{"timestamp": 5, "input_length": 600, "output_length": 2, "hash_ids": [1, 2]}'
    path = folder / "trace.jsonl"

    def refuses(second, text, line=2):
        path.write_text(good + "\n" + second, encoding="utf-8")
        result = run("replay", str(path), "--backend", "cpu", "--no-ceilings")
        ends(f"trace: {second!r}", result, 1, f"hopmla: {path}:{line}: {text}")

    refuses(good[:40], "the line ends where")
    refuses(good[:-1], "the line ends where ',' or '}' should be")
    refuses(good.replace("[1, 2]", "[1, 2"), "',' or ']' should be at column")
    refuses(good + " x\n", "the end of the line should be at column")
    refuses("hello\n", "'{' should be at column 1")
    refuses("[]\n", "'{' should be at column 1")
    refuses("{}\n", 'the field "timestamp" is missing')
    refuses(good.replace('"output_length": 2, ', "") + "\n", 'the field "output_length" is missing')
    refuses(good.replace(', "hash_ids": [1, 2]', "") + "\n", 'the field "hash_ids" is missing')
    refuses(good.replace("600", "-600") + "\n", '"input_length" is -600')
    refuses(good.replace("600", "0") + "\n", '"input_length" is 0')
    refuses(good.replace("600", "600.5") + "\n", '"input_length" is not a whole number')
    refuses(good.replace("600", '"600"') + "\n", '"input_length" is not a whole number')
    refuses(good.replace("600", "99999999999999999999") + "\n", '"input_length" is not a whole number')
    refuses(good.replace("600", "0600") + "\n", "a number, a string, a word or an array of whole numbers should be")
    refuses(good.replace("600", "600, \"input_length\": 600") + "\n", 'the field "input_length" stands twice')
    refuses(good.replace("600", "1048576") + "\n", "input and output together")
    refuses(good.replace("[1, 2]", "[1]") + "\n", '"hash_ids" has 1 ids, but 600 tokens of input are 2 blocks')
    refuses(good.replace("[1, 2]", "[1, -2]") + "\n", '"hash_ids" holds -2')
    refuses(good.replace("[1, 2]", "[1, 2.5]") + "\n", "a whole number should be at column")
    refuses(good.replace("[1, 2]", "7") + "\n", '"hash_ids" is not an array')
    refuses(good.replace('"timestamp": 5', '"timestamp": 4') + "\n", '"timestamp" is 4, before the line above')
    refuses(good.replace("600", "6\0" + "00") + "\n", "the line holds a NUL byte")
    path.write_text("\n\n")
    ends("trace: nothing in it", run("replay", str(path), "--backend", "cpu"), 1, "no requests in it")
    ends("trace: no such file", run("replay", str(folder / "none"), "--backend", "cpu"), 1, "none: ")
    ends("trace: a folder", run("replay", str(folder), "--backend", "cpu"), 1, f"{folder}: ")
    path.write_text('\n {"x": "\\u00e9\\n", "hash_ids":[3],"output_length":1,"input_length":1e0,"timestamp":0}')
    ends("trace: 1e0", run("replay", str(path), "--backend", "cpu"), 1, f"{path}:2: ")
    path.write_text('\n {"x": "\\u00e9\\n", "hash_ids":[3],"output_length":1,"input_length":1,"timestamp":0}\r\n \n')
    ends("trace: odd but right",
         run("replay", str(path), "--backend", "cpu", "--no-ceilings", "--verify", "1"), 0, "1 rows, 0 wrong")


def generator():
    made = subprocess.run([sys.executable, str(traces / "generate.py")], capture_output=True, check=True).stdout
    expect("the generator makes the bundled trace", made == pathlib.Path(chat).read_bytes())


with tempfile.TemporaryDirectory() as name:
    usage()
    info()
    check()
    bench(pathlib.Path(name))
    compare(pathlib.Path(name))
    books()
    replay(pathlib.Path(name))
    shared_bytes(pathlib.Path(name))
    bad_traces(pathlib.Path(name))
    generator()
sys.exit(failures > 0)
