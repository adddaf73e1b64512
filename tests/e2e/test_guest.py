# SPDX-License-Identifier: Apache-2.0
"""The same program, run by the host's Linux and by our kernel, must say and return the same."""
import os
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

GUEST = ROOT / "tests/guest"
# Programs that are servers or need a network of their own are driven by other tests.
PROGRAMS = sorted(p.stem for p in GUEST.glob("*.c") if not p.stem.endswith("_server")
                  and not p.stem.startswith("pvh_"))


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Compile a guest program once: static, as an ordinary user would."""
    folder = tmp_path_factory.mktemp("guest")

    def build(name):
        out = folder / name
        if not out.exists():
            subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra",
                            "-Werror", "-static", "-pthread", str(GUEST / f"{name}.c"), "-o",
                            str(out), "-lm"], check=True, cwd=ROOT)
        return out

    return build


def on_host(program, tmp_path):
    r = subprocess.run([str(program)], capture_output=True, timeout=60, cwd=tmp_path,
                       stdin=subprocess.DEVNULL)
    status = r.returncode if r.returncode >= 0 else 128 - r.returncode
    return status, r.stdout


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_linux(name, cpus, built, tmp_path):
    program = built(name)
    if not (BUILD / "kernel.elf").exists():
        pytest.skip("no kernel.elf in this build")
    status, output = on_host(program, tmp_path)
    r = subprocess.run([str(BUILD / "skerry"), "run", str(program), "-m", "256M",
                        "--smp", str(cpus)],
                       capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    assert r.stdout.decode(errors="replace").splitlines() == \
        output.decode(errors="replace").splitlines(), r.stderr.decode(errors="replace")
    assert r.returncode == status


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go compiler")
def test_goroutines_on_four_cpus(tmp_path):
    """Go's scheduler, collector and network poller, whose threads wander over the CPUs."""
    program = tmp_path / "goroutines"
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=GUEST / "goroutines", check=True,
                   env=dict(os.environ, CGO_ENABLED="0"), timeout=120)
    r = subprocess.run([str(BUILD / "skerry"), "run", str(program), "-m", "256M", "--smp", "4",
                        "-e", "GOMAXPROCS=4", "-a", "3"],
                       capture_output=True, timeout=120, stdin=subprocess.DEVNULL, text=True)
    one = ["locked 64000 atomics 64000 trees 65504", "primes 95", "echoed 1600000"]
    assert r.stdout.splitlines() == ["CPUs in use are all there are: true"] + 3 * one, r.stderr
    assert r.returncode == 0
