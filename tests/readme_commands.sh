#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the README's commands in a fresh copy of the tree, as a stranger would type them: every fenced sh block, in
# order, in one shell that stops at the first failure: readme_commands.sh SOURCE
#
# The copy stands for what `git clone` and `cd` give. `./dev test` would run this test again: it is only looked for.
# Exit status 77 without git.
set -eu
command -v git >/dev/null || exit 77
source=$1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/copy"
cd "$source"
git ls-files -z -co --exclude-standard | tar --create --null --files-from=- | tar --extract --directory "$scratch/copy"
# The CUDA compiler, once fetched, is not fetched again.
[ ! -d .cuda ] || ln -s "$source/.cuda" "$scratch/copy/.cuda"

cd "$scratch/copy"
awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' README.md |
    sed -e 's/^git clone .*/: the copy/' -e 's/^cd .*/: is here/' \
        -e "s|^\./dev test\$|./dev help \| grep '^  test '|" >"$scratch/commands"
grep -q '^\./dev demo' "$scratch/commands" || { echo "README.md: no sh block has ./dev demo"; exit 1; }

HOPMLA_IN_TEST=1 sh -eux "$scratch/commands"
