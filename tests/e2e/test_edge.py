# SPDX-License-Identifier: Apache-2.0
"""skerry-edge from outside: real sockets and routes in a network namespace of its own."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from edge_world import (EDGE, SERVICE, Client, Controller, Edge, Instance, Namespace, has_address,
                        service, shut, table, wait_for)

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None,
                                reason="needs root and iproute2 for a network namespace")


@pytest.fixture(scope="module", autouse=True)
def namespace():
    with Namespace():
        yield


@pytest.fixture
def controller(tmp_path):
    c = Controller(tmp_path / "control.sock")
    yield c
    c.stop() if not c.stopping else None


@pytest.fixture
def world(tmp_path, controller):
    """One POP with instances a and b that serve."""

    class World:
        pass

    w = World()
    w.controller = controller
    w.a, w.b = Instance("a"), Instance("b")
    w.folder = tmp_path
    controller.publish(table(1, [service([w.a.entry(), w.b.entry()])]))
    w.edge = Edge(tmp_path, controller)
    try:
        w.edge.ready(1, healthy=2)
        yield w
    finally:
        w.edge.kill()
        wait_for(lambda: not has_address(), 2)
        w.a.stop()
        w.b.stop()


def only_a(w, version=2):
    w.controller.publish(table(version, [service([w.a.entry()])]))
    w.edge.ready(version)


# ------------------------------------------------------------------------------------- requests


def test_keep_alive_and_response_fields(world):
    with Client() as c:
        for _ in range(5):
            head, body, whole = c.get("/")
            assert head.target == "200" and whole and body in (b"a", b"b")
            assert head.fields["x-skerry-pop"] == "p1"
            assert head.fields["x-skerry-region"] == "r1"
            assert "date" in head.fields
            # Hop-by-hop fields and ours do not come through from an instance.
            assert not {"keep-alive", "connection", "x-skerry-full"} & set(head.fields)
    assert world.edge.metric("skerry_edge_connections_total") == 1


def test_request_fields(world):
    with Client() as c:
        _, body, _ = c.get("/headers", fields="X-Forwarded-For: 9.9.9.9\r\nVia: 1.0 a\r\n"
                           "Connection: close, x-drop\r\nX-Drop: 1\r\nKeep-Alive: 5\r\n"
                           "X-Skerry-Service: evil\r\nX-Keep: yes\r\nTE: trailers\r\n")
        assert c.closed()
    lines = json.loads(body)
    got = {name.lower(): value for name, value in lines}
    assert got["x-forwarded-for"] == f"9.9.9.9, {SERVICE}"
    assert got["x-forwarded-proto"] == "http"
    assert [v for n, v in lines if n == "Via"] == ["1.0 a", "1.1 skerry-p1"]
    assert got["x-keep"] == "yes" and got["host"] == "hello"
    assert not {"x-drop", "keep-alive", "connection", "te", "x-skerry-service"} & set(got)


def test_pipelining(world):
    with Client() as c:
        n = 20
        c.send("".join(f"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {len(str(i))}\r\n\r\n{i}"
                       for i in range(n)))
        for i in range(n):
            head, body, _ = c.answer()
            assert head.target == "200" and body == str(i).encode()


def test_head_then_get(world):
    with Client() as c:
        head, body, _ = c.get("/big/1000", method="HEAD")
        assert head.fields["content-length"] == "1000" and body == b""
        assert c.get("/big/1000")[1] == b"x" * 1000


def test_chunked_both_ways(world):
    with Client() as c:
        head, body, whole = c.get("/chunked")
        assert head.fields["transfer-encoding"] == "chunked"
        assert body == b"one two three" and whole
        c.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"5;a=b\r\nhello\r\n", b"6\r\n wor", b"ld\r\n0\r\nX: y\r\n\r\n"):
            c.send(piece)
            time.sleep(0.02)
        assert c.answer()[1] == b"hello world"
        assert c.get("/")[0].target == "200"


def test_http_1_0(world):
    with Client() as c:
        c.send("GET /chunked HTTP/1.0\r\n\r\n")
        head, body, _ = c.answer()
        assert "transfer-encoding" not in head.fields and body == b"one two three"
        assert c.closed()
    with Client() as c:
        for _ in range(2):
            c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, body, _ = c.answer()
            assert head.fields["connection"] == "keep-alive" and body in (b"a", b"b")


def test_body_until_close_becomes_chunked(world):
    with Client() as c:
        head, body, whole = c.get("/until-close")
        assert head.fields["transfer-encoding"] == "chunked" and body == b"to the end" and whole
        assert c.get("/")[0].target == "200"


def test_100_continue(world):
    with Client() as c:
        c.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
               "Content-Length: 5\r\n\r\n")
        assert c.answer()[0].target == "100"
        c.send("hello")
        head, body, _ = c.answer()
        assert head.target == "200" and body == b"hello"
    with Client() as c:
        c.send("POST /refuse HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
               "Content-Length: 5\r\n\r\n")
        assert c.answer()[0].target == "413"
        assert c.closed()


def test_upgrade_is_a_tunnel_with_half_close(world):
    with Client() as c:
        c.send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head, _, _ = c.answer()
        assert head.target == "101" and head.fields["upgrade"] == "websocket"
        assert c.stream.read(6) == b"hello "
        c.send(b"\x00frame")
        assert c.stream.read(6) == b"\x00frame"
        c.sock.shutdown(socket.SHUT_WR)
        assert c.closed()


def test_large_bodies(world):
    size = 20_000_000
    with Client(timeout=30) as c:
        head, body, whole = c.get(f"/big/{size}")
        assert whole and len(body) == size
        data = os.urandom(5_000_000)
        sender = threading.Thread(target=c.send, args=(
            b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(data) + data,))
        sender.start()
        assert c.answer()[1] == data
        sender.join()


def test_slow_client_holds_nobody_up(world):
    with Client(timeout=20) as slow, Client() as quick:
        slow.send("GET /big/8000000 HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in range(20):
            assert quick.get("/")[0].target == "200"
        for piece in "GET / HT", "TP/1.1\r", "\nHost: h\r\n", "\r\n":
            quick.send(piece)
            time.sleep(0.02)
        assert quick.answer()[0].target == "200"
        assert len(slow.answer()[1]) == 8000000


@pytest.mark.parametrize("request_bytes, status", [
    ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
    ("GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "400"),
    ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400"),
    ("GET / HTTP/1.1\r\n\r\n", "400"),
    ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505"),
    ("\x16\x03\x01\x02\x00\x01", "400"),
    ("GET /" + "a" * 9000 + " HTTP/1.1\r\nHost: h\r\n\r\n", "414"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: " + "a" * 17000 + "\r\n\r\n", "431"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501"),
    ("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
    ("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "501"),
])
def test_malformed_requests_are_refused(world, request_bytes, status):
    with Client() as c:
        c.send(request_bytes)
        head, body, _ = c.answer()
        assert head.target == status and status.encode() in body
        assert c.closed()
    assert all(h.target != "/echo" or "transfer-encoding" in h.fields
               for h in world.a.heads + world.b.heads)


# ---------------------------------------------------------------------------------- instances fail


@pytest.mark.parametrize("path", ["/die", "/die-chunked"])
def test_truncated_answers_are_visible(world, path):
    with Client() as c:
        head, _, whole = c.get(path)
        assert head.target == "200" and not whole


def test_bad_answers_become_502(world):
    only_a(world)
    for path in "/garbage", "/drop":
        with Client() as c:
            head, body, _ = c.get(path)
            assert head.target == "502" and b"instance" in body
            assert head.fields["x-skerry-pop"] == "p1"


def test_keep_alive_race_is_no_error(world):
    """A kept connection that ends just when a request is sent over it is not the client's matter,
    as far as the request may be sent again."""
    only_a(world)
    with Client() as c:
        for n in range(1, 21):
            assert c.get("/")[0].target == "200"
            assert c.get("/only-fresh")[0].target == "200"
            assert world.edge.metric("skerry_edge_keepalive_races_total") == n
        assert c.get("/")[0].target == "200"
        # What must not be done twice fails: the instance took it in and may have done it.
        assert c.get("/only-fresh", method="POST", fields="Content-Length: 2\r\n",
                     body=b"hi")[0].target == "502"
    assert 'skerry_edge_peer_up{peer="a",kind="instance"} 1' in world.edge.ask("/metrics")


def test_server_that_closes_without_a_word(world):
    """The instance closes right after its answers without having said so, again and again."""
    only_a(world)
    posts = 0
    with Client() as c:
        for _ in range(100):
            assert c.get("/close-after")[0].target == "200"
            assert c.get("/")[0].target == "200"
            assert c.get("/close-after")[0].target == "200"
            # What must not be done twice may fail then, when the instance may have read it.
            head, _, _ = c.get("/echo", method="POST", fields="Content-Length: 2\r\n", body=b"hi")
            posts += head.target == "200"
    assert [h.method for h in world.a.heads].count("POST") == posts
    assert 'skerry_edge_peer_up{peer="a",kind="instance"} 1' in world.edge.ask("/metrics")


def test_dead_instance_is_retried_and_ejected(world):
    world.a.stop()
    with Client() as c:
        for _ in range(50):
            head, body, _ = c.get("/")
            assert head.target == "200" and body == b"b"
    wait_for(lambda: world.edge.metric("skerry_edge_peer_up") == 1)


def test_hung_instance_gives_up_its_requests(world):
    """Requests that wait at an instance which fails its checks are answered by another."""
    answers = []

    def one():
        with Client() as c:
            answers.append(c.get("/gate")[1])

    threads = [threading.Thread(target=one) for _ in range(8)]
    for t in threads:
        t.start()
    wait_for(lambda: world.a.requests + world.b.requests >= 8)
    world.a.healthy = False
    wait_for(lambda: world.b.requests >= 8)
    world.b.gate.set()
    for t in threads:
        t.join(5)
    world.a.gate.set()
    assert answers == [b"b"] * 8


def test_health_down_and_up(world):
    world.a.healthy = False
    wait_for(lambda: world.edge.metric("skerry_edge_peer_up") == 1)
    with Client() as c:
        assert {c.get("/")[1] for _ in range(20)} == {b"b"}
    world.a.healthy = True
    wait_for(lambda: world.edge.metric("skerry_edge_peer_up") == 2)
    with Client() as c:
        assert {c.get("/")[1] for _ in range(60)} == {b"a", b"b"}


def test_no_instance_is_503(world):
    world.a.healthy = world.b.healthy = False
    wait_for(lambda: world.edge.metric("skerry_edge_peer_up") == 0)
    wait_for(lambda: not has_address())
    # Withdrawn from routing, but what still arrives gets an answer.
    with Client() as c:
        head, _, _ = c.get("/")
        assert head.target == "503" and head.fields["retry-after"] == "1"
        world.a.healthy = True
        wait_for(has_address)
        assert c.get("/")[1] == b"a"


# -------------------------------------------------------------------------------- tables, rollouts


def in_flight(world, name):
    report = world.controller.report()
    return [i["in_flight"] for s in report["services"] for i in s["instances"] if i["id"] == name]


def test_rollout_under_load_loses_nothing(world):
    out = {}

    def load():
        # With the port, so that it asks no /etc/services for one.
        out["wrk"] = subprocess.run(["wrk", "-t1", "-c8", "-d4", f"http://{SERVICE}:80/"],
                                    capture_output=True, text=True, check=True).stdout

    t = threading.Thread(target=load)
    t.start()
    version, old = 1, [world.a, world.b]
    try:
        for generation in range(2):
            new = [Instance(f"{n}{generation}") for n in "ab"]
            for fresh, gone, keep in ((new[0], old[0], old[1]), (new[1], old[1], new[0])):
                version += 1
                world.controller.publish(table(version, [service(
                    [fresh.entry(), gone.entry(), keep.entry()])]))
                world.edge.ready(version, healthy=3)
                version += 1
                world.controller.publish(table(version, [service(
                    [fresh.entry(), gone.entry("draining"), keep.entry()])]))

                def drained():
                    r = world.controller.report()
                    return r["version"] == version and in_flight(world, gone.name) == [0]

                wait_for(drained)
                gone.stop()
                version += 1
                world.controller.publish(table(version, [service([fresh.entry(), keep.entry()])]))
            old = new
    finally:
        t.join()
        for i in old:
            i.stop()
    assert "Socket errors" not in out["wrk"] and "Non-2xx" not in out["wrk"], out["wrk"]
    assert int(re.search(r"(\d+) requests in", out["wrk"]).group(1)) > 100


def test_draining_keeps_what_is_in_flight(world):
    only_a(world)
    with Client() as c:
        c.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_for(lambda: world.a.heads and world.a.heads[-1].target == "/gate")
        world.controller.publish(table(3, [service([world.a.entry("draining"),
                                                    world.b.entry()])]))
        wait_for(lambda: world.controller.report()["version"] == 3)
        assert in_flight(world, "a") == [1]
        with Client() as other:
            assert {other.get("/")[1] for _ in range(10)} == {b"b"}
        world.a.gate.set()
        assert c.answer()[1] == b"a"
    wait_for(lambda: in_flight(world, "a") == [0])


def test_controller_away(world):
    world.controller.stop()
    with Client() as c:
        assert c.get("/")[0].target == "200"
    world.edge.kill()
    wait_for(lambda: not has_address(), 1)
    world.edge = Edge(world.folder, world.controller)
    world.edge.ready(1, healthy=2)  # from the last table that it kept
    with Client() as c:
        assert c.get("/")[0].target == "200"
    world.controller.start()
    only_a(world)


def test_bad_tables_are_refused_and_the_last_good_one_stays(world):
    refused = 0
    for bad in {"version": 2}, {"version": 2, "services": [{"app": "x y"}], "pops": []}:
        world.controller.publish(bad)
        refused += 1
        wait_for(lambda: world.edge.log().count("table refused") == refused)
    with Client() as c:
        assert c.get("/")[0].target == "200"
    only_a(world, 3)


def test_ipv6(world):
    far = Instance("six")
    world.controller.publish(table(2, [service([far.entry()], address="2001:db8::10")]))
    world.edge.ready(2)
    assert has_address("2001:db8::10")
    with Client("2001:db8::10") as c:
        _, body, _ = c.get("/headers")
        assert dict(json.loads(body))["X-Forwarded-For"] == "2001:db8::10"
    far.healthy = False
    wait_for(lambda: not has_address("2001:db8::10"))
    far.stop()


def test_two_apps_and_a_removed_one(world):
    other = Instance("other")
    world.controller.publish(table(2, [service([world.a.entry()]),
                                       service([other.entry()], app="second",
                                               address="198.51.100.11", port=8080)]))
    world.edge.ready(2, healthy=2)
    with Client("198.51.100.11", 8080) as c:
        assert c.get("/")[1] == b"other"
        only_a(world, 3)
        wait_for(lambda: not has_address("198.51.100.11"))
        with pytest.raises(OSError):
            Client("198.51.100.11", 8080, timeout=0.3)
    other.stop()


# ----------------------------------------------------------------------------------- announcement


def test_report(world):
    r = wait_for(lambda: world.controller.report())
    r = wait_for(lambda: world.controller.report()["services"]
                 and world.controller.report()["services"][0]["announced"]
                 and world.controller.report())
    assert r["version"] == 1 and r["region"] == "r1" and r["backbone"] == "127.0.0.1:7070"
    assert {i["id"]: i["healthy"] for i in r["services"][0]["instances"]} == {"a": True, "b": True}


def test_sigterm_withdraws_then_drains_then_ends(world):
    with Client() as c, Client() as idle:
        idle.get("/")
        c.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_for(lambda: any(h.target == "/gate" for h in world.a.heads + world.b.heads))
        world.edge.process.terminate()
        wait_for(lambda: not has_address(), 0.5)
        # Withdrawn; what routers still send is served, and told to go.
        with Client() as late:
            head, _, _ = late.get("/")
            assert head.target == "200" and head.fields["connection"] == "close"
        time.sleep(1.2)  # beyond the grace: the open request alone holds it
        assert world.edge.process.poll() is None
        world.a.gate.set()
        world.b.gate.set()
        assert c.answer()[0].target == "200"
        assert world.edge.process.wait(5) == 0
    assert "exchanges_cut=0" in world.edge.log()
    assert not has_address()


def test_drain_is_bounded(world):
    world.edge.stop()
    edge = world.edge = Edge(world.folder, world.controller, options=["--drain", "2"])
    edge.ready(1, healthy=2)
    with Client() as c:
        c.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_for(lambda: any(h.target == "/gate" for h in world.a.heads + world.b.heads))
        edge.process.terminate()
        start = time.monotonic()
        assert edge.process.wait(5) == 0
        assert 1.5 < time.monotonic() - start < 3.5
    world.a.gate.set()
    world.b.gate.set()


def test_kill_9_withdraws_within_a_second_and_a_new_edge_takes_over(world):
    for _ in range(3):
        world.edge.kill()
        wait_for(lambda: not has_address(), 1)
        world.edge = Edge(world.folder, world.controller)
        world.edge.ready(1, healthy=2)
        assert has_address()
        with Client() as c:
            assert c.get("/")[0].target == "200"


def test_hung_edge_is_withdrawn_and_comes_back(world):
    with Client() as c:
        assert c.get("/")[0].target == "200"
        world.edge.process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        wait_for(lambda: not has_address(), 1)
        assert time.monotonic() - start > 0.1  # not at the first late sign of life
        world.edge.process.send_signal(signal.SIGCONT)
        wait_for(has_address, 1)
        assert c.get("/")[0].target == "200"


def guard_of(edge):
    out = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(edge.process.pid)],
                         capture_output=True, text=True).stdout
    pids = [int(line.split()[0]) for line in out.splitlines() if "skerry-guard" in line]
    return pids[0] if pids else None


def test_guard_that_dies_is_replaced(world):
    first = guard_of(world.edge)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: guard_of(world.edge) not in (None, first))
    world.a.healthy = world.b.healthy = False
    wait_for(lambda: not has_address())
    world.a.healthy = True
    wait_for(has_address)


def test_second_edge_for_a_pop_is_refused(world):
    second = Edge(world.folder, world.controller, backbone="127.0.0.1:7099")
    assert second.process.wait(5) == 1
    assert "another skerry-edge runs for POP 'p1'" in second.log()
    assert has_address()


def test_port_in_use_is_said_and_not_announced(world):
    with socket.create_server(("", 81)):
        world.controller.publish(table(2, [service([world.a.entry()]),
                                           service([world.b.entry()], app="second",
                                                   address="198.51.100.11", port=81)]))
        wait_for(lambda: "cannot listen app=second" in world.edge.log())
        wait_for(lambda: world.edge.status()["version"] == 2 and world.edge.status()["applied"])
        time.sleep(0.3)  # long enough to announce if it were going to
        assert not has_address("198.51.100.11") and has_address()


@pytest.mark.parametrize("words, text", [
    (["--region", "r", "--backbone", "127.0.0.1:1"], "--pop NAME is needed"),
    (["--pop", "p", "--region", "r"], "--backbone ADDRESS:PORT is needed"),
    (["--pop", "p", "--region", "r", "--backbone", "nonsense", "--state", "STATE"],
     "--backbone 'nonsense': not ADDRESS:PORT"),
    (["--pop", "p", "--region", "r", "--backbone", "203.0.113.1:1", "--state", "STATE"],
     "cannot listen on backbone address 203.0.113.1:1"),
    (["--pop", "p", "--region", "r", "--backbone", "127.0.0.1:1", "--workers", "0"], "--workers"),
    (["--frobnicate"], "--help"),
])
def test_wrong_calls_are_one_clear_line(tmp_path, words, text):
    words = [str(tmp_path / "s") if w == "STATE" else w for w in words]
    r = subprocess.run([str(EDGE), *words], capture_output=True, text=True, timeout=10)
    assert r.returncode in (1, 2) and text in r.stderr
    assert len(r.stderr.splitlines()) <= 2


# ------------------------------------------------------------------------------------- TCP, POPs


def tcp_echo(address="127.0.0.1"):
    """An echo server that greets first and answers the end of input with 'bye'."""
    listener = socket.create_server((address, 0))

    def serve(conn):
        try:
            conn.sendall(b"hi ")
            while data := conn.recv(65536):
                conn.sendall(data)
            conn.sendall(b" bye")
        except OSError:
            pass  # a health check
        shut(conn)

    def accept():
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def tcp_entry(listener, region="r1", state="serving"):
    address, port = listener.getsockname()
    return {"id": "echo", "region": region, "address": address, "port": port, "state": state}


def tcp_talk(port):
    with socket.create_connection((SERVICE, port), timeout=5) as s:
        s.sendall(b"some words")
        s.shutdown(socket.SHUT_WR)
        got = b""
        while data := s.recv(65536):
            got += data
        return got


def test_tcp_mode_with_half_close(world):
    echo = tcp_echo()
    world.controller.publish(table(2, [service([tcp_entry(echo)], app="echo", protocol="tcp",
                                               port=7)]))
    world.edge.ready(2)
    assert tcp_talk(7) == b"hi some words bye"
    shut(echo)


@pytest.fixture
def two_pops(tmp_path, controller):
    """p1 in r1 (this namespace) and p2 in r2 (another one), joined by a link."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    inside = ["nsenter", "-t", str(holder.pid), "-n"]

    def other_namespace():
        return (os.readlink(f"/proc/{holder.pid}/ns/net")
                != os.readlink("/proc/thread-self/ns/net"))

    wait_for(other_namespace)
    for words in (f"ip link add skedge0 type veth peer name skedge1 netns {holder.pid}",
                  "ip addr add 10.90.0.1/24 dev skedge0", "ip link set skedge0 up"):
        subprocess.run(words.split(), check=True)
    for words in ("ip link set lo up", "ip addr add 10.90.0.2/24 dev skedge1",
                  "ip link set skedge1 up"):
        subprocess.run([*inside, *words.split()], check=True)
    edges = [Edge(tmp_path, controller, backbone="10.90.0.1:7070"),
             Edge(tmp_path, controller, pop="p2", region="r2", backbone="10.90.0.2:7070",
                  prefix=inside)]
    pops = [{"name": "p1", "region": "r1", "backbone": "10.90.0.1:7070"},
            {"name": "p2", "region": "r2", "backbone": "10.90.0.2:7070"}]
    # r2's instances are only reached through p2 in life; here they listen on our side of the link.
    yield controller, edges, pops, inside
    for e in edges:
        e.kill()
    holder.kill()
    holder.wait()
    subprocess.run(["ip", "link", "del", "skedge0"], check=False, capture_output=True)


