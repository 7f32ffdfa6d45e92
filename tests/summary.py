# SPDX-License-Identifier: Apache-2.0
"""Adds up meson's test logs, one JSON object a line: summary.py LOG... The last line is "N passed, N failed, N skipped";
exit status 0 only when something passed and nothing failed. A log that is missing counts as a failure."""

import collections
import json
import sys

KINDS = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}

counts = collections.Counter()
for path in sys.argv[1:]:
    try:
        with open(path, encoding="utf-8") as file:
            results = [json.loads(line) for line in file]
    except OSError:
        results = [{"name": "tests did not run: " + path, "result": "FAIL"}]
    for result in results:
        kind = KINDS.get(result["result"], "failed")
        counts[kind] += 1
        if kind != "passed":
            print(f"{kind}: {result['name']} ({result['result'].lower()}, {path})")

print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
sys.exit(counts["failed"] > 0 or counts["passed"] == 0)
