#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# A busybox shell: pipes, sub-shells, here-documents, jobs, traps, exit statuses.
set -eu
seq 1 100 | grep 7 | wc -l
(cd /tmp && pwd; exit 3) || echo "sub-shell: $?"
total=0
for i in 1 2 3 4 5; do total=$((total + i)); done
echo "total $total $(echo nested | tr a-z A-Z)"
cat <<EOF | sort -r | head -n 2
b
c
a
EOF
sleep 0.01 &
wait $!
echo "waited: $?"
sh -c 'trap "echo got TERM; exit 4" TERM; kill -TERM $$; sleep 5' || echo "trapped: $?"
sh -c 'kill -KILL $$' || echo "killed: $?"
dir=$(mktemp -d /tmp/sh.XXXXXX)
for n in x y z; do echo "$n" >"$dir/$n"; done
find "$dir" -type f | sort | xargs cat | md5sum
rm -r "$dir"
false || exit 10
