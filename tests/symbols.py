# SPDX-License-Identifier: Apache-2.0
"""What the library exports is what the headers declare and what the version script lists, each in its node, and it
needs nothing but libc and libm: symbols.py LIBRARY MAP"""

import re
import subprocess
import sys

import api

library, map_file = sys.argv[1:]


def tool(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def listed():
    """Symbol -> node, of the version script."""
    with open(map_file, encoding="utf-8") as file:
        script = re.sub(r"#.*", "", file.read())
    nodes = {}
    for node, body in re.findall(r"(\w[\w.]*)\s*\{(.*?)\}", script, flags=re.S):
        nodes.update({name: node for name in re.findall(r"\b(\w+)\s*;", body)})
    return nodes


def exported():
    """Symbol -> node, of the shared object. The nodes themselves are absolute symbols (A)."""
    lines = [line.split() for line in tool("nm", "-D", "--defined-only", "-P", library).splitlines()]
    return dict(line[0].split("@@") if "@@" in line[0] else (line[0], "no node") for line in lines if line[1] != "A")


def report(what, names):
    for name in sorted(names):
        print(f"{name}: {what}")
    return bool(names)


declared, wanted, found = set(api.functions()), listed(), exported()
dynamic = tool("readelf", "-d", library)
needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
failed = [
    report("declared, not in the version script", declared - set(wanted)),
    report("in the version script, not declared", set(wanted) - declared),
    report("declared, not exported", declared - set(found)),
    report("exported, not declared", set(found) - declared),
    report("exported in another node than the version script's",
           {name for name in found if name in wanted and found[name] != wanted[name]}),
    report("needed at load time; only libc and libm may be", needed - {"libc.so.6", "libm.so.6"}),
    report("the stack must not be executable", {library} if "RWE" in tool("readelf", "-lW", library) else set()),
]
print(len(found), "symbols exported")
sys.exit(any(failed) or not found)
