#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the Rust and Go programs of bindings/README.md against an installed prefix.

    tests/ffi_notes.py PREFIX

PREFIX holds include/, lib/ or lib/<triplet>/, and pkgconfig. A language whose compiler is missing is left out; when both
are missing the test exits 77, which is a skip.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def fenced(text, language):
    return re.search(rf"```{language}\n(.*?)```", text, re.S).group(1)


def run(command, directory, environment):
    return subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def numbers(text):
    return [int(n) for n in re.findall(r"\d+", text)]


def main():
    prefix = pathlib.Path(sys.argv[1]).resolve()
    page = (pathlib.Path(__file__).resolve().parent.parent / "bindings" / "README.md").read_text()
    library = next(prefix.rglob("libhopmla.so")).parent
    environment = dict(os.environ, LD_LIBRARY_PATH=str(library), PKG_CONFIG_PATH=str(library / "pkgconfig"),
                       GOFLAGS="-mod=mod", GOTOOLCHAIN="local")
    # A cached build of an earlier library must not answer for this one.
    environment.pop("CGO_CFLAGS", None)
    ran = 0
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory)
        environment.setdefault("GOCACHE", str(here / "cache"))
        if shutil.which("rustc"):
            (here / "main.rs").write_text(fenced(page, "rust"))
            run(["rustc", "--edition", "2021", "-L", str(library), "main.rs", "-o", "rust"], here, environment)
            assert numbers(run([str(here / "rust")], here, environment)) == [0, 1, 2]
            print("rust: built and ran")
            ran += 1
        if shutil.which("go"):
            (here / "main.go").write_text(fenced(page, "go"))
            (here / "go.mod").write_text("module note\n\ngo 1.19\n")
            run(["go", "build", "-o", "go", "."], here, environment)
            assert numbers(run([str(here / "go")], here, environment)) == [0, 1, 2]
            print("go: built and ran")
            ran += 1
    sys.exit(0 if ran else 77)


main()
