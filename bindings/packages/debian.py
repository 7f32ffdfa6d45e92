# SPDX-License-Identifier: Apache-2.0
"""Splits an installed tree into Debian packages, each with what dpkg-deb wants to see beside the files."""

import email.utils
import gzip
import hashlib
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MAINTAINER = "hopmla maintainers <maintainers@hopmla.dev>"
ABOUT = """ hopmla holds the paged latent KV cache of an LLM inference engine and decodes
 Multi-head Latent Attention (MLA) over it, on a CPU or an NVIDIA Hopper GPU,
 for programs in C or in any language with a C FFI.
 .
"""


def packages(abi, multiarch):
    """Name -> section, multi-arch, what it depends on besides libc6, one line, more lines, its files under usr."""
    library, lib = f"libhopmla{abi}", f"lib/{multiarch}"
    return {
        library: ("libs", "same", [], "paged latent-KV pools and MLA decode - shared library",
                  " This package holds the shared library. The CUDA driver is opened at run time:\n"
                  " the library works on machines that have none.\n",
                  rf"{lib}/libhopmla\.so\..*"),
        "libhopmla-dev": ("libdevel", "same", [library], "paged latent-KV pools and MLA decode - development files",
                          " This package holds the headers, the pkg-config file, and the sources of the\n"
                          " bindings: Rust crates in /usr/share/hopmla/rust, a Go module in\n"
                          " /usr/share/hopmla/go.\n",
                          rf"include/.*|{lib}/libhopmla\.so|{lib}/pkgconfig/.*|share/hopmla/.*|share/doc/hopmla/.*"),
        "hopmla-tools": ("utils", "foreign", [library], "paged latent-KV pools and MLA decode - command",
                         " This package holds the hopmla command, which says what a machine can run,\n"
                         " checks results against a reference, and measures.\n",
                         "bin/hopmla|share/man/.*"),
    }


def needed_glibc(tree):
    """The oldest libc6 that has every symbol version that the binaries ask for. (dpkg-shlibdeps would say 2.34 for symbols
    that moved into libc.so.6 then, though they are asked for by their first versions, which older ones have elsewhere.)"""
    asked = [(0,)]
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
            needs = subprocess.run(["readelf", "-VW", str(path)], check=True, text=True, capture_output=True).stdout
            asked += [tuple(map(int, release.split("."))) for release in re.findall(r"Name: GLIBC_([\d.]+)", needs)]
    newest = max(asked)
    return [f"libc6 (>= {'.'.join(map(str, newest))})"] if newest > (0,) else []


def symbols(library, abi):
    """Every symbol with the release that brought it, which is its node of the version script."""
    lines = [f"libhopmla.so.{abi} {library} #MINVER#\n"]
    for node, release, body in re.findall(r"(HOPMLA_([\d.]+))\s*\{(.*?)\}", (ROOT / "lib" / "hopmla.map").read_text(), re.S):
        names = [node, *re.findall(r"\b(hopmla_\w+)\s*;", body)]
        lines += [f" {name}@{node} {release}\n" for name in names]
    return lines[0] + "".join(sorted(lines[1:]))


def write_control(tree, name, about, release, abi):
    section, multi, own, line, text, _ = about
    control = tree / "DEBIAN"
    control.mkdir()
    depends = [f"{other} (= {release})" for other in own] + needed_glibc(tree)
    paths = [path for path in tree.rglob("*") if "DEBIAN" not in path.parts and path.is_file() and not path.is_symlink()]
    size = sum((path.stat().st_size + 1023) // 1024 for path in paths)
    architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, text=True, capture_output=True).stdout.strip()
    (control / "control").write_text(
        f"Package: {name}\nSource: hopmla\nVersion: {release}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n"
        f"Installed-Size: {size}\n" + (f"Depends: {', '.join(depends)}\n" if depends else "") +
        f"Section: {section}\nPriority: optional\nMulti-Arch: {multi}\nHomepage: https://hopmla.dev\n"
        f"Description: {line}\n{ABOUT}{text}", encoding="utf-8")
    if section == "libs":
        (control / "shlibs").write_text(f"libhopmla {abi} {name} (>= {release})\n")
        (control / "symbols").write_text(symbols(name, abi))
        (control / "triggers").write_text("activate-noawait ldconfig\n")
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in sorted(paths))
    (control / "md5sums").write_text(sums)


def write_documents(tree, name, release, epoch, bill):
    folder = tree / "usr" / "share" / "doc" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "copyright").write_text(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: hopmla\n\n"
        "Files: *\nCopyright: 2026 the hopmla authors\nLicense: Apache-2.0\n"
        " On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.\n")
    text = (f"hopmla ({release}) unstable; urgency=medium\n\n  * Release {release}: see CHANGELOG.md of libhopmla-dev.\n\n"
            f" -- {MAINTAINER}  {email.utils.formatdate(epoch)}\n")
    with open(folder / "changelog.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=epoch) as packed:
        packed.write(text.encode())
    if name.startswith("libhopmla") and not name.endswith("-dev"):
        shutil.copyfile(bill, folder / "sbom.spdx.json")


def split(prefix, out, multiarch, release, abi, epoch, bill):
    """Moves the tree's files into one tree for each package; every file goes somewhere."""
    trees = {}
    for name, about in packages(abi, multiarch).items():
        tree = trees[name] = out / name
        for path in [path for path in prefix.rglob("*") if path.is_symlink() or path.is_file()]:
            relative = path.relative_to(prefix)
            if not re.fullmatch(about[5], str(relative)):
                continue
            if relative.parts[:3] == ("share", "doc", "hopmla"):
                relative = pathlib.Path("share", "doc", name, *relative.parts[3:])
            target = tree / "usr" / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        licence = tree / "usr" / "share" / "doc" / name / "LICENSE"
        if licence.exists():
            licence.unlink()  # Debian has it once for all
        for page in tree.glob("usr/share/man/man*/*"):
            with open(f"{page}.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=epoch) as packed:
                packed.write(page.read_bytes())
            page.unlink()
    left = [str(path) for path in prefix.rglob("*") if path.is_symlink() or path.is_file()]
    if left:
        raise SystemExit(f"no package holds {left}")
    for name, about in packages(abi, multiarch).items():
        write_documents(trees[name], name, release, epoch, bill)
        write_control(trees[name], name, about, release, abi)
    return trees
