# SPDX-License-Identifier: Apache-2.0
"""The kernel on a network: over QEMU's user network as `skerry run` sets it up, and over a TAP in
a network namespace of the test's own."""
import hashlib
import os
import re
import socket
import subprocess
import time

import pytest

from conftest import BUILD, ROOT

KERNEL = BUILD / "kernel.elf"
SECONDS_MAX = 60
HOST, GUEST = "10.77.0.1", "10.77.0.2"

pytestmark = pytest.mark.skipif(not KERNEL.exists(), reason="no kernel.elf in this build")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")

# Prints what DHCP brought: the name servers and the address that packets to the world come from.
DHCP_C = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <ifaddrs.h>
#include <sys/socket.h>
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53),
                            .sin_addr.s_addr = inet_addr("10.0.2.2")};
    socklen_t len = sizeof(a);
    char text[512];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        perror("connect");
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("address %s\n", inet_ntoa(a.sin_addr));
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0)
        perror("getifaddrs");
    for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        struct sockaddr_in *in = (struct sockaddr_in *)i->ifa_addr;
        if (in != NULL && in->sin_family == AF_INET)
            printf("interface %s %s\n", i->ifa_name, inet_ntoa(in->sin_addr));
    }
    FILE *f = NULL; // a thread of the kernel writes it once the lease is there
    for (int i = 0; i < 100 && f == NULL; i++) {
        f = fopen("/etc/resolv.conf", "r");
        if (f == NULL)
            poll_a_bit();
    }
    while (f != NULL && fgets(text, sizeof(text), f) != NULL)
        printf("resolv.conf: %s", text);
    f = fopen("/etc/hosts", "r");
    while (f != NULL && fgets(text, sizeof(text), f) != NULL)
        printf("hosts: %s", text);
    return 0;
}
""".replace("poll_a_bit()", "poll(NULL, 0, 20)").replace("#include <stdio.h>",
                                                         "#include <poll.h>\n#include <stdio.h>")


def pattern(n):
    """What /bytes/N of the epoll server answers."""
    period = bytes((i * 31 + i // 251) & 255 for i in range(251 * 256))
    return (period * (n // len(period) + 1))[:n]


def position_sum(data):
    return sum(b * (i + 1) for i, b in enumerate(data)) & (2**64 - 1)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    out = tmp_path_factory.mktemp("net") / "epoll_server"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-static", "-o", str(out),
                    str(ROOT / "tests/guest/epoll_server.c")], check=True)
    return out


@pytest.fixture(scope="session")
def go_server(tmp_path_factory):
    out = tmp_path_factory.mktemp("go") / "hello"
    subprocess.run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(out), "."],
                   check=True, cwd=ROOT / "examples/region", env=dict(os.environ, CGO_ENABLED="0"))
    return out


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Run:
    """skerry run PROGRAM with one forwarded port; ready once the program says it listens."""

    def __init__(self, program, *words):
        self.port = free_port()
        self.process = subprocess.Popen(
            [str(BUILD / "skerry"), "run", str(program), "-p", f"{self.port}:8080", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        line = self.process.stdout.readline()
        assert b"listening" in line, line + self.process.stdout.read()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=SECONDS_MAX)

    def curl(self, path, *words):
        return subprocess.run(["curl", "-sS", "-f", "-m", str(SECONDS_MAX), *words,
                               f"http://127.0.0.1:{self.port}{path}"], capture_output=True,
                              check=True).stdout


def test_user_network(server):
    with Run(server) as r:
        assert r.curl("/") == b"Hello from skerry!\n"
        assert r.curl("/bytes/3000000") == pattern(3000000)
        data = os.urandom(2000000)
        sent = subprocess.run(
            ["curl", "-sS", "-f", "-m", str(SECONDS_MAX), "--data-binary", "@-",
             f"http://127.0.0.1:{r.port}/"], input=data, capture_output=True, check=True).stdout
        assert int(sent) == position_sum(data)


def test_dhcp(tmp_path, skerry):
    source, program = tmp_path / "dhcp.c", tmp_path / "dhcp"
    source.write_text(DHCP_C)
    subprocess.run(["gcc", "-static", "-O1", "-o", str(program), str(source)], check=True)
    r = skerry("run", program)
    lines = r.stdout.splitlines()
    assert lines[0] == "address 10.0.2.15", r.stdout + r.stderr
    assert "resolv.conf: nameserver 10.0.2.3" in lines
    assert "hosts: 127.0.0.1 localhost" in lines
    assert "interface lo 127.0.0.1" in lines and "interface eth0 10.0.2.15" in lines


def until_answer(guest):
    """The Go program says "listening" a moment before it does."""
    end = time.monotonic() + SECONDS_MAX
    while True:
        try:
            return guest.curl("/")
        except subprocess.CalledProcessError:
            assert time.monotonic() < end


def test_go_server(go_server):
    with Run(go_server) as r:
        assert until_answer(r) == b"Welcome to my website!"
        for _ in range(20):
            assert r.curl("/") == b"Welcome to my website!"


# ---- over a TAP ----

class Tap:
    """A guest and a TAP in a namespace of their own."""

    def __init__(self, program, tmp_path, memory="64M"):
        self.ns = f"sknet{os.getpid()}"
        self.console = tmp_path / "console"
        self.ip("netns", "add", self.ns)
        self.qemu = None
        try:
            inside = ["-n", self.ns]
            self.ip(*inside, "tuntap", "add", "tap0", "mode", "tap", "vnet_hdr")
            self.ip(*inside, "address", "add", f"{HOST}/24", "dev", "tap0")
            self.ip(*inside, "link", "set", "tap0", "up")
            self.qemu = subprocess.Popen(
                ["ip", "netns", "exec", self.ns, "qemu-system-x86_64",
                 "-M", "microvm,acpi=off,pit=off,pic=off,rtc=off,auto-kernel-cmdline=on",
                 "-global", "virtio-mmio.force-legacy=false", "-cpu", "max", "-accel", "tcg",
                 "-m", memory, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                 "-kernel", str(KERNEL), "-initrd", str(program),
                 "-append", f"skerry.ip={GUEST}/24,{HOST}",
                 "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no,vhost=off",
                 "-device", "virtio-net-device,netdev=net", "-device", "virtio-rng-device",
                 "-serial", f"file:{self.console}",
                 "-device", "isa-debug-exit,iobase=0x501,iosize=1"], stdin=subprocess.DEVNULL)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    def close(self):
        if self.qemu is not None:
            self.qemu.kill()
            self.qemu.wait()
        self.ip("netns", "del", self.ns)

    def __enter__(self):
        end = time.monotonic() + SECONDS_MAX
        while "listening" not in (self.console.read_text() if self.console.exists() else ""):
            assert self.qemu.poll() is None and time.monotonic() < end, self.console.read_text()
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.close()

    def inside(self, *words, check=True, **kwargs):
        return subprocess.run(["ip", "netns", "exec", self.ns, *words], check=check,
                              capture_output=True, timeout=2 * SECONDS_MAX, **kwargs)

    def curl(self, path, *words, **kwargs):
        return self.inside("curl", "-sS", "-f", "-m", str(SECONDS_MAX), *words,
                           f"http://{GUEST}:8080{path}", **kwargs).stdout

    def wrk(self, connections, seconds):
        """(requests, errors) of a run of wrk."""
        text = self.inside("wrk", "-t1", "-c", str(connections), "-d", f"{seconds}s",
                           f"http://{GUEST}:8080/").stdout.decode()
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)",
                           text)
        other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return (int(re.search(r"(\d+) requests in", text)[1]),
                sum(map(int, errors.groups())) + int(other[1] if other else 0) if errors or other
                else 0)


@pytest.fixture
def tap(server, tmp_path):
    with Tap(server, tmp_path) as t:
        yield t


@needs_root
def test_tap_answers(tap):
    assert tap.curl("/") == b"Hello from skerry!\n"
    assert b" 0% packet loss" in tap.inside("ping", "-c", "5", "-i", "0.05", GUEST).stdout
    # A port where nobody listens says so at once.
    r = tap.inside("curl", "-sS", "-m", "5", f"http://{GUEST}:81/", check=False)
    assert r.returncode == 7, r.stderr


@needs_root
def test_tap_large(tap):
    n = 64 << 20
    body = tap.curl(f"/bytes/{n}")
    assert hashlib.sha256(body).digest() == hashlib.sha256(pattern(n)).digest()
    data = os.urandom(8 << 20)
    assert int(tap.curl("/", "--data-binary", "@-", input=data)) == position_sum(data)


@needs_root
def test_tap_many_connections(tap):
    requests, errors = tap.wrk(64, 3)
    assert requests > 1000 and errors == 0


# Answers one connection and is gone at once: all must arrive, and an end of the stream with it.
ONCE_C = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static char block[1 << 20];
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(8080)};
    char request[4096];
    int l = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(l, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(l, 8) != 0)
        return 1;
    puts("listening");
    fflush(stdout);
    int idle = accept(l, NULL, NULL), fd = accept(l, NULL, NULL);
    read(fd, request, sizeof(request));
    for (unsigned i = 0; i < sizeof(block); i++)
        block[i] = (char)(i * 31 + i / 251);
    return idle >= 0 && write(fd, block, sizeof(block)) == sizeof(block) ? 0 : 2;
}
"""
ONCE_PY = """
import socket, sys
idle = socket.create_connection((sys.argv[1], 8080), timeout=10)
s = socket.create_connection((sys.argv[1], 8080), timeout=10)
s.sendall(b"go")
data = b""
while more := s.recv(65536):
    data += more
assert idle.recv(1) == b"", "the idle connection was not ended"
sys.stdout.buffer.write(data)
"""


