# SPDX-License-Identifier: Apache-2.0
"""Public constants against tests/abi/constants.txt, which holds enumeration constants and macros; a value, once given
out, never changes: constants.py check|update"""

import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import api  # noqa: E402

LIST = HERE / "constants.txt"
COMPILER = os.environ.get("CC", "cc").split()


def macros(include):
    """Object-like macros, as they are written; versions, attributes and include guards aside."""
    source = '#include "hopmla/hopmla.h"\n'
    defines = subprocess.run([*COMPILER, "-E", "-dM", "-I", str(include), "-"], input=source, check=True,
                             capture_output=True, text=True).stdout
    found = re.findall(r"^#define (HOPMLA_\w+) (.+)$", defines, flags=re.M)
    return {name: " ".join(value.split()) for name, value in found
            if name != "HOPMLA_API" and not name.startswith("HOPMLA_VERSION_")}


def enumeration(include):
    names = api.enumerators(include)
    lines = "".join(f'    printf("%s %lld\\n", "{name}", (long long){name});\n' for name in names)
    source = f'#include <stdio.h>\n#include "hopmla/hopmla.h"\nint main(void) {{\n{lines}    return 0;\n}}\n'
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "constants"
        subprocess.run([*COMPILER, "-x", "c", "-I", str(include), "-o", str(program), "-"], input=source, text=True,
                       check=True)
        return dict(line.split() for line in
                    subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines())


def constants(include=api.INCLUDE):
    values = {**enumeration(include), **macros(include)}
    return [f"{name} {value}\n" for name, value in sorted(values.items())]


def main():
    if sys.argv[1] == "update":
        LIST.write_text("".join(constants()), encoding="utf-8")
        return
    old = LIST.read_text(encoding="utf-8").splitlines(keepends=True)
    difference = list(difflib.unified_diff(old, constants(), str(LIST.name), "include/hopmla"))
    sys.stdout.writelines(difference)
    if difference:
        sys.exit("Public constants differ. Where some were only added: ./dev abi --update")


if __name__ == "__main__":
    main()
