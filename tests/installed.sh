#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs a built tree into a scratch folder and runs a command with that prefix as its last argument:
# installed.sh BUILD COMMAND…
set -eu
build=$1
shift

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
meson install -C "$build" --no-rebuild --quiet --destdir "$scratch"
"$@" "$(dirname "$(find "$scratch" -type d -name include)")"
