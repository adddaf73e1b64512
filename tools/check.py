#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run every test there is, show progress, end with one line: N passed, N failed, N skipped.

usage: tools/check.py [PHASE ...]    phases: tidy unit asan tsan fuzz e2e (default: all)
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent
PHASE_SECONDS_MAX = 1500
TAP_RE = re.compile(r"^\s*(not ok|ok)\b(.*)$", re.M)


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def tap(self, text, where):
        """Count the lines of a TAP stream; 0 counted lines is a failure of the whole."""
        n = 0
        for verdict, rest in TAP_RE.findall(text):
            n += 1
            if verdict == "not ok":
                self.failed += 1
                print(f"FAILED {where}:{rest}")
            elif "# SKIP" in rest:
                self.skipped += 1
                print(f"skipped {where}:{rest}")
            else:
                self.passed += 1
        return n


def run(words, **kwargs):
    return subprocess.run(words, cwd=ROOT, timeout=PHASE_SECONDS_MAX, **kwargs)


def meson_tests(tally, build, suite):
    """Run a suite of a build tree; its cases are counted from each program's TAP output."""
    if run(["ninja", "-C", build], stdout=subprocess.DEVNULL).returncode != 0:
        run(["ninja", "-C", build])
        tally.failed += 1
        return
    log = ROOT / build / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    run(["meson", "test", "-C", build, "--no-rebuild", "--suite", suite],
        stdout=subprocess.DEVNULL)
    for line in log.read_text().splitlines() if log.exists() else []:
        t = json.loads(line)
        counted = tally.tap(t.get("stdout", ""), t["name"])
        bad = t["result"] not in ("OK", "SKIP")
        if bad:
            print(f"--- {t['name']}: {t['result']}\n{t.get('stdout', '')[-4000:]}"
                  f"{t.get('stderr', '')[-4000:]}")
        if counted == 0:
            tally.failed += bad
            tally.passed += not bad


def phase_tidy(tally):
    out = run(["tools/tidy.py", "--tap"], capture_output=True, text=True).stdout
    print(out, end="")
    tally.tap(out, "tidy")
    stale = run(["tools/gen/syscalls.py", "--check"]).returncode != 0
    tally.failed += stale
    tally.passed += not stale


def phase_unit(tally):
    meson_tests(tally, "build/dev", "unit")


def tree_phase(name, suite):
    """The tests of a build tree of its own (sanitizers, fuzzers)."""

    def phase(tally):
        run(["make", "-s", f"build/{name}/build.ninja"], stdout=subprocess.DEVNULL)
        meson_tests(tally, f"build/{name}", suite)

    return phase


def phase_e2e(tally):
    report = ROOT / "build/e2e.xml"
    report.unlink(missing_ok=True)
    env = dict(os.environ, SKERRY_BUILD=str(ROOT / "build/dev"), PYTHONDONTWRITEBYTECODE="1")
    run(["/usr/bin/python3", "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "tests/e2e",
         f"--junitxml={report}"], env=env)
    if not report.exists():
        print("FAILED e2e: pytest left no report")
        tally.failed += 1
        return
    for suite in xml.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        tally.failed += bad
        tally.skipped += int(suite.get("skipped"))
        tally.passed += int(suite.get("tests")) - bad - int(suite.get("skipped"))


PHASES = {"tidy": phase_tidy, "unit": phase_unit, "asan": tree_phase("asan", "unit"),
          "tsan": tree_phase("tsan", "unit"), "fuzz": tree_phase("fuzz", "fuzz"),
          "e2e": phase_e2e}


def main():
    tally = Tally()
    for name in sys.argv[1:] or PHASES:
        start = time.monotonic()
        print(f"== {name}", flush=True)
        PHASES[name](tally)
        print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
