# SPDX-License-Identifier: Apache-2.0
"""A small world for skerry-edge: a network namespace of its own, a controller, instances, POPs."""
import ctypes
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EDGE = pathlib.Path(os.environ.get("SKERRY_BUILD", ROOT / "build/dev")) / "skerry-edge"
CLONE_NEWNET = 0x40000000
SERVICE = "198.51.100.10"
libc = ctypes.CDLL(None, use_errno=True)


def wait_for(what, seconds=5.0, step=0.01):
    """Poll until what() is true; its value, or an AssertionError with its name."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(step)
    raise AssertionError(f"not within {seconds} s: {what.__name__}")


class Namespace:
    """The calling thread, and what it starts, moves into a new network namespace."""

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if libc.unshare(CLONE_NEWNET) != 0:
            os.close(self.home)
            raise PermissionError("cannot make a network namespace")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_):
        assert libc.setns(self.home, CLONE_NEWNET) == 0
        os.close(self.home)


def has_address(address=SERVICE, prefix=()):
    out = subprocess.run([*prefix, "ip", "-o", "addr", "show", "dev", "lo"], capture_output=True,
                         text=True, check=True).stdout
    return f" {address}/" in out


class Controller:
    """The controller's two requests on a unix socket."""

    def __init__(self, path):
        self.path = str(path)
        self.table = None
        self.reports = {}
        self.changed = threading.Condition()
        self.start()

    def start(self):
        self.stopping = False
        self.conns = []
        self.listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """As a controller that was killed."""
        self.stopping = True
        shut(self.listener)
        os.unlink(self.path)
        with self.changed:
            self.changed.notify_all()
        for conn in self.conns:
            shut(conn)

    def publish(self, table):
        with self.changed:
            self.table = json.dumps(table).encode() + b"\n"
            self.changed.notify_all()

    def report(self, pop="p1"):
        return self.reports.get(pop)

    def _accept(self, listener):
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            self.conns.append(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            stream = conn.makefile("rb")
            while True:
                head = read_head(stream)
                if head is None:
                    return
                pop = head.target.split("/")[3]
                if head.method == "POST":
                    body = stream.read(int(head.fields["content-length"]))
                    self.reports[pop] = json.loads(body)
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                else:
                    self._watch(conn)
        except OSError:
            pass
        finally:
            shut(conn)

    def _watch(self, conn):
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        told = None
        while not self.stopping:
            with self.changed:
                if self.table is told:
                    self.changed.wait(1)
                line = self.table if self.table is not told else b"{}\n"
                told = self.table
            if line:
                conn.sendall(b"%x\r\n%s\r\n" % (len(line), line))


def shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


class Head:
    def __init__(self, first, lines):
        self.method, self.target, self.version = (first.split(" ", 2) + ["", ""])[:3]
        self.first = first
        self.lines = [line.split(": ", 1) for line in lines]
        self.fields = {name.lower(): value for name, value in self.lines}


def read_head(stream):
    first = stream.readline()
    if not first.endswith(b"\r\n"):
        return None
    lines = []
    while True:
        line = stream.readline()
        if line == b"\r\n":
            return Head(first.decode().rstrip("\r\n"), lines)
        if not line:
            return None
        lines.append(line.decode().rstrip("\r\n"))


def read_body(stream, head, until_close=False):
    """A message's body, and whether it came whole."""
    if head.fields.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size = stream.readline()
            if not size.endswith(b"\r\n"):
                return body, False
            n = int(size, 16)
            piece = stream.read(n + 2)
            if len(piece) < n + 2:
                return body + piece, False
            if n == 0:
                return body, True
            body += piece[:-2]
    if "content-length" in head.fields:
        n = int(head.fields["content-length"])
        body = stream.read(n)
        return body, len(body) == n
    return (stream.read(), True) if until_close else (b"", True)


class Instance:
    """An HTTP server whose answer depends on the path; counts what it saw."""

    def __init__(self, name, address="127.0.0.1", port=0):
        self.name = name
        self.healthy = True
        self.heads = []
        self.requests = 0
        self.open = set()
        self.gate = threading.Event()  # /gate waits for it
        self.listener = socket.create_server((address, port), backlog=512)
        self.address, self.port = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def entry(self, state="serving", region="r1", **more):
        return {"id": self.name, "region": region, "address": self.address, "port": self.port,
                "state": state, **more}

    def stop(self):
        shut(self.listener)
        for conn in list(self.open):
            shut(conn)

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open.add(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            stream = conn.makefile("rb")
            before = 0
            while True:
                head = read_head(stream)
                if head is None:
                    return
                before += 1
                if head.target == "/only-fresh" and before > 1:
                    return  # as a server that had closed the kept connection just now
                if head.fields.get("user-agent") == "skerry-health":
                    conn.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                                 % (200 if self.healthy else 500))
                    return
                self.requests += 1
                self.heads.append(head)
                if not self._answer(conn, stream, head):
                    return
        except OSError:
            pass
        finally:
            self.open.discard(conn)
            shut(conn)

    def _answer(self, conn, stream, head):
        """True when the connection stays."""
        path = head.target.split("?")[0]
        if head.fields.get("expect") == "100-continue":
            if path == "/refuse":
                conn.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n"
                             b"Connection: close\r\n\r\n")
                return False
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if path == "/ws":
            conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                         b"Upgrade: websocket\r\n\r\nhello ")
            while data := conn.recv(65536):
                conn.sendall(data)
            return False
        body, whole = read_body(stream, head)
        if not whole:
            return False
        return self._reply(conn, head, path, body)

    def _reply(self, conn, head, path, body):
        if path == "/chunked":
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in (b"one ", b"two ", b"three"):
                conn.sendall(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
                time.sleep(0.01)
            conn.sendall(b"0\r\nTrailer: x\r\n\r\n")
            return True
        if path == "/until-close":
            conn.sendall(b"HTTP/1.1 200 OK\r\n\r\nto the end")
            return False
        if path == "/die":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npartial")
            return False
        if path == "/die-chunked":
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            return False
        if path == "/garbage":
            conn.sendall(b"this is not HTTP\r\n\r\n")
            return False
        if path == "/drop":
            return False
        if path == "/gate":
            self.gate.wait(10)
        if path == "/headers":
            body = json.dumps(head.lines).encode()
        elif path.startswith("/big/"):
            body = b"x" * int(path[5:])
        elif path != "/echo":
            body = self.name.encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Skerry-Full: 1\r\n"
                     b"Keep-Alive: timeout=5\r\nConnection: keep-alive\r\n\r\n" % len(body)
                     + (b"" if head.method == "HEAD" else body))
        return path != "/close-after"


