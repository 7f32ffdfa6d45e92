# SPDX-License-Identifier: Apache-2.0
"""The first program of a binding's README, as somebody types it: its commands, and its file in between."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
INSTALLED = "/usr/share/hopmla"  # where the page has the bindings


def script(language, share=INSTALLED, older=False):
    """A shell script of the section "Five minutes", and what it prints at the end. `share`: where the bindings are; `older`:
    with a compiler that the page has a remark for."""
    page = (ROOT / "bindings" / language / "README.md").read_text(encoding="utf-8")
    page = page[page.index("## Five minutes"):]
    begin, run = re.findall(r"```sh\n(.*?)```", page, re.S)[:2]
    file, source = re.search(r"`(\S+)`:\n\n```\w+\n(.*?)```", page, re.S).groups()
    printed = re.search(r"prints `(.*?)…`", page)[1]
    if older:
        begin = re.sub(r"cargo add half\s+# with Rust 1.63: (\S+)", r"cargo add \1", begin)
    begin = begin.replace(INSTALLED, str(share))
    return f"set -e\n{begin}cat >{file} <<'END_OF_FILE'\n{source}END_OF_FILE\n{run}", printed
