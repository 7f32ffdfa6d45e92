# SPDX-License-Identifier: Apache-2.0
"""The ABI of the built library against the committed baseline: abi.py check|update LIBRARY. Exit status 77 without
libabigail. Constants are not in a dump: constants.py has them. `update` also writes the headers of the release as one
file, for programs of that release (releases.py)."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import snapshot

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include" / "hopmla"
RELEASE = "0.1"  # the baseline's; add files, never replace them, once a release is out
BASELINE = HERE / f"hopmla-{RELEASE}.abi"
SNAPSHOT = HERE / f"hopmla-{RELEASE}.h"  # the headers that a program of that release was built with
OPAQUE = HERE / "opaque.abignore"


def dump(library, output, include=INCLUDE):
    """Writes the ABI of a library, public types only. Without debug information abidw would silently see symbols
    alone, so that is looked for first."""
    sections = subprocess.run(["readelf", "-SW", library], check=True, capture_output=True, text=True).stdout
    if ".debug_info" not in sections:
        sys.exit(f"{library} has no debug information: its types cannot be compared")
    subprocess.run(["abidw", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--drop-private-types",
                    "--headers-dir", str(include), "--out-file", str(output), str(library)], check=True)


def unreleased():
    changelog = (HERE.parent.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    return f"## {RELEASE}.0 — unreleased" in changelog


def compare(old, new):
    """Exit status of abidiff: 0 for the same ABI, whatever the compiler that made the dump."""
    return subprocess.run(["abidiff", "--no-corpus-path", "--suppressions", str(OPAQUE), str(old), str(new)]).returncode


def main():
    action, library = sys.argv[1:]
    if not shutil.which("abidw"):
        sys.exit(77)
    if action == "update":
        if not unreleased():
            sys.exit(f"{RELEASE} is out: its files stay as they are. Give tests/abi/abi.py the next release's number")
        dump(library, BASELINE)
        SNAPSHOT.write_text(snapshot.snapshot(RELEASE), encoding="utf-8")
        return
    if unreleased() and SNAPSHOT.read_text(encoding="utf-8") != snapshot.snapshot(RELEASE):
        sys.exit(f"tests/abi/{SNAPSHOT.name} is not what the headers say: ./dev abi --update")
    with tempfile.TemporaryDirectory() as folder:
        new = pathlib.Path(folder) / "new.abi"
        dump(library, new)
        if compare(BASELINE, new) != 0:
            sys.exit("The ABI differs from tests/abi/" + BASELINE.name + ". Where only functions were added: "
                     "./dev abi --update. Else programs built before break, and HOPMLA_ABI_VERSION must change.")


if __name__ == "__main__":
    main()