def healthy_of(controller):
    return {i["id"]: i["healthy"] for s in controller.report()["services"] for i in s["instances"]}


def test_spill_to_the_next_region_and_back(two_pops):
    controller, (p1, p2), pops, inside = two_pops
    near, far = Instance("near"), Instance("far", address="10.90.0.1")
    controller.publish(table(1, [service([near.entry(), far.entry(region="r2")])], pops))
    p1.ready(1)
    p2.ready(1)
    wait_for(lambda: {"near": True, "far": True} == healthy_of(controller))
    with Client() as c:
        assert c.get("/")[0].fields["x-skerry-region"] == "r1"
        near.healthy = False
        wait_for(lambda: c.get("/")[0].fields["x-skerry-region"] == "r2")
        assert has_address()  # sick instances of our own do not withdraw the POP
        head, body, _ = c.get("/headers", fields="X-Forwarded-For: 1.1.1.1\r\n")
        assert head.fields["x-skerry-pop"] == "p1"
        got = json.loads(body)
        assert dict(got)["X-Forwarded-For"] == f"1.1.1.1, {SERVICE}"
        assert [v for n, v in got if n == "Via"] == ["1.1 skerry-p1", "1.1 skerry-p2"]
        assert "X-Skerry-Service" not in dict(got)
        # Another region's instance is healthy on the word of its POP.
        wait_for(lambda: healthy_of(controller) == {"near": False, "far": True})
        assert controller.report()["rtt_ms"]["p2"] < 50
        near.healthy = True
        wait_for(lambda: c.get("/")[0].fields["x-skerry-region"] == "r1")
        # Nowhere any more: p1 withdraws although p2 answers.
        near.healthy = far.healthy = False
        wait_for(lambda: not has_address())
        assert c.get("/")[0].target == "503"
        far.healthy = True
        wait_for(has_address)
        p2.kill()
        wait_for(lambda: not has_address())
        wait_for(lambda: not has_address(prefix=inside), 1)
    near.stop()
    far.stop()


