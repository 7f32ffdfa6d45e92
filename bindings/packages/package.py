#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the packages of a release: package.py BUILD OUT

    OUT/hopmla-VERSION-linux-CPU.tar.gz   a prefix tree that may be put anywhere
    OUT/*.deb                             libhopmla0, libhopmla-dev, hopmla-tools, where dpkg-deb is
    OUT/SHA256SUMS

BUILD is a configured folder; what is missing in it is compiled, its libdir and its relocatable option are set here. All times are those of
SOURCE_DATE_EPOCH, or of the last commit: the same sources and tools give the same bytes."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile

import debian
import sbom

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def tool(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def source_epoch():
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    try:
        return int(tool("git", "-C", ROOT, "log", "-1", "--format=%ct", stderr=subprocess.DEVNULL))
    except (OSError, subprocess.CalledProcessError):
        return int((ROOT / "CHANGELOG.md").stat().st_mtime)


def version():
    numbers = {}
    for line in (ROOT / "include" / "hopmla" / "version.h").read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[1].startswith("HOPMLA_"):
            numbers[words[1]] = words[2]
    return ".".join(numbers[f"HOPMLA_VERSION_{part}"] for part in ["MAJOR", "MINOR", "PATCH"]), numbers["HOPMLA_ABI_VERSION"]


def install(build, stage, libdir, relocatable):
    """Installs into stage/usr, stripped."""
    tool("meson", "configure", build, "-Dprefix=/usr", f"-Dlibdir={libdir}", f"-Drelocatable={str(relocatable).lower()}")
    subprocess.run(["ninja", "-C", str(build), "profiling/hopmla"], check=True)  # and with it the library: nothing else
    tool("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", stage)
    for path in [stage / "usr" / "bin" / "hopmla", *(stage / "usr" / libdir).glob("libhopmla.so.*.*")]:
        tool("strip", "--strip-unneeded", path)
    return stage / "usr"


def add_sources(prefix):
    """The bindings and the documents, as they are in the repository."""
    for language in ["rust", "go"]:
        folder = ROOT / "bindings" / language
        for path in listed(folder):
            put(path, prefix / "share" / "hopmla" / language / path.relative_to(folder))
    documents = prefix / "share" / "doc" / "hopmla"
    for path in ["README.md", "LICENSE", "CHANGELOG.md", "include/GUIDE.md", "bindings/examples/example.c"]:
        put(ROOT / path, documents / pathlib.Path(path).name)


def listed(folder):
    """Files of the repository; without git, what is there, but for what cargo makes."""
    try:
        names = tool("git", "-C", folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard",
                     stderr=subprocess.DEVNULL).split("\0")
        paths = [folder / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in folder.rglob("*") if "target" not in path.parts]
    return sorted(path for path in paths if path.is_file() and path.name != ".gitignore")


def put(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def settle(tree, epoch):
    """Modes and times that do not depend on who packs, and when."""
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            executable = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def checksums(files, base):
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(base)}\n" for path in sorted(files))


def plain_files(tree):
    return [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]


def write_tarball(tree, target, epoch):
    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mtime = epoch
        return info

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in [tree, *sorted(tree.rglob("*"))]:
            archive.add(path, arcname=str(path.relative_to(tree.parent)), recursive=False, filter=plain)
    with open(target, "wb") as file, gzip.GzipFile("", "wb", mtime=epoch, fileobj=file) as packed:
        packed.write(buffer.getvalue())


def compilers(build):
    """Names and versions of what the binaries were compiled by."""
    commands = [entry["command"] for entry in json.loads((build / "compile_commands.json").read_text())]
    compiler = commands[0].split()[0]
    found = [(tool(compiler, "--version").split()[0], tool(compiler, "-dumpfullversion").strip())]
    for command in commands:
        if "HOPMLA_NVCC_VERSION" in command:
            found.append(("nvcc", command.split("HOPMLA_NVCC_VERSION=")[1].split('"')[1]))
            break
    return found


def make_tarball(build, out, release, epoch, scratch):
    prefix = install(build, scratch / "tarball", "lib", relocatable=True)
    add_sources(prefix)
    name = f"hopmla-{release}-linux-{platform.machine()}"
    tree = prefix.rename(scratch / name)
    documents = tree / "share" / "doc" / "hopmla"
    sbom.write(documents / "sbom.spdx.json", tree, release, epoch, compilers(build))
    (documents / "SHA256SUMS").write_text(checksums(plain_files(tree), tree))
    settle(tree, epoch)
    write_tarball(tree, out / f"{name}.tar.gz", epoch)
    return documents / "sbom.spdx.json"


def make_debian(build, out, release, abi, epoch, scratch, bill):
    multiarch = tool("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
    prefix = install(build, scratch / "debian", f"lib/{multiarch}", relocatable=False)
    add_sources(prefix)
    packages = debian.split(prefix, scratch / "packages", multiarch, release, abi, epoch, bill)
    for name, tree in packages.items():
        settle(tree, epoch)
        tool("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, out,
             env=dict(os.environ, SOURCE_DATE_EPOCH=str(epoch)))


def main():
    build, out = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    release, abi = version()
    epoch = source_epoch()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        bill = make_tarball(build, out, release, epoch, scratch)
        if shutil.which("dpkg-deb") and shutil.which("dpkg-architecture"):
            make_debian(build, out, release, abi, epoch, scratch, bill)
        else:
            print("no dpkg-deb and dpkg-architecture: no Debian packages")
    (out / "SHA256SUMS").write_text(checksums(plain_files(out), out))
    print("".join(f"{path.stat().st_size:>9} {path}\n" for path in sorted(out.iterdir())), end="")


if __name__ == "__main__":
    main()
