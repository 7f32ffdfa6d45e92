# SPDX-License-Identifier: Apache-2.0
"""Proof that the ABI check can fail: a library of empty functions is made from the public headers as they are, and
again from copies with one deliberate break each. Every break must be reported, and no difference where there is none."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import abi
import constants
from constants import api

# What breaks, the file, a pattern that must occur in it, and what it becomes.
BREAKS = [
    ("two fields swapped", "context.h", r"(    int32_t cpu_threads;)(.*?\n)(    int32_t cpu_isa;)", r"\3\2\1"),
    ("a field in the middle", "plan.h", r"    uint32_t heads;", "    uint32_t more;\n    uint32_t heads;"),
    ("a struct grown at its end", "pool.h", r"\} hopmla_pool_options;", "    uint64_t more;\n} hopmla_pool_options;"),
    ("a field's type", "paged.h", r"    uint32_t batch;", "    float batch;"),
    ("a field of an out struct", "status.h", r"    int64_t value;", "    int32_t value;"),
    ("a parameter's type", "pool.h", r"const uint32_t \*n_new", "const uint64_t *n_new"),
    ("a parameter more", "plan.h", r"(hopmla_plan_end\(hopmla_plan \*plan,)", r"\1 int32_t more,"),
    ("a result's type", "version.h", r"uint32_t hopmla_version\(void\)", "uint64_t hopmla_version(void)"),
    ("a function gone", "device.h", r"hopmla_memory_fill\(", "hopmla_memory_set("),
    ("a callback's parameter", "context.h", r"(\*hopmla_free_fn\)\(void \*user, void \*address, )uint64_t",
     r"\1uint32_t"),
]
CONSTANT_BREAKS = [
    ("an enumerator's value", "status.h", r"HOPMLA_ERROR_NULL = -101", "HOPMLA_ERROR_NULL = -140"),
    ("an enumerator gone", "context.h", r"    HOPMLA_LOG_DEBUG = 4", ""),
    ("an initialiser's value", "paged.h", r"(HOPMLA_PAGED_DESC_INIT \{ sizeof\(hopmla_paged_desc\), 0, 0, )1",
     r"\g<1>2"),
]


def copy_headers(folder, file=None, pattern=None, replacement=None):
    """Public headers in folder/include, one of them changed."""
    include = folder / "include"
    shutil.copytree(api.INCLUDE / "hopmla", include / "hopmla")
    if file:
        path = include / "hopmla" / file
        text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1, flags=re.S)
        if count != 1:
            sys.exit(f"{file} does not hold {pattern} any more: mend tests/abi/prove.py")
        path.write_text(text, encoding="utf-8")
    return include


def make_dump(folder, include):
    """The dump of a library whose functions do nothing."""
    stubs = [f"HOPMLA_API {prototype} {{ {'' if prototype.startswith('void') else 'return 0;'} }}\n"
             for prototype in api.functions(include).values()]
    library = folder / "stubs.so"
    subprocess.run([*constants.COMPILER, "-x", "c", "-std=gnu11", "-g", "-shared", "-fPIC", "-w", "-I", str(include),
                    "-o", str(library), "-"], input='#include "hopmla/hopmla.h"\n' + "".join(stubs), text=True,
                   check=True)
    abi.dump(str(library), folder / "stubs.abi", include / "hopmla")
    return folder / "stubs.abi"


def main():
    if not shutil.which("abidw"):
        sys.exit(77)
    missed = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def fresh(label):
            path = folder / label.replace(" ", "-")
            path.mkdir()
            return path

        good = fresh("good")
        old = make_dump(good, copy_headers(good))
        same = fresh("same")
        if abi.compare(old, make_dump(same, copy_headers(same))) != 0:
            missed.append("reported a difference where there is none")
        for what, *change in BREAKS:
            broken = fresh(what)
            print("---", what, flush=True)
            if abi.compare(old, make_dump(broken, copy_headers(broken, *change))) == 0:
                missed.append("not caught: " + what)

        values = constants.constants()
        for what, *change in CONSTANT_BREAKS:
            if constants.constants(copy_headers(fresh(what), *change)) == values:
                missed.append("not caught: " + what)
    print("\n".join(missed) or f"{len(BREAKS) + len(CONSTANT_BREAKS)} deliberate breaks caught")
    sys.exit(bool(missed))


main()
