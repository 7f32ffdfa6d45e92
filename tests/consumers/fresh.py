# SPDX-License-Identifier: Apache-2.0
"""The declarations of hopmla-sys against what bindgen makes of the header, by content: names, fields, types, values.

bindgen and declarations.py do not lay out or derive alike, and bindgen knows neither HOPMLA_ALL_TOKENS (a macro of another
macro) nor which sizes are unsigned, so texts cannot be compared."""

import pathlib
import re
import subprocess

BINDGEN = ["--allowlist-type", "hopmla_.*", "--allowlist-function", "hopmla_.*", "--allowlist-var", "HOPMLA_.*",
           "--no-layout-tests", "--default-enum-style", "consts", "--no-prepend-enum-name", "--no-doc-comments", "--use-core"]
UNKNOWN_TO_BINDGEN = {"HOPMLA_ALL_TOKENS"}
MADE_UP = ("_bindgen_ty_", "__")  # bindgen's name of an enum without one, and libc's own names


def flat(text):
    text = re.sub(r"\s+", "", text)  # first: without rustfmt, bindgen puts blanks around every token
    text = re.sub(r"::(core|std)::(ffi|os::raw|option)::", "", text)
    return re.sub(r",(?=[)\]}>])", "", text).replace("usize]", "]")


def facts(rust):
    """What is declared: (kind, name) -> its content."""
    rust = re.sub(r"//.*", "", rust)
    rust = re.sub(r"#!?\[[^\]]*(\[[^\]]*\][^\]]*)*\]", "", rust)
    found = {}
    for name, body in re.findall(r"pub struct (\w+)\s*\{(.*?)\}", rust, re.S):
        fields = [flat(field) for field in re.findall(r"pub (\w+\s*:[^,]*),", body)]
        found["struct", name] = fields or "opaque"
    for name, body in re.findall(r"pub type (\w+)\s*=(.*?);", rust, re.S):
        if not name.startswith(MADE_UP):
            found["type", name] = flat(body)
    for name, rest in re.findall(r"pub fn (\w+)\s*(\(.*?;)", rust, re.S):
        found["function", name] = flat(rest)
    for name, value in re.findall(r"pub const (\w+)\s*:[^=]*=\s*([^;]+);", rust):
        found["constant", name] = flat(value)
    return found


def differences(header, include, checked_in):
    """Lines that say how the two differ. Raises FileNotFoundError or CalledProcessError where bindgen does not run."""
    made = subprocess.run(["bindgen", str(header), *BINDGEN, "--", f"-I{include}"], check=True, text=True,
                          capture_output=True).stdout
    fresh, ours = facts(made), facts(pathlib.Path(checked_in).read_text(encoding="utf-8"))
    lines = []
    for key in sorted(set(fresh) | set(ours)):
        if key[1] in UNKNOWN_TO_BINDGEN or fresh.get(key) == ours.get(key):
            continue
        lines.append(f"{key[0]} {key[1]}: bindgen {fresh.get(key)}, bindings.rs {ours.get(key)}")
    return lines, len(fresh)
