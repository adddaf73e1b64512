# SPDX-License-Identifier: Apache-2.0
"""Only what the image holds is executed, unless RunConfig says otherwise."""
import json
import subprocess

import pytest

from conftest import BUILD, ROOT

RULE = """\
own program: ran
copy in /tmp: EACCES
copy on the root: EACCES
file of memory: EACCES
map the program: mapped
map a copy: EACCES
map a copy, later: mapped, then EACCES
write to the program: ETXTBSY
truncate the program: ETXTBSY
remove the program: ok
write to data: ok
map what was written: EACCES
map other data: mapped, then changed
write to what was mapped: ETXTBSY
"""
NO_RULE = """\
own program: ran
copy in /tmp: ran
copy on the root: ran
file of memory: ran
map the program: mapped
map a copy: mapped
map a copy, later: mapped, then changed
write to the program: ok
truncate the program: ok
remove the program: ok
write to data: ok
map what was written: mapped
map other data: mapped, then changed
write to what was mapped: ok
"""
ANONYMOUS = "anonymous: mapped\nanonymous, later: ok\nwritten private, later: ok\n"
NO_ANONYMOUS = "anonymous: EACCES\nanonymous, later: EACCES\nwritten private, later: EACCES\n"


@pytest.mark.parametrize("run, want", [
    ({}, RULE + ANONYMOUS),
    ({"DenyAnonymousExec": True}, RULE + NO_ANONYMOUS),
    ({"AllowWrittenExec": True}, NO_RULE + ANONYMOUS),
], ids=["default", "strict", "off"])
def test_exec_rule(run, want, tmp_path):
    program = tmp_path / "exec_rule"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror",
                    "-static", str(ROOT / "tests/guest/kernel/exec_rule.c"), "-o", str(program)],
                   check=True)
    if not (BUILD / "kernel.elf").exists():
        pytest.skip("no kernel.elf in this build")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"Program": str(program), "RunConfig": run}))
    r = subprocess.run([str(BUILD / "skerry"), "run", "-c", str(config)], capture_output=True,
                       timeout=60, stdin=subprocess.DEVNULL, text=True)
    assert r.stdout.replace("\r", "") == want
    assert r.returncode == 0
