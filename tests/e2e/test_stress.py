# SPDX-License-Identifier: Apache-2.0
"""stress-ng's stressors check themselves in a guest; `make soak` runs each for a minute."""
import shutil

import pytest

from conftest import BUILD

STRESSORS = {"vm": ("--vm-bytes", "32M"), "futex": (), "sigq": (), "timer": (), "pipe": (),
             "epoll": (), "hdd": ("--hdd-bytes", "8M")}

pytestmark = [
    pytest.mark.skipif(not (BUILD / "kernel.elf").exists(), reason="no kernel.elf in this build"),
    pytest.mark.skipif(shutil.which("stress-ng") is None, reason="stress-ng is not installed"),
]


@pytest.mark.parametrize("name", STRESSORS)
def test_stress(skerry, name, tmp_path, monkeypatch):
    monkeypatch.setenv("SKERRY_STORE", str(tmp_path))
    words = [f"--{name}", "1", *STRESSORS[name], "--verify", "-t", "1", "--temp-path", "/tmp"]
    r = skerry("run", shutil.which("stress-ng"), "-m", "512M",
               *[w for word in words for w in ("-a", word)])
    assert r.returncode == 0, r.stdout + r.stderr
    assert "successful run completed" in r.stdout + r.stderr
