# SPDX-License-Identifier: Apache-2.0
"""Programs of many processes: a shell's pipes, jobs and sub-shells; what they leave behind."""
import json
import pathlib
import subprocess

import pytest

from conftest import BUILD, ROOT

BUSYBOX = pathlib.Path("/bin/busybox")
SCRIPT = """
b=/bin/busybox
$b seq 1 5000 | $b sort -rn | $b head -3
(for i in 1 2 3 4; do ($b sleep 0.$i; echo $i) & done; wait) | $b sort
$b seq 1 100 | $b xargs -n 10 $b echo | $b wc -l
x=$($b seq 1 50 | while read a; do echo $a; done | $b wc -l); echo $x
$b sh -c 'kill -9 $$'; echo $?
$b sh -c 'exit 7' || echo $?
trap 'echo trapped' USR1; kill -USR1 $$
$b yes | $b head -1
cat <<end
$(echo nested $(echo deeper))
end
exec $b echo bye
"""


def skerry(*words):
    return subprocess.run([str(BUILD / "skerry"), "run", *words], capture_output=True, timeout=100,
                          stdin=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize("cpus", ["1", "4"])
def test_shell(cpus, tmp_path):
    if not BUSYBOX.exists() or not (BUILD / "kernel.elf").exists():
        pytest.skip("no busybox, or no kernel.elf in this build")
    config = tmp_path / "config.json"
    script = SCRIPT.replace("cat <<", "$b cat <<")
    config.write_text(json.dumps({"Program": str(BUSYBOX), "Args": ["sh", "-c", script],
                                  "Files": [str(BUSYBOX)]}))
    want = subprocess.run([str(BUSYBOX), "sh", "-c", script], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)
    r = skerry("-c", str(config), "--cpus", cpus)
    assert r.stdout.replace("\r", "").replace("Killed\n", "") == want.stdout
    assert r.returncode == want.returncode


@pytest.mark.parametrize("cpus", ["1", "4"])
def test_families(cpus, tmp_path):
    program = tmp_path / "families"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror",
                    "-static", "-pthread", str(ROOT / "tests/guest/kernel/families.c"), "-o",
                    str(program)], check=True)
    if not (BUILD / "kernel.elf").exists():
        pytest.skip("no kernel.elf in this build")
    r = skerry(program, "-m", "64M", "--cpus", cpus)
    lines = r.stdout.replace("\r", "").splitlines()
    assert [line for line in lines if not line.startswith("skerry: ")] == [
        "nothing lost: yes", "killed by: 9", "killed by: 9", "nothing lost: yes"]
    assert sum("out of memory: a process of the program holds" in line for line in lines) == 2
    assert r.returncode == 0
