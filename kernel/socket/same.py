#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: same.py PROGRAM PROGRAM

Both must print the same and return the same (TAP version 13).
"""
import difflib
import subprocess
import sys


def run(program):
    r = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, timeout=100)
    return r.stdout.decode(errors="replace").splitlines(), r.returncode, r.stderr.decode()


def main():
    (want, want_status, _), (got, got_status, complaint) = run(sys.argv[1]), run(sys.argv[2])
    print("TAP version 13\n1..1")
    for line in difflib.unified_diff(want, got, "Linux", "ours", lineterm="", n=1):
        print("#", line)
    for line in complaint.splitlines():
        print("#", line)
    good = want == got and want_status == got_status and len(want) > 0
    print(f"{'ok' if good else 'not ok'} 1 - {len(want)} lines as Linux, status {got_status}")
    return 0 if good else 1


sys.exit(main())
