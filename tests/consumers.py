#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses an installed library from C, C++, Rust and Go, as strangers do: consumers.py [PART…] PREFIX

Every part says passed, skipped with the reason, or FAILED with what it printed. Exit status 0, 77 when nothing ran, 1 when a
part failed. Packages that cargo or go do not find on the machine are fetched; where they cannot be, the part is skipped.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "consumers"))
import fresh  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "tests" / "consumers"
RUST = ROOT / "bindings" / "rust"
GO = ROOT / "bindings" / "go"
SEEDS = ["1", "6"]
FETCH_SECONDS = 90


class Skip(Exception):
    pass


class Fail(Exception):
    pass


class World:
    """An installed prefix, a scratch folder, and an environment that knows both."""

    def __init__(self, prefix, scratch):
        self.scratch = scratch
        self.library = next(prefix.rglob("libhopmla.so")).parent
        self.include = prefix / "include"
        self.environment = dict(os.environ, LD_LIBRARY_PATH=str(self.library),
                                PKG_CONFIG_PATH=str(self.library / "pkgconfig"), CARGO_TARGET_DIR=str(scratch / "cargo"),
                                GOTOOLCHAIN="local", RUST_BACKTRACE="0")
        for name in ["HOPMLA_LIB_DIR", "HOPMLA_INCLUDE_DIR", "DOCS_RS", "GOFLAGS", "MAKEFLAGS"]:
            self.environment.pop(name, None)
        # Go's cache looks neither into included headers nor at what pkg-config says: an earlier build must not answer.
        headers = b"".join(path.read_bytes() for path in sorted(self.include.rglob("*.h")))
        self.environment["CGO_CFLAGS"] = self.go_flags(str(prefix).encode() + headers)
        self.outputs = {}      # of the examples, by seed
        self.no_crates = None  # why there are none; "" when there are

    @staticmethod
    def go_flags(key):
        """Flags that change nothing but the key of Go's build cache."""
        return "-O2 -g -DGO_CACHE_KEY_" + hashlib.sha256(key).hexdigest()[:16]

    def run(self, *command, cwd=None, status=0, timeout=400, **environment):
        """Runs a command, and returns what it printed to both. `status` None: it must fail."""
        done = subprocess.run([str(c) for c in command], cwd=cwd or self.scratch, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={**self.environment, **environment}, timeout=timeout)
        if (done.returncode == 0) != (status == 0):
            raise Fail(f"{' '.join(map(str, command))}\nstatus {done.returncode}\n{done.stdout}")
        return done.stdout

    def flags(self):
        return self.run("pkg-config", "--cflags", "--libs", "hopmla").split()


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Skip(f"no {tool}")


def fetch(world, directory, *commands):
    """Tries commands in order; "" when one succeeds, else what the last one had to say."""
    for command in commands:
        try:
            world.run(*command, cwd=directory, timeout=FETCH_SECONDS)
            return ""
        except Fail as failure:
            reason = str(failure).strip().splitlines()[-1].strip()
        except subprocess.TimeoutExpired:
            reason = f"not within {FETCH_SECONDS} s"
    return reason


def expect(text, *parts):
    for part in parts:
        if part not in text:
            raise Fail(f"{part!r} is not in:\n{text}")


# ---- C and C++ ----


def write_layout(world):
    """The list of sizes and offsets as assertions of either language."""
    lines = ["#ifdef __cplusplus\n#define ASSERT static_assert\n#else\n#define ASSERT _Static_assert\n#endif\n"]
    for row in (HERE / "layout.tsv").read_text().splitlines():
        struct, field, offset, size = row.split("\t")
        if field == "*":
            lines.append(f'ASSERT(sizeof({struct}) == {size}, "{struct}");\n')
        else:
            lines.append(f'ASSERT(offsetof({struct}, {field}) == {offset} && sizeof((({struct} *)0)->{field}) == {size}, '
                         f'"{struct}.{field}");\n')
    (world.scratch / "layout.h").write_text("".join(lines))


WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def declarations(world):
    """What the bindings declare is what the headers say."""
    return world.run(sys.executable, HERE / "declarations.py", "--check").strip()


