#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Images: how fast they are made, beside mkfs.erofs on the same files; what they add to a program;
and what QEMU holds while one runs.

mkfs.erofs and skerry take turns in one run, with the files in the page cache; the figure is the
median of their ratios, so that a busy machine slows both. skerry also hashes what it writes and
waits until the disk has it; mkfs.erofs does neither, and so once more with a sync behind it.
"""
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import lib

ROUNDS = 7
FILES, BYTES = 5000, 200 * 1000 * 1000
GO_BYTES = 10 * 1000 * 1000
HELLO_GO = """package main
import (_ "embed"; "fmt"; "os"; "time")
//go:embed filler
var filler string
func main() {
    fmt.Println("hello", len(filler))
    if len(os.Args) > 1 { time.Sleep(time.Hour) }
}
"""


def build_go(work, filler_bytes):
    """A Go program with so much in it: its path."""
    folder = work / f"go{filler_bytes}"
    folder.mkdir()
    (folder / "main.go").write_text(HELLO_GO)
    (folder / "filler").write_bytes(random.Random(1).randbytes(filler_bytes))
    (folder / "go.mod").write_text("module hello\n\ngo 1.16\n")
    lib.run("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "hello", ".",
            cwd=folder, env=dict(os.environ, CGO_ENABLED="0"))
    return folder / "hello"


def make_tree(folder):
    """FILES files of random contents, their sizes spread as those of real trees are."""
    rng = random.Random(2)
    sizes = [rng.expovariate(1) for _ in range(FILES)]
    scale = BYTES / sum(sizes)
    for i, size in enumerate(sizes):
        path = folder / f"{i // 500:02}" / f"{i // 50 % 10}" / f"file-{i:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(int(size * scale)))


def timed(work, *words):
    """Milliseconds of a command that writes to work/out or to the store. What the one before wrote
    is gone, also from memory: each gets its pages from the same free ones."""
    shutil.rmtree(work / "store", ignore_errors=True)
    (work / "out").unlink(missing_ok=True)
    os.sync()
    start = time.monotonic()
    lib.run(*words, env=dict(os.environ, SKERRY_STORE=str(work / "store")))
    return (time.monotonic() - start) * 1000


def create(work, *words):
    """Make an image in a fresh store: (milliseconds, its path)."""
    ms = timed(work, lib.SKERRY, "image", "create", "bench", *words)
    return ms, next((work / "store/images").iterdir())


def mkfs(work, tree, *, sync):
    command = 'mkfs.erofs -T0 "$0" "$1"' + (' && sync "$0"' if sync else "")
    return timed(work, "sh", "-c", command, work / "out", tree)


def qemu_kilobytes(program):
    """What a QEMU of 256 MiB holds once the program has printed: (Pss, Rss)."""
    p = subprocess.Popen([str(lib.SKERRY), "run", str(program), "-m", "256M", "-a", "wait",
                          "--accel", "tcg"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        p.stdout.readline()
        children = pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()
        text = pathlib.Path(f"/proc/{children[0]}/smaps_rollup").read_text()
        return [int(re.search(rf"^{key}: +(\d+)", text, re.M).group(1)) for key in ("Pss", "Rss")]
    finally:
        p.kill()
        p.wait()


def main():
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as d:
        work = pathlib.Path(d)
        hello = build_go(work, 1)
        large = build_go(work, GO_BYTES - hello.stat().st_size)
        tree = work / "tree"
        make_tree(tree)
        config = work / "config.json"
        config.write_text('{"Dirs": ["tree"]}')
        go_ms, ours_ms, plain, synced = [], [], [], []
        for _ in range(ROUNDS):
            ms, image = create(work, large)
            go_ms.append(ms)
            added = image.stat().st_size - large.stat().st_size
            lib.run("fsck.erofs", image)
            fast, slow = mkfs(work, tree, sync=False), mkfs(work, tree, sync=True)
            ms, image = create(work, hello, "-c", config)
            ours_ms.append(ms)
            plain.append(ms / fast)
            synced.append(ms / slow)
        lib.run("fsck.erofs", image)
        pss, rss = qemu_kilobytes(hello)
        median = statistics.median
        lib.table("Images", ["", "skerry", "wanted"], [
            (f"create, Go program of {large.stat().st_size / 1e6:.1f} MB, ms",
             f"{median(go_ms):.0f}", "<= 60"),
            (f"create, {BYTES // 1000000} MB in {FILES} files, ms", f"{median(ours_ms):.0f}", ""),
            ("    by mkfs.erofs's time", f"{median(plain):.2f}", "<= 0.70"),
            ("    by that of mkfs.erofs and sync", f"{median(synced):.2f}", ""),
            ("image over the program, KB", f"{added / 1024:.1f}", "<= 64"),
            ("QEMU process memory, Go hello, -m 256M, MB (PSS)", f"{pss / 1024:.0f}", "<= 60"),
            ("    (RSS)", f"{rss / 1024:.0f}", ""),
        ])


if __name__ == "__main__":
    main()