def test_overflow_goes_to_the_next_region(two_pops):
    controller, (p1, p2), pops, _ = two_pops
    near, far = Instance("near"), Instance("far", address="10.90.0.1")
    controller.publish(table(1, [service([near.entry(capacity=2),
                                          far.entry(region="r2", capacity=2)])], pops))
    p1.ready(1)
    p2.ready(1)
    wait_for(lambda: {"near": True, "far": True} == healthy_of(controller))
    clients = []
    try:
        for _ in range(4):
            c = Client()
            c.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
            clients.append(c)
            wait_for(lambda: near.requests + far.requests == len(clients))
        assert (near.requests, far.requests) == (2, 2)
    finally:
        near.gate.set()
        far.gate.set()
    assert sorted(c.answer()[1] for c in clients) == [b"far", b"far", b"near", b"near"]
    for c in clients:
        c.close()
    near.stop()
    far.stop()


def test_what_the_backbone_carries(two_pops):
    """Bodies, upgrades and big answers by way of another POP; and a retry that changes ways."""
    controller, (p1, p2), pops, _ = two_pops
    near, far = Instance("near"), Instance("far", address="10.90.0.1")
    controller.publish(table(1, [service([near.entry(), far.entry(region="r2")],
                                         interval_ms=5000)], pops))
    p1.ready(1)
    p2.ready(1)
    wait_for(lambda: {"near": True, "far": True} == healthy_of(controller))
    # A connection to the other POP is there before a request needs it.
    wait_for(lambda: p1.metric("skerry_edge_upstream_opened_total") >= 1)
    near.stop()  # the next check is far away: requests find out
    with Client(timeout=20) as c:
        head, body, _ = c.get("/echo", method="POST", fields="Content-Length: 5\r\n", body=b"hello")
        assert body == b"hello" and head.fields["x-skerry-region"] == "r2"
        assert far.heads[-1].fields["x-forwarded-for"] == SERVICE
        assert p1.metric("skerry_edge_retries_total") == 1
        data = os.urandom(3_000_000)
        threading.Thread(target=c.send, args=(
            b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n"
            % len(data) + data + b"\r\n0\r\n\r\n",)).start()
        assert c.answer()[1] == data
        assert c.get("/chunked")[1] == b"one two three"
        assert c.get("/until-close")[1] == b"to the end"
        assert c.get("/big/5000000")[1] == b"x" * 5000000
        assert c.get("/die")[2] is False
    with Client() as c:
        c.send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert c.answer()[0].fields["x-skerry-region"] == "r2"
        c.send(b"frame")
        assert c.stream.read(11) == b"hello frame"
    # A client of the backbone may not go round in circles: p1 leads it to its own region only.
    with Client("10.90.0.1", 7070) as c:
        head, _, _ = c.get("/", fields="X-Skerry-Service: hello\r\n")
        assert head.target in ("502", "503") and "x-skerry-pop" not in head.fields
    far.stop()


