#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what the bindings declare from the public headers, or says where it has gone stale: exit status 1 when a
declaration has, a remark when only the comments have.

    declarations.py --write | --check

    bindings/rust/hopmla-sys/src/bindings.rs      every type, constant and function
    bindings/rust/hopmla-sys/tests/layout.rs      sizes and offsets, asserted by rustc
    bindings/go/internal/layout/table.go          the same, asserted by cgo
    tests/consumers/layout.tsv                    the list itself: struct, field, offset, size; the C compiler asserts it

The headers keep to a plain subset of C (include/README.md), so no C parser is needed: a line that is not understood is
an error here. Structs have no implicit padding, so an offset is the sum of the sizes before it.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HEADERS = ["version", "status", "context", "device", "pool", "plan", "paged", "profile"]
SPDX = "SPDX-License-Identifier: Apache-2.0"
MADE = "Made from include/hopmla by tests/consumers/declarations.py --write; not to be edited."

SCALARS = {"uint8_t": ("u8", 1), "int32_t": ("i32", 4), "uint32_t": ("u32", 4), "int64_t": ("i64", 8),
           "uint64_t": ("u64", 8), "float": ("f32", 4), "double": ("f64", 8), "char": ("c_char", 1),
           "hopmla_status": ("hopmla_status", 4), "hopmla_seq": ("hopmla_seq", 8)}
POINTERS = {"hopmla_stream", "hopmla_event", "hopmla_graph", "hopmla_log_fn", "hopmla_alloc_fn", "hopmla_free_fn",
            "hopmla_write_fn"}
CALLBACKS = {name for name in POINTERS if name.endswith("_fn")}


