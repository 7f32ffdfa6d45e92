# SPDX-License-Identifier: Apache-2.0
"""Reads the public headers: which functions, structs, initialisers and constants they declare."""

import pathlib
import re

INCLUDE = pathlib.Path(__file__).resolve().parent.parent / "include"


def headers(include=INCLUDE):
    return sorted((pathlib.Path(include) / "hopmla").glob("*.h"))


def text(include=INCLUDE):
    """All headers, without comments."""
    joined = "\n".join(path.read_text(encoding="utf-8") for path in headers(include))
    return re.sub(r"/\*.*?\*/", " ", joined, flags=re.S)


def functions(include=INCLUDE):
    """Name -> prototype, without HOPMLA_API and the semicolon."""
    found = re.findall(r"^HOPMLA_API\s+([^;]*?\b(hopmla_\w+)\s*\([^;]*\))\s*;", text(include), flags=re.M)
    return {name: " ".join(prototype.split()) for prototype, name in found}


def initialisers(include=INCLUDE):
    """Initialiser macro -> the type that it is for."""
    names = re.findall(r"^#define\s+(HOPMLA_\w+)_INIT\b", text(include), flags=re.M)
    return {name + "_INIT": name.lower() for name in names}


def enumerators(include=INCLUDE):
    """Names of all enumeration constants, in order."""
    bodies = re.findall(r"\benum\b\s*\w*\s*\{(.*?)\}", text(include), flags=re.S)
    return [name for body in bodies for name in re.findall(r"\b(HOPMLA_\w+)\s*(?=[=,]|$)", body, flags=re.M)]
