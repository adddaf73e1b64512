#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Long seeded simulations and fuzzing; ./check runs a short share of the same.

usage: tools/soak.py [SECONDS]    about so long for each simulation and fuzzer (default 300)

Simulations are the programs build/dev/**/*_sim: they take a number of worlds and a first seed.
"""
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORLDS_A_STEP = 500


def simulations(seconds):
    failed = 0
    for program in sorted((ROOT / "build/dev").rglob("*_sim")):
        if not program.is_file():
            continue
        start, worlds = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            r = subprocess.run([str(program), str(WORLDS_A_STEP), str(worlds)], check=False,
                               capture_output=True, text=True)
            worlds += WORLDS_A_STEP
            if r.returncode != 0:
                print(r.stdout[-4000:], r.stderr[-4000:])
                failed += 1
                break
        print(f"{program.name}: {worlds} worlds", flush=True)
    return failed


def fuzzers(seconds):
    subprocess.run(["make", "-s", "fuzz"], cwd=ROOT, check=True)
    failed = 0
    for program in sorted((ROOT / "build/fuzz/fuzz").glob("fuzz_*")):
        if not program.is_file() or program.suffix:
            continue
        corpus = ROOT / "fuzz/corpus" / program.name[len("fuzz_"):]
        with tempfile.TemporaryDirectory() as scratch:
            r = subprocess.run([str(program), f"-max_total_time={seconds}", "-timeout=10",
                                f"-artifact_prefix={scratch}/", scratch, str(corpus)], check=False,
                               capture_output=True, text=True)
        print(f"{program.name}: {'ok' if r.returncode == 0 else 'FAILED'}", flush=True)
        if r.returncode != 0:
            print(r.stderr[-6000:])
            failed += 1
    return failed


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    failed = simulations(seconds) + fuzzers(seconds)
    print(f"soak: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
