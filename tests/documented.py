# SPDX-License-Identifier: Apache-2.0
"""Which statuses each public function may return, as its @return says; and C that holds the functions to it.

    documented.py          lists them
    documented.py wrap     prints wrappers for a link with --wrap=NAME of every function: a status that is not listed,
                           or a hopmla_error that does not say the same, ends the program

What a list may say besides names of statuses: "also" (and those common to all of the header), "the driver's" (the set
of status.h), "as for hopmla_x"."""

import re
import sys

import api

COMMENT = r"/\*\*((?:(?!\*/).)*)\*/"


def names():
    """Status as lists have it -> enumerator."""
    found = [name for name in api.enumerators() if name == "HOPMLA_OK" or name.startswith("HOPMLA_ERROR_")]
    return {re.sub("^HOPMLA_(ERROR_)?", "", name): name for name in found}


def plain(comment):
    return " ".join(re.sub(r"^\s*\*", " ", comment, flags=re.M).split())


def common(text, pattern, known):
    """Statuses of the sentence in a header's file comment that starts so, or None."""
    found = re.search(pattern + r"([^.]*)\.", plain(re.search(COMMENT, text, flags=re.S).group(1)))
    return found and listed(found.group(1), known)


def listed(text, known):
    return {word for word in re.findall(r"\b[A-Z_]+\b", text) if word in known}


def collect():
    """Function -> the statuses that it may return."""
    known = names()
    texts = {path.name: path.read_text(encoding="utf-8") for path in api.headers()}
    drivers = common(texts["status.h"], r"The driver's\"? ", known)
    found = {}
    refers = {}
    for header, text in texts.items():
        shared = common(text, "Statuses common to all: ", known) if header != "status.h" else None
        if shared and "the driver's" in plain(re.search(COMMENT, text, flags=re.S).group(1)):
            shared |= drivers
        declared = COMMENT + r"\s*HOPMLA_API\s+hopmla_status\s+(hopmla_\w+)\s*\("
        for comment, name in re.findall(declared, text, flags=re.S):
            _, tag, returns = plain(comment).partition("@return ")
            if not shared and (not tag or returns.startswith("also ")):
                sys.exit(f"{header}: {name} says nothing of what it returns")
            found[name] = listed(returns, known)
            if not tag or returns.startswith("also "):
                found[name] |= shared
            if "the driver's" in returns:
                found[name] |= drivers
            refers[name] = re.findall(r"\bas for (hopmla_\w+)", returns)
    for name, others in refers.items():
        for other in others:
            found[name] |= found[other]
    for name, prototype in api.functions().items():
        if prototype.startswith("hopmla_status ") and name not in found:
            sys.exit(f"{name} has no comment")
        if name in found and "hopmla_error *error" in prototype:
            found[name].add("STRUCT_SIZE")  # as status.h says for all that take an error
    return found


def wrapper(name, prototype, statuses):
    result, parameters = prototype.split(name, 1)
    arguments = ", ".join(re.findall(r"(\w+)\s*(?=[,)])", parameters)) if parameters != "(void)" else ""
    call = f"__real_{name}({arguments})"
    if name in statuses:
        error = "error" if re.search(r"\berror\b", arguments) and name != "hopmla_error_init" else "NULL"
        allowed = ", ".join(names()[status] for status in sorted(statuses[name]))
        body = (f"    static const hopmla_status allowed[] = {{ {allowed} }};\n"
                f"    return check(\"{name}\", {call}, allowed, sizeof(allowed) / sizeof(allowed[0]), {error});\n")
    else:
        body = f"    {'' if result.strip() == 'void' else 'return '}{call};\n"
    return (f"{result}__real_{name}{parameters};\n{result}__wrap_{name}{parameters};\n"
            f"{result}__wrap_{name}{parameters}\n{{\n{body}}}\n")


CHECK = """
#include <stdio.h>
#include <stdlib.h>

#include "hopmla/hopmla.h"

static hopmla_status check(const char *function, hopmla_status status, const hopmla_status *allowed, size_t count,
                           const hopmla_error *error)
{
    const int usable = error && error->struct_size >= sizeof(*error) && error->struct_size <= 4096;
    size_t i = 0;
    while (i < count && allowed[i] != status) {
        i++;
    }
    if (i == count) {
        fprintf(stderr, "%s returned %s, which its @return does not list\\n", function, hopmla_status_name(status));
        abort();
    }
    if (usable && status && error->status != status) {
        fprintf(stderr, "%s returned %s, but error->status is %d\\n", function, hopmla_status_name(status),
                (int)error->status);
        abort();
    }
    if (usable && status && error->native_code && status != HOPMLA_ERROR_DRIVER &&
        status != HOPMLA_ERROR_DRIVER_STICKY && status != HOPMLA_ERROR_IO) {
        fprintf(stderr, "%s returned %s, but error->native_code is %d\\n", function, hopmla_status_name(status),
                (int)error->native_code);
        abort();
    }
    return status;
}
"""


def main():
    statuses = collect()
    if sys.argv[1:] == ["wrap"]:
        print("/* Made by tests/documented.py. */" + CHECK)
        exported = (api.INCLUDE.parent / "lib/hopmla.map").read_text(encoding="utf-8").split()
        for name, prototype in api.functions().items():
            if name + ";" in exported:  # symbols.py says it where one is missing
                print(wrapper(name, prototype, statuses))
    else:
        for name, allowed in sorted(statuses.items()):
            print(f"{name}: {', '.join(sorted(allowed))}")


main()