def c_and_cpp(world):
    """C11 and C++17 through pkg-config; struct layout."""
    need("cc", "pkg-config")
    write_layout(world)
    compilers = [("cc", "-std=c11", "c")] + ([("c++", "-std=c++17", "c++")] if shutil.which("c++") else [])
    for compiler, standard, language in compilers:
        program = world.scratch / f"consumer-{compiler}"
        world.run(compiler, standard, *WARNINGS, "-I", world.scratch, "-x", language, HERE / "consumer.c", "-x", "none",
                  *world.flags(), "-o", program)
        world.run(program)
    return " and ".join(standard[5:] for _, standard, _ in compilers)


def cmake(world):
    """CMake's pkg-config module."""
    need("cmake", "cc", "pkg-config")
    write_layout(world)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    world.run("cmake", *generator, "-S", HERE, "-B", world.scratch / "cmake", f"-DCMAKE_C_FLAGS=-I{world.scratch}")
    world.run("cmake", "--build", world.scratch / "cmake")
    world.run(world.scratch / "cmake" / "consumer")


MESON = """project('consumer', 'c', meson_version: '>=1.0.0', default_options: ['c_std=c11', 'buildtype=debug'])
executable('consumer', 'consumer.c', dependencies: dependency('hopmla', version: '>=0.1'))
"""
WRAP = """[wrap-file]
directory = hopmla

[provide]
dependency_names = hopmla
"""


def meson(world):
    """meson: the installed library, and the repository as a subproject by its wrap."""
    need("meson", "ninja", "cc", "pkg-config")
    write_layout(world)
    project = world.scratch / "meson"
    (project / "subprojects").mkdir(parents=True)
    (project / "meson.build").write_text(MESON)
    (project / "subprojects" / "hopmla.wrap").write_text(WRAP)
    (project / "subprojects" / "hopmla").symlink_to(ROOT)
    for name in [HERE / "consumer.c", world.scratch / "layout.h"]:
        shutil.copy(name, project)
    for kind, options in {"installed": ["--wrap-mode=nofallback"],
                          "subproject": ["--force-fallback-for=hopmla", "-Dhopmla:cuda=disabled"]}.items():
        build = project / kind
        world.run("meson", "setup", *options, build, project)
        if (build / "subprojects" / "hopmla").exists() != (kind == "subproject"):
            raise Fail(f"{kind}: another library was taken")
        world.run("ninja", "-C", build, "consumer")
        environment = {"LD_LIBRARY_PATH": ""} if kind == "subproject" else {}
        world.run(build / "consumer", **environment)


def plugins(world):
    """Plugins loaded with RTLD_LOCAL and unloaded, two in one process; dlopen of the library."""
    need("cc", "pkg-config")
    write_layout(world)
    for name in ["one", "two"]:
        world.run("cc", "-std=c11", *WARNINGS, "-DPLUGIN", "-shared", "-fPIC", "-fvisibility=hidden", "-I", world.scratch,
                  HERE / "consumer.c", *world.flags(), "-o", world.scratch / f"{name}.so")
    world.run("cc", "-std=c11", "-D_GNU_SOURCE", *WARNINGS, HERE / "host.c", "-ldl", "-o", world.scratch / "host")
    world.run(world.scratch / "host", world.scratch / "one.so", world.scratch / "two.so",
              world.library / "libhopmla.so.0")


def c_example(world):
    """The example in C."""
    need("cc", "pkg-config")
    program = world.scratch / "example"
    world.run("cc", "-std=c11", "-O2", *WARNINGS, ROOT / "bindings" / "examples" / "example.c", *world.flags(), "-o", program)
    compare(world, "C", program)


def compare(world, language, *command, cwd=None):
    """Runs an example; every language prints the same, and found in the cache what had been put there."""
    for seed in SEEDS:
        done = subprocess.run([str(c) for c in [*command, seed]], cwd=cwd or world.scratch, env=world.environment,
                              text=True, stdout=subprocess.PIPE, timeout=200)
        found = re.search(r"recalled (\d+) of (\d+)\nforks (\d+), preemptions (\d+)", done.stdout)
        if done.returncode or not found or found[1] != found[2] or "0" in (found[3], found[4]):
            raise Fail(f"{language}, seed {seed}: status {done.returncode}\n{done.stdout[-400:]}")
        first = world.outputs.setdefault(seed, (language, done.stdout))
        if first[1] != done.stdout:
            raise Fail(f"seed {seed}: {language} prints something else than {first[0]}")
    others = {language for language, _ in world.outputs.values()} - {language}
    return f"as {', '.join(others)}" if others else ""


