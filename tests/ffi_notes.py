#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and runs a program of bindings/README.md against an installed prefix.

    tests/ffi_notes.py rust|go PREFIX

PREFIX holds include/, lib/ or lib/<triplet>/, and pkgconfig. Without the language's compiler it exits 77: a skip.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

RUST = ["rustc", "--edition", "2021", "main.rs", "-o", "program", "-L"]
GO = ["go", "build", "-o", "program", "."]


def fenced(text, language):
    return re.search(rf"```{language}\n(.*?)```", text, re.S).group(1)


def main():
    language, prefix = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    compiler = {"rust": "rustc", "go": "go"}[language]
    if not shutil.which(compiler):
        print(f"{compiler} is not installed: skipped")
        sys.exit(77)
    page = (pathlib.Path(__file__).resolve().parent.parent / "bindings" / "README.md").read_text()
    library = str(next(prefix.rglob("libhopmla.so")).parent)
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory)
        # A cache of its own: a build against another library must not answer for this one.
        environment = dict(os.environ, LD_LIBRARY_PATH=library, PKG_CONFIG_PATH=library + "/pkgconfig",
                           GOCACHE=str(here / "cache"), GOFLAGS="-mod=mod", GOTOOLCHAIN="local")
        (here / ("main.rs" if language == "rust" else "main.go")).write_text(fenced(page, language))
        (here / "go.mod").write_text("module note\n\ngo 1.19\n")
        subprocess.run(RUST + [library] if language == "rust" else GO, cwd=here, env=environment, check=True)
        printed = subprocess.run([str(here / "program")], env=environment, check=True, stdout=subprocess.PIPE, text=True)
        assert [int(n) for n in re.findall(r"\d+", printed.stdout)] == [0, 1, 2], printed.stdout


main()
