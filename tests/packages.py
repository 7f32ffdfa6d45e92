# SPDX-License-Identifier: Apache-2.0
"""Uses what ./dev package has made: packages.py OUT

    tarball   is what its checksums and its bill of materials say, works where it is unpacked, and asks for no newer
              glibc than the documents say
    debian    installs, runs, serves a stranger's program and goes without a trace, in a copy of this machine that lives
              in memory (mount namespace and overlay, as root), else in an empty root; lintian has nothing to say

Exit status 77 when there is nothing in OUT."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LIBRARY_GLIBC = (2, 31)  # the newest that a package may ask for: README.md, bindings/packages/README.md
COMMAND_GLIBC = (2, 34)
PROGRAM = """
#include <hopmla/hopmla.h>
int main(void)
{
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    hopmla_context *context;
    options.backend = HOPMLA_BACKEND_CPU;
    if (hopmla_context_create(&options, &context, 0)) {
        return 1;
    }
    hopmla_context_destroy(context);
    return 0;
}
"""


def run(*command, status=0, **options):
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if status is not None and done.returncode != status:
        sys.exit(f"{' '.join(map(str, command))}\nstatus {done.returncode}\n{done.stdout}")
    return done.stdout


def check_sums(folder, sums, listed):
    """The list is right, and names every file but itself."""
    named = set()
    for line in sums.read_text().splitlines():
        digest, name = line.split("  ", 1)
        named.add(name)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            sys.exit(f"{name} is not what {sums.name} says")
    files = {str(path.relative_to(folder)) for path in listed if path.is_file() and not path.is_symlink()}
    if files - {str(sums.relative_to(folder))} != named:
        sys.exit(f"{sums} does not list {sorted(files ^ named)}")


def check_bill(tree, bill):
    """The SPDX document lists every file as it is, and all that it refers to is in it."""
    document = json.loads(bill.read_text(encoding="utf-8"))
    own = document["packages"][0]
    code = own["packageVerificationCode"]
    excluded = set(code["packageVerificationCodeExcludedFiles"])
    files = {f"./{path.relative_to(tree)}": path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()}
    listed = {entry["fileName"]: entry for entry in document["files"]}
    if set(files) - excluded != set(listed):
        sys.exit(f"the bill of materials does not list {sorted((set(files) - excluded) ^ set(listed))}")
    for name, entry in listed.items():
        for sum_ in entry["checksums"]:
            if hashlib.new(sum_["algorithm"], files[name].read_bytes()).hexdigest() != sum_["checksumValue"]:
                sys.exit(f"{name}: {sum_['algorithm']}")
    sums = sorted(sum_["checksumValue"] for entry in listed.values() for sum_ in entry["checksums"]
                  if sum_["algorithm"] == "SHA1")
    if hashlib.sha1("".join(sums).encode()).hexdigest() != code["packageVerificationCodeValue"]:
        sys.exit("the verification code is wrong")
    ids = [part["SPDXID"] for part in [document, *document["packages"], *document["files"]]]
    used = {end for relation in document["relationships"]
            for end in (relation["spdxElementId"], relation["relatedSpdxElement"])}
    if len(ids) != len(set(ids)) or not (used | set(own["hasFiles"])) <= set(ids):
        sys.exit("identifiers of the bill of materials are not unique, or missing")


def asked_glibc(binary):
    return max(tuple(map(int, version.split("."))) for version in
               re.findall(r"Name: GLIBC_([\d.]+)", run("readelf", "-VW", binary)))


def tarball(out, scratch):
    packed = next(out.glob("*.tar.gz"))
    with tarfile.open(packed) as archive:
        for member in archive.getmembers():
            if member.name.startswith("/") or ".." in member.name.split("/") or (member.uid, member.uname) != (0, "root"):
                sys.exit(f"{member.name}: must be root's, and below the package's own folder")
    (scratch / "a folder").mkdir()
    run("tar", "-xf", packed, "-C", scratch / "a folder")
    tree = next((scratch / "a folder").iterdir())
    tree = tree.rename(scratch / "moved")
    documents = tree / "share" / "doc" / "hopmla"
    check_sums(tree, documents / "SHA256SUMS", tree.rglob("*"))
    check_bill(tree, documents / "sbom.spdx.json")
    for name in ["LICENSE", "README.md", "GUIDE.md"]:
        if not (documents / name).exists():
            sys.exit(f"no {name}")
    library, command = tree / "lib" / "libhopmla.so.0", tree / "bin" / "hopmla"
    for binary, newest in [(library, LIBRARY_GLIBC), (command, COMMAND_GLIBC)]:
        if asked_glibc(binary) > newest:
            sys.exit(f"{binary.name} asks for glibc {asked_glibc(binary)}, the documents say {newest}")
    page = (tree / "share" / "man" / "man1" / "hopmla.1").read_text(encoding="utf-8")
    for name in re.findall(r"(?m)^  ([a-z]+) ", run(command, "--help")):
        if not re.search(rf"(?m)^\.B {name}\b", page):
            sys.exit(f"the manual page does not have {name}")
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    run(command, "info", env=environment)
    print(run(sys.executable, HERE / "consumers.py", "c_and_cpp", "plugins", "rust_readme", "go_readme", tree,
              env=environment), end="")
    return f"library asks for glibc {asked_glibc(library)}, command for {asked_glibc(command)}"


def files_of(root):
    """What a package could leave behind, dpkg's own books and the loader's cache aside."""
    return {str(path.relative_to(root)) for top in ["usr/bin", "usr/lib", "usr/include", "usr/share"]
            for path in (root / top).rglob("*hopmla*") if not str(path).startswith(str(root / "usr/lib/debug"))}


def in_copy(out, scratch):
    """In a mount namespace of its own: the machine under an overlay in memory."""
    run("mount", "-t", "tmpfs", "tmpfs", scratch)
    root = scratch / "root"
    for name in ["upper", "work", "root"]:
        (scratch / name).mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work", root)
    inside = root / "opt" / "packages"
    shutil.copytree(out, inside)
    (inside / "program.c").write_text(PROGRAM)

    def do(*command, status=0):
        return run("chroot", root, "env", "-u", "LD_LIBRARY_PATH", "-u", "PKG_CONFIG_PATH", *command, status=status)

    names = sorted(path.name for path in out.glob("*.deb"))
    packages = [name.split("_")[0] for name in names]
    before = files_of(root)
    do("dpkg", "-i", *(f"/opt/packages/{name}" for name in names))
    if "libhopmla.so.0" not in do("ldconfig", "-p"):
        sys.exit("the loader does not know the library")
    do("dpkg", "--verify", *packages)
    do("hopmla", "info")
    if shutil.which("cc") and shutil.which("pkg-config"):
        do("sh", "-ec", "cc -std=c11 -Wall -Werror -o /tmp/program /opt/packages/program.c $(pkg-config --cflags --libs hopmla);"
           "/tmp/program")
    do("dpkg", "--purge", *packages)
    if files_of(root) != before or "libhopmla.so.0" in do("ldconfig", "-p"):
        sys.exit(f"left behind: {sorted(files_of(root) ^ before)}")
    print("installed, used and removed in a copy of this machine")


def in_empty_root(out, scratch):
    root = scratch / "root"
    for name in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log"]:
        (root / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    dpkg = ["dpkg", f"--root={root}", "--force-not-root", "--force-depends", "--force-bad-path", f"--log={scratch}/log"]
    names = sorted(out.glob("*.deb"))
    run(*dpkg, "-i", *names)
    library = next((root / "usr" / "lib").rglob("libhopmla.so.0"))
    run(root / "usr" / "bin" / "hopmla", "info", env=dict(os.environ, LD_LIBRARY_PATH=str(library.parent)))
    run(*dpkg, "--purge", *(path.name.split("_")[0] for path in names))
    if files_of(root):
        sys.exit(f"left behind: {sorted(files_of(root))}")
    print("installed, used and removed in an empty root")


def debian(out, scratch):
    if not list(out.glob("*.deb")):
        return "no Debian packages"
    again = [sys.executable, __file__, "--in-copy", str(out), str(scratch)]
    able = os.geteuid() == 0 and subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount -t tmpfs t {scratch} && mkdir {scratch}/u {scratch}/w {scratch}/m && mount -t "
         f"overlay o -o lowerdir=/,upperdir={scratch}/u,workdir={scratch}/w {scratch}/m"], capture_output=True).returncode == 0
    if able:
        print(run("unshare", "-m", *again), end="")
    else:
        in_empty_root(out, scratch)
    if shutil.which("lintian"):
        run("lintian", "--allow-root", "--fail-on", "error,warning", *out.glob("*.deb"))
        return "lintian is content"
    return "no lintian"


def main():
    if sys.argv[1] == "--in-copy":
        in_copy(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
        return
    out = pathlib.Path(sys.argv[1]).resolve()
    if not list(out.glob("*.tar.gz")):
        sys.exit(77)
    check_sums(out, out / "SHA256SUMS", out.iterdir())
    for part in [tarball, debian]:
        with tempfile.TemporaryDirectory() as scratch:
            print(f"{part.__name__}: {part(out, pathlib.Path(scratch))}", flush=True)


main()
