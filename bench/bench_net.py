#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The TCP stack on the host: goodput on a long path in virtual time, and instructions per request.

Instructions are those of net/ and base/ in one stack, for one keep-alive request in and its
response out with the ACKs that they need, counted by valgrind (where it is installed) as the
difference of two runs; copying by libc, the host's malloc and the simulated wire are left out.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build/dev/bench/net_world"
RUNS = (1000, 3000)


def stack_instructions(requests, folder):
    out = pathlib.Path(folder) / f"callgrind.{requests}"
    subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(PROGRAM),
                    "requests", str(requests)], check=True, capture_output=True)
    text = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", str(out)],
                          check=True, capture_output=True, text=True).stdout
    total = 0
    for line in text.splitlines():
        m = re.match(r"\s*([\d,]+) \([^)]*\)\s+\S*?/(net|base)/(\S+?):", line)
        if m and m.group(3) != "world_host.c":
            total += int(m.group(1).replace(",", ""))
    return total


def main():
    sys.stdout.flush()
    subprocess.run([str(PROGRAM)], check=True)
    if shutil.which("valgrind") is None:
        print("\ninstructions per request: skipped, no valgrind")
        return
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        few, many = (stack_instructions(n, folder) for n in RUNS)
    per_request = (many - few) / (RUNS[1] - RUNS[0]) / 2  # two stacks take part
    print(f"\ninstructions of one stack per keep-alive request and response: {per_request:.0f}")


if __name__ == "__main__":
    main()
