#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/syscalls.md from the tables of system calls (kernel/linux/table_*.h) and Linux 6.1's list.

usage: tools/gen/syscalls.py [--check]   writes it; with --check exits 1 if it is not up to date.

A row behind a comment line `// partial: what is missing` is partial, any other row is done.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/syscalls.md"
ROW = re.compile(r"^X\((\d+), (\w+)[^)]*\)")
NOTE = "// partial: "

HEAD = """# System calls

Made by `tools/gen/syscalls.py` from `kernel/linux/table_*.h`; the model is Linux 6.1 on x86-64.
**done**: as Linux does, errors included. **partial**: what is missing answers Linux's error for it,
and is named. All others are absent and answer ENOSYS.

"""


def rows():
    table = {}
    for path in sorted((ROOT / "kernel/linux").glob("table_*.h")):
        note = ""
        for line in path.read_text().splitlines():
            if line.startswith(NOTE):
                note = line.removeprefix(NOTE)
                continue
            m = ROW.match(line)
            if m:
                table[int(m[1])] = (m[2], note)
            elif line.startswith("X("):
                sys.exit(f"{path.name}: cannot read: {line}")
            note = ""
    return table


def page():
    linux = [line.split() for line in
             (ROOT / "tools/gen/linux_6.1_x86_64.txt").read_text().splitlines()]
    ours = rows()
    unknown = [name for nr, (name, _) in ours.items() if [str(nr), name] not in linux]
    if unknown:
        sys.exit(f"not in Linux 6.1's list: {unknown}")
    partial = sum(1 for _, note in ours.values() if note)
    text = HEAD + (f"{len(ours) - partial} done, {partial} partial, "
                   f"{len(linux) - len(ours)} absent, of {len(linux)}.\n\n"
                   "| nr | name | state | missing |\n|---|---|---|---|\n")
    for nr, name in linux:
        note = ours.get(int(nr), (name, ""))[1]
        state = "absent" if int(nr) not in ours else "partial" if note else "done"
        text += f"| {nr} | {name} | {state} | {note} |\n"
    return text


def main():
    text = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != text:
            print("docs/syscalls.md is not up to date: run tools/gen/syscalls.py")
            return 1
        return 0
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