def table(version, services, pops=()):
    return {"version": version, "services": services, "pops": list(pops)}


def service(instances, app="hello", protocol="http", address=SERVICE, port=80, **health):
    checks = {"path": "/", "interval_ms": 100, "timeout_ms": 300, "rise": 2, "fall": 2}
    if protocol == "tcp":
        del checks["path"]
    return {"app": app, "protocol": protocol, "address": address, "port": port,
            "health": {**checks, **health}, "instances": instances}


class Edge:
    """One skerry-edge process."""

    def __init__(self, folder, control, pop="p1", region="r1", backbone="127.0.0.1:7070",
                 prefix=(), options=()):
        self.pop = pop
        self.admin = str(folder / f"{pop}.admin")
        self.log_path = folder / f"{pop}.log"
        self.state = folder / f"{pop}.state"
        words = [*prefix, str(EDGE), "--pop", pop, "--region", region, "--control",
                 f"unix:{control.path}", "--backbone", backbone, "--admin", f"unix:{self.admin}",
                 "--state", str(self.state), "--workers", "2", "--no-pin", *options]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def log(self):
        return self.log_path.read_text()

    def stop(self, grace=15):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(grace)

    def kill(self):
        """As a crash would; it must not have crashed by itself before."""
        assert self.process.poll() in (None, 0, 1, -9), self.log()[-4000:]
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ask(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(self.admin)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            stream = s.makefile("rb")
            head = read_head(stream)
            return read_body(stream, head)[0].decode()

    def status(self):
        try:
            return json.loads(self.ask("/status"))
        except OSError:
            return None

    def metric(self, name):
        """The sum over a metric's labels."""
        total = 0.0
        for line in self.ask("/metrics").splitlines():
            if line.startswith((name + "{", name + " ")):
                total += float(line.split()[-1])
        return total

    def ready(self, version, healthy=1):
        """Applied the table, announces, and that many instances of ours are healthy."""

        def is_ready():
            s = self.status()
            return (s and s["version"] >= version and s["applied"]
                    and all(v["announced"] for v in s["services"])
                    and sum(i["healthy"] for v in s["services"]
                            for i in v["instances"]) >= healthy)

        wait_for(is_ready)


class Client:
    """One HTTP connection, as raw as a test wants it."""

    def __init__(self, address=SERVICE, port=80, timeout=5):
        self.sock = socket.create_connection((address, port), timeout=timeout)
        self.stream = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def answer(self, to="GET"):
        """(head, body, whole); head None when the connection was closed."""
        head = read_head(self.stream)
        if head is None:
            return None, b"", False
        code = int(head.target)
        if to == "HEAD" or code < 200 or code in (204, 304):
            return head, b"", True
        return (head, *read_body(self.stream, head, until_close=True))

    def get(self, path="/", method="GET", fields="", body=b""):
        self.send(f"{method} {path} HTTP/1.1\r\nHost: hello\r\n{fields}\r\n".encode() + body)
        return self.answer(method)

    def closed(self):
        try:
            return self.stream.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.stream.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
