# SPDX-License-Identifier: Apache-2.0
"""Holds the built kernels against kernels/sm90/budget.txt: kernel_budget.py check|update KERNEL_LIST CUBINS.

KERNEL_LIST is the program that prints what is loaded, CUBINS the folder of what was built. With the compiler that the
budget names every figure must be as it says; with another one they may differ, but nothing may spill, and loops must
have tensor instructions where they should."""

import dataclasses
import pathlib
import subprocess
import sys

import cubin

BUDGET = pathlib.Path(__file__).parent.parent / "kernels/sm90/budget.txt"
NONE = "-"  # no products
MOST_SHARED = 232448  # that a CTA can ask for
HEAD = """# What each kernel takes: registers of a thread at its start, bytes of shared memory of a CTA, bytes of stack of a
# thread (spills), HGMMA instructions inside loops in the order in which they lie, count x columns, bytes of instructions.
# What is not executed should lie behind what is, and a layer's two kernels should fit into the cache that a processor has
# for them: README.md, Instructions. Written by `./dev budget --update`, checked by ./dev test.
"""
ROW = "{:<24} {:>9} {:>7} {:>5} {:>18} {:>6}\n"


@dataclasses.dataclass(frozen=True)
class Row:
    registers: int
    shared: int
    stack: int
    products: str
    code: int


def built(list_program, folder):
    """The compiler's release and {kernel: Row} of everything that the library loads."""
    rows, files, releases = {}, {}, set()
    for line in subprocess.run([list_program], capture_output=True, text=True, check=True).stdout.splitlines():
        name, file, dynamic = line.split()
        path = folder / (file + ".cubin")
        if file not in files:
            files[file] = cubin.kernels(path)
            releases.add(cubin.release(path))
        k = files[file].pop(name)
        rows[name] = Row(k.registers, k.shared + int(dynamic), k.stack, k.products, k.code)
    unlisted = [name for kernels in files.values() for name in kernels]
    if unlisted or len(releases) != 1:
        sys.exit(f"kernels that are built and not listed: {unlisted}; compilers: {sorted(releases)}")
    return releases.pop(), rows


def write(release, rows):
    with open(BUDGET, "w", encoding="utf-8") as file:
        file.write(HEAD)
        file.write(f"nvcc {release}\n")
        file.write(ROW.format("# kernel", "registers", "shared", "stack", "products", "code"))
        for name in sorted(rows):
            file.write(ROW.format(name, *dataclasses.astuple(rows[name])))


def read():
    lines = [line.split() for line in BUDGET.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return lines[0][1], {line[0]: Row(*map(int, line[1:4]), line[4], int(line[5])) for line in lines[1:]}


def compare(release, rows, budget_release, budget):
    """What is not as it should be, in words."""
    wrong = [f"{name} is in one of budget and cubins only" for name in sorted(rows.keys() ^ budget.keys())]
    for name in sorted(rows.keys() & budget.keys()):
        found, allowed = rows[name], budget[name]
        if release == budget_release and found != allowed:
            wrong.append(f"{name}: {found}, the budget says {allowed}")
        if found.stack > allowed.stack:
            wrong.append(f"{name} spills: {found.stack} bytes of stack, the budget says {allowed.stack}")
        if found.shared > MOST_SHARED:
            wrong.append(f"{name} takes {found.shared} bytes of shared memory, there are {MOST_SHARED}")
        if (found.products == NONE) != (allowed.products == NONE):
            wrong.append(f"{name} has {found.products} HGMMA instructions in loops, the budget says {allowed.products}")
    return wrong


def notices(release, rows):
    """A check that could not fail would be none: everything is also held against budgets that are a little off."""
    for name, row in rows.items():
        changes = [{"registers": row.registers - 1}, {"shared": row.shared + 16}, {"products": row.products + "+1x16"},
                   {"code": row.code - 16}]
        other_compiler = [{"stack": -1}, {"products": NONE if row.products != NONE else "1x16"}]
        for said, all_changes in [(release, changes), ("0.0", other_compiler)]:
            for change in all_changes:
                if not compare(release, rows, said, {**rows, name: dataclasses.replace(row, **change)}):
                    return False
    return True


def main():
    action, list_program, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    release, rows = built(list_program, folder)
    if action == "update":
        write(release, rows)
        return 0
    budget_release, budget = read()
    wrong = compare(release, rows, budget_release, budget)
    for line in wrong:
        print(line)
    decodes = [name for name in rows if name.startswith("hm_decode")]
    if not decodes or any(rows[name].products == NONE for name in decodes):
        wrong.append("a decode kernel without HGMMA in a loop")
        print(wrong[-1])
    if not notices(release, rows):
        wrong.append("a budget that is off was not noticed")
        print(wrong[-1])
    if wrong:
        print("If it is meant to be so: ./dev budget --update")
    else:
        print(f"{len(rows)} kernels, nvcc {release}, as budgeted with nvcc {budget_release}")
    return len(wrong) > 0


sys.exit(main())
