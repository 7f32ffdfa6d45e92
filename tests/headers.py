# SPDX-License-Identifier: Apache-2.0
"""Every public header alone, in one language: headers.py COMPILER c11|c++17. Exit status 77 without the compiler."""

import shutil
import subprocess
import sys

import api

compiler, standard = sys.argv[1:]
if shutil.which(compiler) is None:
    sys.exit(77)

command = [compiler, "-x", "c++" if "++" in standard else "c", "-std=" + standard, "-Wall", "-Wextra", "-Wpedantic",
           "-Werror", "-fsyntax-only", "-I", str(api.INCLUDE), "-"]


def compile_source(what, source):
    result = subprocess.run(command, input=source, text=True)
    print(what, "ok" if result.returncode == 0 else "FAILED")
    return result.returncode == 0


passed = [compile_source(path.name, f'#include "hopmla/{path.name}"\n') for path in api.headers()]
for macro, name in api.initialisers().items():
    source = f'#include "hopmla/hopmla.h"\n{name} value = {macro};\n'
    passed.append(compile_source(macro, source))
sys.exit(not (passed and all(passed)))
