# SPDX-License-Identifier: Apache-2.0
"""Programs and libraries of different releases together: releases.py BUILD LIBRARY

    an old program    built with the headers of the first release (hopmla-0.1.h), run with today's library, and with one
                      made from today's sources in which every public struct has grown at its end
    a new program     built with those grown headers, run with today's library: it works while what it does not know is
                      zero, and is told what is wrong where it is not

The grown library is compiled by the commands of the build folder, so it is what the build makes, but for the headers."""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import abi
import constants

api = constants.api
HERE = pathlib.Path(__file__).resolve().parent
MAP = HERE.parent.parent / "lib" / "hopmla.map"
PROGRAM = HERE / "consumer.c"


def grow(folder):
    """Headers in which every struct that crosses the ABI has one more field."""
    include = folder / "grown"
    shutil.copytree(api.INCLUDE / "hopmla", include / "hopmla")
    grown = set()
    for path in api.headers(include):
        text, found = path.read_text(encoding="utf-8"), []
        text = re.sub(r"(typedef struct (hopmla_\w+) \{\s*uint32_t struct_size;.*?)(\} \2;)",
                      lambda m: found.append(m[2]) or f"{m[1]}    uint64_t later;\n{m[3]}", text, flags=re.S)
        path.write_text(text, encoding="utf-8")
        grown.update(found)
    listed = {line.split("\t")[0] for line in (HERE.parent / "consumers" / "layout.tsv").read_text().splitlines()}
    if grown != listed:
        sys.exit(f"structs that did not grow: {sorted(listed ^ grown)}")
    return include


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nstatus {done.returncode}\n{done.stdout}")


def build_library(build, include, folder):
    """The library with other headers."""
    commands = [entry for entry in json.loads((build / "compile_commands.json").read_text())
                if re.match(r"(lib|kernels|profiling/observe)/libhopmla-\w+\.a\.p/", entry["output"])]
    objects = []

    def compile_one(index, entry):
        words = shlex.split(entry["command"])
        words[words.index("-o") + 1] = str(folder / f"{index}.o")
        for flag in ["-MD", "-Winvalid-pch", "-g", "-O3"]:
            if flag in words:
                words.remove(flag)
        for flag in ["-MQ", "-MF"]:
            if flag in words:
                at = words.index(flag)
                del words[at:at + 2]
        # INIT macros and defaults name the fields of today.
        words[1:1] = ["-I", str(include), "-O1", "-w"]
        run(*words, cwd=entry["directory"])
        return folder / f"{index}.o"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, range(len(commands)), commands))
    library = folder / "libhopmla.so.0"
    run(*constants.COMPILER, "-shared", "-Wl,-soname,libhopmla.so.0", f"-Wl,--version-script={MAP}", "-o", library, *objects,
        "-lm", "-ldl", "-pthread")
    return library


def build_program(folder, name, include, library, *flags):
    program = folder / name
    run(*constants.COMPILER, "-std=c11", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", *flags, "-I", include,
        PROGRAM, library, "-o", program)
    return program


def run_with(program, library):
    run(program, env=dict(os.environ, LD_LIBRARY_PATH=str(pathlib.Path(library).parent)))


def main():
    build, library = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for part in ["first/hopmla", "objects"]:
            (folder / part).mkdir(parents=True)
        shutil.copy(abi.SNAPSHOT, folder / "first" / "hopmla" / "hopmla.h")
        grown = grow(folder)
        later = build_library(build, grown, folder / "objects")

        old = build_program(folder, "old", folder / "first", library)
        run_with(old, library)
        run_with(old, later)
        new = build_program(folder, "new", grown, library, "-DAHEAD")
        run_with(new, library)
        run_with(build_program(folder, "same", grown, library), later)
    print("old program: today's library, grown library; new program: today's library, its own")


main()