def doc(comment, indent=""):
    """A C doc comment as Rust's."""
    lines = [re.sub(r"^\s*\*? ?", "", line).rstrip() for line in comment.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    text = "\n".join(lines)
    text = re.sub(r"@param (\w+)\s+", r"`\1`: ", text)
    text = re.sub(r"\s*@return\s+", "\n\nReturns ", text).replace("[", "\\[").replace("]", "\\]")
    text = re.sub(r"\n(`\w+`: )", r"\n\n\1", text)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return "".join(f"{indent}///{' ' + line.strip() if line.strip() else ''}\n" for line in text.split("\n"))


def rust_type(c, opaque):
    """The Rust type of a C declarator without its name, for example "const void *"."""
    c = re.sub(r"\s+", " ", c).strip()
    stars = c.count("*")
    base = c.replace("*", "").strip()
    const = base.startswith("const ")
    base = re.sub(r"^(const )?(struct )?", "", base)
    if base == "void" and stars:
        out = "c_void"
    elif base in SCALARS:
        out = SCALARS[base][0]
    elif base in opaque or base in POINTERS:
        out = base
    else:
        raise SystemExit(f"declarations.py: type not understood: {c}")
    for level in range(stars):
        out = ("*const " if const and level == 0 else "*mut ") + out
    return out


def split_parameter(text):
    kind, name = re.match(r"(.*?[\s*])(\w+)$", text.strip(), re.S).groups()
    return kind, name


class Header:
    def __init__(self):
        self.opaque = []
        self.structs = []   # (name, doc, [(field, type, array, doc)])
        self.parts = []     # Rust text in order
        self.values = {}    # of enumeration constants, for the lengths of arrays

    def read(self, name):
        text = (ROOT / "include" / "hopmla" / f"{name}.h").read_text()
        text = re.sub(r"/\* SPDX.*?\*/", "", text)
        text = re.sub(r"/\*\* @file.*?\*/", "", text, flags=re.S)
        text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.S)
        text = re.sub(r"\\\n", " ", text)
        self.parts.append(f"\n// {name}.h\n")
        position = 0
        rules = [
            (r"\s+", None),
            (r"#(?:ifndef|endif|include)[^\n]*|#define HOPMLA_(?:\w+_H|API|\w+_INIT)\b[^\n]*", None),
            (r"#define (?P<name>HOPMLA_\w+) (?P<value>\w+)", self.define),
            (r"/\*\*(?P<doc>.*?)\*/", self.comment),
            (r"/\*(?!\*).*?\*/", None),
            (r"struct \w+;", None),
            (r"enum \{(?P<body>.*?)\};", self.enum),
            (r"typedef (?P<base>\w+) (?P<name>\w+);", self.alias),
            (r"typedef struct (?P<tag>\w+) \*(?P<name>\w+);", self.handle),
            (r"typedef struct (?P<name>\w+) (?P=name);", self.declare),
            (r"typedef (?P<kind>void \*?|int32_t )\(\*(?P<name>\w+)\)\((?P<params>.*?)\);", self.callback),
            (r"typedef struct (?P<name>\w+) \{(?P<body>.*?)\} (?P=name);", self.struct),
            (r"HOPMLA_API (?P<kind>.*?)(?P<name>\w+)\((?P<params>.*?)\);", self.function),
        ]
        self.last = ""  # the doc comment that waits for its declaration
        while position < len(text):
            for pattern, action in rules:
                match = re.compile(pattern, re.S).match(text, position)
                if match:
                    break
            else:
                raise SystemExit(f"declarations.py: {name}.h: not understood: {text[position:position + 80]!r}")
            position = match.end()
            if action:
                action(match)
                if action != self.comment:
                    self.last = ""

    def emit(self, text):
        self.parts.append("\n" + self.last + text)

    def comment(self, match):
        self.last = doc(match["doc"])

    def define(self, match):
        if match["name"] == "HOPMLA_ALL_TOKENS":
            self.emit(f"pub const {match['name']}: u64 = u64::MAX;\n")
        else:
            self.emit(f"pub const {match['name']}: u32 = {match['value']};\n")

    def enum(self, match):
        entry = re.compile(r"(?P<name>HOPMLA_\w+) = (?P<value>-?\d+),?\s*(?:/\*\*<(?P<doc>.*?)\*/)?"
                           r"|/\*(?P<group>[^*].*?)\*/", re.S)
        rest = match["body"]
        for m in entry.finditer(rest):
            if m["group"]:
                self.parts.append(f"\n// {m['group'].strip()}\n")
                continue
            self.values[m["name"]] = m["value"]
            kind = "u32" if re.search("_DIM$|PAGE_TOKENS$|PAGED_BAD|CLOCK_|VALID_|_METRICS$|PROFILER_TOTALS|RECORD_", m["name"]) else "i32"
            self.parts.append(f"{doc(m['doc']) if m['doc'] else ''}pub const {m['name']}: {kind} = {m['value']};\n")
        if re.sub(entry, "", rest).strip():
            raise SystemExit(f"declarations.py: enum not understood: {rest}")

    def alias(self, match):
        self.emit(f"pub type {match['name']} = {SCALARS[match['base']][0]};\n")

    def make_opaque(self, name):
        self.emit("#[repr(C)]\n"
                  f"pub struct {name} {{\n    _data: [u8; 0],\n    _marker: PhantomData<(*mut u8, PhantomPinned)>,\n}}\n")
        self.opaque.append(name)

    def declare(self, match):
        self.make_opaque(match["name"])

    def handle(self, match):
        kept, self.last = self.last, ""
        self.make_opaque(match["tag"])
        self.last = kept
        self.emit(f"pub type {match['name']} = *mut {match['tag']};\n")

    def parameters(self, text):
        if text.strip() == "void":
            return ""
        pairs = [split_parameter(p) for p in text.split(",")]
        return ", ".join(f"{n}: {rust_type(k, self.known())}" for k, n in pairs)

    def known(self):
        return {"CUctx_st", *self.opaque, *(s[0] for s in self.structs)}

    def callback(self, match):
        back = {"void *": " -> *mut c_void", "void ": "", "int32_t ": " -> i32"}[match["kind"]]
        self.emit(f"pub type {match['name']} =\n"
                  f"    Option<unsafe extern \"C\" fn({self.parameters(match['params'])}){back}>;\n")

    def struct(self, match):
        fields = []
        field = re.compile(r"\s*(?P<kind>[\w ]+?[ *]+)(?P<name>\w+)(?:\[(?P<n>\w+)\])?;\s*(?:/\*\*<(?P<doc>.*?)\*/)?", re.S)
        position = 0
        while match["body"][position:].strip():
            m = field.match(match["body"], position)
            if not m:
                raise SystemExit(f"declarations.py: {match['name']}: not understood: {match['body'][position:]}")
            fields.append((m["name"], m["kind"], self.values.get(m["n"], m["n"]), m["doc"]))
            position = m.end()
        known = self.known()
        lines = []
        for name, kind, n, text in fields:
            rust = rust_type(kind, known)
            lines.append((doc(text, "    ") if text else "") + f"    pub {name}: {f'[{rust}; {n}]' if n else rust},\n")
        self.emit(f"#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {match['name']} {{\n{''.join(lines)}}}\n")
        self.structs.append((match["name"], fields))

    def function(self, match):
        kind = match["kind"].strip()
        back = "" if kind == "void" else f" -> {rust_type(kind, self.known())}"
        text, self.last = self.last, ""
        self.emit(f"extern \"C\" {{\n{text}pub fn {match['name']}({self.parameters(match['params'])}){back};\n}}\n")

    def layout(self):
        """(struct, field, offset, size), the whole struct as field "*"."""
        for name, fields in self.structs:
            offset = 0
            rows = []
            for field, kind, n, _ in fields:
                base = re.sub(r"const |struct |\*", "", kind).strip()
                size = 8 if "*" in kind or base in POINTERS else SCALARS[base][1]
                if offset % size:
                    raise SystemExit(f"declarations.py: {name}.{field} is not aligned: implicit padding")
                rows.append((name, field, offset, size * int(n or 1)))
                offset += size * int(n or 1)
            yield (name, "*", 0, offset)
            yield from rows