def test_all_busy_is_spread_then_shed(world):
    world.controller.publish(table(2, [service([world.a.entry(capacity=2)])]))
    world.edge.ready(2)
    clients = [Client() for _ in range(5)]
    answers = []
    for c in clients:
        c.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
        time.sleep(0.05)  # one after the other
    for c in clients[3:]:
        head, _, _ = c.answer()
        answers.append(head.target)
    assert answers == ["503", "503"] and world.a.requests == 3
    assert world.edge.metric("skerry_edge_shed_total") == 2
    world.a.gate.set()
    assert [c.answer()[0].target for c in clients[:3]] == ["200"] * 3
    for c in clients:
        c.close()


def test_a_pop_that_refuses_is_passed_over(two_pops):
    """Two POPs fill r2 without knowing of each other: what has no room there is answered here."""
    controller, (p1, p2), pops, _ = two_pops
    near, far = Instance("near"), Instance("far", address="10.90.0.1")
    controller.publish(table(1, [service([near.entry(capacity=1),
                                          far.entry(region="r2", capacity=1)])], pops))
    p1.ready(1)
    p2.ready(1)
    wait_for(lambda: {"near": True, "far": True} == healthy_of(controller))
    # Straight to p2's backbone, as a third POP would: p1 does not hear of it at once.
    other = Client("10.90.0.2", 7070)
    first, second = Client(), Client()
    first.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
    wait_for(lambda: near.requests == 1)
    other.send("GET /gate HTTP/1.1\r\nHost: h\r\nX-Skerry-Service: hello\r\n\r\n")
    wait_for(lambda: far.requests == 1)
    second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert second.answer()[1] == b"near" and far.requests == 1
    near.gate.set()
    far.gate.set()
    assert first.answer()[1] == b"near" and other.answer()[1] == b"far"
    near.stop()
    far.stop()


