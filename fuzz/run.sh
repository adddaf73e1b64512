#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: fuzz/run.sh PROGRAM CORPUS RUNS
# A bounded, seeded libFuzzer run that leaves the corpus as it is.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "TAP version 13"
echo "1..1"
if "$1" -seed=1 -runs="$3" -timeout=10 -artifact_prefix="$scratch/" "$scratch" "$2" \
    2>"$scratch.log"; then
    echo "ok 1 - $3 runs"
else
    tail -n 60 "$scratch.log" | sed 's/^/# /'
    for f in "$scratch"/crash-* "$scratch"/timeout-* "$scratch"/leak-*; do
        [ -f "$f" ] && base64 "$f" | sed 's/^/# input: /'
    done
    echo "not ok 1 - $3 runs"
fi
rm -f "$scratch.log"
