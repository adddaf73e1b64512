# SPDX-License-Identifier: Apache-2.0
"""Our TCP/IP stack (net/tap_host.c, on a TAP device) against Linux's, in a namespace of its own."""
import contextlib
import ctypes
import errno
import hashlib
import os
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import BUILD

NETNS = f"sknet{os.getpid()}"
TAP, LINUX, OURS = "sknet0", "10.77.0.1", "10.77.0.2"
CLONE_NEWNET = 0x40000000


def sh(*words):
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=20)


def pattern(n):
    return bytes((i * 31 + (i >> 8) * 7 + (i >> 16)) & 255 for i in range(n))


@contextlib.contextmanager
def inside(name):
    """This thread in a network namespace: sockets made here stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


@pytest.fixture(scope="module")
def wire():
    if os.geteuid() != 0:
        pytest.skip("needs root for a network namespace")
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("no /dev/net/tun")
    sh("ip", "netns", "add", NETNS)
    try:
        sh("ip", "-n", NETNS, "tuntap", "add", TAP, "mode", "tap")
        sh("ip", "-n", NETNS, "addr", "add", f"{LINUX}/24", "dev", TAP)
        sh("ip", "-n", NETNS, "link", "set", TAP, "up")
        sh("ip", "-n", NETNS, "link", "set", "lo", "up")
        with inside(NETNS):
            yield
    finally:
        subprocess.run(["ip", "netns", "del", NETNS], check=False)


def start(*words):
    p = subprocess.Popen([str(BUILD / "net/tap_host"), TAP, *words], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    line = b""  # unbuffered, for communicate() reads on from the descriptor
    while not line.endswith(b"\n") and (byte := os.read(p.stdout.fileno(), 1)):
        line += byte
    assert line == b"ready\n", p.stderr.read()
    return p


@pytest.fixture
def ours(wire):
    p = start(OURS, "24")
    yield p
    p.send_signal(signal.SIGTERM)
    try:
        _, err = p.communicate(timeout=10)
    finally:
        p.kill()
    assert p.returncode == 0, err


def connect(port, **kwargs):
    s = socket.create_connection((OURS, port), timeout=20)
    for name, value in kwargs.items():
        s.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return s


def read_all(s):
    data = bytearray()
    while part := s.recv(65536):
        data += part
    return bytes(data)


def test_ping(ours):
    r = subprocess.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "1400", OURS],
                       capture_output=True, text=True, timeout=20)
    assert " 0% packet loss" in r.stdout, r.stdout


def test_echo_keeps_every_byte_and_half_close(ours):
    sent = os.urandom(3 << 20)
    with connect(7) as s:
        writer = threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)))
        writer.start()
        got = read_all(s)
        writer.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()


def test_one_byte_at_a_time(ours):
    with connect(7, TCP_NODELAY=1) as s:
        for i in range(200):
            s.send(bytes([i]))
            assert s.recv(1) == bytes([i])


def test_http_keep_alive_by_curl(ours, tmp_path):
    urls = [f"http://{OURS}/{n}" for n in (0, 1, 1447, 1448, 1449, 100000, 2000000)]
    words = ["curl", "-sS", "--max-time", "20"]
    for i, url in enumerate(urls):
        words += ["-o", str(tmp_path / str(i)), url]
    r = subprocess.run([*words, "-w", "%{num_connects} %{http_code}\n"], capture_output=True,
                       text=True, timeout=30)
    assert r.returncode == 0, r.stderr
    assert [line.split()[1] for line in r.stdout.splitlines()] == ["200"] * len(urls)
    assert sum(int(line.split()[0]) for line in r.stdout.splitlines()) == 1
    for i, url in enumerate(urls):
        n = int(url.rsplit("/", 1)[1])
        assert (tmp_path / str(i)).read_bytes() == pattern(n)


def test_slow_reader_closes_the_window(ours):
    with connect(80) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        s.sendall(b"GET /700000 HTTP/1.1\r\n\r\n")
        select.select([s], [], [], 5)
        time.sleep(1.2)  # the window is shut for a while: that is the point
        s.shutdown(socket.SHUT_WR)
        head, body = read_all(s).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200") and body == pattern(700000)


def test_discard_and_many_connections(ours):
    socks = [connect(9) for _ in range(100)]
    for s in socks:
        s.sendall(b"x" * 5000)
    for s in socks:
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""
        s.close()


def test_reset_by_linger_zero(ours):
    for _ in range(5):
        s = connect(7)
        s.sendall(b"abc")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    with connect(7) as s:  # the server lives on
        s.sendall(b"still")
        assert s.recv(5) == b"still"


def test_closed_port_refuses(ours):
    with pytest.raises(ConnectionRefusedError):
        connect(81)


def test_udp_echo_and_refusal(ours):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(5)
        u.connect((OURS, 7))
        for n in (0, 1, 100, 1472):
            u.send(b"u" * n)
            assert u.recv(2000) == b"u" * n
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(5)
        u.connect((OURS, 8))
        u.send(b"anyone?")
        with pytest.raises(ConnectionRefusedError):
            u.recv(10)


def test_options_agreed_with_linux(ours):
    with connect(7) as s:
        s.sendall(b"x" * 1000)
        assert len(s.recv(1000)) > 0
        info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        options, wscale = info[5], info[6]
        assert options & 7 == 7, "time stamps, SACK and window scaling"
        assert wscale & 15 == 7, "our window scale"


class LinuxServer(threading.Thread):
    """Accept one connection inside the namespace and hand it to fn."""

    def __init__(self, fn):
        super().__init__(daemon=True)
        self.listener = socket.create_server((LINUX, 0))
        self.port = self.listener.getsockname()[1]
        self.fn, self.result = fn, None
        self.start()

    def run(self):
        s, _ = self.listener.accept()
        s.settimeout(20)
        with s, self.listener:
            self.result = self.fn(s)


def client(port, n):
    p = start(OURS, "24", LINUX, str(port), str(n))
    out, err = p.communicate(timeout=60)
    return out.splitlines()[0] if out else err


def echo(s):
    total = 0
    while part := s.recv(65536):
        s.sendall(part)
        total += len(part)
    return total


def test_client_against_linux_echo(wire):
    server = LinuxServer(echo)
    assert client(server.port, 1 << 20) == \
        f"client: sent {1 << 20} received {1 << 20} pattern ok"
    server.join(10)
    assert server.result == 1 << 20


def test_client_reads_on_after_its_own_end(wire):
    def late(s):
        data = read_all(s)
        s.sendall(pattern(200000))
        return data

    server = LinuxServer(late)
    assert client(server.port, 5000) == "client: sent 5000 received 200000 pattern ok"
    server.join(10)
    assert server.result == pattern(5000)


def test_client_is_refused(wire):
    with socket.socket() as s:
        s.bind((LINUX, 0))
        port = s.getsockname()[1]
    assert client(port, 10).endswith(os.strerror(errno.ECONNREFUSED))


def test_client_sees_a_reset(wire):
    def reset(s):
        s.recv(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    server = LinuxServer(reset)
    assert client(server.port, 1 << 20).endswith(os.strerror(errno.ECONNRESET))


def test_client_to_nobody(wire):
    p = start(OURS, "24", "10.77.0.99", "80", "1")
    out, _ = p.communicate(timeout=30)
    assert os.strerror(errno.EHOSTUNREACH) in out.splitlines()[0]
