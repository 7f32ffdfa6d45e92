# SPDX-License-Identifier: Apache-2.0
"""Writes an assembler file that embeds cubins: embed.py OUTPUT CUBIN...

NAME.cubin becomes hopmla_cubin_NAME, read-only and aligned to 64 bytes, and hopmla_cubin_NAME_size, a uint64_t. The
file is written anew whenever a cubin is, so that what is assembled from it is never stale."""

import os
import sys

HEAD = """/* Made by kernels/embed.py */
.section .rodata.hopmla_cubins, "a", @progbits
"""

CUBIN = """
.global hopmla_cubin_{name}, hopmla_cubin_{name}_size
.hidden hopmla_cubin_{name}, hopmla_cubin_{name}_size
.type hopmla_cubin_{name}, @object
.type hopmla_cubin_{name}_size, @object
.balign 64
hopmla_cubin_{name}:
.incbin "{path}"
0:
.size hopmla_cubin_{name}, 0b - hopmla_cubin_{name}
.balign 8
hopmla_cubin_{name}_size:
.8byte 0b - hopmla_cubin_{name}
.size hopmla_cubin_{name}_size, 8
"""

# Without this the linker makes the stack of every program that loads the library executable.
TAIL = """
.section .note.GNU-stack, "", @progbits
"""


def main():
    output, cubins = sys.argv[1], sys.argv[2:]
    with open(output, "w", encoding="utf-8") as file:
        file.write(HEAD)
        for path in cubins:
            name = os.path.splitext(os.path.basename(path))[0]
            file.write(CUBIN.format(name=name, path=path))
        file.write(TAIL)


main()