def generate():
    header = Header()
    for name in HEADERS:
        header.read(name)
    layout = list(header.layout())
    out = {}
    out["bindings/rust/hopmla-sys/src/bindings.rs"] = (
        f"// {SPDX}\n// {MADE}\n\nuse std::ffi::c_void;\nuse std::marker::{{PhantomData, PhantomPinned}};\n"
        "use std::os::raw::c_char;\n\n/// CUDA's own, for a `CUcontext` of the caller's.\n#[repr(C)]\npub struct CUctx_st {\n"
        "    _data: [u8; 0],\n    _marker: PhantomData<(*mut u8, PhantomPinned)>,\n}\n" + "".join(header.parts))
    body = "".join(f"    check!({s}, {size});\n" if f == "*" else f"    check!({s}, {f}, {offset}, {size});\n"
                   for s, f, offset, size in layout)
    out["bindings/rust/hopmla-sys/tests/layout.rs"] = (
        f"// {SPDX}\n// {MADE}\n\n//! Sizes and offsets of every public struct, as in tests/consumers/layout.tsv.\n\n"
        "use hopmla_sys::*;\nuse std::mem::{size_of, size_of_val, MaybeUninit};\n\n"
        "macro_rules! check {\n"
        "    ($type:ty, $size:expr) => {\n"
        "        assert_eq!(size_of::<$type>(), $size, stringify!($type));\n    };\n"
        "    ($type:ty, $field:ident, $offset:expr, $size:expr) => {\n"
        "        let value = MaybeUninit::<$type>::zeroed();\n"
        "        // SAFETY: all-zero bytes are a value of every public struct.\n"
        "        let value = unsafe { value.assume_init() };\n"
        "        let offset = (&value.$field as *const _ as usize) - (&value as *const _ as usize);\n"
        "        let name = concat!(stringify!($type), \".\", stringify!($field));\n"
        "        assert_eq!(offset, $offset, \"{}\", name);\n"
        "        assert_eq!(size_of_val(&value.$field), $size, \"{}\", name);\n    };\n}\n\n"
        "#[test]\nfn layout() {\n" + body + "}\n")
    go_field = {"type": "_type"}
    rows = "".join(f"\t{{\"{s}\", \"*\", 0, {size}, 0, unsafe.Sizeof(C.{s}{{}})}},\n" if f == "*" else
                   f"\t{{\"{s}\", \"{f}\", {offset}, {size}, unsafe.Offsetof(C.{s}{{}}.{go_field.get(f, f)}), "
                   f"unsafe.Sizeof(C.{s}{{}}.{go_field.get(f, f)})}},\n" for s, f, offset, size in layout)
    out["bindings/go/internal/layout/table.go"] = (
        f"// {SPDX}\n// {MADE}\n\n"
        "// Package layout holds the sizes and offsets of every public struct as cgo sees them, beside those of\n"
        "// tests/consumers/layout.tsv. Only its test uses it.\npackage layout\n\n"
        "/*\n#cgo pkg-config: hopmla\n#include <hopmla/hopmla.h>\n*/\nimport \"C\"\n\nimport \"unsafe\"\n\n"
        "type row struct {\n\tstructure, field        string\n\toffset, size            uintptr\n"
        "\tactualOffset, actualSize uintptr\n}\n\nvar table = []row{\n" + rows + "}\n")
    out["tests/consumers/layout.tsv"] = "".join(f"{s}\t{f}\t{offset}\t{size}\n" for s, f, offset, size in layout)
    return out


def tidy(path, text):
    """Rust and Go as their own formatters lay them out, where these are at hand."""
    import shutil
    import subprocess
    tool = {".rs": ["rustfmt", "--edition", "2021", "--emit", "stdout"], ".go": ["gofmt"]}.get(pathlib.Path(path).suffix)
    if not tool:
        return text
    if not shutil.which(tool[0]):
        return None
    done = subprocess.run(tool, input=text, text=True, capture_output=True, cwd=ROOT / "bindings" / "rust")
    return done.stdout if done.returncode == 0 else None


def squeeze(text):
    """What is left of a program without its comments and layout."""
    return re.sub(r"[\s,]+", "", re.sub(r"//.*", "", text))


def main():
    stale = 0
    for path, text in generate().items():
        target = ROOT / path
        if sys.argv[1:] == ["--write"]:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(tidy(path, text) or text)
        elif sys.argv[1:] == ["--check"]:
            have = target.read_text() if target.exists() else ""
            if squeeze(have) != squeeze(text):
                print(f"{path} is not what the headers say: run tests/consumers/declarations.py --write")
                stale = 1
            elif have.split() != (tidy(path, text) or have).split():
                print(f"comments of {path} are older than the headers': tests/consumers/declarations.py --write")
        else:
            raise SystemExit(__doc__)
    return stale


sys.exit(main())
