#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that no compiler checks: layers, line width, banned calls, licence lines.

usage: tools/tidy.py [--tap]   prints one line a breach; exit status 1 if there is one.
"""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH = 100
# What a freestanding compiler provides itself (C17 4p6).
FREESTANDING = {"stddef.h", "stdint.h", "stdbool.h", "stdarg.h", "stdalign.h", "stdatomic.h",
                "limits.h", "stdnoreturn.h", "float.h", "cpuid.h"}
BANNED = {
    "strcpy": "copy with a length", "strcat": "format with a length", "sprintf": "use snprintf",
    "vsprintf": "use vsnprintf", "gets": "no bound", "strncpy": "may leave no NUL",
    "atoi": "use strtol and check", "atol": "use strtol and check", "alloca": "no bound",
    "system": "use host/proc.h", "popen": "use host/proc.h", "tmpnam": "use mkstemp",
    "strtok": "not re-entrant", "usleep": "wait for an event", "sleep": "wait for an event",
}
BANNED_RE = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
INCLUDE_RE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CODE = {".c", ".h", ".S", ".py", ".sh", ".ld"}
CODE_NAMES = {"meson.build", "Makefile", "demo", "check"}


def layers():
    table = {}
    for line in (ROOT / "tools/layers.txt").read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            table[words[0]] = (words[1], set(words[2:]) | {words[0]})
    return table


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                         capture_output=True, text=True).stdout
    return [pathlib.Path(p) for p in out.splitlines() if (ROOT / p).is_file()]


def hosted(path, kind):
    """A file that is compiled for the host only, whatever its folder."""
    return kind == "H" or path.stem.endswith(("_test", "_host", "_sim")) or path.name == "test.h"


def check_includes(path, lines, table):
    folder = path.parts[0]
    if folder not in table or (folder == "tests" and "guest" in path.parts):
        return
    kind, allowed = table[folder]
    for n, line in enumerate(lines, 1):
        m = INCLUDE_RE.match(line)
        if not m:
            continue
        bracket, name = m.groups()
        if bracket == "<":
            if not hosted(path, kind) and name not in FREESTANDING:
                yield n, f"freestanding code includes <{name}>"
        elif "/" in name and name.split("/")[0] in table:
            if name.split("/")[0] not in allowed:
                yield n, f"layer breach: {folder}/ may not include {name}"


def check_text(path, lines):
    text_c = path.suffix in {".c", ".h"}
    for n, line in enumerate(lines, 1):
        if path.suffix in CODE and len(line) > WIDTH:
            yield n, f"line of {len(line)} columns, {WIDTH} allowed"
        if line != line.rstrip() and path.suffix in CODE:
            yield n, "white space at the end of the line"
        code = line.split("//")[0]
        if text_c and "tests/guest" not in str(path) and not code.lstrip().startswith("*"):
            m = BANNED_RE.search(re.sub(r'"(\\.|[^"\\])*"', '""', code))
            if m:
                yield n, f"banned call {m.group(1)}(): {BANNED[m.group(1)]}"


def check_licence(path, lines):
    if path.suffix not in CODE and path.name not in CODE_NAMES:
        return
    if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:3]):
        yield 1, "no SPDX line"


def check_manuals():
    """mandoc's own judgement of the manual pages, where mandoc is installed."""
    pages = sorted(str(p) for p in (ROOT / "docs/man").glob("*.[0-9]"))
    if shutil.which("mandoc") and pages:
        out = subprocess.run(["mandoc", "-Tlint", "-W", "warning", *pages], cwd=ROOT, check=False,
                             capture_output=True, text=True).stdout
        yield from out.splitlines()


def main():
    table = layers()
    breaches = list(check_manuals())
    files = tracked()
    for path in files:
        if path.suffix not in CODE and path.name not in CODE_NAMES:
            continue
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        for check in (check_includes(path, lines, table), check_text(path, lines),
                      check_licence(path, lines)):
            breaches += [f"{path}:{n}: {what}" for n, what in check]
    if "--tap" in sys.argv:
        print("TAP version 13\n1..1")
        for b in breaches:
            print("#", b)
        print("not ok 1 - tidy" if breaches else f"ok 1 - tidy ({len(files)} files)")
    else:
        print("\n".join(breaches) if breaches else f"tidy: {len(files)} files, no breach")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
