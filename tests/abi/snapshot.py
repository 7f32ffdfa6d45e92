# SPDX-License-Identifier: Apache-2.0
"""The public headers as one file without comments, as it is kept for every release: what a program of that release was
built with."""

import re

import constants

api = constants.api
ORDER = ["version", "status", "context", "device", "pool", "plan", "paged", "profile"]


def snapshot(release, include=api.INCLUDE):
    """All headers in an order in which each finds what it needs."""
    names = [path.stem for path in api.headers(include) if path.stem != "hopmla"]
    parts = []
    for name in sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        text = (include / "hopmla" / f"{name}.h").read_text(encoding="utf-8")
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r'#include "[^"]*"\n', "", text)
        parts.append(f"/* {name}.h */\n" + re.sub(r"[ \t]+\n", "\n", text))
    text = re.sub(r"\n{2,}", "\n", "".join(parts))
    return ("/* SPDX-License-Identifier: Apache-2.0 */\n/* clang-format off */\n"
            f"/* The headers of release {release}, made by ./dev abi --update until that release is out, never touched "
            "afterwards. */\n" + text)
