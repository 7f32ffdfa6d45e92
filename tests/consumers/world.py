# SPDX-License-Identifier: Apache-2.0
"""What the parts of consumers.py share: the installed prefix, running things, giving up."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUST = ROOT / "bindings" / "rust"
GO = ROOT / "bindings" / "go"
SEEDS = ["1", "6"]
FETCH_SECONDS = 90
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


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
        installed = prefix / "share" / "hopmla"  # a package has the bindings, too
        self.bindings = installed if installed.exists() else ROOT / "bindings"
        self.environment = dict(os.environ, LD_LIBRARY_PATH=str(self.library),
                                PKG_CONFIG_PATH=str(self.library / "pkgconfig"), CARGO_TARGET_DIR=str(scratch / "cargo"),
                                GOTOOLCHAIN="local", RUST_BACKTRACE="0")
        for name in ["HOPMLA_LIB_DIR", "HOPMLA_INCLUDE_DIR", "DOCS_RS", "GOFLAGS", "MAKEFLAGS"]:
            self.environment.pop(name, None)
        # Go's cache looks neither into included headers nor at what pkg-config says: an earlier build must not answer.
        headers = b"".join(path.read_bytes() for path in sorted(self.include.rglob("*.h")))
        self.environment["CGO_CFLAGS"] = self.go_flags(str(prefix).encode() + headers)
        self.outputs = {}      # of the examples, by seed
        self.rust = None       # its compiler's version
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


def other_abi(world):
    """A copy of the headers with another ABI number."""
    copy = world.scratch / "other"
    shutil.copytree(world.include, copy, dirs_exist_ok=True)
    header = copy / "hopmla" / "version.h"
    header.write_text(re.sub(r"(#define HOPMLA_ABI_VERSION) \d+", r"\1 99", header.read_text()))
    return copy


def of_another_abi(world):
    """What a program says that starts with a library of another ABI number."""
    need("cc")
    library = world.scratch / "other-abi.so"
    if not library.exists():
        source = world.scratch / "other-abi.c"
        source.write_text("unsigned hopmla_abi_version(void)\n{\n    return 99;\n}\n")
        world.run("cc", "-shared", "-fPIC", source, "-o", library)
    return {"LD_PRELOAD": str(library)}


def with_version(world, version):
    """A folder whose hopmla.pc says another version."""
    folder = world.scratch / f"version-{version}"
    folder.mkdir(exist_ok=True)
    text = (world.library / "pkgconfig" / "hopmla.pc").read_text()
    text = re.sub("(?m)^Version:.*", f"Version: {version}", text)
    text = re.sub("(?m)^prefix=.*", f"prefix={world.include.parent}", text)
    (folder / "hopmla.pc").write_text(text)
    return {"PKG_CONFIG_PATH": str(folder)}
