# SPDX-License-Identifier: Apache-2.0
"""C and C++ through pkg-config, CMake and meson; plugins; the example in C."""

import shutil
import sys

from world import HERE, ROOT, WARNINGS, Fail, compare, need


def write_layout(world):
    """The list of sizes and offsets as assertions of either language."""
    lines = ["#ifdef __cplusplus\n#define ASSERT static_assert\n#else\n#define ASSERT _Static_assert\n#endif\n"]
    for row in (HERE / "layout.tsv").read_text().splitlines():
        struct, field, offset, size = row.split("\t")
        if field == "*":
            lines.append(f'ASSERT(sizeof({struct}) == {size}, "{struct}");\n')
        else:
            lines.append(f'ASSERT(offsetof({struct}, {field}) == {offset} && sizeof((({struct} *)0)->{field}) == {size}, '
                         f'"{struct}.{field}");\n')
    (world.scratch / "layout.h").write_text("".join(lines))


def declarations(world):
    """What the bindings declare is what the headers say."""
    return world.run(sys.executable, HERE / "declarations.py", "--check").strip()


def c_and_cpp(world):
    """C11 and C++17 through pkg-config; struct layout."""
    need("cc", "pkg-config")
    write_layout(world)
    compilers = [("cc", "-std=c11", "c")] + ([("c++", "-std=c++17", "c++")] if shutil.which("c++") else [])
    for compiler, standard, language in compilers:
        program = world.scratch / f"consumer-{compiler}"
        world.run(compiler, standard, *WARNINGS, "-I", world.scratch, "-x", language, HERE / "consumer.c", "-x", "none",
                  *world.flags(), "-o", program)
        world.run(program)
    return " and ".join(standard[5:] for _, standard, _ in compilers)


def cmake(world):
    """CMake's pkg-config module."""
    need("cmake", "cc", "pkg-config")
    write_layout(world)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    world.run("cmake", *generator, "-S", HERE, "-B", world.scratch / "cmake", f"-DCMAKE_C_FLAGS=-I{world.scratch}")
    world.run("cmake", "--build", world.scratch / "cmake")
    world.run(world.scratch / "cmake" / "consumer")

MESON = """project('consumer', 'c', meson_version: '>=1.0.0', default_options: ['c_std=c11', 'buildtype=debug'])
executable('consumer', 'consumer.c', dependencies: dependency('hopmla', version: '>=0.1'))
"""

WRAP = """[wrap-file]
directory = hopmla

[provide]
dependency_names = hopmla
"""


def meson(world):
    """meson: the installed library, and the repository as a subproject by its wrap."""
    need("meson", "ninja", "cc", "pkg-config")
    write_layout(world)
    project = world.scratch / "meson"
    (project / "subprojects").mkdir(parents=True)
    (project / "meson.build").write_text(MESON)
    (project / "subprojects" / "hopmla.wrap").write_text(WRAP)
    (project / "subprojects" / "hopmla").symlink_to(ROOT)
    for name in [HERE / "consumer.c", world.scratch / "layout.h"]:
        shutil.copy(name, project)
    for kind, options in {"installed": ["--wrap-mode=nofallback"],
                          "subproject": ["--force-fallback-for=hopmla", "-Dhopmla:cuda=disabled"]}.items():
        build = project / kind
        world.run("meson", "setup", *options, build, project)
        if (build / "subprojects" / "hopmla").exists() != (kind == "subproject"):
            raise Fail(f"{kind}: another library was taken")
        world.run("ninja", "-C", build, "consumer")
        environment = {"LD_LIBRARY_PATH": ""} if kind == "subproject" else {}
        world.run(build / "consumer", **environment)


def plugins(world):
    """Plugins loaded with RTLD_LOCAL and unloaded, two in one process; dlopen of the library."""
    need("cc", "pkg-config")
    write_layout(world)
    for name in ["one", "two"]:
        world.run("cc", "-std=c11", *WARNINGS, "-DPLUGIN", "-shared", "-fPIC", "-fvisibility=hidden", "-I", world.scratch,
                  HERE / "consumer.c", *world.flags(), "-o", world.scratch / f"{name}.so")
    world.run("cc", "-std=c11", "-D_GNU_SOURCE", *WARNINGS, HERE / "host.c", "-ldl", "-o", world.scratch / "host")
    world.run(world.scratch / "host", world.scratch / "one.so", world.scratch / "two.so",
              world.library / "libhopmla.so.0")


def c_example(world):
    """The example in C."""
    need("cc", "pkg-config")
    program = world.scratch / "example"
    world.run("cc", "-std=c11", "-O2", *WARNINGS, ROOT / "bindings" / "examples" / "example.c", *world.flags(), "-o", program)
    compare(world, "C", program)
