# SPDX-License-Identifier: Apache-2.0
"""Files and memory: what a small machine does with files larger than it."""
import json
import random
import subprocess

import pytest

from conftest import BUILD, ROOT

pytestmark = pytest.mark.skipif(not (BUILD / "kernel.elf").exists(),
                                reason="no kernel.elf in this build")
PAGE = 4096


def test_file_larger_than_memory(tmp_path):
    program = tmp_path / "fs_pressure"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-static",
                    str(ROOT / "tests/guest/kernel/fs_pressure.c"), "-o", str(program)], check=True)
    (tmp_path / "data").mkdir()
    data = random.Random(1).randbytes(40_000_000)
    (tmp_path / "data/big").write_bytes(data)
    (tmp_path / "config.json").write_text(json.dumps({"MapDirs": {"data/*": "/data"}}))
    r = subprocess.run([str(BUILD / "skerry"), "run", str(program), "-m", "24M", "-c",
                        "config.json"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                       stdin=subprocess.DEVNULL)
    total = sum(data[::PAGE])
    assert r.stdout.splitlines() == [
        f"read {total}", f"mapped {total}", f"mapped {total}", "full ENOSPC, much", "wrong 0",
        f"read {total}", "room again 65536"], r.stderr
    assert r.returncode == 0
