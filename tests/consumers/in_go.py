# SPDX-License-Identifier: Apache-2.0
"""The Go modules."""

import pathlib
import re
import shutil

import readme
from world import GO, Fail, Skip, compare, expect, fetch, need, of_another_abi, other_abi, with_version


def need_go(world):
    need("go", "cc", "pkg-config")
    version = world.run("go", "env", "GOVERSION", cwd=world.scratch).strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < (1, 19):
        raise Skip(f"{version}, go1.19 is the oldest that will do")
    if world.run("go", "env", "CGO_ENABLED").strip() != "1":
        raise Skip("cgo is off")
    return (int(found[1]), int(found[2])) if found else (9, 9)


def go(world):
    """go vet, and go test under the race detector."""
    need_go(world)
    world.run("go", "vet", "./...", cwd=GO)
    out = world.run("go", "test", "-race", "-v", "./...", cwd=GO)
    return f"{len(re.findall(r'--- PASS', out))} tests"


def go_cgocheck(world):
    """go test with every check of cgo's pointer rules."""
    version = need_go(world)
    if version >= (1, 21):
        world.run("go", "test", "./...", cwd=GO, GOEXPERIMENT="cgocheck2")
    else:
        world.run("go", "test", "./...", cwd=GO, GODEBUG="cgocheck=2")


def go_example(world):
    """The example in Go."""
    need_go(world)
    world.run("go", "build", "-o", world.scratch / "go-example", "./example", cwd=GO)
    return compare(world, "Go", world.scratch / "go-example")


def go_build(world):
    """What the build says without the library, and with one of another ABI; layout; module files."""
    need_go(world)
    nowhere = {"PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": str(world.scratch / "nowhere")}
    new = world.go_flags(str(world.scratch).encode())
    expect(world.run("go", "build", ".", cwd=GO, status=None, CGO_CFLAGS=new, **nowhere), "hopmla")
    other = other_abi(world)
    description = (world.library / "pkgconfig" / "hopmla.pc").read_text()
    (other / "hopmla.pc").write_text(re.sub("(?m)^includedir=.*", f"includedir={other}", description))
    expect(world.run("go", "build", ".", cwd=GO, status=None, CGO_CFLAGS=new, PKG_CONFIG_PATH=str(other)), "ABI number 0")
    before = (GO / "go.mod").read_text()
    copy = world.scratch / "go-module"
    shutil.copytree(GO, copy, dirs_exist_ok=True)
    world.run("go", "mod", "tidy", cwd=copy, GOFLAGS="-mod=mod", GOPROXY="off")
    if (copy / "go.mod").read_text() != before:
        raise Fail("go.mod is not tidy")
    world.run("go", "list", "-deps", "./...", cwd=copy)
    formatter = shutil.which("gofmt")
    if formatter:
        untidy = world.run(formatter, "-l", GO)
        if untidy:
            raise Fail(f"gofmt -w:\n{untidy}")


def go_mismatch(world):
    """The Go module refuses a library of another ABI when it starts, and is not linked without one."""
    need_go(world)
    program = world.scratch / "go-example"
    world.run("go", "build", "-o", program, "./example", cwd=GO)
    expect(world.run(program, "1", status=None, **of_another_abi(world)), "ABI is number 99, this program was built for 0")
    empty = with_version(world, "0.1.0")
    description = pathlib.Path(empty["PKG_CONFIG_PATH"]) / "hopmla.pc"
    description.write_text(re.sub("(?m)^libdir=.*", f"libdir={world.scratch / 'nowhere'}", description.read_text()))
    expect(world.run("go", "build", "-o", world.scratch / "none", "./example", cwd=GO, status=None,
                     CGO_CFLAGS=world.go_flags(b"without a library"), **empty), "-lhopmla")


def go_prom(world):
    """The Prometheus collector's module."""
    version = need_go(world)
    if version < (1, 20):
        raise Skip(f"go{version[0]}.{version[1]}, the official client needs go1.20")
    prom = GO / "prom"
    reason = fetch(world, prom, ["env", "GOPROXY=off", "go", "mod", "download"], ["go", "mod", "download"])
    if reason:
        raise Skip("the modules cannot be fetched: " + reason)
    if version >= (1, 23):
        world.run("go", "mod", "tidy", "-diff", cwd=prom)
    world.run("go", "list", "-deps", "./...", cwd=prom)
    world.run("go", "vet", "./...", cwd=prom)
    world.run("go", "test", "./...", cwd=prom)


def go_overhead(world):
    """What the Go module adds to a call."""
    need_go(world)
    out = world.run("go", "test", "-run", "none", "-bench", "Overhead", "-benchtime", "1x", ".", cwd=GO)
    figures = re.findall(r"[\d.]+\s(?:ns-more/\S+|ns/C-call)", out)
    if len(figures) != 4:
        raise Fail(out)
    return ", ".join(figures)


def go_readme(world):
    """The README's five minutes, typed literally into an empty folder."""
    need_go(world)
    script, printed = readme.script("go", world.bindings)
    folder = world.scratch / "typed-go"
    folder.mkdir()
    expect(world.run("sh", "-c", script, cwd=folder), printed)
