#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Serves the bundled trace as `./dev demo` does and holds the README's table against what is printed: the counts that do
not depend on the machine.

    tests/replay_table.py HOPMLA SOURCE
"""
import pathlib
import re
import subprocess
import sys

FIXED = ["requests", "prompt tokens", "output tokens", "pages high-water", "pool full", "decode bytes", "pages leaked"]


def counts(text):
    table = {line[:21].strip(): line[21:].strip() for line in text.splitlines()}
    found = [table[name] for name in FIXED]
    return found + [re.match(r"\d+ in", table["steps"]).group(), re.match(r"\d+ rows, \d+ wrong", table["verified"]).group()]


command, source = sys.argv[1], pathlib.Path(sys.argv[2])
trace = str(source / "profiling" / "traces" / "chat.jsonl")
result = subprocess.run([command, "replay", trace, "--backend", "cpu", "--verify", "4"], stdout=subprocess.PIPE, text=True)
print(result.stdout)
readme = re.search(r"```text\n(device .*?)```", (source / "README.md").read_text(), re.S).group(1)
if result.returncode == 0 and counts(readme) != counts(result.stdout):
    sys.exit("README.md shows another table")
sys.exit(result.returncode)