def test_tcp_over_the_backbone(two_pops):
    controller, (p1, p2), pops, _ = two_pops
    echo = tcp_echo("10.90.0.1")
    controller.publish(table(1, [service([tcp_entry(echo, "r2")], app="echo", protocol="tcp",
                                         port=7)], pops))
    p1.ready(1, healthy=0)
    assert tcp_talk(7) == b"hi some words bye"
    assert p1.metric("skerry_edge_spilled_total") == 1
    shut(echo)


# ------------------------------------------------------------------------------------------- log


def test_access_log(world):
    world.edge.stop()
    log = world.folder / "access.log"
    world.edge = Edge(world.folder, world.controller, options=["--access-log", str(log)])
    world.edge.ready(1, healthy=2)
    with Client() as c:
        c.get('/a?q="x"')
        c.get("/gone", method="POST", fields="Content-Length: 0\r\n")
        c.send("nonsense\r\n\r\n")
        c.answer()
    wait_for(lambda: log.read_text().count("\n") == 3)
    first, second, third = map(json.loads, log.read_text().splitlines())
    assert first["method"] == "GET" and first["target"] == '/a?q="x"' and first["status"] == 200
    assert first["app"] == "hello" and first["peer"] in ("a", "b") and first["region"] == "r1"
    assert second["method"] == "POST" and first["client"] == SERVICE
    assert third["status"] == 400 and third["method"] == "-" and third["app"] == "hello"
    log.rename(str(log) + ".1")
    world.edge.process.send_signal(signal.SIGHUP)
    wait_for(log.exists)
