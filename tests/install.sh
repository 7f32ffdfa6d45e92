#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Uses an installed tree as a stranger would: compiles the README's C example through pkg-config, runs it, and runs the
# installed command: install.sh SOURCE PREFIX. Exit status 77 without pkg-config.
set -eu
command -v pkg-config >/dev/null || exit 77
source=$1
prefix=$2

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$prefix" && find . ! -type d | sort)
pc=$(find "$prefix" -name hopmla.pc)
libdir=$(dirname "$(dirname "$pc")")
PKG_CONFIG_PATH=$(dirname "$pc") LD_LIBRARY_PATH=$libdir
export PKG_CONFIG_PATH LD_LIBRARY_PATH

# The example is the first fenced C block with a main.
awk '/^```c$/ { inside = 1; text = ""; next }
     /^```$/ { if (inside && text ~ /main\(/) { printf "%s", text; exit } inside = 0 }
     inside { text = text $0 "\n" }' "$source/README.md" >"$scratch/example.c"
test -s "$scratch/example.c" || { echo "README.md holds no C example"; exit 1; }
# shellcheck disable=SC2046 # a list of flags
${CC:-cc} -std=c11 -Wall -Wextra -Werror "$scratch/example.c" $(pkg-config --cflags --libs hopmla) -o "$scratch/example"
"$scratch/example"

"$prefix/bin/hopmla" info
echo "The library needs:"
ldd "$libdir/libhopmla.so.0"
