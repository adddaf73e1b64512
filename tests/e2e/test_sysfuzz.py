# SPDX-License-Identifier: Apache-2.0
"""Random system calls from many threads and processes, seeded: the kernel outlives them all.

SKERRY_SYSFUZZ_SECONDS makes each run longer (tools/soak.py)."""
import os
import subprocess

import pytest

from conftest import BUILD, ROOT

SECONDS = int(os.environ.get("SKERRY_SYSFUZZ_SECONDS", 7))
FIRST_SEED = int(os.environ.get("SKERRY_SYSFUZZ_SEED", 1))

pytestmark = pytest.mark.skipif(not (BUILD / "kernel.elf").exists(), reason="no kernel.elf")


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    out = tmp_path_factory.mktemp("sysfuzz") / "sysfuzz"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-static", "-pthread", "-o", out,
                    ROOT / "tests/guest/kernel/sysfuzz.c"], check=True)
    return out


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 4))
def test_sysfuzz(skerry, fuzzer, seed, cpus):
    """A failure is repeated by: skerry run sysfuzz --smp CPUS -a SEED -a 1 -a ROUND."""
    r = skerry("run", fuzzer, "-m", "128M", "--smp", cpus, "-a", seed, "-a", SECONDS,
               timeout=SECONDS + 90, errors="replace")  # what a program prints is any bytes
    assert r.returncode == 0 and r.stdout.endswith("alive\n"), \
        f"{r.returncode}: {r.stdout[-1500:]} {r.stderr[-1500:]}"
    assert r.stdout.count("round ") > 2
