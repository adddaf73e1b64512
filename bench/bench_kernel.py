#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Guest figures: instructions to the first response, per request and idle; sizes; memory.

The peers' columns were measured on one machine with the same Go program (docs/performance.md).
"""
import os
import pathlib
import subprocess
import tempfile
import time

import lib


def kernel_bytes(work):
    out = work / "stripped"
    lib.run("strip", "-o", out, lib.BUILD / "kernel.elf")
    return out.stat().st_size


def build_go(work):
    out = work / "hello"
    lib.run("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, ".",
            cwd=lib.ROOT / "examples/region", env=dict(os.environ, CGO_ENABLED="0"))
    return out


def image_of(store, name, program):
    """Create an image in a private store: (path, seconds)."""
    env = dict(os.environ, SKERRY_STORE=str(store))
    start = time.monotonic()
    lib.run(lib.SKERRY, "image", "create", name, program, env=env)
    seconds = time.monotonic() - start
    return max(store.rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0), seconds


def smallest_memory(image, tap, port):
    """Smallest memory (MiB) that serves, by trying downwards."""
    best = None
    for mib in (64, 48, 32, 24, 20, 16, 14, 12, 10, 8, 6, 5, 4):
        try:
            with lib.Guest(image, memory=f"{mib}M", tap=tap, count=False) as g:
                g.first_response(port)
                best = mib
        except RuntimeError:
            break
    return best


def main():
    tap = lib.private_network()
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as d:
        work = pathlib.Path(d)
        program = build_go(work)
        image, seconds = image_of(work / "store", "bench", program)
        rows = [
            ("kernel, stripped, KB", f"{kernel_bytes(work) / 1000:.0f}", "1,740", "14,200"),
            ("image over program, KB",
             f"{(image.stat().st_size - program.stat().st_size) / 1000:.0f}", "15,000", ""),
            ("image create, ms", f"{seconds * 1000:.0f}", "", ""),
        ]
        with lib.Guest(image, memory="512M", tap=tap) as g:
            wall = g.first_response(8080)
            kernel, user = g.counts()
            rows += [
                ("instructions to first response, M (kernel + program)",
                 f"{(kernel + user) / 1e6:.1f} ({kernel / 1e6:.1f} + {user / 1e6:.1f})", "42",
                 "1,575"),
                ("wall to first response under icount, ms", f"{wall * 1000:.0f}", "", ""),
                ("QEMU process memory, -m 512M, MB", f"{g.resident_bytes() / 1e6:.0f}", "148",
                 "254"),
                ("kernel instructions per idle second", f"{lib.idle_rate(g)[0]:,.0f}", "30,000",
                 "440,000"),
            ]
            for connections, nanos, linux in ((16, "27.0 k", "33.0 k"), (1, "", "")):
                k, u = lib.per_request(g, 8080, connections)
                rows.append((f"per keep-alive request, Go, {connections} connections: kernel "
                             "(program)", f"{k / 1000:.1f} k ({u / 1000:.1f} k)", nanos, linux))
        rows.append(("smallest memory that serves the Go program, MB",
                     smallest_memory(image, tap, 8080), "24", ""))
        lib.table("Guest, Go web server, microvm under TCG",
                  ["", "skerry", "Nanos", "Linux 6.1 guest"], rows)


if __name__ == "__main__":
    main()
