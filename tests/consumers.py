#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses an installed library from C, C++, Rust and Go, as strangers do: consumers.py [PART…] PREFIX

Every part says passed, skipped with the reason, or FAILED with what it printed. Exit status 0, 77 when nothing ran, 1 when a
part failed. Packages that cargo or go do not find on the machine are fetched; where they cannot be, the part is skipped.
"""
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "consumers"))
import in_c  # noqa: E402
import in_go  # noqa: E402
import in_rust  # noqa: E402
from world import Fail, Skip, World  # noqa: E402

PARTS = [in_c.declarations, in_c.c_and_cpp, in_c.cmake, in_c.meson, in_c.plugins, in_c.c_example,
         in_rust.rust, in_rust.rust_fresh, in_rust.rust_example, in_rust.rust_build, in_rust.rust_style,
         in_rust.rust_mismatch, in_rust.rust_leaks, in_rust.rust_overhead, in_rust.rust_readme,
         in_go.go, in_go.go_example, in_go.go_cgocheck, in_go.go_build, in_go.go_mismatch, in_go.go_prom,
         in_go.go_overhead, in_go.go_readme]


def main():
    *wanted, prefix = sys.argv[1:]
    prefix = pathlib.Path(prefix).resolve()
    wanted = wanted or [part.__name__ for part in PARTS]
    ran = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        world = World(prefix, pathlib.Path(scratch))
        for part in PARTS:
            if part.__name__ not in wanted:
                continue
            begin = time.monotonic()
            try:
                note = part(world)
                ran += 1
                note = f" ({note})" if note else ""
                print(f"passed   {part.__name__}: {part.__doc__}{note} {time.monotonic() - begin:.1f} s", flush=True)
            except Skip as reason:
                print(f"skipped  {part.__name__}: {reason}", flush=True)
            except (Fail, subprocess.TimeoutExpired) as failure:
                failed += 1
                print(f"FAILED   {part.__name__}: {part.__doc__}\n{failure}", flush=True)
    return 1 if failed else 0 if ran else 77


sys.exit(main())
