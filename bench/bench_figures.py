#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The kernel's own figures: size, hot paths, start, memory; each beside the most it may be and,
where it was measured on one machine, beside other systems (docs/performance.md)."""
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import lib
from bench_kernel import image_of, kernel_bytes

GO = """package main
import ("fmt"; "os"; "time")
func main() {
    fmt.Println("hello")
    if len(os.Args) > 1 { time.Sleep(time.Hour) }
}
"""
STARTS = 15
FLOOR = lib.BUILD / "tests/guest/pvh_hello.elf"
RAM_MIB = (32, 24, 20, 16, 14, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)


def programs(work):
    """Images of the C program and of the Go hello."""
    c, go = work / "loops", work / "gohello"
    lib.run("gcc", "-D_GNU_SOURCE", "-O2", "-static", "-pthread", "-o", c,
            lib.ROOT / "bench/loops.c")
    (work / "main.go").write_text(GO)
    lib.run("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", go, work / "main.go",
            env=dict(os.environ, CGO_ENABLED="0", GO111MODULE="off"))
    return image_of(work / "c", "c", c)[0], image_of(work / "go", "go", go)[0]


def words(*args):
    """Command line. skerry run gives the TSC's frequency; it is 1 GHz where instructions count."""
    return ["skerry.tsc_khz=1000000", *(f"skerry.arg={a}" for a in args)]


def to_exit(image, *args, memory="256M"):
    """(kernel, program) instructions from the first one to the program's end."""
    with lib.Guest(image, memory=memory, sleep=False, append=words(*args)) as g:
        counts = g.counts
        end = g.wait_exit()
        if end != "exit 0":
            raise RuntimeError(f"{args}: {end}")
        return counts()


def each(image, what, few, many):
    """Kernel instructions of one round; median of three, for addresses differ at each start."""
    return statistics.median(to_exit(image, what, many)[0] - to_exit(image, what, few)[0]
                             for _ in range(3)) / (many - few)


def wait_output(guest):
    deadline = time.monotonic() + lib.WAIT_SECONDS_MAX
    while "hello" not in guest.console():
        guest.check(deadline)


def idle(image):
    with lib.Guest(image, memory="256M", append=words("sleep")) as g:
        wait_output(g)
        g.counts()
        time.sleep(1)
        return lib.idle_rate(g)[0]


def resident(image):
    with lib.Guest(image, memory="256M", append=["skerry.arg=sleep"], count=False) as g:
        wait_output(g)
        time.sleep(0.5)
        return g.resident_bytes()


def smallest_memory(image):
    best = None
    for mib in RAM_MIB:
        try:
            with lib.Guest(image, memory=f"{mib}M", count=False) as g:
                if g.wait_exit() != "exit 0":
                    break
                best = mib
        except subprocess.TimeoutExpired:
            break
    return best


def first_output(image=None, kernel=None):
    """Seconds from QEMU's start to the first line on its console."""
    line = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-cpu",
            "max", "-m", "64M", "-accel", "tcg", "-no-reboot", "-M",
            "microvm,acpi=off,pit=off,pic=off,rtc=off,auto-kernel-cmdline=on,isa-serial=on",
            "-global", "virtio-mmio.force-legacy=false", "-serial", "stdio",
            "-chardev", "null,id=status", "-device", "isa-debugcon,iobase=0xe9,chardev=status",
            "-device", "isa-debug-exit,iobase=0x501,iosize=1",
            "-kernel", str(kernel or lib.BUILD / "kernel.elf")]
    if image:
        line += ["-drive", f"if=none,id=root,format=raw,readonly=on,file={image}",
                 "-device", "virtio-blk-device,drive=root"]
    start = time.monotonic()
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as p:
        told = p.stdout.readline()
        seconds = time.monotonic() - start
        p.kill()
    if b"hello" not in told:
        raise RuntimeError(f"instead of hello: {told!r}")
    return seconds


def starts(image):
    """Medians of the kernel's time to first output and of the least kernel's, taken in turn."""
    ours, floor = [], []
    for _ in range(STARTS):
        ours.append(first_output(image))
        floor.append(first_output(kernel=FLOOR))
    return statistics.median(ours), statistics.median(floor)


def main():
    rows = []

    def row(name, value, most, nanos=None, linux=None, shown=str):
        beside = [f"{shown(p)} ({p / max(value, 1):,.1f} x)" if p else "" for p in (nanos, linux)]
        rows.append((name, shown(value), shown(most), "yes" if value <= most else "NO", *beside))

    def count(n):
        return f"{n:,.0f}"

    def millions(n):
        return f"{n / 1e6:.2f} M"

    def megabytes(n):
        return f"{n / 1e6:.1f} MB"

    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as d:
        work = pathlib.Path(d)
        c, go = programs(work)
        row("kernel.elf, stripped", kernel_bytes(work), 400e3, 1.74e6, 14.2e6,
            lambda n: f"{n / 1000:,.0f} KB")
        kernel, program = to_exit(go)
        row("Go hello, first instruction to exit", kernel + program, 5e6, 42e6, 1575e6, millions)
        row("  the kernel's part", kernel, 5e6, shown=millions)
        row("C hello, first instruction to exit", sum(to_exit(c)), 5e6, shown=millions)
        row("idle second, program asleep", idle(c), 1000, 30e3, 440e3, count)
        row("getppid", each(c, "call", 1000, 101000), 60, shown=count)
        row("pipe ping-pong of two threads", each(c, "pipe", 1000, 11000), 1500, shown=count)
        row("page fault, anonymous", each(c, "fault", 512, 8704), 900, shown=count)
        row("smallest RAM, Go hello", smallest_memory(go), 12, 24, shown=lambda n: f"{n} MiB")
        row("smallest RAM, C hello", smallest_memory(c), 4, shown=lambda n: f"{n} MiB")
        row("QEMU process, Go hello, -m 256M", resident(go), 60e6, 148e6, 254e6, megabytes)
        ours, floor = starts(c)
        row("QEMU's start to first output, C hello", ours, 1.3 * floor,
            shown=lambda s: f"{s * 1000:.0f} ms")
    lib.table("Kernel figures, microvm under TCG; peers ran the Go web server (start: to its first "
              "response; memory: -m 512M)",
              ["", "skerry", "at most", "met", "Nanos", "Linux 6.1 guest"], rows)


if __name__ == "__main__":
    main()