@needs_root
def test_tap_exit_ends_connections(tmp_path):
    source, program = tmp_path / "once.c", tmp_path / "once"
    source.write_text(ONCE_C)
    subprocess.run(["gcc", "-static", "-O1", "-w", "-o", str(program), str(source)], check=True)
    with Tap(program, tmp_path) as t:
        assert t.inside("/usr/bin/python3", "-c", ONCE_PY, GUEST).stdout == pattern(1 << 20)
        t.qemu.wait(SECONDS_MAX)


MANY_PY = """
import socket, sys
def ask(s):
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    got = b""
    while not got.endswith(b"skerry!\\n"):
        more = s.recv(4096)
        if not more:
            sys.exit("closed early")
        got += more
for i in range(2500): # a new connection each, four requests on each
    with socket.create_connection((sys.argv[1], 8080), timeout=10) as s:
        for _ in range(4):
            ask(s)
"""


@needs_root
def test_tap_ten_thousand_requests_leak_nothing(tap):
    def many():
        tap.inside("/usr/bin/python3", "-c", MANY_PY, GUEST)
        return int(tap.curl("/free"))

    many()
    before = many()
    after = many()
    assert before - after < 512, f"{before - after} KiB gone after 10,000 requests"


@needs_root
def test_tap_go_server(go_server, tmp_path):
    with Tap(go_server, tmp_path, memory="128M") as t:
        assert until_answer(t) == b"Welcome to my website!"
        requests, errors = t.wrk(16, 3)
        assert requests > 100 and errors == 0
