# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test may use: the built programs, run with a bound on time."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SKERRY_BUILD", ROOT / "build/dev"))


@pytest.fixture
def skerry():
    """Call the command line: skerry("image", "list") -> CompletedProcess (text)."""

    def call(*words, timeout=120, **kwargs):
        return subprocess.run([str(BUILD / "skerry"), *map(str, words)], capture_output=True,
                              text=True, timeout=timeout, stdin=subprocess.DEVNULL, **kwargs)

    return call
