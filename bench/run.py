#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run the benches one after the other and print their tables. They measure; they do not judge.

usage: bench/run.py [NAME ...]    default: all bench/bench_*.py
"""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    names = sys.argv[1:] or sorted(p.stem[len("bench_"):] for p in HERE.glob("bench_*.py"))
    failed = 0
    for name in names:
        r = subprocess.run(["/usr/bin/python3", str(HERE / f"bench_{name}.py")], check=False)
        if r.returncode != 0:
            print(f"bench {name} failed", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