# ---- Rust ----


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


# What libloading, which cudarc needs, asks for.
CUDARC_RUST = (1, 88)


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
    world.run("cargo", "build", "--offline", "--locked", *rust_features(world), "--example", "serve", cwd=RUST)
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
    world.run("cargo", "package", "--offline", "--allow-dirty", "--no-verify", "-p", "hopmla-sys", cwd=RUST)
    expect(world.run("cargo", "package", "--offline", "--allow-dirty", "--list", "-p", "hopmla", cwd=RUST), "src/lib.rs")


def rust_style(world):
    """rustfmt finds nothing to do."""
    need_cargo(world)
    try:
        world.run("cargo", "fmt", "--version", cwd=RUST)
    except Fail:
        raise Skip("no rustfmt")
    world.run("cargo", "fmt", "--all", "--check", cwd=RUST)


def other_abi(world):
    """A copy of the headers with another ABI number."""
    copy = world.scratch / "other"
    shutil.copytree(world.include, copy, dirs_exist_ok=True)
    header = copy / "hopmla" / "version.h"
    header.write_text(re.sub(r"(#define HOPMLA_ABI_VERSION) \d+", r"\1 99", header.read_text()))
    return copy


# ---- Go ----


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
    formatter = shutil.which("gofmt")
    if formatter:
        untidy = world.run(formatter, "-l", GO)
        if untidy:
            raise Fail(f"gofmt -w:\n{untidy}")


def go_prom(world):
    """The Prometheus collector's module."""
    version = need_go(world)
    if version < (1, 20):
        raise Skip(f"go{version[0]}.{version[1]}, the official client needs go1.20")
    prom = GO / "prom"
    reason = fetch(world, prom, ["env", "GOPROXY=off", "go", "mod", "download"], ["go", "mod", "download"])
    if reason:
        raise Skip("the modules cannot be fetched: " + reason)
    world.run("go", "vet", "./...", cwd=prom)
    world.run("go", "test", "./...", cwd=prom)


# ---- What a call costs ----


def rust_overhead(world):
    """What the crate adds to a call."""
    need_cargo(world)
    out = world.run("cargo", "bench", "--offline", "--locked", "--bench", "overhead", cwd=RUST)
    return re.search(r"bare .*", out)[0]


def go_overhead(world):
    """What the Go module adds to a call."""
    need_go(world)
    out = world.run("go", "test", "-run", "none", "-bench", "Overhead", "-benchtime", "1x", ".", cwd=GO)
    figures = re.findall(r"[\d.]+\s(?:ns-more/\S+|ns/C-call)", out)
    if len(figures) != 4:
        raise Fail(out)
    return ", ".join(figures)


PARTS = [declarations, c_and_cpp, cmake, meson, plugins, c_example, rust, rust_fresh, rust_example, rust_build, rust_style, go, go_example,
         go_cgocheck, go_build, go_prom, rust_overhead, go_overhead]


def main():
    *wanted, prefix = sys.argv[1:]
    prefix = pathlib.Path(prefix).resolve()
    wanted = wanted or [part.__name__ for part in PARTS]
    ran = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        world = World(prefix, pathlib.Path(scratch))
        for part in PARTS:
            if part.__name__ not in wanted:
                continue
            begin = time.monotonic()
            try:
                note = part(world)
                ran += 1
                note = f" ({note})" if note else ""
                print(f"passed   {part.__name__}: {part.__doc__}{note} {time.monotonic() - begin:.1f} s", flush=True)
            except Skip as reason:
                print(f"skipped  {part.__name__}: {reason}", flush=True)
            except (Fail, subprocess.TimeoutExpired) as failure:
                failed += 1
                print(f"FAILED   {part.__name__}: {part.__doc__}\n{failure}", flush=True)
    return 1 if failed else 0 if ran else 77


sys.exit(main())
