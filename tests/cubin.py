# SPDX-License-Identifier: Apache-2.0
"""What a cubin says about its kernels, read from the ELF file itself: no tool of the CUDA toolkit is needed.

Registers and stack stand in .nv.info, shared memory is the size of .nv.shared.NAME less what the system keeps.
Instructions of compute capability 9.0 are 16 bytes long; two are looked for, of which all fields used here were compared
with nvdisasm."""

import dataclasses
import itertools
import re
import struct

SYSTEM_SHARED = 1024  # bytes of every CTA
INFO_REGISTERS, INFO_FRAME = 0x2F, 0x11
WORDS = 4  # a format of .nv.info: a count of bytes, then words
HGMMA, BRA = 0x1F0, 0x947


@dataclasses.dataclass
class Kernel:
    registers: int  # of a thread, when it starts
    stack: int  # bytes of a thread: spills, arrays that are indexed
    shared: int  # bytes of a CTA, without the dynamic part
    products: str  # HGMMA instructions inside loops, as they lie: "4x256+36x64", count x columns, or "-"
    code: int  # bytes of instructions


class Elf:
    def __init__(self, data):
        self.data = data
        if data[:5] != b"\x7fELF\x02":
            raise ValueError("not a 64-bit ELF file")
        start, = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        raw = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
        self.sections = {self.text(raw[names][4] + s[0]): s for s in raw}

    def text(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()

    def bytes(self, name):
        at, size = self.sections[name][4:6]
        return self.data[at:at + size]

    def size(self, name):
        return self.sections[name][5] if name in self.sections else 0

    def symbol(self, index):
        name, = struct.unpack_from("<I", self.bytes(".symtab"), index * 24)
        return self.text(self.sections[".strtab"][4] + name)


def info(elf):
    """{attribute: {symbol: value}} of the attributes that have both."""
    found, data, at = {}, elf.bytes(".nv.info"), 0
    while at < len(data):
        form, attribute, value = struct.unpack_from("<BBH", data, at)
        at += 4
        if form == WORDS:
            if value == 8:
                symbol, number = struct.unpack_from("<II", data, at)
                found.setdefault(attribute, {})[elf.symbol(symbol)] = number
            at += value
    return found


def products_in_loops(code):
    """HGMMA instructions between a branch and an earlier place that it goes to, those of the same shape together."""
    products, inside = {}, set()
    for at in range(0, len(code), 16):
        word, = struct.unpack_from("<Q", code, at)
        if word & 0x1FF == HGMMA:
            products[at] = 8 * ((word >> 53 & 31) + 1)
    for at in range(0, len(code), 16):
        word = int.from_bytes(code[at:at + 16], "little")
        if word & 0xFFF != BRA:
            continue
        offset = (word >> 34 & (1 << 48) - 1) << 8 | word >> 16 & 0xFF
        offset = 4 * (offset - (1 << 56) if offset >> 55 else offset)
        inside |= {p for p in products if at + 16 + offset <= p < at}
    runs = itertools.groupby(products[at] for at in sorted(inside))
    return "+".join(f"{len(list(run))}x{columns}" for columns, run in runs) or "-"


def kernels(path):
    """{name: Kernel}"""
    elf = Elf(path.read_bytes())
    facts, found = info(elf), {}
    for section in elf.sections:
        if section.startswith(".text."):
            name = section[len(".text."):]
            found[name] = Kernel(facts[INFO_REGISTERS][name], facts[INFO_FRAME].get(name, 0),
                                 max(0, elf.size(".nv.shared." + name) - SYSTEM_SHARED),
                                 products_in_loops(elf.bytes(section)), elf.size(section))
    return found


def release(path):
    """The compiler's, like 13.0; "unknown" where the file does not say."""
    said = re.search(rb"Cuda compilation tools, release (\d+\.\d+)", path.read_bytes())
    return said[1].decode() if said else "unknown"
