# SPDX-License-Identifier: Apache-2.0
"""The Rust crates."""

import re
import subprocess

import fresh
import readme
from world import RUST, Fail, Skip, compare, expect, fetch, need, of_another_abi, other_abi, with_version

# What libloading, which cudarc needs, asks for.
CUDARC_RUST = (1, 88)
# From here on cargo packs crates that need each other.
WORKSPACE_RUST = (1, 90)


def need_cargo(world):
    need("cargo", "rustc", "cc", "pkg-config")
    major, minor = re.search(r"rustc (\d+)\.(\d+)", world.run("rustc", "--version", cwd=RUST)).groups()
    world.rust = int(major), int(minor)
    if world.rust < (1, 63):
        raise Skip(f"rustc {major}.{minor}, 1.63 is the oldest that will do")
    if world.no_crates is None:
        world.no_crates = fetch(world, RUST, ["cargo", "fetch", "--locked", "--offline"], ["cargo", "fetch", "--locked"])
    if world.no_crates:
        raise Skip("the crates cannot be fetched: " + world.no_crates)


def rust_features(world):
    """Every feature that this compiler can have."""
    return ["--all-features"] if world.rust >= CUDARC_RUST else ["--features", "half,serde"]


def rust(world):
    """cargo test of the crates, with every feature and with none."""
    need_cargo(world)
    everything = world.run("cargo", "test", "--offline", "--locked", *rust_features(world), cwd=RUST)
    world.run("cargo", "check", "--offline", "--locked", cwd=RUST)
    without = "" if world.rust >= CUDARC_RUST else f", without cudarc: rustc {world.rust[0]}.{world.rust[1]}, it needs 1.88"
    return f"{sum(int(n) for n in re.findall(r'([0-9]+) passed', everything))} tests{without}"


def rust_fresh(world):
    """bindgen makes the same of the installed headers as is checked in."""
    need("bindgen")
    try:
        lines, count = fresh.differences(world.include / "hopmla" / "hopmla.h", world.include,
                                         RUST / "hopmla-sys" / "src" / "bindings.rs")
    except subprocess.CalledProcessError as error:
        raise Skip("bindgen does not run: " + error.stderr.strip().splitlines()[0])
    if lines or not count:
        raise Fail("\n".join(lines))
    return f"{count} declarations"


def rust_example(world):
    """The example in Rust."""
    need_cargo(world)
    world.run("cargo", "build", "--offline", "--locked", "--example", "serve", cwd=RUST)
    return compare(world, "Rust", world.scratch / "cargo" / "debug" / "examples" / "serve")


def rust_build(world):
    """How the build finds the library, and what it says where it does not; documentation without it; packages."""
    need_cargo(world)
    build = ["cargo", "check", "--offline", "--locked", "-p", "hopmla-sys"]
    nowhere = {"PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": str(world.scratch / "nowhere")}
    expect(world.run(*build, cwd=RUST, status=None, **nowhere), "was not found", "HOPMLA_LIB_DIR")
    expect(world.run(*build, cwd=RUST, status=None, HOPMLA_LIB_DIR=str(world.scratch)), "where no libhopmla.so is")
    world.run(*build, cwd=RUST, HOPMLA_LIB_DIR=str(world.library), **nowhere)
    world.run(*build, cwd=RUST, HOPMLA_LIB_DIR=str(world.library), HOPMLA_INCLUDE_DIR=str(world.include), **nowhere)
    other = other_abi(world)
    expect(world.run(*build, cwd=RUST, status=None, HOPMLA_LIB_DIR=str(world.library), HOPMLA_INCLUDE_DIR=str(other)),
           "ABI is number 99")
    world.run("cargo", "doc", "--offline", "--locked", "--no-deps", *rust_features(world), cwd=RUST, DOCS_RS="1",
              RUSTDOCFLAGS="-D warnings", **nowhere)
    package = ["cargo", "package", "--offline", "--allow-dirty"]
    if world.rust >= WORKSPACE_RUST:
        world.run(*package, "--workspace", cwd=RUST)  # and builds what it has packed
    else:
        world.run(*package, "--no-verify", "-p", "hopmla-sys", cwd=RUST)
    expect(world.run("cargo", "package", "--offline", "--allow-dirty", "--list", "-p", "hopmla", cwd=RUST), "src/lib.rs")


def rust_style(world):
    """rustfmt finds nothing to do."""
    need_cargo(world)
    try:
        world.run("cargo", "fmt", "--version", cwd=RUST)
    except Fail:
        raise Skip("no rustfmt")
    world.run("cargo", "fmt", "--all", "--check", cwd=RUST)


def rust_mismatch(world):
    """The crate refuses a library of another ABI when it starts, and versions out of its range when it is built."""
    need_cargo(world)
    world.run("cargo", "build", "--offline", "--locked", "--example", "serve", cwd=RUST)
    program = world.scratch / "cargo" / "debug" / "examples" / "serve"
    expect(world.run(program, "1", status=None, **of_another_abi(world)), "ABI is number 99, this crate needs 0")
    for version in ["0.0.9", "1.0.0"]:
        build = ["cargo", "check", "--offline", "--locked", "-p", "hopmla-sys"]
        expect(world.run(*build, cwd=RUST, status=None, **with_version(world, version)), "was not found", version)


def rust_leaks(world):
    """The crate's misuse and callback tests under valgrind: nothing is lost, read or written that should not be."""
    need("valgrind")
    need_cargo(world)
    made = world.run("cargo", "test", "--offline", "--locked", *rust_features(world), "--no-run", cwd=RUST)
    for name in ["misuse", "callbacks"]:
        program = re.search(rf"\(([^()]*/{name}-[0-9a-f]+)\)", made)
        world.run("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite",
                  "--errors-for-leak-kinds=definite", RUST / program[1], "--test-threads=1",
                  HOPMLA_LIBCUDA="/nowhere/libcuda.so.1")  # a machine's own driver is not ours to look into


def rust_overhead(world):
    """What the crate adds to a call."""
    need_cargo(world)
    out = world.run("cargo", "bench", "--offline", "--locked", "--bench", "overhead", cwd=RUST)
    return re.search(r"bare .*", out)[0]


def rust_readme(world):
    """The README's five minutes, typed literally into an empty folder."""
    need_cargo(world)
    script, printed = readme.script("rust", world.bindings, older=world.rust < (1, 81))
    folder = world.scratch / "typed-rust"
    folder.mkdir()
    try:
        expect(world.run("sh", "-c", script, cwd=folder), printed)
    except Fail as failure:
        unreachable = re.search(r"(?m)^.*(network|download|registry index|Updating).*fail.*$|^.*failed to (fetch|download|query).*$",
                                str(failure))
        if not unreachable:
            raise
        raise Skip("half cannot be fetched: " + unreachable[0].strip())
