#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Long seeded simulations and fuzzing; ./check runs a short share of the same.

usage: tools/soak.py [SECONDS]    about so long for each simulation and fuzzer (default 300)

Simulations are the programs build/dev/**/*_sim: they take a number of worlds and a first seed. The
system-call fuzzer shares twice the time between one and four CPUs; stress-ng, where it is
installed, checks itself for at most a minute a stressor.
"""
import os
import pathlib
import shutil
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


def system_calls(seconds):
    """tests/e2e/test_sysfuzz.py with new seeds: eight runs in all."""
    env = dict(os.environ, SKERRY_SYSFUZZ_SECONDS=str(max(1, seconds * 2 // 8)),
               SKERRY_SYSFUZZ_SEED=str(int(time.time())))
    r = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                        "tests/e2e/test_sysfuzz.py"], cwd=ROOT, env=env, check=False)
    return int(r.returncode != 0)


STRESSORS = {"vm": ["--vm-bytes", "64M"], "futex": [], "sigq": [], "timer": [], "pipe": [],
             "epoll": [], "hdd": ["--hdd-bytes", "16M"], "mmap": ["--mmap-bytes", "16M"]}


def stressors(seconds):
    program = shutil.which("stress-ng")
    if program is None:
        print("stress-ng is not installed: skipped")
        return 0
    failed = 0
    seconds = min(seconds, 60)
    for name, options in STRESSORS.items():
        words = [f"--{name}", "1", *options, "--verify", "-t", str(seconds), "--temp-path", "/tmp"]
        args = [w for word in words for w in ("-a", word)]
        r = subprocess.run(["timeout", str(seconds + 60), ROOT / "build/dev/skerry", "run", program,
                            "-m", "512M", *args], check=False, capture_output=True, text=True)
        print(f"stress-ng {name}: {'ok' if r.returncode == 0 else 'FAILED'}", flush=True)
        if r.returncode != 0:
            print(r.stdout[-2000:], r.stderr[-2000:])
            failed += 1
    return failed


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    failed = simulations(seconds) + system_calls(seconds) + stressors(seconds) + fuzzers(seconds)
    print(f"soak: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
