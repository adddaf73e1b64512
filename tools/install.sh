#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install what is missing of tools/packages.txt from Debian, and say what. A section's name
# (build, run, test) as an argument takes that section alone; without one, all are taken.
set -eu
cd "$(dirname "$0")/.."
wanted=$(awk -v want=" ${*:-build run test} " '
    /^# (build|run|test)$/ { on = index(want, " " $2 " ") > 0; next }
    /^#/ || NF == 0 { next }
    on { print $1 }' tools/packages.txt)
missing=
for p in $wanted; do
    case "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" in
    "install ok installed") ;;
    *) missing="$missing $p" ;;
    esac
done
[ -n "$missing" ] || exit 0
echo "installing from Debian:$missing"
root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "install.sh: be root, or install sudo" >&2; exit 1; }
    root=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
{ $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; echo "install.sh: apt-get failed (above)" >&2; exit 1; }
