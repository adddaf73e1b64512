# SPDX-License-Identifier: Apache-2.0
"""What the benches share: guests that count their instructions, clients, tables.

Instruction counts come from a QEMU TCG plugin (count_plugin.c) under -icount, so that they do not
depend on how busy the machine is. A bench that needs a network runs in a network namespace of its
own (unshare -n), which takes its TAP with it when it ends.
"""
import mmap
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("SKERRY_BUILD", ROOT / "build/dev"))
SKERRY = BUILD / "skerry"
HOST_IP, GUEST_IP, PREFIX = "10.9.0.1", "10.9.0.2", 24
WAIT_SECONDS_MAX = 60


def table(title, head, rows):
    """Print a table with columns as wide as their contents."""
    cells = [head] + [[str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    print(f"\n{title}")
    for row in cells:
        print("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())
    sys.stdout.flush()


def run(*words, **kwargs):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True,
                          **kwargs).stdout


def private_network():
    """Move into a fresh network namespace with a TAP; returns the TAP's name."""
    if os.environ.get("SKERRY_BENCH_NET") != "1":
        os.execvpe("unshare", ["unshare", "-n", "/usr/bin/python3", *sys.argv],
                   dict(os.environ, SKERRY_BENCH_NET="1"))
    run("ip", "link", "set", "lo", "up")
    run("ip", "tuntap", "add", "tap0", "mode", "tap", "vnet_hdr")
    run("ip", "address", "add", f"{HOST_IP}/{PREFIX}", "dev", "tap0")
    run("ip", "link", "set", "tap0", "up")
    return "tap0"


def die_with_parent():
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class Guest:
    """One virtual machine; counts() gives (kernel, program) instructions so far."""

    def __init__(self, image=None, memory="64M", tap=None, count=True, sleep=True, kernel=None,
                 append=(), machine=None, extra=()):
        self.dir = tempfile.TemporaryDirectory(prefix="skerry-bench-")
        self.path = pathlib.Path(self.dir.name)
        line = list(append)
        words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                 "-cpu", "max", "-m", memory, "-smp", "1", "-accel", "tcg", "-no-reboot"]
        words += machine or ["-M", "microvm,acpi=off,pit=off,pic=off,rtc=off,"
                                   "auto-kernel-cmdline=on,isa-serial=on",
                             "-global", "virtio-mmio.force-legacy=false"]
        words += ["-kernel", str(kernel or BUILD / "kernel.elf"),
                  "-serial", f"file:{self.path}/console",
                  "-chardev", f"file,id=status,path={self.path}/status",
                  "-device", "isa-debugcon,iobase=0xe9,chardev=status",
                  "-device", "isa-debug-exit,iobase=0x501,iosize=1"]
        if image:
            words += ["-drive", f"if=none,id=root,format=raw,readonly=on,file={image}",
                      "-device", "virtio-blk-device,drive=root"]
        if tap:
            words += ["-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no,vhost=off",
                      "-device", "virtio-net-device,netdev=net"]
            line.append(f"skerry.ip={GUEST_IP}/{PREFIX},{HOST_IP}")
        words += ["-device", "virtio-rng-device"]
        if count:
            words += ["-icount", f"shift=0,sleep={'on' if sleep else 'off'}", "-plugin",
                      f"{BUILD}/bench/libcount_plugin.so,out={self.path}/count"]
        words += ["-append", " ".join(line), *extra]
        self.log = open(self.path / "qemu.log", "w")
        self.start = time.monotonic()
        self.qemu = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log,
                                     stderr=self.log, preexec_fn=die_with_parent)
        self.counter = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.qemu.kill()
        self.qemu.wait()
        self.log.close()
        self.dir.cleanup()

    def counts(self):
        if self.counter is None:
            deadline = time.monotonic() + WAIT_SECONDS_MAX
            path = self.path / "count"
            while not (path.exists() and path.stat().st_size >= 16):
                self.check(deadline)
            with open(path, "rb") as f:
                self.counter = mmap.mmap(f.fileno(), 16, prot=mmap.PROT_READ)
        return struct.unpack("<QQ", self.counter[:16])

    def check(self, deadline):
        if self.qemu.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"guest failed: {(self.path / 'qemu.log').read_text()[-2000:]}"
                               f"{self.console()[-2000:]}")
        time.sleep(0.002)

    def console(self):
        path = self.path / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_exit(self):
        """Wait for the end; the status channel's last line."""
        self.qemu.wait(WAIT_SECONDS_MAX)
        lines = (self.path / "status").read_text().splitlines()
        return lines[-1] if lines else ""

    def first_response(self, port, path="/"):
        """Seconds from QEMU's start until the first answer; tries until it answers."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            try:
                with Connection(port, timeout=0.25) as c:
                    c.request(path)
                    return time.monotonic() - self.start
            except OSError:
                self.check(deadline)

    def resident_bytes(self):
        """Proportional set size of the QEMU process."""
        for line in pathlib.Path(f"/proc/{self.qemu.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return 0


class Connection:
    """A keep-alive HTTP/1.1 connection to the guest."""

    def __init__(self, port, timeout=10):
        self.s = socket.create_connection((GUEST_IP, port), timeout=timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.s.close()

    def send(self, path):
        self.s.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def receive(self):
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.s.recv(65536)
            if not more:
                raise ConnectionError("closed before an answer")
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            more = self.s.recv(65536)
            if not more:
                raise ConnectionError("closed inside an answer")
            body += more
        return head, body

    def request(self, path):
        self.send(path)
        return self.receive()


def keepalive(port, connections, requests, path="/"):
    """Requests over that many connections, each with one in flight at a time."""
    conns = [Connection(port) for _ in range(connections)]
    by_fd = {c.s.fileno(): c for c in conns}
    poll = select.poll()
    for c in conns:
        poll.register(c.s, select.POLLIN)
        c.send(path)
    sent, done = connections, 0
    while done < requests:
        for fd, _ in poll.poll(10000) or [(-1, 0)]:
            if fd < 0:
                raise TimeoutError("no answer within 10 s")
            by_fd[fd].receive()
            done += 1
            if sent < requests:
                by_fd[fd].send(path)
                sent += 1
    for c in conns:
        c.s.close()


def idle_rate(guest, seconds=3.0):
    """Instructions per second while nothing happens: (kernel, program)."""
    before, start = guest.counts(), time.monotonic()
    time.sleep(seconds)
    after, spent = guest.counts(), time.monotonic() - start
    return tuple((a - b) / spent for a, b in zip(after, before))


def per_request(guest, port, connections, requests=500, rounds=3, path="/"):
    """Median (kernel, program) instructions per keep-alive request, idle share subtracted."""
    keepalive(port, connections, connections * 4, path)  # warm
    idle = idle_rate(guest)
    figures = []
    for _ in range(rounds):
        before, start = guest.counts(), time.monotonic()
        keepalive(port, connections, requests, path)
        after, spent = guest.counts(), time.monotonic() - start
        figures.append(tuple((a - b - i * spent) / requests
                             for a, b, i in zip(after, before, idle)))
    figures.sort()
    return figures[len(figures) // 2]
